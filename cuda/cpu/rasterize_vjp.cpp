// Gradient of compositing. Backward goes front to back again with the same inlined step, so every skip and every cut is
// decided by the same bits. It needs one scalar a pixel besides T, whatever the number of channels: the remainder
// R = v . (what is still to come, background and alpha included), from which dL/dalpha = T (c . v) - R / (1 - alpha).
//
// Each intersection owns a row of sums; a second pass adds the rows of a splat in a fixed order. So there are no atomic
// operations, and the bits do not depend on the number of threads.
#include "api.h"
#include "composite.h"
#include "gsr/elementary.h"
#include "memory.h"
#include "pool.h"

namespace gsr {
namespace {

int64_t slot_width(const gsr_rasterization& a) { return kMoments + a.channels + (a.absgrad ? 2 : 0); }

// A block through its splats of a batch, up to the one that finishes it; returns whether a pixel is still open. First
// what depends on splat and pixel alone, then the short dependent part. `v_colors` holds 16 a channel; `weights`, `vs`
// and `rows` receive a row for each pair and the places of the splats in the batch.
template <class T, int kChannels>
GSR_INLINE bool replay(const Cuts<T>& cuts, const Batch<T>& batch, const Features<T>& features, uint64_t hits,
                       const BlockPixels<T>& pixels, const T* v_colors, T* transmittances, T* remainder,
                       PixelRow<T>* weights, PixelRow<T>* vs, uint8_t* rows, int& count) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  const int all = alphas_of_block(cuts, batch, hits, pixels, vs, rows);
  V left[parts], rest[parts];
  for (int p = 0; p < parts; ++p)
    left[p] = V::load(transmittances + V::width * p), rest[p] = V::load(remainder + V::width * p);
  uint32_t open = 1;
  int i = 0;
  for (; i < all && open; ++i) {
    const T* c = kChannels ? batch.splats[rows[i]].channels : features.row(rows[i]);
    const int channels = kChannels ? kChannels : features.channels;
    V cv[parts];
    for (int p = 0; p < parts; ++p) cv[p] = V(c[0]) * V::load(v_colors + V::width * p);
    for (int d = 1; d < channels; ++d)
      for (int p = 0; p < parts; ++p) cv[p] = fma(V(c[d]), V::load(v_colors + kBlockPixels * d + V::width * p), cv[p]);
    open = 0;
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      const V before = left[p], alpha = vs[i].get(p);
      const Blended<V> s = blend(cuts, alpha, before);
      left[p] = s.transmittance;
      weights[i].set(p, s.weight);
      vs[i].set(p, blend_vjp(cuts, alpha, s, before, cv[p], reciprocal(V(T(1)) - s.alpha), rest[p]));
      open |= bits<T>(s.open);
    }
  }
  for (int p = 0; p < parts; ++p) left[p].store(transmittances + V::width * p), rest[p].store(remainder + V::width * p);
  count = i;
  return open != 0;
}

// A splat's sums over the blocks in `blocks`: moments, channels, absolute gradient, a register each. `v_colors` holds
// 16 a channel and block.
template <class T, int kChannels, bool kAbsolute>
GSR_INLINE void sum_pairs(const Shape<T>& splat, uint32_t blocks, const BlockPixels<T>* pixels, const T* v_colors,
                          Pairs<T>& pairs, const PixelRow<T>* of_alphas, Vec<T>* sums) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts, width = kMoments + kChannels + 2 * kAbsolute;
  V m[width];
  for (V& sum : m) sum = V(T(0));
  const Shape<V> shape = spread(splat);
  for (; blocks; blocks &= blocks - 1) {
    const int b = __builtin_ctz(blocks);
    if (pairs.at[b] == pairs.end[b]) continue;
    const int pair = pairs.at[b]++;
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      V u, v;
      pixels[b].power(shape, p, &u, &v);
      const V vs = of_alphas[pair].get(p), vu = vs * u, vv = vs * v;
      m[0] += vs, m[1] += vu, m[2] += vv;
      m[3] = fma(vu, u, m[3]), m[4] = fma(vu, v, m[4]), m[5] = fma(vv, v, m[5]);
      const V weight = pairs.weights[pair].get(p);
      for (int d = 0; d < kChannels; ++d)
        m[kMoments + d] =
            fma(weight, V::load(v_colors + kBlockPixels * (kChannels * b + d) + V::width * p), m[kMoments + d]);
      if (kAbsolute) {
        m[kMoments + kChannels] += absolute(shape.P * vu);
        m[kMoments + kChannels + 1] += absolute(fnma(shape.Pk, vu, shape.Q * vv));
      }
    }
  }
  for (int j = 0; j < width; ++j) sums[j] = m[j];
}

// The incoming gradients of a tile, and each pixel's first remainder.
template <class T, class Channels>
GSR_INLINE void read_gradients(const gsr_rasterization& a, const TileLists<T>& t, const TilePixels& pixels,
                               Channels channels, T* v_colors, T* v_rows, T* transmittances, T* remainder) {
  const T *const v_image = static_cast<const T*>(a.v_image), *const v_alphas = static_cast<const T*>(a.v_alphas);
  const T *const image = static_cast<const T*>(a.image), *const left = t.transmittances;
  constexpr bool known = !std::is_same<Channels, int>::value;
  const int stride = known ? channels : padded<T>(channels);
  std::fill_n(v_colors, kTilePixels * stride, T(0));
  if (!known) std::fill_n(v_rows, kTilePixels * stride, T(0));
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    transmittances[i] = T(1);
    T rest = -left[flat] * v_alphas[flat];
    T* v = v_colors + i / kBlockPixels * kBlockPixels * stride + i % kBlockPixels;
    for (int d = 0; d < channels; ++d) {
      const T v_color = v_image[flat * channels + d];
      v[kBlockPixels * d] = v_color;
      if (!known) v_rows[i * stride + d] = v_color;
      rest += v_color * image[flat * channels + d];
    }
    remainder[i] = rest;
  });
}

template <class T>
int64_t backward_scratch(const gsr_rasterization& a) {
  // gradients twice, features and theirs
  return int64_t(2 * kTilePixels + 2 * kBatch) * padded<T>(a.channels);
}

// Writes one row of sums for each intersection of the tile, in list order.
template <class T, int kChannels, bool kAbsolute>
void backward_tile(const gsr_rasterization& a, const Cuts<T>& cuts, const TileLists<T>& t, int64_t tile, T* scratch,
                   T* slots) {
  typedef Vec<T> V;
  const TilePixels pixels(t, tile);
  const int stride = kChannels ? kChannels : padded<T>(a.channels), width = static_cast<int>(slot_width(a));
  alignas(64) T transmittances[kTilePixels], remainder[kTilePixels];
  std::fill_n(transmittances, kTilePixels, T(0));
  std::fill_n(remainder, kTilePixels, T(0));
  T *v_colors = scratch, *v_rows = scratch + kTilePixels * stride, *v_features = v_rows + kTilePixels * stride;
  if constexpr (kChannels != 0)
    read_gradients<T>(a, t, pixels, std::integral_constant<int, kChannels>(), v_colors, v_rows, transmittances,
                      remainder);
  else
    read_gradients<T>(a, t, pixels, a.channels, v_colors, v_rows, transmittances, remainder);
  Features<T> features(a, t, v_features + kBatch * stride);
  Batch<T> batch;
  Pairs<T> pairs;
  PixelRow<T> vs[kBatch * kBlocks];  // alpha times its gradient, for each of the pairs
  BlockPixels<T> blocks[kBlocks];
  for (int b = 0; b < kBlocks; ++b) blocks[b] = pixels.block<T>(b);
  constexpr int in_sums = kMoments + kChannels + 2 * kAbsolute;
  V sums_of[kBatch * in_sums + V::width];
  uint8_t rows[kBatch];
  uint32_t alive = pixels.inside(a.width, a.height);
  const int32_t end = t.last[tile];
  for (int32_t at = t.offsets[tile]; at < end;) {
    const int count = std::min(end - at, int32_t(kBatch));
    batch.read(t, at, count, end);
    if (!kChannels) features.read(at, count), std::fill_n(v_features, count * stride, T(0));
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
      const bool open = replay<T, kChannels>(cuts, batch, features, batch.hits[b], blocks[b],
                                             v_colors + kBlockPixels * stride * b, transmittances + kBlockPixels * b,
                                             remainder + kBlockPixels * b, weights, vs + pairs.count, rows, found);
      if (!kChannels) add_products(weights, rows, found, stride, v_rows + kBlockPixels * stride * b, v_features);
      pairs.end[b] = pairs.count += found;
      if (!open) alive &= ~(1u << b);
    }
    for (int i = 0; i < count; ++i)
      sum_pairs<T, kChannels, kAbsolute>(batch.splats[i].shape, t.masks[at + i] & before, blocks, v_colors, pairs, vs,
                                         sums_of + i * in_sums);
    if (kChannels)
      sums(sums_of, count * in_sums, slots + int64_t(at) * width);
    else
      for (int i = 0; i < count; ++i) {
        T* row = slots + int64_t(at + i) * width;
        sums(sums_of + i * in_sums, in_sums, row);
        std::copy_n(row + kMoments, 2 * kAbsolute, row + kMoments + a.channels);
        std::copy_n(v_features + i * stride, a.channels, row + kMoments);
      }
    at += count;
  }
  std::fill_n(slots + int64_t(end) * width, int64_t(t.offsets[tile + 1] - end) * width, T(0));
}

template <class T, class Width>
GSR_INLINE void add_rows(const TileLists<T>& t, int64_t record, const T* slots, Width width, T* total) {
  std::fill_n(total, width, T(0));
  each_row(t, record, slots, width, [&](const T* __restrict row) {
    for (int i = 0; i < width; ++i) total[i] += row[i];
  });
}

// Turns a record's sums into gradients.
template <class T, class Channels>
GSR_INLINE void write_gradients(const gsr_rasterization& a, const TileLists<T>& t, int64_t record, const T* total,
                                Channels channels) {
  const int64_t flat = t.flat_ids[record];
  const Shape<T>& shape = t.records[record].shape;
  const T per_opacity = exp_of(T(-0.69314718055994530942) * shape.log2_opacity);
  splat_vjp(shape, per_opacity, total, static_cast<T*>(a.v_means2d) + 2 * flat, static_cast<T*>(a.v_conics) + 3 * flat,
            static_cast<T*>(a.v_opacities) + flat);
  T* v_features = static_cast<T*>(a.v_features) + flat * channels;
  for (int d = 0; d < channels; ++d) v_features[d] = total[kMoments + d];
  if (a.absgrad)
    for (int i = 0; i < 2; ++i)
      static_cast<T*>(a.v_absolute)[2 * flat + i] = T(kUnfold) * total[kMoments + channels + i];
}

template <class T, int kChannels>
void reduce_records(const gsr_rasterization& a, const TileLists<T>& t, int64_t begin, int64_t end, const T* slots,
                    T* scratch) {
  for (int64_t record = begin; record < end; ++record) {
    if constexpr (kChannels != 0) {
      T total[kMoments + kChannels + 2] = {};
      if (a.absgrad)
        add_rows(t, record, slots, std::integral_constant<int, kMoments + kChannels + 2>(), total);
      else
        add_rows(t, record, slots, std::integral_constant<int, kMoments + kChannels>(), total);
      write_gradients(a, t, record, total, std::integral_constant<int, kChannels>());
    } else {
      add_rows(t, record, slots, static_cast<int>(slot_width(a)), scratch);
      write_gradients(a, t, record, scratch, a.channels);
    }
  }
}

// Rows that were culled have no record.
template <class T>
void clear_culled(const gsr_rasterization& a, int64_t begin, int64_t end) {
  for (int64_t flat = begin; flat < end; ++flat) {
    if (a.radii[2 * flat] > 0 && a.radii[2 * flat + 1] > 0) continue;
    std::fill_n(static_cast<T*>(a.v_means2d) + 2 * flat, 2, T(0));
    std::fill_n(static_cast<T*>(a.v_conics) + 3 * flat, 3, T(0));
    static_cast<T*>(a.v_opacities)[flat] = 0;
    std::fill_n(static_cast<T*>(a.v_features) + flat * a.channels, a.channels, T(0));
    if (a.absgrad) std::fill_n(static_cast<T*>(a.v_absolute) + 2 * flat, 2, T(0));
  }
}

template <class T>
void rasterize_vjp(gsr_rasterization& a) {
  const TileLists<T> t = tile_lists_of<T>(a);
  const Cuts<T> cuts = cuts_of<T>(a);
  Stopwatch watch(GSR_BACKWARD);
  Workspace workspace;
  T* slots = workspace.take<T>(t.intersections * slot_width(a));
  const int32_t* order = longest_first(t, workspace);
  const Scratch<T> scratch(workspace, a.threads, std::max(backward_scratch<T>(a), slot_width(a)));
  with_channels(a.channels, [&](auto channels) {
    constexpr int known = decltype(channels)::value;
    auto run = a.absgrad ? backward_tile<T, known, true> : backward_tile<T, known, false>;
    parallel_for(a.threads, t.tiles,
                 [&](int64_t i, int worker) { run(a, cuts, t, order[i], scratch.of(worker), slots); });
    watch.next(GSR_REDUCTION);
    constexpr int64_t range = 4096;
    const int64_t rows = a.C * a.N;
    parallel_for(a.threads, (rows + range - 1) / range,
                 [&](int64_t i, int) { clear_culled<T>(a, i * range, std::min(rows, (i + 1) * range)); });
    parallel_for(a.threads, (t.visible + range - 1) / range, [&](int64_t i, int worker) {
      reduce_records<T, known>(a, t, i * range, std::min(t.visible, (i + 1) * range), slots, scratch.of(worker));
    });
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize_vjp(gsr_rasterization* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::rasterize_vjp<decltype(t)>(*args); });
}
