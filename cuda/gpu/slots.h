// The deterministic option: each intersection owns a row of sums for each sub-tile; here a warp a splat adds its rows,
// in a fixed order. Within a tile the list is sorted by depth, so a splat's place is found by bisection.
#pragma once
#include "tiles.h"

namespace gsr {

GSR_DEVICE int64_t slot_of(int32_t position, int sub) { return int64_t(position) * kSubTiles + sub; }

// Place of a record in the list of a tile, or -1.
template <class T>
GSR_DEVICE int32_t find_record(const gsr_rasterization& a, const TileLists<T>& t, int64_t tile, uint32_t record) {
  const auto order = [&](uint32_t index) {
    return uint64_t(depth_key(input<T>(a.depths)[t.flat_ids[index]])) << kRecordBits | index;
  };
  int32_t low = t.offsets[tile], high = t.offsets[tile + 1];
  const int32_t end = high;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (order(t.list[middle] & kRecordMask) < order(record))
      low = middle + 1;
    else
      high = middle;
  }
  return low < end && (t.list[low] & kRecordMask) == record ? low : -1;
}

// Adds the rows of one intersection that were written: those of sub-tiles it touches, before their walk ended.
template <class T>
GSR_DEVICE T sum_of_slots(const TileLists<T>& t, int64_t tile, int32_t at, const T* slots, int64_t width, int column) {
  T sum = 0;
  for (int sub = 0; sub < kSubTiles; ++sub)
    if (t.list[at] >> (kRecordBits + sub) & 1 && at < t.last[tile * kSubTiles + sub])
      sum += slots[slot_of(at, sub) * width + column];
  return sum;
}

template <class T>
GSR_KERNEL(256)
add_slots_kernel(gsr_rasterization a, TileLists<T> t, const T* slots, T* rows, int64_t width) {
  const int64_t record = block_index() * (256 / kWarp) + warp_index();
  if (record >= min(t.visible, t.counts[0])) return;
  const Strips<T> strips(t.records[record].shape, T(log2(a.alpha_min)));
  const TileBox box(strips.box(a.width, a.height));
  const int64_t first_tile = t.flat_ids[record] / a.N * t.tiles_x * t.tiles_y;
  for (int64_t first = 0; first < width; first += kWarp) {  // lanes are columns
    const int column = static_cast<int>(first) + lane_index();
    T sum = 0;
    for (int i = 0; i < box.total; ++i) {
      const int64_t tile = first_tile + int64_t(box.y(i)) * t.tiles_x + box.x(i);
      const int32_t at = find_record(a, t, tile, static_cast<uint32_t>(record));
      if (at >= 0 && column < width) sum += sum_of_slots(t, tile, at, slots, width, column);
    }
    if (column < width) rows[record * width + column] = sum;
  }
}

template <class T>
void add_slots(const gsr_rasterization& a, const TileLists<T>& t, const T* slots, T* rows, int64_t width) {
  launch(add_slots_kernel<T>, blocks_for(t.visible, 256 / kWarp), 256, stream(), a, t, slots, rows, width);
}

}  // namespace gsr
