// Sums over pixels for each splat: the adjoint of compositing. A tile is walked as in forward, with the same inlined
// step, and only the sums of rasterize_vjp that have to do with weights are taken: first the weights of all pairs of
// splat and block, then, splat by splat, their products with the maps.
//
// As there, each intersection owns a row of sums, and a second pass adds up those of a splat in a fixed order.
#include "api.h"
#include "composite.h"
#include "memory.h"
#include "pool.h"

namespace gsr {
namespace {

enum Column { kWeight, kLargest, kMaps };  // of a row of sums; the channels come last

int64_t slot_width(const gsr_lifting& a) { return kMaps + a.channels; }

// A splat's sums over the blocks in `blocks`, a register each. `maps` holds 16 a channel and block.
template <class T, int kChannels>
GSR_INLINE void sum_pairs(uint32_t blocks, const T* maps, Pairs<T>& pairs, Vec<T>* sums) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts, width = kMaps + kChannels;
  V m[width];
  for (V& sum : m) sum = V(T(0));
  for (; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    if (pairs.at[b] == pairs.end[b]) continue;
    const PixelRow<T>& row = pairs.weights[pairs.at[b]++];
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      const V weight = row.get(p);
      m[kWeight] += weight, m[kLargest] = max(m[kLargest], weight);
      for (int d = 0; d < kChannels; ++d)
        m[kMaps + d] = fma(weight, V::load(maps + kBlockPixels * (kChannels * b + d) + V::width * p), m[kMaps + d]);
    }
  }
  m[kLargest] = alone(largest(m[kLargest]));  // the lanes of all registers are added up
  for (int j = 0; j < width; ++j) sums[j] = m[j];
}

// The maps of a tile, 16 a channel and block where the number of channels is a constant, else a row a pixel.
template <class T, class Channels>
GSR_INLINE void read_maps(const gsr_lifting& a, const TilePixels& pixels, Channels channels, T* maps,
                          T* transmittances) {
  constexpr bool known = !std::is_same<Channels, int>::value;
  const int stride = known ? channels : padded<T>(channels), step = known ? kBlockPixels : 1;
  std::fill_n(transmittances, kTilePixels, T(0));
  std::fill_n(maps, kTilePixels * stride, T(0));
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    transmittances[i] = T(1);
    T* to = maps + (known ? i / kBlockPixels * kBlockPixels * stride + i % kBlockPixels : i * stride);
    for (int d = 0; d < channels; ++d) to[step * d] = static_cast<const T*>(a.maps)[flat * channels + d];
  });
}

template <class T>
int64_t lift_scratch(const gsr_lifting& a) {
  // maps, and sums of a batch
  return int64_t(kTilePixels + kBatch) * padded<T>(a.channels);
}

// Writes one row of sums for each intersection of the tile, in list order.
template <class T, int kChannels>
void lift_tile(const gsr_lifting& a, const Cuts<T>& cuts, const TileLists<T>& t, int64_t tile, T* scratch, T* slots) {
  typedef Vec<T> V;
  const TilePixels pixels(t, tile);
  const int stride = kChannels ? kChannels : padded<T>(a.channels), width = static_cast<int>(slot_width(a));
  alignas(64) T transmittances[kTilePixels];
  T *maps = scratch, *products = scratch + kTilePixels * stride;
  if constexpr (kChannels != 0)
    read_maps<T>(a, pixels, std::integral_constant<int, kChannels>(), maps, transmittances);
  else
    read_maps<T>(a, pixels, a.channels, maps, transmittances);
  Batch<T> batch;
  Pairs<T> pairs;
  constexpr int in_sums = kMaps + kChannels;
  V sums_of[kBatch * in_sums + V::width];
  uint8_t rows[kBatch];
  uint32_t alive = pixels.inside(a.width, a.height);
  int32_t at = t.offsets[tile];
  const int32_t end = t.offsets[tile + 1];
  while (at < end && alive) {
    const int count = std::min(end - at, int32_t(kBatch));
    batch.read(t, at, count, end);
    if (!kChannels) std::fill_n(products, count * stride, T(0));
    const uint32_t before = alive;
    pairs.count = 0;
    const int share = kBatch / __builtin_popcount(alive) + 1;
    for (uint32_t todo = alive; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      batch.prefetch(t, share);
      pairs.at[b] = pairs.end[b] = pairs.count;
      if (!batch.hits[b]) continue;
      int found;
      PixelRow<T>* weights = pairs.weights + pairs.count;
      const bool open = weights_of_block(cuts, batch, batch.hits[b], pixels.block<T>(b),
                                         transmittances + kBlockPixels * b, weights, rows, found);
      if (!kChannels) add_products(weights, rows, found, stride, maps + kBlockPixels * stride * b, products);
      pairs.end[b] = pairs.count += found;
      if (!open) alive &= ~(1u << b);
    }
    for (int i = 0; i < count; ++i)
      sum_pairs<T, kChannels>(t.masks[at + i] & before, maps, pairs, sums_of + i * in_sums);
    T* to = slots + int64_t(at) * width;
    if (kChannels)
      sums(sums_of, count * in_sums, to);
    else
      for (int i = 0; i < count; ++i, to += width) {
        sums(sums_of + i * in_sums, in_sums, to);
        std::copy_n(products + i * stride, a.channels, to + kMaps);
      }
    at += count;
  }
  std::fill_n(slots + int64_t(at) * width, int64_t(end - at) * width, T(0));
}

// Adds up the rows of the records from `begin` to `end`.
template <class T, class Channels>
GSR_INLINE void reduce_records(const gsr_lifting& a, const TileLists<T>& t, int64_t begin, int64_t end, const T* slots,
                               Channels channels) {
  for (int64_t record = begin; record < end; ++record) {
    const int64_t flat = t.flat_ids[record];
    T *sums = static_cast<T*>(a.sums) + flat * channels, weight = 0, largest = 0;
    std::fill_n(sums, channels, T(0));
    const auto add = [&](const T* __restrict row) {
      weight += row[kWeight], largest = std::max(largest, row[kLargest]);
      for (int d = 0; d < channels; ++d) sums[d] += row[kMaps + d];
    };
    if constexpr (std::is_same<Channels, int>::value)
      each_row(t, record, slots, kMaps + channels, add);
    else
      each_row(t, record, slots, std::integral_constant<int, kMaps + Channels::value>(), add);
    static_cast<T*>(a.weights)[flat] = weight, static_cast<T*>(a.largest)[flat] = largest;
  }
}

// Rows that were culled have no record.
template <class T>
void clear_culled(const gsr_lifting& a, int64_t begin, int64_t end) {
  for (int64_t flat = begin; flat < end; ++flat) {
    if (a.radii[2 * flat] > 0 && a.radii[2 * flat + 1] > 0) continue;
    std::fill_n(static_cast<T*>(a.sums) + flat * a.channels, a.channels, T(0));
    static_cast<T*>(a.weights)[flat] = static_cast<T*>(a.largest)[flat] = 0;
  }
}

void* take(void* workspace, int32_t, int64_t bytes) { return static_cast<Workspace*>(workspace)->take<char>(bytes); }

template <class T>
void lift(const gsr_lifting& a) {
  Workspace workspace;
  gsr_rasterization compositing = compositing_of(a, take, &workspace);
  const TileLists<T> t = build_tile_lists<T>(compositing, workspace);
  const Cuts<T> cuts = cuts_of<T>(compositing);
  T* slots = workspace.take<T>(t.intersections * slot_width(a));
  const Scratch<T> scratch(workspace, a.threads, lift_scratch<T>(a));
  const int32_t* order = longest_first(t, workspace);
  with_channels(a.channels, [&](auto channels) {
    constexpr int known = decltype(channels)::value;
    parallel_for(a.threads, t.tiles,
                 [&](int64_t i, int worker) { lift_tile<T, known>(a, cuts, t, order[i], scratch.of(worker), slots); });
    constexpr int64_t range = 4096;
    const int64_t rows = a.C * a.N;
    parallel_for(a.threads, (rows + range - 1) / range,
                 [&](int64_t i, int) { clear_culled<T>(a, i * range, std::min(rows, (i + 1) * range)); });
    parallel_for(a.threads, (t.visible + range - 1) / range, [&](int64_t i, int) {
      const int64_t end = std::min(t.visible, (i + 1) * range);
      if constexpr (known != 0)
        reduce_records(a, t, i * range, end, slots, channels);
      else
        reduce_records(a, t, i * range, end, slots, a.channels);
    });
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_lift(gsr_lifting* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::lift<decltype(t)>(*args); });
}
