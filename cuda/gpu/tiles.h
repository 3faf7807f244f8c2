// From projected splats to depth-sorted lists for each tile of 16x16 pixels, with a hit bit for each of its eight
// sub-tiles of 8x4 pixels, which one warp composites.
#pragma once
#include "api.h"
#include "gsr/blend.h"
#include "gsr/ellipse.h"

namespace gsr {

constexpr int kTile = 16, kSubTiles = 8, kSubWidth = 8, kSubHeight = 4;
constexpr int kNarrow = 4;  // channels that go into a record
constexpr int kRecordBits = 24;
constexpr uint32_t kRecordMask = (1u << kRecordBits) - 1;

// What the pixel loops read of one visible splat: 48 bytes in float. Where there are no channels, or more than kNarrow,
// which then stay in their own array, it has its row among those of all cameras.
template <class T>
struct alignas(16) Record {
  Shape<T> shape;
  union {
    T channels[kNarrow + 2];  // and what is missing to whole pieces of 16 bytes
    int32_t flat;
  };
};

// Typed view of the state that forward saves and backward reads.
template <class T>
struct TileLists {
  int tiles_x, tiles_y;
  int64_t tiles;                   // over all cameras
  int64_t visible, intersections;  // as many as the arrays hold
  int64_t* counts;                 // [2] as many as there are
  Record<T>* records;              // visible splats in the order of rows
  int32_t* flat_ids;               // camera * N + gaussian of each record
  int32_t* places;                 // [C*N] record of each row, -1 where it has none
  uint32_t* list;                  // tile by tile, in depth order: record, and above it the hit bits
  int32_t* offsets;                // tiles + 1
  int32_t* last;                   // sub-tiles: end of the part of the list that any of its pixels needed
  T* transmittances;               // [C,H,W] what is left behind the last splat
  int64_t bytes;                   // of all these together but the counts
};

// What the caller keeps from forward to backward: all arrays in one piece, and the counts.
enum StateSlot { kLists, kCounts };

template <class T>
TileLists<T> tile_lists_of(const gsr_rasterization& a);

// Sorts and bins; asks the caller for memory and fills a.state, a.visible and a.intersections.
template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a);

// What a splat's ellipse covers, strip by strip of rows of pixel centres. It leans outwards a little: the pixel loop
// rounds in its own way, and a hit must never be missed.
template <class T>
struct Strips {
  T x, y;
  Outline<T> outline;

  Strips() = default;
  GSR_DEVICE Strips(const Shape<T>& s, T log2_alpha_min) : x(s.x), y(s.y) {
    // infinite where no alpha is too small
    const T budget = min((s.log2_opacity - log2_alpha_min) * T(1.00001) + T(1e-5), T(1e30));
    const T half_height = sqrt(budget) / s.Q;
    // the rightmost point: where the derivative of k y + half_width(y) is 0
    outline = {s.Pk / s.P, s.Q / s.P, half_height, half_height * s.Pk / sqrt(s.Pk * s.Pk + s.Q * s.Q)};
  }
  // From where to where in x inside the rows of pixel centres [top, bottom]; empty (from > to) where there is none.
  GSR_DEVICE void reach(T top, T bottom, T& from, T& to) const {
    const T low = max(top - y, -outline.half_height), high = min(bottom - y, outline.half_height);
    from = 1, to = 0;
    if (!(low <= high)) return;
    T left, right;
    outline.reach(low, high, left, right);
    const T slack = T(1e-3) + T(1e-5) * max(T(fabs(right)), T(fabs(left)));
    from = x + left - slack, to = x + right + slack;
  }
  GSR_DEVICE PixelBox box(int width, int height) const {
    T left, right;
    outline.reach(outline.tip, outline.tip, left, right);
    return pixel_box(x, y, right, outline.half_height, width, height);
  }
};

// Where a splat's box lies among the tiles of its camera.
struct TileBox {
  int x0, y0, columns, total;
  float per_column;  // 1 / columns: below 2^22 tiles the quotient rounds down as that of integers does, and is cheaper

  TileBox() = default;
  GSR_DEVICE explicit TileBox(const PixelBox& box) {
    const bool empty = box.x0 > box.x1;
    x0 = box.x0 / kTile, y0 = box.y0 / kTile, columns = empty ? 0 : box.x1 / kTile - x0 + 1;
    total = columns * (box.y1 / kTile - y0 + 1);
    per_column = empty ? 0.0f : 1 / float(columns);
  }
  GSR_DEVICE int row(int i) const { return static_cast<int>((float(i) + 0.5f) * per_column); }
  GSR_DEVICE int x(int i) const { return x0 + i - row(i) * columns; }
  GSR_DEVICE int y(int i) const { return y0 + row(i); }
};

// Unsigned, in the order of the depths, negative ones included.
GSR_DEVICE uint32_t depth_key(double depth) {
  const uint32_t u = float_bits(static_cast<float>(depth));
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

// Whether an ellipse touches a tile.
template <class T>
GSR_DEVICE bool tile_hit(const Strips<T>& strips, int tile_x, int tile_y) {
  const T left = T(tile_x * kTile) + T(0.5), top = T(tile_y * kTile) + T(0.5);
  T from, to;
  strips.reach(top, top + T(kTile - 1), from, to);
  return from <= left + T(kTile - 1) && to >= left;
}

// Which sub-tiles of a tile an ellipse touches.
template <class T>
GSR_DEVICE uint32_t sub_tile_hits(const Strips<T>& strips, int tile_x, int tile_y) {
  uint32_t hits = 0;
  const T left = T(tile_x * kTile) + T(0.5);
  for (int s = 0; s < kSubTiles; s += 2) {
    const T top = T(tile_y * kTile + s / 2 * kSubHeight) + T(0.5);
    T from, to;
    strips.reach(top, top + T(kSubHeight - 1), from, to);
    if (from <= left + T(kSubWidth - 1) && to >= left) hits |= 1u << s;
    if (from <= left + T(kTile - 1) && to >= left + T(kSubWidth)) hits |= 2u << s;
  }
  return hits;
}

}  // namespace gsr
