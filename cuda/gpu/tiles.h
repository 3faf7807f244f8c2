// From projected splats to depth-sorted lists for each tile of 16x16 pixels, with a hit bit for each of its eight
// sub-tiles of 8x4 pixels, which one warp draws.
#pragma once
#include "api.h"
#include "gsr/blend.h"
#include "gsr/ellipse.h"

namespace gsr {

constexpr int kTile = 16, kSubTiles = 8, kSubWidth = 8, kSubHeight = 4;
constexpr int kRecordChannels = 6;
constexpr int kRankBits = 24;
constexpr uint32_t kRankMask = (1u << kRankBits) - 1;

// What the pixel loops read of one visible splat: 48 bytes in float. Channels beyond six stay in their own array.
template <class T>
struct alignas(16) Record {
  Shape<T> shape;
  T channels[kRecordChannels];
};

// Typed view of the state that forward saves and backward reads.
template <class T>
struct TileLists {
  int tiles_x, tiles_y;
  int64_t tiles;                   // over all cameras
  int64_t visible, intersections;  // as many as the arrays hold
  int64_t* counts;                 // [2] as many as there are
  Record<T>* records;              // visible splats in depth order
  int32_t* flat_ids;               // camera * N + gaussian of each record
  uint32_t* list;                  // tile by tile: record, and above it the hit bits
  int32_t* offsets;                // tiles + 1
  int32_t* last;                   // sub-tiles: end of the part of the list that any of its pixels needed
  T* transmittances;               // [C,H,W] what is left behind the last splat
};

enum StateSlot { kRecords, kFlatIds, kCounts, kList, kTiles = 6, kPixels };

template <class T>
TileLists<T> tile_lists_of(const gsr_rasterization& a);

// Sorts and bins; asks the caller for memory and fills a.state, a.visible and a.intersections.
template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a);

// Where a splat's box lies among the tiles of its camera.
struct TileBox {
  PixelBox pixels;
  int x0, y0, columns, total;

  GSR_DEVICE explicit TileBox(const PixelBox& box) : pixels(box) {
    const bool empty = box.x0 > box.x1;
    x0 = box.x0 / kTile, y0 = box.y0 / kTile, columns = empty ? 0 : box.x1 / kTile - x0 + 1;
    total = columns * (box.y1 / kTile - y0 + 1);
  }
  GSR_DEVICE int x(int i) const { return x0 + i % columns; }
  GSR_DEVICE int y(int i) const { return y0 + i / columns; }
};

// Which sub-tiles of a tile an ellipse touches.
template <class T>
GSR_DEVICE uint32_t sub_tile_hits(const Ellipse<T>& ellipse, const PixelBox& box, int tile_x, int tile_y) {
  uint32_t hits = 0;
  for (int s = 0; s < kSubTiles; ++s) {
    const int left = tile_x * kTile + s % 2 * kSubWidth, top = tile_y * kTile + s / 2 * kSubHeight;
    const bool in_box = box.x0 < left + kSubWidth && box.x1 >= left && box.y0 < top + kSubHeight && box.y1 >= top;
    if (in_box && touches(ellipse, left, top, kSubWidth, kSubHeight)) hits |= 1u << s;
  }
  return hits;
}

}  // namespace gsr
