// 1. count: exact tiles of every splat; 2. compact: ids and depth keys of the visible, in the order of rows, so that
// equal depths keep it; 3. stable sort by depth; 4. gather: records in depth order; 5. emit: (tile, record and hit
// bits) in depth order; 6. stable sort by tile; 7. where each tile's list starts.
#include <string>

#include "sort.h"
#include "tiles.h"

namespace gsr {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;
constexpr int kOwnTiles = 4;  // a splat with more tiles in its box is shared by the warp

struct Binning {
  int64_t rows, N;
  int width, height, tiles_x, tiles_y, channels;
  double log2_alpha_min;
};

// A splat as one lane has it, or as the warp shares it.
template <class T>
struct Footing {
  T mean[2], shape[6];
  int32_t record, first, first_tile;
};

template <class T>
GSR_DEVICE Footing<T> shuffled(const Footing<T>& from, int lane) {
  Footing<T> s;
  for (int i = 0; i < 2; ++i) s.mean[i] = shuffle(from.mean[i], lane);
  for (int i = 0; i < 6; ++i) s.shape[i] = shuffle(from.shape[i], lane);
  s.record = shuffle(from.record, lane), s.first = shuffle(from.first, lane);
  s.first_tile = shuffle(from.first_tile, lane);
  return s;
}

template <class T>
GSR_DEVICE Footing<T> footing_of(const gsr_rasterization& a, const Binning& b, int64_t flat) {
  Footing<T> s = {};
  for (int i = 0; i < 2; ++i) s.mean[i] = input<T>(a.means2d)[2 * flat + i];
  for (int i = 0; i < 6; ++i) s.shape[i] = input<T>(a.shapes)[6 * flat + i];
  s.first_tile = static_cast<int32_t>(flat / b.N) * b.tiles_x * b.tiles_y;
  return s;
}

template <class T>
GSR_DEVICE TileBox tile_box(const Binning& b, const Footing<T>& s) {
  return TileBox(pixel_box(s.mean[0], s.mean[1], s.shape[4], s.shape[5], b.width, b.height));
}

// Calls body(splat, tile, hits, how many tiles of the splat came before) for every tile that the lanes' splats touch;
// returns the number of tiles of the lane's own. All lanes must come here, `valid` or not.
template <class T, class Body>
GSR_DEVICE int32_t each_tile(const Binning& b, const Footing<T>& own, bool valid, Body body) {
  TileBox box = tile_box(b, own);
  if (!valid) box.total = 0;
  const T log2_alpha_min = T(b.log2_alpha_min);
  int32_t count = 0;
  const bool shared = box.total > kOwnTiles;
  if (!shared) {
    const Ellipse<T> ellipse = ellipse_of(own.mean, own.shape, log2_alpha_min);
    for (int i = 0; i < box.total; ++i) {
      const uint32_t hits = sub_tile_hits(ellipse, box.pixels, box.x(i), box.y(i));
      if (hits) body(own, own.first_tile + box.y(i) * b.tiles_x + box.x(i), hits, count++);
    }
  }
  for (uint32_t owners = ballot(shared); owners; owners &= owners - 1) {
    const int owner = lowest_bit(owners);
    const Footing<T> s = shuffled(own, owner);
    const TileBox tiles = tile_box(b, s);
    const Ellipse<T> ellipse = ellipse_of(s.mean, s.shape, log2_alpha_min);
    int32_t found = 0;
    for (int base = 0; base < tiles.total; base += kWarp) {
      const int i = base + lane_index();
      const uint32_t hits = i < tiles.total ? sub_tile_hits(ellipse, tiles.pixels, tiles.x(i), tiles.y(i)) : 0;
      const uint32_t votes = ballot(hits != 0);
      if (hits) body(s, s.first_tile + tiles.y(i) * b.tiles_x + tiles.x(i), hits, found + rank_in(votes));
      found += bit_count(votes);
    }
    if (lane_index() == owner) count = found;
  }
  return count;
}

template <class T>
GSR_KERNEL(kThreads)
count_kernel(gsr_rasterization a, Binning b, int32_t* tile_counts, int32_t* block_counts, int64_t* counts) {
  GSR_SHARED int32_t visible[kWarps];
  const int64_t flat = block_index() * kThreads + thread_index();
  const bool valid = flat < b.rows && a.radii[2 * flat] > 0 && a.radii[2 * flat + 1] > 0;
  const Footing<T> own = valid ? footing_of<T>(a, b, flat) : Footing<T>{};
  const int32_t count = each_tile(b, own, valid, [](const Footing<T>&, int32_t, uint32_t, int32_t) {});
  if (flat < b.rows) tile_counts[flat] = count;
  const int found = bit_count(ballot(count > 0));
  const int64_t total = warp_sum(int64_t(count));
  if (lane_index() == 0) visible[warp_index()] = found, atomic_add(&counts[1], total);
  block_sync();
  if (thread_index() != 0) return;
  int32_t sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += visible[warp];
  block_counts[block_index()] = sum;
  atomic_add(&counts[0], int64_t(sum));
}

// Unsigned keys in the order of the floats, negative ones included.
GSR_DEVICE uint32_t ordered_key(float depth) {
  const uint32_t u = float_bits(depth);
  return u & 0x80000000u ? ~u : u | 0x80000000u;
}

template <class T>
GSR_KERNEL(kThreads)
compact_kernel(const T* depths, int64_t rows, const int32_t* tile_counts, const int32_t* block_starts,
               Pairs<uint32_t> to, int64_t capacity) {
  GSR_SHARED int32_t in_warps[kWarps];
  const int64_t flat = block_index() * kThreads + thread_index();
  const bool visible = flat < rows && tile_counts[flat] > 0;
  const uint32_t votes = ballot(visible);
  if (lane_index() == 0) in_warps[warp_index()] = bit_count(votes);
  block_sync();
  if (!visible) return;
  int64_t place = block_starts[block_index()] + rank_in(votes);
  for (int warp = 0; warp < warp_index(); ++warp) place += in_warps[warp];
  if (place >= capacity) return;
  to.keys[place] = ordered_key(static_cast<float>(depths[flat]));
  to.values[place] = static_cast<uint32_t>(flat);
}

template <class T>
GSR_KERNEL(kThreads)
gather_kernel(gsr_rasterization a, TileLists<T> t, const uint32_t* ids, const int32_t* tile_counts, int32_t* firsts) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i > t.visible) return;
  const bool valid = i < min(t.visible, t.counts[0]);
  const int64_t flat = valid ? ids[i] : 0;
  firsts[i] = valid ? tile_counts[flat] : 0;
  if (!valid) return;
  t.flat_ids[i] = static_cast<int32_t>(flat);
  const T *mean = input<T>(a.means2d) + 2 * flat, *shape = input<T>(a.shapes) + 6 * flat;
  Record<T> r = {};
  r.shape.x = mean[0], r.shape.y = mean[1];
  r.shape.P = shape[0], r.shape.Pk = shape[0] * shape[1], r.shape.Q = shape[2], r.shape.log2_opacity = shape[3];
  for (int d = 0; d < kRecordChannels; ++d)
    if (d < a.channels) r.channels[d] = input<T>(a.features)[flat * a.channels + d];
  t.records[i] = r;
}

template <class T, class Key>
GSR_KERNEL(kThreads)
emit_kernel(gsr_rasterization a, Binning b, TileLists<T> t, const int32_t* firsts, Pairs<Key> to) {
  const int64_t i = block_index() * kThreads + thread_index();
  const bool valid = i < min(t.visible, t.counts[0]);
  Footing<T> own = {};
  if (valid) own = footing_of<T>(a, b, t.flat_ids[i]), own.record = static_cast<int32_t>(i), own.first = firsts[i];
  each_tile(b, own, valid, [&](const Footing<T>& s, int32_t tile, uint32_t hits, int32_t place) {
    const int64_t at = int64_t(s.first) + place;
    if (at >= t.intersections) return;
    to.keys[at] = static_cast<Key>(tile);
    to.values[at] = hits << kRankBits | static_cast<uint32_t>(s.record);
  });
}

template <class Key>
GSR_KERNEL(kThreads)
starts_kernel(const Key* keys, int64_t capacity, const int64_t* counts, int64_t tiles, int32_t* offsets) {
  const int64_t i = block_index() * kThreads + thread_index(), count = min(capacity, counts[1]);
  if (i > count) return;
  const int64_t from = i == 0 ? 0 : int64_t(keys[i - 1]) + 1, to = i == count ? tiles : min(int64_t(keys[i]), tiles);
  for (int64_t tile = from; tile <= to; ++tile) offsets[tile] = static_cast<int32_t>(i);
}

template <class P>
P* allocate(gsr_rasterization& a, int slot, int64_t count) {
  void* p = a.alloc(a.context, slot, max(count, int64_t(1)) * static_cast<int64_t>(sizeof(P)));
  if (!p) throw std::bad_alloc();
  return static_cast<P*>(a.state[slot] = p);
}

// Reads the counts where the caller gave no capacities; the one place where the host waits.
void settle_counts(gsr_rasterization& a, const int64_t* counts) {
  if (!a.visible && !a.intersections) {
    int64_t found[2];
    read_back(found, counts, sizeof found, stream());
    a.visible = found[0], a.intersections = found[1];
  }
  if (a.visible > int64_t(1) << kRankBits)
    throw std::length_error("more than 2^24 visible splats in one call: render fewer cameras at once");
  if (a.intersections >= INT32_MAX)
    throw std::length_error(
        "more than 2^31 intersections in one call: render fewer cameras at once, or the image in strips");
}

template <class Key, class T>
void emit_and_sort(gsr_rasterization& a, const Binning& b, TileLists<T>& t, const int32_t* firsts) {
  const auto emitted = scratch_pairs<Key>(a.intersections);
  // rows that stay empty, where a capacity has slack, go behind the last tile
  fill_bytes(emitted.keys, 0xff, a.intersections * sizeof(Key), stream());
  launch(emit_kernel<T, Key>, blocks_for(a.visible, kThreads), kThreads, stream(), a, b, t, firsts, emitted);
  int bits = 1;
  while (t.tiles >> bits) ++bits;
  const Pairs<Key> by_tile = sorted(emitted, a.intersections, bits);
  launch(starts_kernel<Key>, blocks_for(a.intersections + 1, kThreads), kThreads, stream(),
         static_cast<const Key*>(by_tile.keys), a.intersections, static_cast<const int64_t*>(t.counts), t.tiles,
         t.offsets);
  copy_bytes(t.list, by_tile.values, a.intersections * sizeof(uint32_t), stream());
}

}  // namespace

template <class T>
TileLists<T> tile_lists_of(const gsr_rasterization& a) {
  TileLists<T> t;
  t.tiles_x = (a.width + kTile - 1) / kTile, t.tiles_y = (a.height + kTile - 1) / kTile;
  t.tiles = a.C * t.tiles_x * t.tiles_y;
  t.visible = a.visible, t.intersections = a.intersections;
  t.counts = output<int64_t>(a.state[kCounts]);
  t.records = output<Record<T>>(a.state[kRecords]);
  t.flat_ids = output<int32_t>(a.state[kFlatIds]);
  t.list = output<uint32_t>(a.state[kList]);
  t.offsets = output<int32_t>(a.state[kTiles]);
  t.last = t.offsets + t.tiles + 1;
  t.transmittances = output<T>(a.state[kPixels]);
  return t;
}

template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a) {
  const int64_t rows = a.C * a.N, blocks = blocks_for(rows, kThreads);
  if (rows >= INT32_MAX) throw std::length_error("more than 2^31 splats in one call: render fewer cameras at once");
  TileLists<T> t = tile_lists_of<T>(a);
  const Binning b = {rows, a.N, a.width, a.height, t.tiles_x, t.tiles_y, a.channels, log2(a.alpha_min)};
  int64_t* counts = allocate<int64_t>(a, kCounts, 2);
  fill_bytes(counts, 0, 2 * sizeof(int64_t), stream());
  int32_t *tile_counts = scratch<int32_t>(rows), *block_starts = scratch<int32_t>(blocks);
  launch(count_kernel<T>, blocks, kThreads, stream(), a, b, tile_counts, block_starts, counts);
  if (blocks) exclusive_sums(block_starts, blocks);
  settle_counts(a, counts);

  allocate<Record<T>>(a, kRecords, a.visible), allocate<int32_t>(a, kFlatIds, a.visible);
  allocate<uint32_t>(a, kList, a.intersections);
  allocate<int32_t>(a, kTiles, t.tiles + 1 + t.tiles * kSubTiles);
  allocate<T>(a, kPixels, a.C * a.width * a.height);
  t = tile_lists_of<T>(a);
  auto by_depth = scratch_pairs<uint32_t>(a.visible);
  fill_bytes(by_depth.keys, 0xff, a.visible * sizeof(uint32_t), stream());
  launch(compact_kernel<T>, blocks, kThreads, stream(), input<T>(a.depths), rows,
         static_cast<const int32_t*>(tile_counts), static_cast<const int32_t*>(block_starts), by_depth, a.visible);
  by_depth = sorted(by_depth, a.visible, 32);
  int32_t* firsts = scratch<int32_t>(a.visible + 1);
  launch(gather_kernel<T>, blocks_for(a.visible + 1, kThreads), kThreads, stream(), a, t,
         static_cast<const uint32_t*>(by_depth.values), static_cast<const int32_t*>(tile_counts), firsts);
  exclusive_sums(firsts, a.visible + 1);
  // the largest key means "no tile"
  if (t.tiles < UINT16_MAX)
    emit_and_sort<uint16_t>(a, b, t, firsts);
  else
    emit_and_sort<uint32_t>(a, b, t, firsts);
  return t;
}

template TileLists<float> tile_lists_of(const gsr_rasterization&);
template TileLists<double> tile_lists_of(const gsr_rasterization&);
template TileLists<float> build_tile_lists(gsr_rasterization&);
template TileLists<double> build_tile_lists(gsr_rasterization&);

}  // namespace gsr

const int64_t* gsr_cuda_counts(const gsr_rasterization* args) {
  return static_cast<const int64_t*>(args->state[gsr::kCounts]);
}
