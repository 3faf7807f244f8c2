// What forward and backward share: the one inlined compositing step, and the walk through a tile in batches.
//
// A tile's list is taken in batches of 64. Their splats are copied side by side, and their hit bits are turned over, so
// that each 4x4 block knows which of the 64 concern it. Then block after block runs through its own splats, with its
// pixels in registers: loops without inner loops, so hardly a mispredicted branch, and no pixel state in memory. What
// does not depend on the pixel's state, most of the work, goes first and in a loop of its own: chains of dependent
// operations are long, and a processor only overlaps as many splats as fit into its window.
//
// A pixel that is finished keeps its transmittance with the sign turned: `T > 0` is the test for "still open".
#pragma once
#include <string.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "gsr/gsr.h"
#include "simd.h"
#include "tiles.h"

namespace gsr {

constexpr int kBatch = 64, kBlockPixels = kBlock * kBlock;

template <class T>
struct Cutoffs {
  Vec<T> log2_alpha_min, alpha_max, transmittance_min;
  T outside;  // transmittance of pixels beyond the image: finished from the start, where a pixel can finish

  explicit Cutoffs(const gsr_rasterization& a)
      // the exponential is only good down to 2^-126
      : log2_alpha_min(std::max(log2(T(a.alpha_min)), std::is_same<T, float>::value ? T(-126) : T(-1020))),
        alpha_max(T(a.alpha_max)),
        // a cut of 0 means none: no product of (1 - alpha) may then finish a pixel
        transmittance_min(a.transmittance_min > 0 ? T(a.transmittance_min) : T(-1)),
        outside(a.transmittance_min > 0 ? T(-1) : T(1)) {}
};

// 2^power, and 0 where that is below the threshold. A function of splat and pixel alone.
template <class T>
GSR_INLINE Vec<T> raw_alpha(const Cutoffs<T>& cut, Vec<T> log2_opacity, Vec<T> u, Vec<T> v) {
  const Vec<T> power = fnma(u, u, fnma(v, v, log2_opacity));
  return keep(at_least(power, cut.log2_alpha_min), exp2(power));
}

// What one splat does to one register of pixels.
template <class T>
struct Step {
  Vec<T> alpha, weight, after;
  typename Vec<T>::Mask open;  // not finished after this splat
};

template <class T>
GSR_INLINE Step<T> composite(const Cutoffs<T>& cut, Vec<T> raw, Vec<T> before) {
  Step<T> s;
  const Vec<T> alpha = min(raw, cut.alpha_max), left = fnma(alpha, before, before);
  // the splat that would take an open pixel to the cut is itself left out, and finishes the pixel; one that is finished
  // already is negative and so never passes
  s.open = greater(left, cut.transmittance_min);
  s.alpha = keep(s.open, alpha), s.weight = s.alpha * before;
  s.after = select(s.open, left, negative(before));
  return s;
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
};

// alpha = 2^(log2_opacity - u^2 - v^2) with u = P dx - Pk dy, v = Q dy.
template <class T>
GSR_INLINE void place(const Record<T>& r, const BlockPixels<T>& pixels, Vec<T>* u, Vec<T>* v) {
  typedef Vec<T> V;
  V along[BlockPixels<T>::columns];
  for (int c = 0; c < BlockPixels<T>::columns; ++c) along[c] = V(r.P) * (V(r.x) - pixels.x[c]);
#pragma GCC unroll 16
  for (int p = 0; p < BlockPixels<T>::parts; ++p) {
    const V dy = V(r.y) - pixels.y[p];
    u[p] = fnma(V(r.Pk), dy, along[p % BlockPixels<T>::columns]), v[p] = V(r.Q) * dy;
  }
}

// A row of sixteen pixels for each splat of a batch that touches a block.
template <class T>
struct Rows {
  alignas(64) T of[kBatch][kBlockPixels];

  GSR_INLINE Vec<T> get(int i, int part) const { return Vec<T>::load(of[i] + Vec<T>::width * part); }
  GSR_INLINE void set(int i, int part, Vec<T> v) { v.store(of[i] + Vec<T>::width * part); }
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

// First pass over a block: the alphas of its splats; returns their number, and their places in `rows`.
template <class T>
GSR_INLINE int alphas_of_block(const Cutoffs<T>& cut, const Batch<T>& batch, uint64_t hits,
                               const BlockPixels<T>& pixels, Rows<T>& raw, uint8_t* rows) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  int count = 0;
  for (; hits; hits &= hits - 1, ++count) {
    const int row = __builtin_ctzll(hits);
    const Record<T>& splat = batch.splats[row];
    rows[count] = static_cast<uint8_t>(row);
    V u[parts], v[parts];
    place(splat, pixels, u, v);
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) raw.set(count, p, raw_alpha(cut, V(splat.log2_opacity), u[p], v[p]));
  }
  return count;
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
