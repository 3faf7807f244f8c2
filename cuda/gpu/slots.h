// The deterministic option: each intersection owns a row of sums; here a warp a splat adds its rows, in a fixed order.
// Within a tile the list is sorted by record, so a row is found by bisection and no places need to be stored.
#pragma once
#include "tiles.h"

namespace gsr {

// Place of a record in the list of a tile, or -1.
template <class T>
GSR_DEVICE int32_t find_record(const TileLists<T>& t, int64_t tile, uint32_t record) {
  int32_t low = t.offsets[tile], high = t.offsets[tile + 1];
  const int32_t end = high;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if ((t.list[middle] & kRankMask) < record)
      low = middle + 1;
    else
      high = middle;
  }
  return low < end && (t.list[low] & kRankMask) == record ? low : -1;
}

template <class T, int kValues>
GSR_KERNEL(256)
add_slots_kernel(gsr_rasterization a, TileLists<T> t, const T* slots, T* rows) {
  const int64_t record = block_index() * (256 / kWarp) + warp_index();
  const bool valid = record < min(t.visible, t.counts[0]);
  const int64_t flat = valid ? t.flat_ids[record] : 0;
  const T *mean = input<T>(a.means2d) + 2 * flat, *shape = input<T>(a.shapes) + 6 * flat;
  T sums[kValues] = {};
  if (valid) {
    const TileBox box(pixel_box(mean[0], mean[1], shape[4], shape[5], a.width, a.height));
    const int64_t first_tile = flat / a.N * t.tiles_x * t.tiles_y;
    for (int i = lane_index(); i < box.total; i += kWarp) {
      const int32_t at =
          find_record(t, first_tile + int64_t(box.y(i)) * t.tiles_x + box.x(i), static_cast<uint32_t>(record));
      for (int j = 0; at >= 0 && j < kValues; ++j) sums[j] += slots[int64_t(at) * kValues + j];
    }
  }
  for (int j = 0; j < kValues; ++j) {
    const T sum = warp_sum(sums[j]);
    if (valid && lane_index() == 0) rows[record * kValues + j] = sum;
  }
}

template <class T, int kValues>
void add_slots(const gsr_rasterization& a, const TileLists<T>& t, const T* slots, T* rows) {
  launch(add_slots_kernel<T, kValues>, blocks_for(t.visible, 256 / kWarp), 256, stream(), a, t, slots, rows);
}

}  // namespace gsr
