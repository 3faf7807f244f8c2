#include "tiles.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "gsr/math.h"
#include "pool.h"
#include "simd.h"

namespace gsr {
namespace {

struct Entry {
  int32_t tile, record;
  uint16_t mask;
};

// Unsigned keys in the order of the floats, negative ones included.
uint32_t ordered_key(float depth) {
  uint32_t u;
  memcpy(&u, &depth, 4);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

// Visible rows in ascending depth, camera by camera; ties keep the order of rows (stable radix sort).
template <class T>
std::vector<int32_t> depth_order(const gsr_rasterization& a) {
  std::vector<int32_t> order;
  const T* depths = static_cast<const T*>(a.depths);
  for (int64_t flat = 0; flat < a.C * a.N; ++flat)
    if (a.radii[2 * flat] > 0 && a.radii[2 * flat + 1] > 0) order.push_back(static_cast<int32_t>(flat));
  const size_t count = order.size();
  std::vector<uint32_t> keys(count), other_keys(count);
  std::vector<int32_t> other(count);
  for (size_t i = 0; i < count; ++i) keys[i] = ordered_key(static_cast<float>(depths[order[i]]));
  for (int shift = 0; shift < 33; shift += 11) {
    uint32_t starts[2049] = {};
    for (uint32_t key : keys) ++starts[((key >> shift) & 2047) + 1];
    for (int i = 0; i < 2048; ++i) starts[i + 1] += starts[i];
    for (size_t i = 0; i < count; ++i) {
      const uint32_t to = starts[(keys[i] >> shift) & 2047]++;
      other_keys[to] = keys[i], other[to] = order[i];
    }
    keys.swap(other_keys), order.swap(other);
  }
  return order;
}

template <class T>
void fill_record(const gsr_rasterization& a, int64_t flat, Record<T>& r) {
  const T* mean = static_cast<const T*>(a.means2d) + 2 * flat;
  const T* shape = static_cast<const T*>(a.shapes) + 6 * flat;
  r.x = mean[0], r.y = mean[1];
  r.P = shape[0], r.k = shape[1], r.Q = shape[2], r.log2_opacity = shape[3];
  r.extent_x = shape[4], r.extent_y = shape[5];
  const int copied = a.channels <= kRecordChannels ? a.channels : 0;
  const T* features = static_cast<const T*>(a.features) + flat * a.channels;
  for (int d = 0; d < kRecordChannels; ++d) r.channels[d] = d < copied ? features[d] : T(0);
}

// Blocks of the tile at (left, top) that the ellipse of squared size `budget` touches, out of `candidates`: for each
// block, the smallest value of the form over its rectangle of pixel centres lies on the vertical or horizontal edge
// nearest to the mean (or is 0 inside).
template <class T>
uint32_t hit_blocks(const Record<T>& r, int left, int top, T budget, uint32_t candidates) {
  alignas(64) static const T block_x[kBlocks] = {0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12};
  alignas(64) static const T block_y[kBlocks] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  typedef Vec<T> V;
  const T c = r.k * r.k * r.P * r.P + r.Q * r.Q;
  const V zero(T(0)), P(r.P), k(r.k), Q(r.Q), best_slope(r.k * r.P * r.P / c);
  uint32_t hits = 0;
  for (int b = 0; b < kBlocks; b += V::width) {
    const V lo_x = V::load(block_x + b) + V(left + T(0.5) - r.x), lo_y = V::load(block_y + b) + V(top + T(0.5) - r.y);
    const V hi_x = lo_x + V(T(3)), hi_y = lo_y + V(T(3));
    const V near_x = min(max(zero, lo_x), hi_x), near_y = min(max(zero, lo_y), hi_y);
    const V best_y = min(max(near_x * best_slope, lo_y), hi_y), best_x = min(max(near_y * k, lo_x), hi_x);
    const V u1 = P * fnma(k, best_y, near_x), v1 = Q * best_y;
    const V u2 = P * fnma(k, near_y, best_x), v2 = Q * near_y;
    const V least = min(fma(u1, u1, v1 * v1), fma(u2, u2, v2 * v2));
    hits |= bits<T>(at_least(V(budget), least)) << b;
  }
  return candidates & hits;
}

// All (tile, blocks) that one record touches.
template <class T>
void emit(const gsr_rasterization& a, const TileLists<T>& t, int32_t record, int32_t camera, T log2_alpha_min,
          std::vector<Entry>& out) {
  const Record<T>& r = t.records[record];
  // a little slack: the pixel loop rounds in its own way, and a hit set must never miss a pixel
  const T budget = (r.log2_opacity - log2_alpha_min) * T(1.00001) + T(1e-5);
  const T ex = r.extent_x * T(1.00001) + T(1e-3), ey = r.extent_y * T(1.00001) + T(1e-3);
  const int x0 = static_cast<int>(ceil(max(r.x - ex - T(0.5), T(0)))),
            y0 = static_cast<int>(ceil(max(r.y - ey - T(0.5), T(0))));
  const int x1 = static_cast<int>(floor(min(r.x + ex - T(0.5), T(a.width - 1))));
  const int y1 = static_cast<int>(floor(min(r.y + ey - T(0.5), T(a.height - 1))));
  if (x0 > x1 || y0 > y1) return;
  for (int ty = y0 / kTile; ty <= y1 / kTile; ++ty)
    for (int tx = x0 / kTile; tx <= x1 / kTile; ++tx) {
      const int bx0 = max(x0 - tx * kTile, 0) / kBlock, bx1 = min(x1 - tx * kTile, kTile - 1) / kBlock;
      const int by0 = max(y0 - ty * kTile, 0) / kBlock, by1 = min(y1 - ty * kTile, kTile - 1) / kBlock;
      const uint32_t columns = ((2u << bx1) - (1u << bx0)) * 0x1111u;
      const uint32_t rows = static_cast<uint32_t>((uint64_t(1) << (4 * by1 + 4)) - (uint64_t(1) << (4 * by0)));
      uint32_t mask = columns & rows & 0xffffu;
      if ((bx1 - bx0 + 1) * (by1 - by0 + 1) > 2) mask = hit_blocks(r, tx * kTile, ty * kTile, budget, mask);
      if (mask) out.push_back({(camera * t.tiles_y + ty) * t.tiles_x + tx, record, static_cast<uint16_t>(mask)});
    }
}

template <class P>
P* allocate(gsr_rasterization& a, int slot, int64_t count) {
  void* p = a.alloc(a.context, slot, max(count, int64_t(1)) * sizeof(P));
  if (!p) throw std::bad_alloc();
  return static_cast<P*>(a.state[slot] = p);
}

}  // namespace

template <class T>
TileLists<T> tile_lists_of(const gsr_rasterization& a) {
  TileLists<T> t;
  t.tiles_x = (a.width + kTile - 1) / kTile, t.tiles_y = (a.height + kTile - 1) / kTile;
  t.tiles = a.C * t.tiles_x * t.tiles_y;
  t.visible = a.visible, t.intersections = a.intersections;
  t.records = static_cast<Record<T>*>(a.state[GSR_RECORDS]);
  t.flat_ids = static_cast<int32_t*>(a.state[GSR_FLAT_IDS]);
  t.first = static_cast<int32_t*>(a.state[GSR_FIRST]);
  t.list = static_cast<int32_t*>(a.state[GSR_LIST]);
  t.masks = static_cast<uint16_t*>(a.state[GSR_MASKS]);
  t.positions = static_cast<int32_t*>(a.state[GSR_POSITIONS]);
  t.offsets = static_cast<int32_t*>(a.state[GSR_TILES]);
  t.last = t.offsets ? t.offsets + t.tiles + 1 : nullptr;
  t.transmittances = static_cast<T*>(a.state[GSR_PIXELS]);
  return t;
}

template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a) {
  if (a.C * a.N >= INT32_MAX)
    throw std::length_error("more than 2^31 splats in one call: render fewer cameras at once");
  const std::vector<int32_t> order = depth_order<T>(a);
  a.visible = static_cast<int64_t>(order.size());
  allocate<Record<T>>(a, GSR_RECORDS, a.visible);
  allocate<int32_t>(a, GSR_FLAT_IDS, a.visible);
  allocate<int32_t>(a, GSR_FIRST, a.visible + 1);
  allocate<T>(a, GSR_PIXELS, a.C * a.width * a.height);
  TileLists<T> t = tile_lists_of<T>(a);
  allocate<int32_t>(a, GSR_TILES, 2 * t.tiles + 1);
  t = tile_lists_of<T>(a);
  std::copy(order.begin(), order.end(), t.flat_ids);

  // each range keeps its own entries and tile counts; the scan below puts them in order of range, so order is stable
  const int64_t ranges = a.threads > 1 ? 4 * a.threads : 1, length = (a.visible + ranges - 1) / ranges;
  std::vector<std::vector<Entry>> entries(ranges);
  std::vector<std::vector<int32_t>> counts(ranges, std::vector<int32_t>(t.tiles, 0));
  const T log2_alpha_min = log2(T(a.alpha_min));
  parallel_for(a.threads, ranges, [&](int64_t range, int) {
    for (int64_t i = range * length; i < std::min(a.visible, (range + 1) * length); ++i) {
      fill_record(a, t.flat_ids[i], t.records[i]);
      const size_t before = entries[range].size();
      emit(a, t, static_cast<int32_t>(i), static_cast<int32_t>(t.flat_ids[i] / a.N), log2_alpha_min, entries[range]);
      t.first[i] = static_cast<int32_t>(before);
      for (size_t e = before; e < entries[range].size(); ++e) ++counts[range][entries[range][e].tile];
    }
  });
  int64_t total = 0;
  std::vector<int64_t> starts(ranges);
  for (int64_t range = 0; range < ranges; ++range) {
    starts[range] = total;
    total += static_cast<int64_t>(entries[range].size());
  }
  if (total >= INT32_MAX)
    throw std::length_error(
        "more than 2^31 intersections in one call: render fewer cameras at once, or the image in strips");
  a.intersections = total;
  allocate<int32_t>(a, GSR_LIST, total);
  allocate<uint16_t>(a, GSR_MASKS, total);
  allocate<int32_t>(a, GSR_POSITIONS, total);
  t = tile_lists_of<T>(a);
  int32_t sum = 0;
  for (int64_t tile = 0; tile < t.tiles; ++tile) {
    t.offsets[tile] = sum;
    for (auto& count : counts) {
      const int32_t own = count[tile];
      count[tile] = sum, sum += own;
    }
  }
  t.offsets[t.tiles] = sum;
  t.first[a.visible] = sum;
  parallel_for(a.threads, ranges, [&](int64_t range, int) {
    for (int64_t i = range * length; i < std::min(a.visible, (range + 1) * length); ++i)
      t.first[i] += static_cast<int32_t>(starts[range]);
    int64_t emission = starts[range];
    for (const Entry& entry : entries[range]) {
      const int32_t to = counts[range][entry.tile]++;
      t.list[to] = entry.record, t.masks[to] = entry.mask, t.positions[emission++] = to;
    }
  });
  return t;
}

template TileLists<float> tile_lists_of(const gsr_rasterization&);
template TileLists<double> tile_lists_of(const gsr_rasterization&);
template TileLists<float> build_tile_lists(gsr_rasterization&);
template TileLists<double> build_tile_lists(gsr_rasterization&);

}  // namespace gsr
