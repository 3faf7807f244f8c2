// Front-to-back compositing: a warp a patch of 8x8 pixels, a lane two pixels. Where there are more channels than a
// record holds, several launches take some of them each.
#include "walk.h"

namespace gsr {
namespace {

constexpr int kWide = 32;  // channels of one launch where there are many

// Adds weights times features to the colours of a lane's pixels; `features` lie anywhere. kFours: all kWide of them,
// four by four.
template <bool kFours, class T>
GSR_DEVICE void add_wide(const T* features, int channels, const T* weights, T (&color)[kHalves][kWide]) {
  for (int d = 0; d < kWide; d += 4) {
    T c[4] = {};
    if (kFours) {
      const Four<T> four = *reinterpret_cast<const Four<T>*>(features + d);
      c[0] = four.x, c[1] = four.y, c[2] = four.z, c[3] = four.w;
    } else {
      for (int j = 0; j < 4; ++j)
        if (d + j < channels) c[j] = features[d + j];
    }
    for (int half = 0; half < kHalves; ++half)
      for (int j = 0; j < 4; ++j) color[half][d + j] = fma(weights[half], c[j], color[half][d + j]);
  }
}

// kChannels of the record, or with kWide those from `first_channel` on.
template <class T, int kChannels, bool kFours>
GSR_KERNEL(kWalkThreads)
forward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, int first_channel) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  const Patch<T> patch(a, t);
  if (patch.tile >= t.tiles) return;
  const int32_t end = t.offsets[patch.tile + 1];
  Walk<T> walk(t, rings[warp_index()], patch, end);
  const int channels = min(kChannels, a.channels - first_channel);
  T through[kHalves] = {patch.through(0), patch.through(1)}, color[kHalves][kChannels] = {};
  int32_t last = end;
  for (int run; (run = walk.next()) > 0;) {
    const int32_t own_flat = kChannels == kWide ? walk.flat_of_lane() : 0;
    for (int i = 0; i < run; ++i) {
      T powers[kHalves], weights[kHalves] = {};
      patch.powers(walk.record(i).shape, powers);
      bool any = false;
      for (int half = 0; half < kHalves; ++half) {
        const bool reaches = powers[half] >= cuts.log2_alpha_min;
        if (!warp_any(reaches && through[half] > 0)) continue;
        T alpha;
        weights[half] = blend(cuts, reaches ? exp2_of(powers[half]) : T(0), alpha, through[half]);
        any = true;
        if constexpr (kChannels != kWide)
          for (int d = 0; d < kChannels; ++d)
            if (reaches) color[half][d] = fma(weights[half], walk.record(i).channels[d], color[half][d]);
      }
      if constexpr (kChannels == kWide) {
        const int64_t flat = shuffle(own_flat, i);
        if (any && (weights[0] != 0 || weights[1] != 0))
          add_wide<kFours>(input<T>(a.features) + flat * a.channels + first_channel, channels, weights, color);
      }
    }
    if (!warp_any(through[0] > 0 || through[1] > 0)) {
      last = walk.position(run - 1) + 1;
      break;
    }
  }
  copy_wait<0>();
  if (lane_index() == 0) t.last[patch.tile * kPatches + patch.index] = last;
  const T* background = input<T>(a.backgrounds);
  if (background) background += int64_t(patch.camera) * a.channels + first_channel;
  for (int half = 0; half < kHalves; ++half) {
    if (!patch.inside[half]) continue;
    const T left = fabs(through[half]);
    t.transmittances[patch.flat[half]] = left;
    output<T>(a.alphas)[patch.flat[half]] = 1 - left;
    T* image = output<T>(a.image) + patch.flat[half] * a.channels + first_channel;
    for (int d = 0; d < kChannels; ++d)
      if (d < channels) image[d] = color[half][d] + (background ? left * background[d] : T(0));
  }
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
