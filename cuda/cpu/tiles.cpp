#include "tiles.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "api.h"
#include "gsr/math.h"
#include "pool.h"
#include "simd.h"

namespace gsr {
namespace {

constexpr int64_t kRows = 8192;  // in a range of work
constexpr int kTileBits = 4, kBlockBits = 2;
static_assert(1 << kTileBits == kTile && 1 << kBlockBits == kBlock, "");

// Unsigned keys in the order of the floats, negative ones included.
uint32_t ordered_key(float depth) {
  uint32_t u;
  memcpy(&u, &depth, 4);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

// Writes flat ids and depth keys of the visible rows, in the order of rows; returns their number.
struct Visible {
  int32_t* ids;
  uint32_t* keys;
  int64_t count = 0;
  double tiles = 0;  // that their bounding boxes meet on average, from a sample

  template <class T>
  Visible(T, const gsr_rasterization& a, Workspace& workspace)
      : ids(workspace.take<int32_t>(a.C * a.N)), keys(workspace.take<uint32_t>(a.C * a.N)) {
    const int64_t rows = a.C * a.N, ranges = (rows + kRows - 1) / kRows;
    std::vector<int64_t> starts(ranges + 1, 0);
    std::vector<double> sampled(ranges, 0), boxes(ranges, 0);
    const auto is_visible = [&](int64_t flat) { return a.radii[2 * flat] > 0 && a.radii[2 * flat + 1] > 0; };
    parallel_for(a.threads, ranges, [&](int64_t r, int) {
      int64_t found = 0;
      for (int64_t flat = r * kRows; flat < std::min(rows, (r + 1) * kRows); ++flat) found += is_visible(flat);
      for (int64_t flat = r * kRows; flat < std::min(rows, (r + 1) * kRows); flat += 32)
        if (is_visible(flat)) {
          const auto meets = [](int32_t radius, int tiles) { return std::min(2.0 * radius / kTile + 1, 1.0 * tiles); };
          sampled[r] += 1, boxes[r] += meets(a.radii[2 * flat], a.width / kTile + 1) *
                                       meets(a.radii[2 * flat + 1], a.height / kTile + 1);
        }
      starts[r + 1] = found;
    });
    double samples = 0;
    for (int64_t r = 0; r < ranges; ++r) starts[r + 1] += starts[r], samples += sampled[r], tiles += boxes[r];
    count = starts[ranges], tiles = samples > 0 ? tiles / samples : 0;
    const T* depths = static_cast<const T*>(a.depths);
    parallel_for(a.threads, ranges, [&](int64_t r, int) {
      int64_t to = starts[r];
      for (int64_t flat = r * kRows; flat < std::min(rows, (r + 1) * kRows); ++flat)
        if (is_visible(flat)) {
          ids[to] = static_cast<int32_t>(flat);
          keys[to++] = ordered_key(static_cast<float>(depths[flat]));
        }
    });
  }

  // Ascending keys, stable: three passes of 11 bits, each thread over its own range.
  void sort(int threads, Workspace& workspace) {
    const int64_t ranges = std::max(threads, 1), length = (count + ranges - 1) / ranges;
    uint32_t* other_keys = workspace.take<uint32_t>(count);
    int32_t* other_ids = workspace.take<int32_t>(count);
    std::vector<uint32_t> starts(ranges * 2048);
    for (int shift = 0; shift < 33; shift += 11) {
      const auto each = [&](auto body) {
        parallel_for(threads, ranges, [&](int64_t r, int) {
          uint32_t* own = &starts[r * 2048];
          for (int64_t i = r * length; i < std::min(count, (r + 1) * length); ++i)
            body(own[(keys[i] >> shift) & 2047], i);
        });
      };
      std::fill(starts.begin(), starts.end(), 0);
      each([](uint32_t& bucket, int64_t) { ++bucket; });
      uint32_t sum = 0;
      for (int bucket = 0; bucket < 2048; ++bucket)
        for (int64_t r = 0; r < ranges; ++r) sum += std::exchange(starts[r * 2048 + bucket], sum);
      each([&](uint32_t& bucket, int64_t i) {
        const uint32_t to = bucket++;
        other_keys[to] = keys[i], other_ids[to] = ids[i];
      });
      std::swap(keys, other_keys), std::swap(ids, other_ids);
    }
  }
};

// The ellipse of a splat at the threshold, ready to be tested against the blocks of tiles.
template <class T>
struct Ellipse {
  T x, y, P, k, Q, slope, budget;

  Ellipse(const Record<T>& r, T log2_alpha_min) : x(r.x), y(r.y), P(r.P), k(r.k), Q(r.Q) {
    // the point of a vertical line that is nearest in the sense of the form has y = slope x
    slope = k * P * P / (k * k * P * P + Q * Q);
    // a little slack: the pixel loop rounds in its own way, and a hit set must never miss a pixel
    budget = (r.log2_opacity - log2_alpha_min) * T(1.00001) + T(1e-5);
  }

  // Blocks of the tile at (left, top) that it touches, out of `candidates`: for each block, the smallest value of the
  // form over its rectangle of pixel centres lies on the vertical or horizontal edge nearest to the mean (or is 0
  // inside).
  uint32_t hits(int left, int top, uint32_t candidates) const {
    alignas(64) static const T block_x[kBlocks] = {0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12};
    alignas(64) static const T block_y[kBlocks] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    typedef Vec<T> V;
    uint32_t found = 0;
    for (int b = 0; b < kBlocks; b += V::width) {
      if (!(candidates >> b & ((1u << V::width) - 1))) continue;
      const V lo_x = V::load(block_x + b) + V(left + T(0.5) - x), lo_y = V::load(block_y + b) + V(top + T(0.5) - y);
      const V hi_x = lo_x + V(T(3)), hi_y = lo_y + V(T(3)), zero(T(0));
      const V near_x = min(max(zero, lo_x), hi_x), near_y = min(max(zero, lo_y), hi_y);
      const V best_y = min(max(near_x * V(slope), lo_y), hi_y), best_x = min(max(near_y * V(k), lo_x), hi_x);
      const V u1 = V(P) * fnma(V(k), best_y, near_x), v1 = V(Q) * best_y;
      const V u2 = V(P) * fnma(V(k), near_y, best_x), v2 = V(Q) * near_y;
      const V least = min(fma(u1, u1, v1 * v1), fma(u2, u2, v2 * v2));
      found |= bits<T>(at_least(V(budget), least)) << b;
    }
    return candidates & found;
  }
};

struct Entry {
  int32_t tile, record;
  uint16_t mask;
};

// The entries of one range, in order, in pieces that are never copied.
struct Entries {
  struct Piece {
    Entry* entries;
    int64_t count;
  };
  Workspace* workspace;
  std::vector<Piece> pieces;
  int64_t capacity, count = 0;

  // Room for `most` entries.
  Entry* room(int64_t most) {
    if (pieces.empty() || pieces.back().count + most > capacity)
      pieces.push_back({workspace->take<Entry>(capacity), 0});
    return pieces.back().entries + pieces.back().count;
  }
  void add(int64_t added) { pieces.back().count += added, count += added; }
  template <class Body>
  void each(Body body) const {
    for (const Piece& piece : pieces)
      for (int64_t i = 0; i < piece.count; ++i) body(piece.entries[i]);
  }
};

// Pixels of the image whose centres lie in the bounding box of a splat; empty if x0 > x1.
struct Box {
  int x0 = 1, y0 = 0, x1 = 0, y1 = 0;

  template <class T>
  Box(const gsr_rasterization& a, T x, T y, T extent_x, T extent_y) {
    const T ex = extent_x * T(1.00001) + T(1e-3), ey = extent_y * T(1.00001) + T(1e-3);
    const T left = max(x - ex - T(0.5), T(0)), right = min(x + ex - T(0.5), T(a.width - 1));
    const T top = max(y - ey - T(0.5), T(0)), bottom = min(y + ey - T(0.5), T(a.height - 1));
    if (!(left <= right && top <= bottom)) return;
    x0 = static_cast<int>(left), y0 = static_cast<int>(top);
    x0 += x0 < left, y0 += y0 < top;
    x1 = static_cast<int>(right), y1 = static_cast<int>(bottom);
    if (y0 > y1) x0 = x1 + 1;
  }
};

constexpr int kAhead = 16;

template <class T>
void prefetch_row(const gsr_rasterization& a, int64_t flat) {
  __builtin_prefetch(static_cast<const T*>(a.means2d) + 2 * flat);
  __builtin_prefetch(static_cast<const T*>(a.shapes) + 6 * flat);
  __builtin_prefetch(static_cast<const T*>(a.features) + flat * a.channels);
}

// Fills the record and writes all (tile, blocks) that it touches; returns their number.
template <class T>
void emit(const gsr_rasterization& a, const TileLists<T>& t, int32_t record, T log2_alpha_min, Entries& entries) {
  const int64_t flat = t.flat_ids[record];
  const T* mean = static_cast<const T*>(a.means2d) + 2 * flat;
  const T* shape = static_cast<const T*>(a.shapes) + 6 * flat;
  Record<T>& r = t.records[record];
  r.x = mean[0], r.y = mean[1];
  r.P = shape[0], r.k = shape[1], r.Q = shape[2], r.log2_opacity = shape[3];
  if (a.channels <= kRecordChannels)
    for (int d = 0; d < a.channels; ++d) r.channels[d] = static_cast<const T*>(a.features)[flat * a.channels + d];
  const Box box(a, mean[0], mean[1], shape[4], shape[5]);
  if (box.x0 > box.x1) return;
  const Ellipse<T> ellipse(r, log2_alpha_min);
  const int tx0 = box.x0 >> kTileBits, tx1 = box.x1 >> kTileBits, ty0 = box.y0 >> kTileBits, ty1 = box.y1 >> kTileBits;
  Entry* const out = entries.room(int64_t(tx1 - tx0 + 1) * (ty1 - ty0 + 1));
  const int32_t camera = a.C > 1 ? static_cast<int32_t>(flat / a.N) : 0;  // the division takes as long as a test
  const int32_t first_tile = camera * t.tiles_y * t.tiles_x;
  int64_t count = 0;
  for (int ty = ty0; ty <= ty1; ++ty)
    for (int tx = tx0; tx <= tx1; ++tx) {
      const int left = tx << kTileBits, top = ty << kTileBits;
      const int bx0 = max(box.x0 - left, 0) >> kBlockBits, bx1 = min(box.x1 - left, kTile - 1) >> kBlockBits;
      const int by0 = max(box.y0 - top, 0) >> kBlockBits, by1 = min(box.y1 - top, kTile - 1) >> kBlockBits;
      const uint32_t columns = ((2u << bx1) - (1u << bx0)) * 0x1111u;
      const uint32_t rows = static_cast<uint32_t>((uint64_t(1) << (4 * by1 + 4)) - (uint64_t(1) << (4 * by0)));
      uint32_t mask = columns & rows & 0xffffu;
      if ((bx1 - bx0 + 1) * (by1 - by0 + 1) > 2) mask = ellipse.hits(left, top, mask);
      out[count] = {first_tile + ty * t.tiles_x + tx, record, static_cast<uint16_t>(mask)};
      count += mask != 0;
    }
  entries.add(count);
}

// An intersection in the list of its tile before that is sorted.
struct Unsorted {
  uint32_t key;
  int32_t emission, record;
  uint16_t mask;
};

// Sorts one tile's list by depth, ties by row: radix sort in cache over the bits that differ, in digits of up to 9 bits
// that are all counted at once.
void sort_tile(const Unsorted* items, int32_t count, uint64_t* keys, uint64_t* other) {
  constexpr int kDigit = 9, kPasses = (32 + kDigit - 1) / kDigit;
  uint32_t least = UINT32_MAX, most = 0;
  for (int32_t i = 0; i < count; ++i) least = std::min(least, items[i].key), most = std::max(most, items[i].key);
  for (int32_t i = 0; i < count; ++i) keys[i] = uint64_t(items[i].key - least) << 32 | static_cast<uint32_t>(i);
  if (count <= 48) return std::sort(keys, keys + count);
  const int bits = most > least ? 32 - __builtin_clz(most - least) : 0, passes = (bits + kDigit - 1) / kDigit;
  uint32_t starts[kPasses][1 << kDigit] = {};
  for (int32_t i = 0; i < count; ++i)
    for (int pass = 0; pass < passes; ++pass) ++starts[pass][keys[i] >> (32 + kDigit * pass) & ((1 << kDigit) - 1)];
  for (int pass = 0; pass < passes; ++pass) {
    uint32_t sum = 0;
    for (uint32_t& start : starts[pass]) sum += std::exchange(start, sum);
    for (int32_t i = 0; i < count; ++i)
      other[starts[pass][keys[i] >> (32 + kDigit * pass) & ((1 << kDigit) - 1)]++] = keys[i];
    std::swap(keys, other);
  }
  if (passes % 2) std::copy_n(keys, count, other);
}

template <class T>
void sort_tiles(const gsr_rasterization& a, const TileLists<T>& t, const Unsorted* items, Workspace& workspace) {
  int32_t longest = 1;
  for (int64_t tile = 0; tile < t.tiles; ++tile) longest = std::max(longest, t.offsets[tile + 1] - t.offsets[tile]);
  const Scratch<uint64_t> scratch(workspace, a.threads, 2 * int64_t(longest));
  parallel_for(a.threads, t.tiles, [&](int64_t tile, int worker) {
    const int32_t first = t.offsets[tile], count = t.offsets[tile + 1] - first;
    uint64_t* keys = scratch.of(worker);
    sort_tile(&items[first], count, keys, keys + longest);
    for (int32_t i = 0; i < count; ++i) {
      const Unsorted& item = items[first + static_cast<uint32_t>(keys[i])];
      t.list[first + i] = item.record, t.masks[first + i] = item.mask, t.positions[item.emission] = first + i;
    }
  });
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
int32_t* longest_first(const TileLists<T>& t, Workspace& workspace) {
  int32_t* order = workspace.take<int32_t>(t.tiles);
  const auto length_class = [&](int64_t tile) {
    const uint32_t length = static_cast<uint32_t>(t.offsets[tile + 1] - t.offsets[tile]);
    return length ? __builtin_clz(length) : 32;
  };
  int32_t starts[34] = {};
  for (int64_t tile = 0; tile < t.tiles; ++tile) ++starts[length_class(tile) + 1];
  for (int i = 0; i < 33; ++i) starts[i + 1] += starts[i];
  for (int64_t tile = 0; tile < t.tiles; ++tile) order[starts[length_class(tile)]++] = static_cast<int32_t>(tile);
  return order;
}

template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a, Workspace& workspace) {
  if (a.C * a.N >= INT32_MAX)
    throw std::length_error("more than 2^31 splats in one call: render fewer cameras at once");
  Stopwatch watch(GSR_SORT);
  Visible visible(T(0), a, workspace);
  // few tiles a splat: the lists are cheaper to sort than the splats, and records stay in the order of memory
  const bool sort_lists = visible.tiles < 3.5;
  if (!sort_lists) visible.sort(a.threads, workspace);
  watch.next(GSR_BIN);
  a.visible = visible.count;
  allocate<Record<T>>(a, GSR_RECORDS, a.visible);
  allocate<int32_t>(a, GSR_FLAT_IDS, a.visible);
  allocate<int32_t>(a, GSR_FIRST, a.visible + 1);
  allocate<T>(a, GSR_PIXELS, a.C * a.width * a.height);
  TileLists<T> t = tile_lists_of<T>(a);
  allocate<int32_t>(a, GSR_TILES, 2 * t.tiles + 1);
  t = tile_lists_of<T>(a);

  // each range keeps its own entries and tile counts; the scan below puts them in order of range, so order is stable
  const int64_t ranges = a.threads > 1 ? 4 * a.threads : 1, length = (a.visible + ranges - 1) / ranges;
  std::vector<Entries> entries(ranges);
  int32_t* counts = workspace.take<int32_t>(ranges * t.tiles);
  const T log2_alpha_min = log2(T(a.alpha_min));
  parallel_for(a.threads, ranges, [&](int64_t range, int) {
    Entries& own = entries[range];
    own.workspace = &workspace;
    own.capacity = std::max(int64_t(1) << 15, t.tiles);
    const int64_t end = std::min(a.visible, (range + 1) * length);
    for (int64_t i = range * length; i < end; ++i) {
      t.flat_ids[i] = visible.ids[i], t.first[i] = static_cast<int32_t>(own.count);
      if (!sort_lists && i + kAhead < end) prefetch_row<T>(a, visible.ids[i + kAhead]);
      emit(a, t, static_cast<int32_t>(i), log2_alpha_min, own);
    }
    int32_t* count = &counts[range * t.tiles];
    std::fill_n(count, t.tiles, 0);
    own.each([&](const Entry& entry) { ++count[entry.tile]; });
  });
  int64_t total = 0;
  std::vector<int64_t> starts(ranges);
  for (int64_t range = 0; range < ranges; ++range) starts[range] = total, total += entries[range].count;
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
    for (int64_t range = 0; range < ranges; ++range) sum += std::exchange(counts[range * t.tiles + tile], sum);
  }
  t.offsets[t.tiles] = sum;
  t.first[a.visible] = sum;
  Unsorted* items = workspace.take<Unsorted>(sort_lists ? total : 0);
  parallel_for(a.threads, ranges, [&](int64_t range, int) {
    int32_t emission = static_cast<int32_t>(starts[range]), *count = &counts[range * t.tiles];
    for (int64_t i = range * length; i < std::min(a.visible, (range + 1) * length); ++i) t.first[i] += emission;
    entries[range].each([&](const Entry& entry) {
      const int32_t to = count[entry.tile]++;
      if (sort_lists)
        items[to] = {visible.keys[entry.record], emission++, entry.record, entry.mask};
      else
        t.list[to] = entry.record, t.masks[to] = entry.mask, t.positions[emission++] = to;
    });
  });
  watch.next(GSR_SORT);
  if (sort_lists) sort_tiles(a, t, items, workspace);
  return t;
}

template int32_t* longest_first(const TileLists<float>&, Workspace&);
template int32_t* longest_first(const TileLists<double>&, Workspace&);
template TileLists<float> tile_lists_of(const gsr_rasterization&);
template TileLists<double> tile_lists_of(const gsr_rasterization&);
template TileLists<float> build_tile_lists(gsr_rasterization&, Workspace&);
template TileLists<double> build_tile_lists(gsr_rasterization&, Workspace&);

}  // namespace gsr
