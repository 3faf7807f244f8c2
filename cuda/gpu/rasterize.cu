// Front-to-back compositing: a warp a sub-tile of 8x4 pixels, a lane a pixel. Where there are more channels than a
// record holds, several launches take some of them each.
#include <type_traits>

#include "wide.h"

namespace gsr {
namespace {

// Ends of a walk: where in the list it stopped, and what is left of the light.
template <class T>
GSR_DEVICE void finish_walk(const gsr_rasterization& a, const TileLists<T>& t, const SubTile<T>& pixel, int32_t last,
                            T left) {
  copy_wait<0>();
  if (lane_index() == 0) t.last[pixel.tile * kSubTiles + pixel.sub] = last;
  if (!pixel.inside) return;
  t.transmittances[pixel.flat] = left;
  output<T>(a.alphas)[pixel.flat] = 1 - left;
}

template <class T, int kChannels>
GSR_DEVICE void write_colors(const gsr_rasterization& a, const SubTile<T>& pixel, int first_channel, T left,
                             const T (&color)[kChannels]) {
  if (!pixel.inside) return;
  T* image = output<T>(a.image) + pixel.flat * a.channels + first_channel;
  const T* background = input<T>(a.backgrounds);
  if (background) background += int64_t(pixel.camera) * a.channels + first_channel;
  for (int d = 0; d < kChannels; ++d)
    if (first_channel + d < a.channels) image[d] = color[d] + (background ? left * background[d] : T(0));
}

// Channels of the records.
template <class T, int kChannels>
GSR_KERNEL(kWalkThreads)
forward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  const SubTile<T> pixel(a, t);
  if (pixel.tile >= t.tiles) return;
  int32_t last = t.offsets[pixel.tile + 1];
  Walk<T> walk(t, rings[warp_index()], pixel, last);
  T transmittance = pixel.transmittance(), color[kChannels] = {};
  for (int run; (run = walk.next()) > 0;) {
    GSR_UNROLL
    for (int i = 0; i < kRun; i += 2) {  // two at a time, as their exponents do not wait for one another
      if (i >= run) break;
      const T powers[2] = {walk.power(i, pixel), walk.power(i + 1, pixel)};
      if (!warp_any(transmittance > 0 && max(powers[0], powers[1]) >= cuts.log2_alpha_min)) continue;
      for (int j = 0; j < 2; ++j) {
        const bool reaches = powers[j] >= cuts.log2_alpha_min;
        const Blended<T> b = blend(cuts, reaches ? exp2_of(powers[j]) : T(0), transmittance);
        transmittance = b.transmittance;
        for (int d = 0; d < kChannels; ++d)
          if (reaches) color[d] = fma(b.weight, walk.record(i + j).channels[d], color[d]);
      }
    }
    if (!warp_any(transmittance > 0)) {
      last = walk.position(run - 1) + 1;
      break;
    }
  }
  const T left = fabs(transmittance);
  finish_walk(a, t, pixel, last, left);
  write_colors(a, pixel, 0, left, color);
}

// 2^kBits channels from their own array, from `first_channel` on.
template <class T, int kBits, bool kFours>
GSR_KERNEL(kWalkThreads, 8)
forward_wide_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, int first_channel) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  constexpr int kWidth = 1 << kBits;
  GSR_SHARED Wide<T> wides[kWalkWarps];
  const SubTile<T> pixel(a, t);
  if (pixel.tile >= t.tiles) return;
  int32_t last = t.offsets[pixel.tile + 1];
  Walk<T> walk(t, rings[warp_index()], pixel, last);
  Wide<T>& wide = wides[warp_index()];
  T transmittance = pixel.transmittance(), color[kWidth] = {};
  for (int run; (run = walk.next()) > 0;) {
    bring_features<kFours>(a, walk, first_channel, kBits, wide);
    T weights[kRun];
    weights_of_run(walk, pixel, cuts, transmittance, weights);
    copy_wait<0>();
    warp_sync();
    GSR_UNROLL
    for (int i = 0; i < kRun; ++i) {
      if (i >= run || !warp_any(weights[i] != 0)) continue;
      for (int d = 0; d < kWidth; d += 4) {
        T c[4];
        read_four(&wide.features[i][d], c);
        for (int j = 0; j < 4; ++j)
          if (weights[i] != 0) color[d + j] = fma(weights[i], c[j], color[d + j]);
      }
    }
    if (!warp_any(transmittance > 0)) {
      last = walk.position(run - 1) + 1;
      break;
    }
  }
  const T left = fabs(transmittance);
  finish_walk(a, t, pixel, last, left);
  write_colors(a, pixel, first_channel, left, color);
}

template <class T>
void rasterize(gsr_rasterization& a) {
  const TileLists<T> t = build_tile_lists<T>(a);
  const PixelCuts<T> cuts = pixel_cuts<T>(a);
  const auto run = [&](auto kernel, auto... more) {
    launch(kernel, walk_blocks(t), kWalkThreads, stream(), a, t, cuts, more...);
  };
  if (a.channels <= 3) return run(forward_kernel<T, 3>);
  if (a.channels <= kNarrow) return run(forward_kernel<T, kNarrow>);
  for (int first = 0; first < a.channels; first += kWide) {
    const auto some = [&](auto fours) {
      const int bits = width_bits(a.channels, first);
      if (bits == 3) return run(forward_wide_kernel<T, 3, fours()>, first);
      if (bits == 4) return run(forward_wide_kernel<T, 4, fours()>, first);
      run(forward_wide_kernel<T, 5, fours()>, first);
    };
    by_four(a.channels, first) ? some(std::true_type()) : some(std::false_type());
  }
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize(gsr_rasterization* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::rasterize<decltype(t)>(*args); });
}
