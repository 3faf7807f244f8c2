#include "tiles.h"

#include <math.h>
#include <string.h>

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "api.h"
#include "gsr/ellipse.h"
#include "pool.h"
#include "simd_math.h"

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

  // By ascending key, ties in the order of rows, with the flat ids in the lower halves: radix sort over the bits that
  // differ, each thread over its own range.
  const uint64_t* sorted(int threads, Workspace& workspace) const {
    const int64_t ranges = std::max(threads, 1), length = (count + ranges - 1) / ranges;
    uint64_t *items = workspace.take<uint64_t>(count), *other = workspace.take<uint64_t>(count);
    uint32_t least = UINT32_MAX, most = 0;
    for (int64_t i = 0; i < count; ++i) least = std::min(least, keys[i]), most = std::max(most, keys[i]);
    const int bits = most > least ? 32 - __builtin_clz(most - least) : 0, passes = (bits + 10) / 11;
    const int digit = passes ? (bits + passes - 1) / passes : 0, buckets = 1 << digit;
    const auto each = [&](auto body) {
      parallel_for(threads, ranges, [&](int64_t r, int) {
        for (int64_t i = r * length; i < std::min(count, (r + 1) * length); ++i) body(r * buckets, i);
      });
    };
    each([&](int64_t, int64_t i) { items[i] = uint64_t(keys[i] - least) << 32 | static_cast<uint32_t>(ids[i]); });
    std::vector<uint32_t> starts(ranges * buckets);
    for (int shift = 32; shift < 32 + bits; shift += digit) {
      const auto bucket = [&](int64_t own, int64_t i) -> uint32_t& {
        return starts[own + (items[i] >> shift & (buckets - 1))];
      };
      std::fill(starts.begin(), starts.end(), 0);
      each([&](int64_t own, int64_t i) { ++bucket(own, i); });
      uint32_t sum = 0;
      for (int i = 0; i < buckets; ++i)
        for (int64_t r = 0; r < ranges; ++r) sum += std::exchange(starts[r * buckets + i], sum);
      each([&](int64_t own, int64_t i) { other[bucket(own, i)++] = items[i]; });
      std::swap(items, other);
    }
    return items;
  }
};

// The ellipse of a splat at the threshold, ready to be tested against the blocks of a tile.
template <class T>
struct Ellipse {
  T x, y, P, Pk, k, Q, slope, budget;

  Ellipse(const Shape<T>& s, T log2_alpha_min) : x(s.x), y(s.y), P(s.P), Pk(s.Pk), k(s.Pk / s.P), Q(s.Q) {
    // the point of a vertical line that is nearest in the sense of the form has y = slope x
    slope = Pk * P / (Pk * Pk + Q * Q);
    budget = (s.log2_opacity - log2_alpha_min) * T(1.00001) + T(1e-5);
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
      const V u1 = fnma(V(Pk), best_y, V(P) * near_x), v1 = V(Q) * best_y;
      const V u2 = fnma(V(Pk), near_y, V(P) * best_x), v2 = V(Q) * near_y;
      const V least = min(fma(u1, u1, v1 * v1), fma(u2, u2, v2 * v2));
      found |= bits<T>(at_least(V(budget), least)) << b;
    }
    return candidates & found;
  }
};

constexpr int kGroup = 16, kStrip = 7;  // bands of four rows at once; tiles at once, so that a row of blocks is a word
typedef int32_t Group __attribute__((vector_size(kGroup * sizeof(int32_t))));

template <class T>
struct Ramp {
  alignas(64) T of[kGroup];

  constexpr Ramp() : of() {
    for (int i = 0; i < kGroup; ++i) of[i] = T(i);
  }
};
template <class T>
constexpr Ramp<T> kRamp{};

// The outline of a splat, cut into bands of four rows of pixel centres. What it covers of a band is convex, so it
// touches a block of the band just where their columns overlap.
template <class T>
struct Bands {
  T x, y;
  Outline<T> outline;

  explicit Bands(const Record<T>& r) : x(r.shape.x), y(r.shape.y) {
    const T inverse = 1 / r.shape.P, k = r.shape.Pk * inverse;
    outline = {k, r.shape.Q * inverse, padded_extent(r.extent_y), k * r.extent_y * r.extent_y / r.extent_x};
  }

  // Columns of blocks [first, end) that it touches in each of the bands from `band` on, between columns `from` and
  // `to`. A number that is none, from infinite extents, means the whole width.
  GSR_INLINE void columns(int band, int from, int to, Group& first, Group& end) const {
    typedef Vec<T> V;
    typedef int32_t Whole __attribute__((vector_size(V::width * sizeof(int32_t))));
    const V lowest(-outline.half_height), highest(outline.half_height), quarter(T(1) / kBlock);
    const T pad = T(1e-3) + T(1e-6) * std::fabs(x);
    Whole firsts[kGroup / V::width], ends[kGroup / V::width];
    for (int i = 0; i < kGroup / V::width; ++i) {
      const V head = fma(V::load(kRamp<T>.of + i * V::width), V(T(kBlock)), V(T(kBlock * band) + T(0.5) - y));
      V left, right;
      outline.reach(max(head, lowest), min(head + V(T(kBlock - 1)), highest), left, right);
      const V begin = (left + V(x - pad + T(0.5))) * quarter, stop = (right + V(x + pad + T(kBlock - 0.5))) * quarter;
      firsts[i] = __builtin_convertvector(min(max(begin, V(T(from))), V(T(to + 1))).v, Whole);
      ends[i] = __builtin_convertvector(max(min(stop, V(T(to + 1))), V(T(from))).v, Whole);
    }
    memcpy(&first, firsts, sizeof first), memcpy(&end, ends, sizeof end);
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

// Returns whether all of the splat's channels are finite: else it touches no tile, or NaN would be in every sum that
// leaves it out.
template <class T>
GSR_INLINE bool fill(const gsr_rasterization& a, int64_t flat, Record<T>& r) {
  const T* mean = static_cast<const T*>(a.means2d) + 2 * flat;
  const T* shape = static_cast<const T*>(a.shapes) + 6 * flat;
  r.shape = {mean[0], mean[1], shape[0], shape[0] * shape[1], shape[2], shape[3]};
  r.extent_x = shape[4], r.extent_y = shape[5];
  const T* channels = static_cast<const T*>(a.features) + flat * a.channels;
  if (a.channels <= kRecordChannels)
    for (int d = 0; d < a.channels; ++d) r.channels[d] = channels[d];
  return all_finite(channels, a.channels);
}

template <class T>
void prefetch_row(const gsr_rasterization& a, int64_t flat) {
  __builtin_prefetch(static_cast<const T*>(a.means2d) + 2 * flat);
  __builtin_prefetch(static_cast<const T*>(a.shapes) + 6 * flat);
  __builtin_prefetch(static_cast<const T*>(a.features) + flat * a.channels);
}

// Where the entries of a record go.
struct Target {
  int32_t record;
  Entry* out;
  int32_t* counts;  // of each tile
  int64_t count = 0;

  GSR_INLINE void add(int32_t tile, uint32_t mask) {
    out[count] = {tile, record, static_cast<uint16_t>(mask)};
    count += mask != 0, counts[tile] += mask != 0;
  }
};

// Tile by tile: less work for a tile or two. A box of one or two blocks is not worth the test.
template <class T>
GSR_INLINE void emit_few(const Record<T>& r, const PixelBox& box, T log2_alpha_min, int32_t first_tile, int tiles_x,
                         Target& target) {
  const Ellipse<T> ellipse(r.shape, log2_alpha_min);
  for (int ty = box.y0 >> kTileBits; ty <= box.y1 >> kTileBits; ++ty)
    for (int tx = box.x0 >> kTileBits; tx <= box.x1 >> kTileBits; ++tx) {
      const int left = tx << kTileBits, top = ty << kTileBits;
      const int bx0 = max(box.x0 - left, 0) >> kBlockBits, bx1 = min(box.x1 - left, kTile - 1) >> kBlockBits;
      const int by0 = max(box.y0 - top, 0) >> kBlockBits, by1 = min(box.y1 - top, kTile - 1) >> kBlockBits;
      const uint32_t columns = ((2u << bx1) - (1u << bx0)) * 0x1111u;
      const uint32_t rows = static_cast<uint32_t>((uint64_t(1) << (4 * by1 + 4)) - (uint64_t(1) << (4 * by0)));
      uint32_t mask = columns & rows & 0xffffu;
      if ((bx1 - bx0 + 1) * (by1 - by0 + 1) > 2) mask = ellipse.hits(left, top, mask);
      target.add(first_tile + ty * tiles_x + tx, mask);
    }
}

// By bands: a fixed price, and little for each tile.
template <class T>
GSR_INLINE void emit_many(const Record<T>& r, const PixelBox& box, int32_t first_tile, int tiles_x, Target& target) {
  const Bands<T> bands(r);
  const int tx0 = box.x0 >> kTileBits, tx1 = box.x1 >> kTileBits, ty0 = box.y0 >> kTileBits, ty1 = box.y1 >> kTileBits;
  for (int group = ty0; group <= ty1; group += kGroup / 4) {
    Group first, end, band, zero = {};
    bands.columns(4 * group, box.x0 >> kBlockBits, box.x1 >> kBlockBits, first, end);
    memcpy(&band, kRamp<int32_t>.of, sizeof band);
    band += 4 * group;
    end = ((band < box.y0 >> kBlockBits) | (band > box.y1 >> kBlockBits)) ? zero : end;
    const int tile_rows = min(ty1 - group + 1, kGroup / 4);
    for (int strip = tx0; strip <= tx1; strip += kStrip) {
      const int tile_columns = min(tx1 - strip + 1, kStrip);
      const auto shifted = [&](Group column) {
        const Group bit = column - 4 * strip, least = bit < 0 ? zero : bit, most = zero + 4 * kStrip;
        return (zero + 1) << (least > most ? most : least);
      };
      const Group stop = shifted(end), start = shifted(first), bits = stop > start ? stop - start : zero;
      alignas(64) uint32_t rows[kGroup];  // a bit for each block of the strip
      memcpy(rows, &bits, sizeof rows);
      int tx = 0;
      const uint32_t* row = rows;
      int32_t tile = first_tile + group * tiles_x + strip;
      for (int i = 0; i < tile_rows * tile_columns; ++i) {
        target.add(tile + tx, (row[0] >> 4 * tx & 15) | (row[1] >> 4 * tx & 15) << 4 | (row[2] >> 4 * tx & 15) << 8 |
                                  (row[3] >> 4 * tx & 15) << 12);
        const bool over = ++tx == tile_columns;
        row += over ? 4 : 0, tile += over ? tiles_x : 0, tx = over ? 0 : tx;
      }
    }
  }
}

// Writes all (tile, blocks) that a record touches, and counts them for each tile.
template <class T>
void emit(const gsr_rasterization& a, const TileLists<T>& t, int32_t record, T log2_alpha_min, Entries& entries,
          int32_t* counts) {
  const Record<T>& r = t.records[record];
  const PixelBox box = pixel_box(r.shape.x, r.shape.y, r.extent_x, r.extent_y, a.width, a.height);
  if (box.x0 > box.x1) return;
  const int64_t tiles =
      int64_t((box.x1 >> kTileBits) - (box.x0 >> kTileBits) + 1) * ((box.y1 >> kTileBits) - (box.y0 >> kTileBits) + 1);
  Target target{record, entries.room(tiles), counts};
  // the division takes as long as a test
  const int32_t camera = a.C > 1 ? static_cast<int32_t>(t.flat_ids[record] / a.N) : 0;
  const int32_t first_tile = camera * t.tiles_y * t.tiles_x;
  if (tiles <= 2)
    emit_few(r, box, log2_alpha_min, first_tile, t.tiles_x, target);
  else
    emit_many(r, box, first_tile, t.tiles_x, target);
  entries.add(target.count);
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
  const uint64_t* order = sort_lists ? nullptr : visible.sorted(a.threads, workspace);
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
  const T log2_alpha_min = ::log2(T(a.alpha_min));
  const auto flat_of = [&](int64_t i) { return order ? static_cast<int32_t>(order[i]) : visible.ids[i]; };
  parallel_for(a.threads, ranges, [&](int64_t range, int) {
    Entries& own = entries[range];
    own.workspace = &workspace;
    own.capacity = std::max(int64_t(1) << 15, t.tiles);
    int32_t* count = &counts[range * t.tiles];
    std::fill_n(count, t.tiles, 0);
    const int64_t end = std::min(a.visible, (range + 1) * length);
    for (int64_t i = range * length; i < end; ++i) {
      constexpr int ahead = 16;
      if (order && i + ahead < end) prefetch_row<T>(a, flat_of(i + ahead));
      t.flat_ids[i] = flat_of(i);
      t.first[i] = static_cast<int32_t>(own.count);
      if (fill(a, flat_of(i), t.records[i])) emit(a, t, static_cast<int32_t>(i), log2_alpha_min, own, count);
    }
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
