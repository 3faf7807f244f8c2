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

constexpr int kMoments = 6;  // sums of vs, vs u, vs v, vs u^2, vs u v, vs v^2 with vs = alpha dL/dalpha
constexpr double kUnfold = 1.3862943611198906188;  // 2 ln 2: of the exponent's gradient

int64_t slot_width(const gsr_rasterization& a) { return kMoments + a.channels + (a.absgrad ? 2 : 0); }

// What the passes over a block hand on, a row for each of its splats.
template <class T>
struct BlockRows {
  Rows<T> u, v, cv, raw;  // cv: c . v
  Rows<T> weight, vs;
  uint8_t rows[kBatch];  // places in the batch
  int count = 0;
};

// First pass: what depends on splat and pixel alone, but c . v.
template <class T, int kChannels>
GSR_INLINE void place_splat(const Cutoffs<T>& cut, const Splat<T, kChannels>& splat, const BlockPixels<T>& pixels,
                            int i, BlockRows<T>& out) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  V u[parts], v[parts];
  splat.place(pixels, u, v);
#pragma GCC unroll 16
  for (int p = 0; p < parts; ++p) {
    out.u.set(i, p, u[p]), out.v.set(i, p, v[p]);
    out.raw.set(i, p, raw_alpha(cut, V(splat.log2_opacity), u[p], v[p]));
  }
}

// Second pass, the only one that depends on the pixel's state: weights and vs, up to the splat that finishes the block.
template <class T>
GSR_INLINE bool replay(const Cutoffs<T>& cut, T* through, T* remainder, BlockRows<T>& io) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  V left[parts], rest[parts];
  for (int p = 0; p < parts; ++p)
    left[p] = V::load(through + V::width * p), rest[p] = V::load(remainder + V::width * p);
  uint32_t open = 1;
  int i = 0;
  for (; i < io.count && open; ++i) {
    open = 0;
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      const V before = left[p], raw = io.raw.get(i, p), cv = io.cv.get(i, p);
      const Step<T> s = composite(cut, raw, before);
      left[p] = s.after;
      rest[p] = fnma(s.weight, cv, rest[p]);
      const V v_alpha = fnma(rest[p], reciprocal(V(T(1)) - s.alpha), before * cv);
      io.weight.set(i, p, s.weight);
      io.vs.set(i, p, drop(greater(raw, cut.alpha_max), s.alpha * v_alpha));
      open |= bits<T>(s.open);
    }
  }
  for (int p = 0; p < parts; ++p) left[p].store(through + V::width * p), rest[p].store(remainder + V::width * p);
  io.count = i;
  return open != 0;
}

// Third pass: adds to a splat's sums of moments and absolute gradients.
template <bool kAbsolute, class T, int kChannels>
GSR_INLINE void add_moments(const Splat<T, kChannels>& splat, const BlockRows<T>& in, int i, Vec<T>* m,
                            Vec<T>* absolutes) {
  typedef Vec<T> V;
  V sum[kMoments], flat[2];
#pragma GCC unroll 16
  for (int p = 0; p < BlockPixels<T>::parts; ++p) {
    const V u = in.u.get(i, p), v = in.v.get(i, p), vs = in.vs.get(i, p), vu = vs * u, vv = vs * v;
    const V terms[3] = {vs, vu, vv};
    for (int j = 0; j < 3; ++j) sum[j] = p ? sum[j] + terms[j] : terms[j];
    sum[3] = p ? fma(vu, u, sum[3]) : vu * u;
    sum[4] = p ? fma(vu, v, sum[4]) : vu * v;
    sum[5] = p ? fma(vv, v, sum[5]) : vv * v;
    if (kAbsolute) {
      const V x = absolute(V(splat.P) * vu), y = absolute(fnma(V(splat.Pk), vu, V(splat.Q) * vv));
      flat[0] = p ? flat[0] + x : x, flat[1] = p ? flat[1] + y : y;
    }
  }
  for (int j = 0; j < kMoments; ++j) m[j] = m[j] + sum[j];
  if (kAbsolute)
    for (int j = 0; j < 2; ++j) absolutes[j] = absolutes[j] + flat[j];
}

// `v_colors` holds 16 a channel; `sums` has for each splat of the batch moments, channels, absolute gradient.
template <class T, int kChannels, bool kAbsolute>
GSR_INLINE bool backward_block(const Cutoffs<T>& cut, const Batch<T, kChannels>& batch, uint64_t hits,
                               const BlockPixels<T>& pixels, const T* v_colors, T* through, T* remainder,
                               Vec<T>* sums) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts, width = kMoments + kChannels + 2 * kAbsolute;
  BlockRows<T> block;
  for (; hits; hits &= hits - 1) {
    const int row = __builtin_ctzll(hits), i = block.count++;
    const Splat<T, kChannels>& splat = batch.splats[row];
    block.rows[i] = static_cast<uint8_t>(row);
    place_splat(cut, splat, pixels, i, block);
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      V cv(T(0));
      for (int d = 0; d < kChannels; ++d) {
        const V c(splat.channels[d]), v_color = V::load(v_colors + kBlockPixels * d + V::width * p);
        cv = d ? fma(c, v_color, cv) : c * v_color;
      }
      block.cv.set(i, p, cv);
    }
  }
  const bool open = replay(cut, through, remainder, block);
  for (int i = 0; i < block.count; ++i) {
    V* m = sums + width * block.rows[i];
    add_moments<kAbsolute>(batch.splats[block.rows[i]], block, i, m, m + kMoments + kChannels);
    for (int d = 0; d < kChannels; ++d) {
      V sum = m[kMoments + d];
      for (int p = 0; p < parts; ++p)
        sum = fma(block.weight.get(i, p), V::load(v_colors + kBlockPixels * d + V::width * p), sum);
      m[kMoments + d] = sum;
    }
  }
  return open;
}

// The same for any number of channels, with two matrix products. `v_colors` has 16 a channel, `v_rows` the same as rows
// of pixels; `v_features` has a row for each splat of the batch.
template <class T, bool kAbsolute>
GSR_INLINE bool backward_block(const Cutoffs<T>& cut, const Batch<T, 0>& batch, const Features<T>& features,
                               uint64_t hits, const BlockPixels<T>& pixels, const T* v_colors, const T* v_rows,
                               T* through, T* remainder, Vec<T>* sums, T* v_features) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts, width = kMoments + 2 * kAbsolute;
  BlockRows<T> block;
  for (; hits; hits &= hits - 1) {
    const int row = __builtin_ctzll(hits), i = block.count++;
    block.rows[i] = static_cast<uint8_t>(row);
    place_splat(cut, batch.splats[row], pixels, i, block);
    const T* c = features.row(row);
    V cv[parts];
    for (int p = 0; p < parts; ++p) cv[p] = V(T(0));
    for (int d = 0; d < features.channels; ++d)
      for (int p = 0; p < parts; ++p) cv[p] = fma(V(c[d]), V::load(v_colors + kBlockPixels * d + V::width * p), cv[p]);
    for (int p = 0; p < parts; ++p) block.cv.set(i, p, cv[p]);
  }
  const bool open = replay(cut, through, remainder, block);
  for (int i = 0; i < block.count; ++i) {
    const int row = block.rows[i];
    add_moments<kAbsolute>(batch.splats[row], block, i, sums + width * row, sums + width * row + kMoments);
    for (int d = 0; d < features.stride; d += V::width) {
      T* to = v_features + row * features.stride + d;
      V sum = V::load(to);
      for (int j = 0; j < kBlockPixels; ++j)
        sum = fma(V(block.weight.of[i][j]), V::load(v_rows + j * features.stride + d), sum);
      sum.store(to);
    }
  }
  return open;
}

// The incoming gradients of a tile, and each pixel's first remainder.
template <class T>
GSR_INLINE void read_gradients(const gsr_rasterization& a, const TileLists<T>& t, const TilePixels& pixels, int stride,
                               T* v_colors, T* v_rows, T* through, T* remainder) {
  const T *v_image = static_cast<const T*>(a.v_image), *v_alphas = static_cast<const T*>(a.v_alphas);
  const T* image = static_cast<const T*>(a.image);
  const int channels = a.channels;
  std::fill_n(v_colors, kTilePixels * stride, T(0));
  if (v_rows) std::fill_n(v_rows, kTilePixels * stride, T(0));
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    through[i] = T(1);
    T rest = -t.transmittances[flat] * v_alphas[flat];
    T* v = v_colors + i / kBlockPixels * kBlockPixels * stride + i % kBlockPixels;
    for (int d = 0; d < channels; ++d) {
      v[kBlockPixels * d] = v_image[flat * channels + d];
      if (v_rows) v_rows[i * stride + d] = v_image[flat * channels + d];
      rest += v_image[flat * channels + d] * image[flat * channels + d];
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
void backward_tile(const gsr_rasterization& a, const Cutoffs<T>& cut, const TileLists<T>& t, int64_t tile, T* scratch,
                   T* slots) {
  typedef Vec<T> V;
  const TilePixels pixels(t, tile);
  const int stride = kChannels ? kChannels : padded<T>(a.channels), width = static_cast<int>(slot_width(a));
  alignas(64) T through[kTilePixels], remainder[kTilePixels];
  std::fill_n(through, kTilePixels, cut.outside);
  std::fill_n(remainder, kTilePixels, T(0));
  T *v_colors = scratch, *v_rows = scratch + kTilePixels * stride, *v_features = v_rows + kTilePixels * stride;
  read_gradients(a, t, pixels, stride, v_colors, kChannels ? nullptr : v_rows, through, remainder);
  Features<T> features(a, t, v_features + kBatch * stride);
  Batch<T, kChannels> batch;
  constexpr int in_sums = kMoments + kChannels + 2 * kAbsolute;
  V sums_of[kBatch * in_sums + V::width];
  uint32_t alive = pixels.inside(a.width, a.height);
  const int32_t end = t.last[tile];
  for (int32_t at = t.offsets[tile]; at < end;) {
    const int count = std::min(end - at, int32_t(kBatch));
    batch.read(t, at, count, end);
    std::fill_n(sums_of, count * in_sums, V(T(0)));
    if (!kChannels) features.read(at, count), std::fill_n(v_features, count * stride, T(0));
    for (uint32_t todo = alive; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      if (!batch.hits[b]) continue;
      T *T_block = through + kBlockPixels * b, *R_block = remainder + kBlockPixels * b;
      const T* v_block = v_colors + kBlockPixels * stride * b;
      bool open;
      if constexpr (kChannels != 0)
        open = backward_block<T, kChannels, kAbsolute>(cut, batch, batch.hits[b], pixels.block<T>(b), v_block, T_block,
                                                       R_block, sums_of);
      else
        open = backward_block<T, kAbsolute>(cut, batch, features, batch.hits[b], pixels.block<T>(b), v_block,
                                            v_rows + kBlockPixels * stride * b, T_block, R_block, sums_of, v_features);
      if (!open) alive &= ~(1u << b);
    }
    for (int i = 0; i < count; ++i) {
      T* row = slots + int64_t(at + i) * width;
      sums(sums_of + i * in_sums, in_sums, row);
      if (kChannels) continue;
      std::copy_n(row + kMoments, 2 * kAbsolute, row + kMoments + a.channels);
      std::copy_n(v_features + i * stride, a.channels, row + kMoments);
    }
    at += count;
  }
  std::fill_n(slots + int64_t(end) * width, int64_t(t.offsets[tile + 1] - end) * width, T(0));
}

// Adds a record's rows in order of emission, whatever thread wrote them. `width` is a constant where channels are.
template <class T, class Width>
GSR_INLINE void add_rows(const TileLists<T>& t, int64_t record, const T* slots, Width width, T* total) {
  const int32_t end = t.first[record + 1];
  std::fill_n(total, width, T(0));
  for (int32_t e = t.first[record]; e < end; ++e) {
    constexpr int ahead = 24;
    if (e + ahead < t.intersections) __builtin_prefetch(slots + int64_t(t.positions[e + ahead]) * width);
    const T* __restrict row = slots + int64_t(t.positions[e]) * width;
    for (int i = 0; i < width; ++i) total[i] += row[i];
  }
}

// Turns a record's sums into gradients.
template <class T, class Channels>
GSR_INLINE void write_gradients(const gsr_rasterization& a, const TileLists<T>& t, int64_t record, const T* total,
                                Channels channels) {
  const int64_t flat = t.flat_ids[record];
  const Record<T>& r = t.records[record];
  const T unfold = T(kUnfold);
  T* v_mean = static_cast<T*>(a.v_means2d) + 2 * flat;
  v_mean[0] = -unfold * r.P * total[1], v_mean[1] = -unfold * (r.Q * total[2] - r.k * r.P * total[1]);
  // dx = u / P + k v / Q, dy = v / Q
  const T x_u = 1 / r.P, y_v = 1 / r.Q, x_v = r.k * y_v;
  T* v_conic = static_cast<T*>(a.v_conics) + 3 * flat;
  v_conic[0] = (x_u * x_u * total[3] + 2 * x_u * x_v * total[4] + x_v * x_v * total[5]) / -2;
  v_conic[1] = -y_v * (x_u * total[4] + x_v * total[5]);
  v_conic[2] = y_v * y_v * total[5] / -2;
  static_cast<T*>(a.v_opacities)[flat] = total[0] * exp_of(T(-0.69314718055994530942) * r.log2_opacity);
  T* v_features = static_cast<T*>(a.v_features) + flat * channels;
  for (int d = 0; d < channels; ++d) v_features[d] = total[kMoments + d];
  if (a.absgrad)
    for (int i = 0; i < 2; ++i) static_cast<T*>(a.v_absolute)[2 * flat + i] = unfold * total[kMoments + channels + i];
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
  const Cutoffs<T> cut(a);
  Stopwatch watch(GSR_BACKWARD);
  Workspace workspace;
  T* slots = workspace.take<T>(t.intersections * slot_width(a));
  const int32_t* order = longest_first(t, workspace);
  const Scratch<T> scratch(workspace, a.threads, std::max(backward_scratch<T>(a), slot_width(a)));
  with_channels(a.channels, [&](auto channels) {
    constexpr int known = decltype(channels)::value;
    auto run = a.absgrad ? backward_tile<T, known, true> : backward_tile<T, known, false>;
    parallel_for(a.threads, t.tiles,
                 [&](int64_t i, int worker) { run(a, cut, t, order[i], scratch.of(worker), slots); });
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
