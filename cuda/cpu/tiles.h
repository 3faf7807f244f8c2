// From projected splats to depth-sorted lists for each tile of 16x16 pixels, with a hit bit for each of its 4x4 blocks.
#pragma once
#include <stdint.h>

#include "gsr/blend.h"
#include "gsr/gsr.h"
#include "memory.h"

namespace gsr {

constexpr int kTile = 16, kBlock = 4, kBlocks = 16, kTilePixels = kTile * kTile;
constexpr int kRecordChannels = 8;

// What the pixel loops read of one visible splat: a cache line in float. Channels beyond eight stay in their own array.
template <class T>
struct alignas(64) Record {
  Shape<T> shape;
  T channels[kRecordChannels];
  T extent_x, extent_y;  // half of the bounding box
};

// Typed view of the state that forward saves and backward reads.
template <class T>
struct TileLists {
  int tiles_x, tiles_y;
  int64_t tiles;  // over all cameras
  int64_t visible, intersections;
  Record<T>* records;  // visible splats, in depth order or in that of memory
  int32_t* flat_ids;   // camera * N + gaussian of each record
  int32_t* first;      // visible + 1: where each record's intersections start, in order of emission
  int32_t* list;       // intersections, tile by tile: record
  uint16_t* masks;     // ... its hit blocks
  int32_t* positions;  // emission order -> place in the list
  int32_t* offsets;    // tiles + 1
  int32_t* last;       // tiles: end of the part of the list that any pixel needed
  T* transmittances;   // [C,H,W] what is left behind the last splat
};

template <class T>
TileLists<T> tile_lists_of(const gsr_rasterization& a);

// Sorts and bins; asks the caller for memory and fills a.state, a.visible and a.intersections.
template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a, Workspace& workspace);

// Tiles in the order in which threads should take them: those with the longest lists first.
template <class T>
int32_t* longest_first(const TileLists<T>& t, Workspace& workspace);

}  // namespace gsr
