// Front-to-back compositing of a tile, and its gradient. One splat at a time meets the 4x4 blocks that its hit bits
// name, a block being one vector of sixteen pixels; a tile's transmittances and colours stay in the first-level cache.
//
// A pixel that is finished keeps its transmittance with the sign turned: `T > 0` is the test for "still open".
// Backward goes front to back again with the same inlined step, so every skip and every cut is decided by the same
// bits. It needs one scalar a pixel besides T, whatever the number of channels: the remainder R = v . (what is still to
// come, background and alpha included), from which dL/dalpha = T (c . v) - R / (1 - alpha).
#include <string.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "api.h"
#include "gsr/math.h"
#include "pool.h"
#include "simd.h"
#include "tiles.h"

namespace gsr {
namespace {

constexpr int kPrefetch = 12;
constexpr int kMoments = 6;  // sums of vs, vs dx, vs dy, vs dx^2, vs dx dy, vs dy^2

template <class T>
struct Cutoffs {
  T log2_alpha_min, alpha_max, transmittance_min;
  explicit Cutoffs(const gsr_rasterization& a)
      : log2_alpha_min(log2(T(a.alpha_min))),
        alpha_max(T(a.alpha_max)),
        // a cut of 0 means none: no product of (1 - alpha) may then finish a pixel
        transmittance_min(a.transmittance_min > 0 ? T(a.transmittance_min) : T(-1)) {}
};

// What one splat does to the pixels of one block.
template <class T>
struct Step {
  Vec<T> dx, dy, alpha, weight, before, after;
  typename Vec<T>::Mask capped;
};

template <class T>
GSR_INLINE Step<T> composite(const Cutoffs<T>& cut, const Record<T>& r, Vec<T> dx, Vec<T> dy, Vec<T> before) {
  typedef Vec<T> V;
  const V zero(T(0)), one(T(1)), cap(cut.alpha_max);
  const V u = V(r.P) * fnma(V(r.k), dy, dx), v = V(r.Q) * dy;
  const V power = fnma(u, u, fnma(v, v, V(r.log2_opacity)));
  const V raw = exp2(power);
  Step<T> s;
  s.dx = dx, s.dy = dy, s.before = before;
  s.capped = greater(raw, cap);
  const V reached = select<T>(at_least(power, V(cut.log2_alpha_min)), min(raw, cap), zero);
  const V open = select<T>(greater(before, zero), reached, zero);
  const V weight = open * before;
  const V after = before - weight;
  // the splat that would take an open pixel to the cut is itself left out, and finishes the pixel
  const V kept = select<T>(greater(after, V(cut.transmittance_min)), one, zero);
  s.alpha = open * kept;
  s.weight = weight * kept;
  const V finished = select<T>(greater(open, zero), fnma(before, V(T(2)) * (one - kept), before), before);
  s.after = select<T>(greater(kept, zero), after, finished);
  return s;
}

template <class T>
struct TilePixels {
  int left, top, camera;
  alignas(64) T offset_x[kLanes], offset_y[kLanes];

  TilePixels(const TileLists<T>& t, int64_t tile) {
    camera = static_cast<int>(tile / (int64_t(t.tiles_x) * t.tiles_y));
    const int64_t within = tile % (int64_t(t.tiles_x) * t.tiles_y);
    left = static_cast<int>(within % t.tiles_x) * kTile, top = static_cast<int>(within / t.tiles_x) * kTile;
    for (int i = 0; i < kLanes; ++i) offset_x[i] = i % kBlock + T(0.5), offset_y[i] = i / kBlock + T(0.5);
  }

  // Blocks with at least one pixel in the image.
  uint32_t inside(int width, int height) const {
    uint32_t mask = 0;
    for (int b = 0; b < kBlocks; ++b)
      if (left + b % 4 * kBlock < width && top + b / 4 * kBlock < height) mask |= 1u << b;
    return mask;
  }

  // Calls body(index in the tile, block by block; flat index in all images) for pixels in the image.
  template <class Body>
  void each(int width, int height, Body body) const {
    for (int b = 0; b < kBlocks; ++b)
      for (int i = 0; i < kLanes; ++i) {
        const int x = left + b % 4 * kBlock + i % kBlock, y = top + b / 4 * kBlock + i / kBlock;
        if (x < width && y < height) body(b * kLanes + i, (int64_t(camera) * height + y) * width + x);
      }
  }
};

template <class T>
GSR_INLINE Vec<T> block_dx(const Record<T>& r, const TilePixels<T>& p, int block) {
  return Vec<T>(r.x - (p.left + block % 4 * kBlock)) - Vec<T>::load(p.offset_x);
}
template <class T>
GSR_INLINE Vec<T> block_dy(const Record<T>& r, const TilePixels<T>& p, int block) {
  return Vec<T>(r.y - (p.top + block / 4 * kBlock)) - Vec<T>::load(p.offset_y);
}

template <class T>
const T* channels_of(const gsr_rasterization& a, const TileLists<T>& t, int32_t record) {
  if (a.channels <= kRecordChannels) return t.records[record].channels;
  return static_cast<const T*>(a.features) + int64_t(t.flat_ids[record]) * a.channels;
}

// kChannels is the number of channels where it is known at compile time, else 0; `colors` is scratch of 256 a channel.
template <class T, int kChannels>
void forward_tile(const gsr_rasterization& a, const Cutoffs<T>& cut, const TileLists<T>& t, int64_t tile, T* colors) {
  typedef Vec<T> V;
  const int channels = kChannels ? kChannels : a.channels;
  const TilePixels<T> pixels(t, tile);
  alignas(64) T through[kTilePixels];
  std::fill_n(through, kTilePixels, T(1));
  std::fill_n(colors, kTilePixels * channels, T(0));
  uint32_t alive = pixels.inside(a.width, a.height);
  int32_t at = t.offsets[tile];
  const int32_t end = t.offsets[tile + 1];
  for (; at < end && alive; ++at) {
    if (at + kPrefetch < end) __builtin_prefetch(&t.records[t.list[at + kPrefetch]]);
    const Record<T>& r = t.records[t.list[at]];
    const T* c = channels_of(a, t, t.list[at]);
    for (uint32_t todo = t.masks[at] & alive; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      T* T_block = through + kLanes * b;
      const Step<T> s = composite(cut, r, block_dx(r, pixels, b), block_dy(r, pixels, b), V::load(T_block));
      s.after.store(T_block);
      T* out = colors + kLanes * channels * b;
      for (int d = 0; d < channels; ++d) fma(s.weight, V(c[d]), V::load(out + kLanes * d)).store(out + kLanes * d);
      if (!any<T>(greater(s.after, V(T(0))))) alive &= ~(1u << b);
    }
  }
  t.last[tile] = at;
  T* image = static_cast<T*>(a.image);
  T* alphas = static_cast<T*>(a.alphas);
  const T* background = static_cast<const T*>(a.backgrounds);
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    const T left_over = fabs(through[i]);
    t.transmittances[flat] = left_over;
    alphas[flat] = 1 - left_over;
    const T* color = colors + i / kLanes * kLanes * channels + i % kLanes;
    for (int d = 0; d < channels; ++d)
      image[flat * channels + d] =
          color[kLanes * d] + (background ? left_over * background[pixels.camera * channels + d] : T(0));
  });
}

template <class T>
int64_t slot_width(const gsr_rasterization& a) {
  return kMoments + a.channels + (a.absgrad ? 2 : 0);
}

// Writes one row of sums for each intersection of the tile, in list order.
template <class T, int kChannels, bool kAbsolute>
void backward_tile(const gsr_rasterization& a, const Cutoffs<T>& cut, const TileLists<T>& t, int64_t tile, T* scratch) {
  typedef Vec<T> V;
  const int channels = kChannels ? kChannels : a.channels;
  const TilePixels<T> pixels(t, tile);
  alignas(64) T through[kTilePixels], remainder[kTilePixels];
  T *v_colors = scratch, *sums_c = scratch + kTilePixels * channels;
  std::fill_n(through, kTilePixels, T(1));
  std::fill_n(remainder, kTilePixels, T(0));
  std::fill_n(v_colors, kTilePixels * channels, T(0));
  const T *v_image = static_cast<const T*>(a.v_image), *v_alphas = static_cast<const T*>(a.v_alphas);
  const T* image = static_cast<const T*>(a.image);
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    T rest = -t.transmittances[flat] * v_alphas[flat];
    T* v = v_colors + i / kLanes * kLanes * channels + i % kLanes;
    for (int d = 0; d < channels; ++d) {
      v[kLanes * d] = v_image[flat * channels + d];
      rest += v_image[flat * channels + d] * image[flat * channels + d];
    }
    remainder[i] = rest;
  });
  const int64_t width = slot_width<T>(a);
  T* slots = static_cast<T*>(a.slots);
  uint32_t alive = pixels.inside(a.width, a.height);
  const int32_t end = t.last[tile];
  for (int32_t at = t.offsets[tile]; at < end; ++at) {
    if (at + kPrefetch < end) __builtin_prefetch(&t.records[t.list[at + kPrefetch]]);
    T* row = slots + at * width;
    uint32_t todo = t.masks[at] & alive;
    if (!todo) {
      std::fill_n(row, width, T(0));
      continue;
    }
    const Record<T>& r = t.records[t.list[at]];
    const T* c = channels_of(a, t, t.list[at]);
    // the conic of this splat, for the absolute gradient of each pixel
    const T unfold = T(1.3862943611198906188), ca = unfold * r.P * r.P, cb = -r.k * ca,
            cc = unfold * r.Q * r.Q - r.k * cb;
    V m[kMoments], absolute_x(T(0)), absolute_y(T(0));
    for (V& sum : m) sum = V(T(0));
    std::fill_n(sums_c, kLanes * channels, T(0));
    for (; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      T* T_block = through + kLanes * b;
      const Step<T> s = composite(cut, r, block_dx(r, pixels, b), block_dy(r, pixels, b), V::load(T_block));
      s.after.store(T_block);
      const T* v = v_colors + kLanes * channels * b;
      V cv(T(0));
      for (int d = 0; d < channels; ++d) {
        const V v_d = V::load(v + kLanes * d);
        cv = fma(V(c[d]), v_d, cv);
        fma(s.weight, v_d, V::load(sums_c + kLanes * d)).store(sums_c + kLanes * d);
      }
      const V rest = fnma(s.weight, cv, V::load(remainder + kLanes * b));
      rest.store(remainder + kLanes * b);
      const V v_alpha = fnma(rest, reciprocal(V(T(1)) - s.alpha), s.before * cv);
      const V vs = select<T>(s.capped, V(T(0)), s.alpha * v_alpha);
      const V vx = vs * s.dx, vy = vs * s.dy;
      m[0] = m[0] + vs, m[1] = m[1] + vx, m[2] = m[2] + vy;
      m[3] = fma(vx, s.dx, m[3]), m[4] = fma(vx, s.dy, m[4]), m[5] = fma(vy, s.dy, m[5]);
      if (kAbsolute) {
        const V gx = fma(V(ca), vx, V(cb) * vy), gy = fma(V(cb), vx, V(cc) * vy), zero(T(0));
        absolute_x = absolute_x + max(gx, zero - gx), absolute_y = absolute_y + max(gy, zero - gy);
      }
      if (!any<T>(greater(s.after, V(T(0))))) alive &= ~(1u << b);
    }
    for (int i = 0; i < kMoments; ++i) row[i] = sum(m[i]);
    for (int d = 0; d < channels; ++d) row[kMoments + d] = sum(V::load(sums_c + kLanes * d));
    if (kAbsolute) row[kMoments + channels] = sum(absolute_x), row[kMoments + channels + 1] = sum(absolute_y);
  }
  std::fill_n(slots + end * width, (t.offsets[tile + 1] - end) * width, T(0));
}

// Adds a record's rows in order of emission, whatever thread wrote them, and turns moments into gradients.
template <class T>
void reduce_record(const gsr_rasterization& a, const TileLists<T>& t, int64_t record, T* total) {
  const int64_t width = slot_width<T>(a), flat = t.flat_ids[record];
  const T* slots = static_cast<const T*>(a.slots);
  std::fill_n(total, width, T(0));
  for (int32_t e = t.first[record]; e < t.first[record + 1]; ++e) {
    if (e + 2 * kPrefetch < t.intersections) __builtin_prefetch(slots + t.positions[e + 2 * kPrefetch] * width);
    const T* row = slots + t.positions[e] * width;
    for (int64_t i = 0; i < width; ++i) total[i] += row[i];
  }
  const Record<T>& r = t.records[record];
  const T unfold = T(1.3862943611198906188);  // 2 / log2(e)
  const T ca = unfold * r.P * r.P, cb = -r.k * ca, cc = unfold * r.Q * r.Q - r.k * cb;
  T* v_mean = static_cast<T*>(a.v_means2d) + 2 * flat;
  v_mean[0] = -(ca * total[1] + cb * total[2]), v_mean[1] = -(cb * total[1] + cc * total[2]);
  T* v_conic = static_cast<T*>(a.v_conics) + 3 * flat;
  v_conic[0] = -total[3] / 2, v_conic[1] = -total[4], v_conic[2] = -total[5] / 2;
  static_cast<T*>(a.v_opacities)[flat] = total[0] / std::exp2(r.log2_opacity);
  T* v_features = static_cast<T*>(a.v_features) + flat * a.channels;
  for (int d = 0; d < a.channels; ++d) v_features[d] = total[kMoments + d];
  if (a.absgrad)
    for (int i = 0; i < 2; ++i) static_cast<T*>(a.v_absolute)[2 * flat + i] = total[kMoments + a.channels + i];
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

// Sixty-four byte aligned scratch for each worker.
template <class T>
class Scratch {
 public:
  Scratch(int workers, int64_t count) : count_((count + 15) / 16 * 16), memory_(workers * count_ + 16) {}
  T* of(int worker) {
    const auto base = (reinterpret_cast<uintptr_t>(memory_.data()) + 127) / 128 * 128;
    return reinterpret_cast<T*>(base) + worker * count_;
  }

 private:
  int64_t count_;
  std::vector<T> memory_;
};

template <class T>
void rasterize(gsr_rasterization& a) {
  const TileLists<T> t = build_tile_lists<T>(a);
  const Cutoffs<T> cut(a);
  Scratch<T> scratch(std::max(a.threads, 1), int64_t(kTilePixels) * a.channels + 128);
  with_channels(a.channels, [&](auto channels) {
    parallel_for(a.threads, t.tiles, [&](int64_t tile, int worker) {
      forward_tile<T, decltype(channels)::value>(a, cut, t, tile, scratch.of(worker));
    });
  });
}

template <class T>
void rasterize_vjp(gsr_rasterization& a) {
  const TileLists<T> t = tile_lists_of<T>(a);
  const Cutoffs<T> cut(a);
  Scratch<T> scratch(std::max(a.threads, 1), int64_t(kTilePixels + kLanes) * a.channels + 128);
  with_channels(a.channels, [&](auto channels) {
    parallel_for(a.threads, t.tiles, [&](int64_t tile, int worker) {
      auto run = a.absgrad ? backward_tile<T, decltype(channels)::value, true>
                           : backward_tile<T, decltype(channels)::value, false>;
      run(a, cut, t, tile, scratch.of(worker));
    });
  });
  const int64_t rows = a.C * a.N;
  std::fill_n(static_cast<T*>(a.v_means2d), 2 * rows, T(0));
  std::fill_n(static_cast<T*>(a.v_conics), 3 * rows, T(0));
  std::fill_n(static_cast<T*>(a.v_opacities), rows, T(0));
  std::fill_n(static_cast<T*>(a.v_features), rows * a.channels, T(0));
  if (a.absgrad) std::fill_n(static_cast<T*>(a.v_absolute), 2 * rows, T(0));
  Scratch<T> totals(std::max(a.threads, 1), slot_width<T>(a) + 128);
  constexpr int64_t range = 4096;
  parallel_for(a.threads, (t.visible + range - 1) / range, [&](int64_t chunk, int worker) {
    for (int64_t i = chunk * range; i < std::min(t.visible, (chunk + 1) * range); ++i)
      reduce_record(a, t, i, totals.of(worker));
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize(gsr_rasterization* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::rasterize<decltype(t)>(*args); });
}

int64_t gsr_slot_bytes(const gsr_rasterization* args) {
  const int64_t row = gsr::slot_width<double>(*args) * (args->is_double ? 8 : 4);
  return (args->intersections + 1) * row;
}

int32_t gsr_rasterize_vjp(gsr_rasterization* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::rasterize_vjp<decltype(t)>(*args); });
}
