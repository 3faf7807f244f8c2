// Front-to-back compositing: a block a tile, a warp a sub-tile of 8x4 pixels, a lane a pixel. The block stages the
// list; each warp visits only the entries that touch its sub-tile. Where there are more channels than a record holds,
// several launches take some of them each.
#include "stage.h"

namespace gsr {
namespace {

constexpr int kWide = 16;  // channels of one launch where there are many

// kChannels of the record, or with kWide those from `first_channel` on.
template <class T, int kChannels>
GSR_KERNEL(kTileThreads)
forward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, int first_channel) {
  GSR_SHARED Stage<T> stage;
  const int64_t tile = block_index();
  const LanePixel<T> pixel(a, t, tile);
  const int32_t end = t.offsets[tile + 1];
  Batches<T> batches(t, stage, t.offsets[tile], end);
  const int channels = min(kChannels, a.channels - first_channel);
  T through = pixel.through(), color[kChannels] = {};
  int32_t last = end;
  bool open = true;  // of the warp
  for (int batch = 0; batches.first(batch) < end; ++batch) {
    batches.arrive(batch);
    for (int start = 0; open && start < kBatch; start += kWarp) {
      for (uint32_t hits = batches.hits(batch, start, end); hits; hits &= hits - 1) {
        const int entry = start + lowest_bit(hits);
        const Record<T>& r = batches.record(batch, entry);
        T u, v, alpha;
        const T power = splat_power(r.shape, pixel.x, pixel.y, &u, &v);
        if (!pixel.inside || !(power >= cuts.log2_alpha_min)) continue;
        const T weight = blend(cuts, exp2_of(power), alpha, through);
        const T* c = r.channels;
        if (kChannels == kWide)
          c = input<T>(a.features) + int64_t(t.flat_ids[batches.rank(batch, entry)]) * a.channels + first_channel;
        for (int d = 0; d < kChannels; ++d)
          if (kChannels < kWide || d < channels) color[d] = fma(weight, c[d], color[d]);
      }
      open = warp_any(through > 0);
      if (!open) last = min(end, batches.first(batch) + start + kWarp);
    }
    if (!block_any(open)) break;
  }
  copy_wait<0>();
  if (lane_index() == 0) t.last[tile * kSubTiles + warp_index()] = last;
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

template <class T, int kChannels>
void forward(const gsr_rasterization& a, const TileLists<T>& t, const PixelCuts<T>& cuts, int first_channel) {
  launch(forward_kernel<T, kChannels>, t.tiles, kTileThreads, stream(), a, t, cuts, first_channel);
}

template <class T>
void rasterize(gsr_rasterization& a) {
  const TileLists<T> t = build_tile_lists<T>(a);
  const PixelCuts<T> cuts = pixel_cuts<T>(a.alpha_min, a.alpha_max, a.transmittance_min);
  if (a.channels <= 3) return forward<T, 3>(a, t, cuts, 0);
  if (a.channels == 4) return forward<T, 4>(a, t, cuts, 0);
  for (int channel = 0; channel < a.channels; channel += kWide) forward<T, kWide>(a, t, cuts, channel);
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize(gsr_rasterization* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::rasterize<decltype(t)>(*args); });
}
