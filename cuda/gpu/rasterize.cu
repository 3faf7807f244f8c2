// Front-to-back compositing: a warp a sub-tile of 8x4 pixels, a lane a pixel. Where there are more channels than a
// record holds, several launches take some of them each.
#include "walk.h"

namespace gsr {
namespace {

constexpr int kWide = 32;  // channels of one launch where there are many

// Adds weight * features to the colours of a lane; `features` lie anywhere. kFours: all kWide of them, four by four.
template <bool kFours, class T>
GSR_DEVICE void add_wide(const T* features, int channels, T weight, T (&color)[kWide]) {
  if (kFours) {
    for (int d = 0; d < kWide; d += 4) {
      const Four<T> c = *reinterpret_cast<const Four<T>*>(features + d);
      color[d] = fma(weight, c.x, color[d]), color[d + 1] = fma(weight, c.y, color[d + 1]);
      color[d + 2] = fma(weight, c.z, color[d + 2]), color[d + 3] = fma(weight, c.w, color[d + 3]);
    }
  } else {
    for (int d = 0; d < kWide; ++d)
      if (d < channels) color[d] = fma(weight, features[d], color[d]);
  }
}

// kChannels of the record, or with kWide those from `first_channel` on.
template <class T, int kChannels, bool kFours>
GSR_KERNEL(kWalkThreads)
forward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, int first_channel) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  const SubTile<T> pixel(a, t);
  if (pixel.tile >= t.tiles) return;
  const int32_t end = t.offsets[pixel.tile + 1];
  Walk<T> walk(t, rings[warp_index()], pixel, end);
  const int channels = min(kChannels, a.channels - first_channel);
  T through = pixel.through(), color[kChannels] = {};
  int32_t last = end;
  for (int run; (run = walk.next()) > 0;) {
    const int32_t own_flat = kChannels == kWide ? walk.flat_of_lane() : 0;
    for (int i = 0; i < run; i += 2) {  // two at a time, as their exponents do not wait for one another
      const T powers[2] = {walk.power(i, pixel), walk.power(i + 1, pixel)};
      if (!warp_any(through > 0 && max(powers[0], powers[1]) >= cuts.log2_alpha_min)) continue;
      for (int j = 0; j < 2; ++j) {
        const bool reaches = powers[j] >= cuts.log2_alpha_min;
        T alpha;
        const T weight = blend(cuts, reaches ? exp2_of(powers[j]) : T(0), alpha, through);
        if constexpr (kChannels == kWide) {
          const int64_t flat = shuffle(own_flat, (i + j) % kRun);
          const T* features = input<T>(a.features) + flat * a.channels + first_channel;
          if (reaches) add_wide<kFours>(features, channels, weight, color);
        } else {
          for (int d = 0; d < kChannels; ++d)
            if (reaches) color[d] = fma(weight, walk.record(i + j).channels[d], color[d]);
        }
      }
    }
    if (!warp_any(through > 0)) {
      last = walk.position(run - 1) + 1;
      break;
    }
  }
  copy_wait<0>();
  if (lane_index() == 0) t.last[pixel.tile * kSubTiles + pixel.sub] = last;
  if (!pixel.inside) return;
  const T left = fabs(through);
  t.transmittances[pixel.flat] = left;
  output<T>(a.alphas)[pixel.flat] = 1 - left;
  T* image = output<T>(a.image) + pixel.flat * a.channels + first_channel;
  const T* background = input<T>(a.backgrounds);
  if (background) background += int64_t(pixel.camera) * a.channels + first_channel;
  for (int d = 0; d < kChannels; ++d)
    if (d < channels) image[d] = color[d] + (background ? left * background[d] : T(0));
}

template <class T, int kChannels, bool kFours = false>
void forward(const gsr_rasterization& a, const TileLists<T>& t, const PixelCuts<T>& cuts, int first_channel) {
  launch(forward_kernel<T, kChannels, kFours>, walk_blocks(t), kWalkThreads, stream(), a, t, cuts, first_channel);
}

template <class T>
void rasterize(gsr_rasterization& a) {
  const TileLists<T> t = build_tile_lists<T>(a);
  const PixelCuts<T> cuts = pixel_cuts<T>(a.alpha_min, a.alpha_max, a.transmittance_min);
  if (a.channels <= 3) return forward<T, 3>(a, t, cuts, 0);
  if (a.channels == 4) return forward<T, 4>(a, t, cuts, 0);
  for (int first = 0; first < a.channels; first += kWide) {
    if (a.channels % 4 == 0 && a.channels - first >= kWide)
      forward<T, kWide, true>(a, t, cuts, first);
    else
      forward<T, kWide>(a, t, cuts, first);
  }
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize(gsr_rasterization* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::rasterize<decltype(t)>(*args); });
}
