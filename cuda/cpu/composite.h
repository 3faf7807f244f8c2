// What forward, backward and lift share: the walk through a tile in batches.
//
// A tile's list is taken in batches of 64. Their splats are copied side by side, and their hit bits are turned over, so
// that each 4x4 block knows which of the 64 concern it. Then block after block runs through its own splats, with its
// pixels in registers: loops without inner loops, so hardly a mispredicted branch, and no pixel state in memory. What
// does not depend on the pixel's state, most of the work, goes first and in a loop of its own: chains of dependent
// operations are long, and a processor only overlaps as many splats as fit into its window.
#pragma once
#include <string.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "gsr/blend.h"
#include "gsr/gsr.h"
#include "simd.h"
#include "tiles.h"

namespace gsr {

constexpr int kBatch = 64, kBlockPixels = kBlock * kBlock;

template <class T>
using Cuts = PixelCuts<Vec<T>>;

template <class T>
Cuts<T> cuts_of(const gsr_rasterization& a) {
  return pixel_cuts<Vec<T>, T>(a);
}

template <class T>
GSR_INLINE Shape<Vec<T>> spread(const Shape<T>& s) {
  typedef Vec<T> V;
  return {V(s.x), V(s.y), V(s.P), V(s.Pk), V(s.Q), V(s.log2_opacity)};
}

// Calls call(constant) with the number of channels where a loop for it is compiled, else with 0.
template <class Call>
void with_channels(int channels, Call call) {
  switch (channels) {
    case 1:
      return call(std::integral_constant<int, 1>());
    case 3:
      return call(std::integral_constant<int, 3>());
    case 4:
      return call(std::integral_constant<int, 4>());
    case 8:
      return call(std::integral_constant<int, 8>());
    default:
      return call(std::integral_constant<int, 0>());
  }
}

// Centres of a block's pixels, register by register, from its corner.
template <class T>
struct Lanes {
  static constexpr int width = Vec<T>::width, parts = kBlockPixels / width,
                       columns = width < kBlock ? kBlock / width : 1;
  alignas(64) T x[columns][width], y[parts][width];

  constexpr Lanes() : x(), y() {
    for (int i = 0; i < columns * width; ++i) x[i / width][i % width] = T(i % kBlock) + T(0.5);
    for (int i = 0; i < kBlockPixels; ++i) y[i / width][i % width] = T(i / kBlock) + T(0.5);
  }
};
template <class T>
constexpr Lanes<T> kLanes{};

// The same in the image. All registers of at least four lanes have the same columns.
template <class T>
struct BlockPixels {
  typedef Vec<T> V;
  static constexpr int parts = Lanes<T>::parts, columns = Lanes<T>::columns;
  V x[columns], y[parts];

  BlockPixels() = default;
  GSR_INLINE BlockPixels(int left, int top) {
    for (int c = 0; c < columns; ++c) x[c] = V::load(kLanes<T>.x[c]) + V(T(left));
    for (int p = 0; p < parts; ++p) y[p] = V::load(kLanes<T>.y[p]) + V(T(top));
  }
  // The exponent at the pixels of one register.
  GSR_INLINE V power(const Shape<V>& s, int part, V* u, V* v) const {
    return splat_power(s, x[part % columns], y[part], u, v);
  }
};

// A number for each pixel of a block.
template <class T>
struct PixelRow {
  alignas(64) T of[kBlockPixels];

  GSR_INLINE Vec<T> get(int part) const { return Vec<T>::load(of + Vec<T>::width * part); }
  GSR_INLINE void set(int part, Vec<T> v) { v.store(of + Vec<T>::width * part); }
};

#if !defined(__AVX512BW__)
// From the 16 bits of each of up to 64 splats to the 64 bits of each block.
inline void turn_over(const uint16_t* in, int count, uint64_t* out) {
  typedef uint16_t Row __attribute__((vector_size(2 * kBlocks)));
  const Row block = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  uint16_t masks[kBatch], turned[kBatch / 16][kBlocks];
  for (int i = 0; i < kBatch; ++i) masks[i] = i < count ? in[i] : uint16_t(0);
  for (int group = 0; group < kBatch / 16; ++group) {
    Row row = {};
    for (int i = 0; i < 16; ++i) {
      const uint16_t bit = static_cast<uint16_t>(1 << i);
      const Row mask = masks[16 * group + i] - Row{};
      row |= Row((mask & block) == block) & Row(bit - Row{});
    }
    memcpy(turned[group], &row, sizeof row);
  }
  for (int b = 0; b < kBlocks; ++b)
    out[b] = turned[0][b] | uint64_t(turned[1][b]) << 16 | uint64_t(turned[2][b]) << 32 | uint64_t(turned[3][b]) << 48;
}
#endif

template <class T>
struct Batch {
  Record<T> splats[kBatch];
  uint64_t hits[kBlocks];  // which of the splats touch each block

  const int32_t *next, *after;  // records of the batch behind this one that were not asked for yet

  GSR_INLINE void read(const TileLists<T>& t, int32_t at, int count, int32_t end) {
    const int32_t* list = t.list + at;
    next = list + count, after = list + std::min(end - at, int32_t(2 * kBatch));
    for (int i = 0; i < count; ++i) splats[i] = t.records[list[i]];
    turn_over(t.masks + at, count, hits);
  }

  // Asks for some records of the next batch: all at once would be more than a core can wait for.
  GSR_INLINE void prefetch(const TileLists<T>& t, int count) {
    for (const int32_t* last = std::min(next + count, after); next < last; ++next)
      __builtin_prefetch(&t.records[*next]);
  }
};

// Numbers in a row of channels, filled up with zeros to whole registers.
template <class T>
int padded(int channels) {
  return (channels + Vec<T>::width - 1) / Vec<T>::width * Vec<T>::width;
}

// The channels of a batch's splats as padded rows, for numbers of channels that no loop is compiled for.
template <class T>
struct Features {
  const gsr_rasterization& a;
  const TileLists<T>& t;
  T* rows;
  int channels, stride;

  Features(const gsr_rasterization& a_, const TileLists<T>& t_, T* scratch)
      : a(a_), t(t_), rows(scratch), channels(a_.channels), stride(padded<T>(a_.channels)) {}

  void read(int32_t at, int count) {
    for (int i = 0; i < count; ++i) {
      const int32_t record = t.list[at + i];
      std::copy_n(static_cast<const T*>(a.features) + int64_t(t.flat_ids[record]) * channels, channels,
                  rows + i * stride);
      std::fill_n(rows + i * stride + channels, stride - channels, T(0));
    }
  }
  GSR_INLINE const T* row(int i) const { return rows + i * stride; }
};

// First pass over a block: the alphas of its splats, 0 below the threshold; returns their number, and their places in
// `rows`.
template <class T>
GSR_INLINE int alphas_of_block(const Cuts<T>& cuts, const Batch<T>& batch, uint64_t hits, const BlockPixels<T>& pixels,
                               PixelRow<T>* raw, uint8_t* rows) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  int count = 0;
  for (; hits; hits &= hits - 1, ++count) {
    const int row = __builtin_ctzll(hits);
    const Shape<V> splat = spread(batch.splats[row].shape);
    rows[count] = static_cast<uint8_t>(row);
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      V u, v;
      const V power = pixels.power(splat, p, &u, &v);
      raw[count].set(p, keep(at_least(power, cuts.log2_alpha_min), exp2(power)));
    }
  }
  return count;
}

// A block through its splats of a batch, up to the one that finishes it: their weights, one after the other in
// `weights`, and their places in `rows`. Returns whether a pixel is still open.
template <class T>
GSR_INLINE bool weights_of_block(const Cuts<T>& cuts, const Batch<T>& batch, uint64_t hits,
                                 const BlockPixels<T>& pixels, T* transmittances, PixelRow<T>* weights, uint8_t* rows,
                                 int& count) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  const int all = alphas_of_block(cuts, batch, hits, pixels, weights, rows);
  V state[parts];
  for (int p = 0; p < parts; ++p) state[p] = V::load(transmittances + V::width * p);
  uint32_t open = 1;
  int i = 0;
  for (; i < all && open; ++i) {
    open = 0;
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      const Blended<V> s = blend(cuts, weights[i].get(p), state[p]);
      state[p] = s.transmittance;
      weights[i].set(p, s.weight);
      open |= bits<T>(s.open);
    }
  }
  for (int p = 0; p < parts; ++p) state[p].store(transmittances + V::width * p);
  count = i;
  return open != 0;
}

// The weights of a batch's pairs of splat and block, block by block; splats take them in order.
template <class T>
struct Pairs {
  PixelRow<T> weights[kBatch * kBlocks];
  int count = 0;
  int at[kBlocks], end[kBlocks];  // of each block's pairs: the next one, and where they end
};

// Adds weights times pixels over a block: `of_pixels` has a row of channels a pixel, `to` one a splat of the batch.
template <class T>
GSR_INLINE void add_products(const PixelRow<T>* weights, const uint8_t* rows, int count, int stride, const T* of_pixels,
                             T* to) {
  typedef Vec<T> V;
  for (int i = 0; i < count; ++i)
    for (int d = 0; d < stride; d += V::width) {
      T* row = to + rows[i] * stride + d;
      V sum = V::load(row);
      for (int j = 0; j < kBlockPixels; ++j) sum = fma(V(weights[i].of[j]), V::load(of_pixels + j * stride + d), sum);
      sum.store(row);
    }
}

// Calls body(row) for the rows of sums of a record's intersections, in order of emission whatever thread wrote them.
// `width` is a constant where the number of channels is.
template <class T, class Width, class Body>
GSR_INLINE void each_row(const TileLists<T>& t, int64_t record, const T* slots, Width width, Body body) {
  const int32_t end = t.first[record + 1];
  for (int32_t e = t.first[record]; e < end; ++e) {
    constexpr int ahead = 24;
    if (e + ahead < t.intersections) {
      const T* row = slots + int64_t(t.positions[e + ahead]) * width;
      __builtin_prefetch(row), __builtin_prefetch(row + width - 1);
    }
    body(slots + int64_t(t.positions[e]) * width);
  }
}

// Where a tile lies.
struct TilePixels {
  int left, top, camera;

  template <class T>
  TilePixels(const TileLists<T>& t, int64_t tile) {
    camera = static_cast<int>(tile / (int64_t(t.tiles_x) * t.tiles_y));
    const int64_t within = tile % (int64_t(t.tiles_x) * t.tiles_y);
    left = static_cast<int>(within % t.tiles_x) * kTile, top = static_cast<int>(within / t.tiles_x) * kTile;
  }

  // Blocks with at least one pixel in the image.
  uint32_t inside(int width, int height) const {
    uint32_t mask = 0;
    for (int b = 0; b < kBlocks; ++b)
      if (left + b % 4 * kBlock < width && top + b / 4 * kBlock < height) mask |= 1u << b;
    return mask;
  }

  template <class T>
  GSR_INLINE BlockPixels<T> block(int b) const {
    return BlockPixels<T>(left + b % 4 * kBlock, top + b / 4 * kBlock);
  }

  // Calls body(index in the tile, block by block; flat index in all images) for pixels in the image.
  template <class Body>
  GSR_INLINE void each(int width, int height, Body body) const {
    for (int row = 0; row < kBlocks * kBlock; ++row) {
      const int x = left + row / kBlock % 4 * kBlock, y = top + row / kTile * kBlock + row % kBlock;
      if (x >= width || y >= height) continue;
      const int64_t flat = (int64_t(camera) * height + y) * width + x;
      if (x + kBlock <= width)
        for (int i = 0; i < kBlock; ++i) body(kBlock * row + i, flat + i);
      else
        for (int i = 0; i < width - x; ++i) body(kBlock * row + i, flat + i);
    }
  }

  // Asks for the rows of an image with `channels` numbers a pixel.
  template <class T>
  GSR_INLINE void prefetch(const T* image, int channels, int width, int height) const {
    const int bytes = std::min(kTile, width - left) * channels * static_cast<int>(sizeof(T));
    for (int y = top; y < std::min(top + kTile, height); ++y) {
      const char* row =
          reinterpret_cast<const char*>(image + ((int64_t(camera) * height + y) * width + left) * channels);
      for (int i = 0; i < bytes; i += 64) __builtin_prefetch(row + i, 1);
    }
  }
};

}  // namespace gsr
