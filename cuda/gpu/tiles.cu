// 1. count: exact tiles of every splat; 2. compact: records of the visible in the order of rows, and their depths as
// keys, so that equal depths keep that order; 3. stable sort by depth; 4. how many tiles come before each; 5. emit:
// (tile, record and hit bits) in depth order; 6. stable sort by tile; 7. where each tile's list starts.
#include <string>
#include <type_traits>

#include "sort.h"
#include "tiles.h"

namespace gsr {
namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarp;

struct Binning {
  int64_t rows, N;
  int width, height, tiles_x, tiles_y;
  double log2_alpha_min;
};

// What finds the tiles of a splat.
template <class T>
struct Footing {
  Strips<T> strips;
  TileBox box;
  int32_t first_tile, record, first;
};

template <class T>
GSR_DEVICE Shape<T> shape_of(const gsr_rasterization& a, int64_t flat) {
  const T *mean = input<T>(a.means2d) + 2 * flat, *shape = input<T>(a.shapes) + 6 * flat;
  return {mean[0], mean[1], shape[0], shape[0] * shape[1], shape[2], shape[3]};
}

template <class T>
GSR_DEVICE Footing<T> footing_of(const Binning& b, const Shape<T>& shape) {
  Footing<T> s = {};
  s.strips = Strips<T>(shape, T(b.log2_alpha_min));
  s.box = TileBox(s.strips.box(b.width, b.height));
  return s;
}

// The lowest `count` bits, 0 to 32 of them.
GSR_DEVICE uint32_t low_bits(int count) { return count >= kWarp ? ~0u : (1u << count) - 1; }

// Calls body(splat, tile x, tile y, how many tiles of the splat came before) for every tile that the lanes' splats
// touch; returns the number of tiles of the lane's own. The warp takes 32 tiles of all its boxes at a time, so that
// large and small splats cost by the tile. All lanes must come here; `shared` has room for a warp.
template <class T, class Body>
GSR_DEVICE int32_t each_tile(const Footing<T>& own, Footing<T>* shared, Body body) {
  shared[lane_index()] = own;
  int32_t end = own.box.total;
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const int32_t before = shuffle(end, max(lane_index() - distance, 0));
    if (lane_index() >= distance) end += before;
  }
  const int32_t begin = end - own.box.total, all = shuffle(end, kWarp - 1);
  warp_sync();
  int32_t count = 0;
  for (int32_t base = 0; base < all; base += kWarp) {
    const int32_t at = base + lane_index();
    int owner = 0;  // the first lane whose end lies behind
    for (int step = kWarp / 2; step; step /= 2)
      if (shuffle(end, owner + step - 1) <= at) owner += step;
    const int32_t owner_begin = shuffle(begin, owner), counted = shuffle(count, owner);
    const Footing<T>& s = shared[owner];
    const int x = s.box.x(at - owner_begin), y = s.box.y(at - owner_begin);
    const bool hit = at < all && tile_hit(s.strips, x, y);
    const uint32_t votes = ballot(hit);
    if (hit) body(s, x, y, counted + rank_in(votes & ~low_bits(max(owner_begin - base, 0))));
    const int from = min(max(begin - base, 0), kWarp), to = min(max(end - base, 0), kWarp);
    count += bit_count(votes & low_bits(to) & ~low_bits(from));
  }
  return count;
}

// Whether a splat is to be drawn; one whose channels are not finite would put NaN into every sum that leaves it out.
template <class T>
GSR_DEVICE bool is_drawn(const gsr_rasterization& a, int64_t flat) {
  if (a.radii[2 * flat] <= 0 || a.radii[2 * flat + 1] <= 0) return false;
  return !a.features || all_finite(input<T>(a.features) + flat * a.channels, a.channels);
}

template <class T>
GSR_KERNEL(kThreads)
count_kernel(gsr_rasterization a, Binning b, int32_t* tile_counts, int32_t* block_counts, int64_t* counts) {
  GSR_SHARED Footing<T> shared[kWarps][kWarp];
  GSR_SHARED int32_t visible[kWarps], tiles[kWarps];
  const int64_t flat = block_index() * kThreads + thread_index();
  const bool valid = flat < b.rows && is_drawn<T>(a, flat);
  const Footing<T> own = valid ? footing_of(b, shape_of<T>(a, flat)) : Footing<T>{};
  const int32_t count = each_tile(own, shared[warp_index()], [](const Footing<T>&, int, int, int32_t) {});
  if (flat < b.rows) tile_counts[flat] = count;
  const int found = bit_count(ballot(count > 0));
  const int32_t total = warp_sum(count);  // of a warp: below 2^31, as a splat has at most as many tiles as an image
  if (lane_index() == 0) visible[warp_index()] = found, tiles[warp_index()] = total;
  block_sync();
  if (thread_index() != 0) return;
  int64_t sums[2] = {};
  for (int warp = 0; warp < kWarps; ++warp) sums[0] += visible[warp], sums[1] += tiles[warp];
  block_counts[block_index()] = static_cast<int32_t>(sums[0]);
  for (int i = 0; i < 2; ++i)
    if (sums[i]) atomic_add(&counts[i], sums[i]);
}

template <class T>
GSR_DEVICE Record<T> record_of(const gsr_rasterization& a, int64_t flat) {
  Record<T> r = {};
  r.shape = shape_of<T>(a, flat);
  if (a.channels > kNarrow || !a.features) return r.flat = static_cast<int32_t>(flat), r;
  for (int d = 0; d < kNarrow; ++d)
    if (d < a.channels) r.channels[d] = input<T>(a.features)[flat * a.channels + d];
  return r;
}

template <class T>
GSR_KERNEL(kThreads)
compact_kernel(gsr_rasterization a, TileLists<T> t, int64_t rows, const int32_t* tile_counts,
               const int32_t* block_starts, Pairs<uint32_t> to) {
  GSR_SHARED int32_t in_warps[kWarps];
  const int64_t flat = block_index() * kThreads + thread_index();
  const bool visible = flat < rows && tile_counts[flat] > 0;
  const uint32_t votes = ballot(visible);
  if (lane_index() == 0) in_warps[warp_index()] = bit_count(votes);
  block_sync();
  int64_t place = block_starts[block_index()] + rank_in(votes);
  for (int warp = 0; warp < warp_index(); ++warp) place += in_warps[warp];
  const bool kept = visible && place < t.visible;
  if (flat < rows) t.places[flat] = kept ? static_cast<int32_t>(place) : -1;
  if (!kept) return;
  to.keys[place] = depth_key(input<T>(a.depths)[flat]);
  to.values[place] = static_cast<uint32_t>(place);
  t.flat_ids[place] = static_cast<int32_t>(flat);
  t.records[place] = record_of<T>(a, flat);
}

template <class T>
GSR_KERNEL(kThreads)
before_kernel(TileLists<T> t, const uint32_t* by_depth, const int32_t* tile_counts, int32_t* firsts) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i > t.visible) return;
  firsts[i] = i < min(t.visible, t.counts[0]) ? tile_counts[t.flat_ids[by_depth[i]]] : 0;
}

template <class T, class Key>
GSR_KERNEL(kThreads)
emit_kernel(gsr_rasterization a, Binning b, TileLists<T> t, const uint32_t* by_depth, const int32_t* firsts,
            Pairs<Key> to, int share) {
  GSR_SHARED Footing<T> shared[kWarps][kWarp];
  const int64_t i = (block_index() * kWarps + warp_index()) * share + lane_index();
  Footing<T> own = {};
  if (lane_index() < share && i < min(t.visible, t.counts[0])) {
    const uint32_t record = by_depth[i];
    own = footing_of(b, t.records[record].shape);
    own.record = static_cast<int32_t>(record), own.first = firsts[i];
    if (a.C > 1) own.first_tile = static_cast<int32_t>(t.flat_ids[record] / b.N * b.tiles_x * b.tiles_y);
  }
  each_tile(own, shared[warp_index()], [&](const Footing<T>& s, int x, int y, int32_t place) {
    const int64_t at = int64_t(s.first) + place;
    if (at >= t.intersections) return;
    to.keys[at] = static_cast<Key>(s.first_tile + y * b.tiles_x + x);
    to.values[at] = sub_tile_hits(s.strips, x, y) << kRecordBits | static_cast<uint32_t>(s.record);
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

// Reads the counts where the caller gave no capacities; the one place where the host waits. Returns whether it did:
// then the arrays have no slack.
bool settle_counts(gsr_rasterization& a, const int64_t* counts) {
  const bool waits = !a.visible && !a.intersections;
  if (waits) {
    int64_t found[2];
    read_back(found, counts, sizeof found, stream());
    a.visible = found[0], a.intersections = found[1];
  }
  if (a.visible > int64_t(1) << kRecordBits)
    throw std::length_error("more than 2^24 visible splats in one call: render fewer cameras at once");
  if (a.intersections >= INT32_MAX)
    throw std::length_error(
        "more than 2^31 intersections in one call: render fewer cameras at once, or the image in strips");
  return waits;
}

template <class Key, class T>
void emit_and_sort(gsr_rasterization& a, const Binning& b, TileLists<T>& t, const uint32_t* by_depth,
                   const int32_t* firsts, bool exact) {
  const Pairs<Key> emitted = {scratch<Key>(a.intersections), t.list};
  // rows that stay empty, where a capacity has slack, go behind the last tile
  if (!exact) fill_bytes(emitted.keys, 0xff, a.intersections * sizeof(Key), stream());
  // splats of a warp: few where they are large, so that there are warps enough
  const int64_t tiles_each = a.intersections / max(a.visible, int64_t(1));
  const int share = tiles_each > 12 ? 8 : tiles_each > 6 ? 16 : 32;
  launch(emit_kernel<T, Key>, blocks_for(a.visible, kWarps * share), kThreads, stream(), a, b, t, by_depth, firsts,
         emitted, share);
  int bits = 1;
  while (t.tiles >> bits) ++bits;
  const Pairs<Key> by_tile = sorted(emitted, a.intersections, bits);
  // back in place after each two passes of eight bits
  if (by_tile.values != t.list) copy_bytes(t.list, by_tile.values, a.intersections * sizeof(uint32_t), stream());
  launch(starts_kernel<Key>, blocks_for(a.intersections + 1, kThreads), kThreads, stream(),
         static_cast<const Key*>(by_tile.keys), a.intersections, static_cast<const int64_t*>(t.counts), t.tiles,
         t.offsets);
}

}  // namespace

template <class T>
TileLists<T> tile_lists_of(const gsr_rasterization& a) {
  TileLists<T> t;
  t.tiles_x = (a.width + kTile - 1) / kTile, t.tiles_y = (a.height + kTile - 1) / kTile;
  t.tiles = a.C * t.tiles_x * t.tiles_y;
  t.visible = a.visible, t.intersections = a.intersections;
  t.counts = output<int64_t>(a.state[kCounts]);
  t.bytes = 0;
  auto place = [&](auto*& array, int64_t count) {
    using Item = std::remove_reference_t<decltype(*array)>;
    array = reinterpret_cast<Item*>(reinterpret_cast<uintptr_t>(a.state[kLists]) + t.bytes);
    t.bytes += aligned(count * static_cast<int64_t>(sizeof(Item)));
  };
  place(t.records, t.visible), place(t.flat_ids, t.visible), place(t.places, a.C * a.N);
  place(t.list, t.intersections), place(t.offsets, t.tiles + 1), place(t.last, t.tiles * kSubTiles);
  place(t.transmittances, a.C * a.width * a.height);
  return t;
}

template <class T>
TileLists<T> build_tile_lists(gsr_rasterization& a) {
  const int64_t rows = a.C * a.N, blocks = blocks_for(rows, kThreads);
  if (rows >= INT32_MAX) throw std::length_error("more than 2^31 splats in one call: render fewer cameras at once");
  TileLists<T> t = tile_lists_of<T>(a);
  const Binning b = {rows, a.N, a.width, a.height, t.tiles_x, t.tiles_y, log2(a.alpha_min)};
  int64_t* counts = allocate<int64_t>(a, kCounts, 2);
  fill_bytes(counts, 0, 2 * sizeof(int64_t), stream());
  int32_t *tile_counts = scratch<int32_t>(rows), *block_starts = scratch<int32_t>(blocks);
  launch(count_kernel<T>, blocks, kThreads, stream(), a, b, tile_counts, block_starts, counts);
  if (blocks) exclusive_sums(block_starts, blocks);
  const bool exact = settle_counts(a, counts);

  allocate<char>(a, kLists, tile_lists_of<T>(a).bytes);
  t = tile_lists_of<T>(a);
  auto by_depth = scratch_pairs<uint32_t>(a.visible);
  if (!exact) fill_bytes(by_depth.keys, 0xff, a.visible * sizeof(uint32_t), stream());
  launch(compact_kernel<T>, blocks, kThreads, stream(), a, t, rows, static_cast<const int32_t*>(tile_counts),
         static_cast<const int32_t*>(block_starts), by_depth);
  by_depth = sorted(by_depth, a.visible, 32);
  int32_t* firsts = scratch<int32_t>(a.visible + 1);
  launch(before_kernel<T>, blocks_for(a.visible + 1, kThreads), kThreads, stream(), t,
         static_cast<const uint32_t*>(by_depth.values), static_cast<const int32_t*>(tile_counts), firsts);
  exclusive_sums(firsts, a.visible + 1);
  // the largest key means "no tile"
  if (t.tiles < UINT16_MAX)
    emit_and_sort<uint16_t>(a, b, t, by_depth.values, firsts, exact);
  else
    emit_and_sort<uint32_t>(a, b, t, by_depth.values, firsts, exact);
  return t;
}

template TileLists<float> tile_lists_of(const gsr_rasterization&);
template TileLists<double> tile_lists_of(const gsr_rasterization&);
template TileLists<float> build_tile_lists(gsr_rasterization&);
template TileLists<double> build_tile_lists(gsr_rasterization&);

}  // namespace gsr
