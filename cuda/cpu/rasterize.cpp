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
constexpr int kMoments = 6;  // sums of vs, vs u, vs v, vs u^2, vs u v, vs v^2 with vs = alpha dL/dalpha

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

// What one splat does to one register of pixels.
template <class T>
struct Step {
  Vec<T> alpha, weight, before, after;
  typename Vec<T>::Mask capped, open;  // open: not finished after this splat
};

template <class T>
GSR_INLINE Step<T> composite(const Cutoffs<T>& cut, Vec<T> log2_opacity, Vec<T> u, Vec<T> v, Vec<T> before) {
  typedef Vec<T> V;
  Step<T> s;
  const V power = fnma(u, u, fnma(v, v, log2_opacity));
  const V raw = exp2(power);
  const V alpha = keep(at_least(power, cut.log2_alpha_min), min(raw, cut.alpha_max));
  const V taken = alpha * before, left = before - taken;
  // the splat that would take an open pixel to the cut is itself left out, and finishes the pixel; one that is finished
  // already is negative and so never passes
  s.open = greater(left, cut.transmittance_min);
  s.capped = greater(raw, cut.alpha_max);
  s.alpha = keep(s.open, alpha), s.weight = keep(s.open, taken);
  s.before = before, s.after = select(s.open, left, negative(before));
  return s;
}

constexpr int kBlockPixels = kBlock * kBlock;

// Places of the registers of a tile: register `part` of block b holds the pixels from (x, y)[b * parts + part] on.
template <class T>
struct Places {
  static constexpr int width = Vec<T>::width, parts = kBlockPixels / width;
  T x[kBlocks * parts], y[kBlocks * parts];
  alignas(64) T lane_x[width], lane_y[width];

  constexpr Places() : x(), y(), lane_x(), lane_y() {
    for (int i = 0; i < kBlocks * parts; ++i) {
      const int block = i / parts, first = i % parts * width;
      x[i] = T(block % 4 * kBlock + first % kBlock), y[i] = T(block / 4 * kBlock + first / kBlock);
    }
    for (int i = 0; i < width; ++i) lane_x[i] = T(i % kBlock) + T(0.5), lane_y[i] = T(i / kBlock) + T(0.5);
  }
};
template <class T>
constexpr Places<T> kPlaces{};

// A record in the coordinates of a tile: alpha = 2^(log2_opacity - u^2 - v^2) with u, v affine in the pixel.
template <class T>
struct Local {
  Vec<T> u0, v0, P, Pk, Q, log2_opacity;

  GSR_INLINE Local(const Record<T>& r, T left, T top) : P(r.P), Pk(r.P * r.k), Q(r.Q), log2_opacity(r.log2_opacity) {
    const T dx = r.x - left, dy = r.y - top;
    const Vec<T> lane_x = Vec<T>::load(kPlaces<T>.lane_x), lane_y = Vec<T>::load(kPlaces<T>.lane_y);
    u0 = P * (Vec<T>(dx) - lane_x - Vec<T>(r.k) * (Vec<T>(dy) - lane_y));
    v0 = Q * (Vec<T>(dy) - lane_y);
  }
  GSR_INLINE Vec<T> u(int place) const {
    return fma(Pk, Vec<T>(kPlaces<T>.y[place]), fnma(P, Vec<T>(kPlaces<T>.x[place]), u0));
  }
  GSR_INLINE Vec<T> v(int place) const { return fnma(Q, Vec<T>(kPlaces<T>.y[place]), v0); }
};

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

  // Calls body(index in the tile, block by block; flat index in all images) for pixels in the image.
  template <class Body>
  void each(int width, int height, Body body) const {
    const int columns = std::min(kTile, width - left), rows = std::min(kTile, height - top);
    for (int y = 0; y < rows; ++y)
      for (int x = 0; x < columns; ++x)
        body((y / kBlock * 4 + x / kBlock) * kBlockPixels + y % kBlock * kBlock + x % kBlock,
             (int64_t(camera) * height + top + y) * width + left + x);
  }
};

template <class T>
const T* channels_of(const gsr_rasterization& a, const TileLists<T>& t, int32_t record) {
  if (a.channels <= kRecordChannels) return t.records[record].channels;
  return static_cast<const T*>(a.features) + int64_t(t.flat_ids[record]) * a.channels;
}

// kChannels is the number of channels where it is known at compile time, else 0; `colors` is scratch of 256 a channel,
// block by block and there channel by channel.
template <class T, int kChannels>
void forward_tile(const gsr_rasterization& a, const Cutoffs<T>& cut, const TileLists<T>& t, int64_t tile, T* colors) {
  typedef Vec<T> V;
  constexpr int parts = Places<T>::parts;
  const int channels = kChannels ? kChannels : a.channels;
  const TilePixels pixels(t, tile);
  alignas(64) T through[kTilePixels];
  std::fill_n(through, kTilePixels, cut.outside);
  pixels.each(a.width, a.height, [&](int i, int64_t) { through[i] = T(1); });
  std::fill_n(colors, kTilePixels * channels, T(0));
  uint32_t alive = pixels.inside(a.width, a.height);
  int32_t at = t.offsets[tile];
  const int32_t end = t.offsets[tile + 1];
  for (; at < end && alive; ++at) {
    if (at + kPrefetch < end) __builtin_prefetch(&t.records[t.list[at + kPrefetch]]);
    uint32_t todo = t.masks[at] & alive;
    if (!todo) continue;
    const Local<T> splat(t.records[t.list[at]], T(pixels.left), T(pixels.top));
    const T* c = channels_of(a, t, t.list[at]);
    for (; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      T *T_block = through + kBlockPixels * b, *out = colors + kBlockPixels * channels * b;
      uint32_t open = 0;
#pragma GCC unroll 16
      for (int part = 0; part < parts; ++part) {
        const int place = b * parts + part;
        const Step<T> s =
            composite(cut, splat.log2_opacity, splat.u(place), splat.v(place), V::load(T_block + V::width * part));
        s.after.store(T_block + V::width * part);
        for (int d = 0; d < channels; ++d) {
          T* sum = out + kBlockPixels * d + V::width * part;
          fma(s.weight, V(c[d]), V::load(sum)).store(sum);
        }
        open |= bits<T>(s.open);
      }
      if (!open) alive &= ~(1u << b);
    }
  }
  t.last[tile] = at;
  T* image = static_cast<T*>(a.image);
  T* alphas = static_cast<T*>(a.alphas);
  const T* background = static_cast<const T*>(a.backgrounds);
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    const T left_over = std::fabs(through[i]);
    t.transmittances[flat] = left_over;
    alphas[flat] = 1 - left_over;
    const T* color = colors + i / kBlockPixels * kBlockPixels * channels + i % kBlockPixels;
    for (int d = 0; d < channels; ++d)
      image[flat * channels + d] =
          color[kBlockPixels * d] + (background ? left_over * background[pixels.camera * channels + d] : T(0));
  });
}

template <class T>
int64_t slot_width(const gsr_rasterization& a) {
  return kMoments + a.channels + (a.absgrad ? 2 : 0);
}

constexpr double kUnfold = 1.3862943611198906188;  // 2 ln 2: of the exponent's gradient

// Writes one row of sums for each intersection of the tile, in list order.
template <class T, int kChannels, bool kAbsolute>
void backward_tile(const gsr_rasterization& a, const Cutoffs<T>& cut, const TileLists<T>& t, int64_t tile, T* scratch) {
  typedef Vec<T> V;
  constexpr int parts = Places<T>::parts;
  const int channels = kChannels ? kChannels : a.channels;
  const TilePixels pixels(t, tile);
  alignas(64) T through[kTilePixels], remainder[kTilePixels];
  T* v_colors = scratch;
  // sums over the pixels of a splat, lane by lane: moments, channels, absolute gradient
  V known_sums[(kMoments + kChannels + 2 + V::width - 1) / V::width * V::width];
  V* sums_of = kChannels ? known_sums : reinterpret_cast<V*>(scratch + kTilePixels * channels);
  std::fill_n(sums_of, (slot_width<T>(a) + V::width - 1) / V::width * V::width, V(T(0)));
  std::fill_n(through, kTilePixels, cut.outside);
  std::fill_n(remainder, kTilePixels, T(0));
  std::fill_n(v_colors, kTilePixels * channels, T(0));
  const T *v_image = static_cast<const T*>(a.v_image), *v_alphas = static_cast<const T*>(a.v_alphas);
  const T* image = static_cast<const T*>(a.image);
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    through[i] = T(1);
    T rest = -t.transmittances[flat] * v_alphas[flat];
    T* v = v_colors + i / kBlockPixels * kBlockPixels * channels + i % kBlockPixels;
    for (int d = 0; d < channels; ++d) {
      v[kBlockPixels * d] = v_image[flat * channels + d];
      rest += v_image[flat * channels + d] * image[flat * channels + d];
    }
    remainder[i] = rest;
  });
  const int width = static_cast<int>(slot_width<T>(a));
  T* slots = static_cast<T*>(a.slots);
  uint32_t alive = pixels.inside(a.width, a.height);
  const int32_t end = t.last[tile];
  for (int32_t at = t.offsets[tile]; at < end; ++at) {
    if (at + kPrefetch < end) __builtin_prefetch(&t.records[t.list[at + kPrefetch]]);
    T* row = slots + int64_t(at) * width;
    uint32_t todo = t.masks[at] & alive;
    if (!todo) {
      std::fill_n(row, width, T(0));
      continue;
    }
    const Record<T>& r = t.records[t.list[at]];
    const Local<T> splat(r, T(pixels.left), T(pixels.top));
    const T* c = channels_of(a, t, t.list[at]);
    for (int i = 0; i < width; ++i) sums_of[i] = V(T(0));
    V m[kMoments];
    for (V& moment : m) moment = V(T(0));
    for (; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      T *T_block = through + kBlockPixels * b, *R_block = remainder + kBlockPixels * b;
      uint32_t open = 0;
#pragma GCC unroll 16
      for (int part = 0; part < parts; ++part) {
        const V u = splat.u(b * parts + part), v = splat.v(b * parts + part);
        const Step<T> s = composite(cut, splat.log2_opacity, u, v, V::load(T_block + V::width * part));
        s.after.store(T_block + V::width * part);
        const T* v_block = v_colors + kBlockPixels * channels * b + V::width * part;
        V cv(T(0));
        for (int d = 0; d < channels; ++d) {
          const V v_d = V::load(v_block + kBlockPixels * d);
          cv = fma(V(c[d]), v_d, cv);
          sums_of[kMoments + d] = fma(s.weight, v_d, sums_of[kMoments + d]);
        }
        const V rest = fnma(s.weight, cv, V::load(R_block + V::width * part));
        rest.store(R_block + V::width * part);
        const V v_alpha = fnma(rest, reciprocal(V(T(1)) - s.alpha), s.before * cv);
        const V vs = drop(s.capped, s.alpha * v_alpha), vu = vs * u, vv = vs * v;
        m[0] = m[0] + vs, m[1] = m[1] + vu, m[2] = m[2] + vv;
        m[3] = fma(vu, u, m[3]), m[4] = fma(vu, v, m[4]), m[5] = fma(vv, v, m[5]);
        if (kAbsolute) {
          V* sum = sums_of + kMoments + channels;
          sum[0] = sum[0] + absolute(splat.P * vu), sum[1] = sum[1] + absolute(fnma(splat.Pk, vu, splat.Q * vv));
        }
        open |= bits<T>(s.open);
      }
      if (!open) alive &= ~(1u << b);
    }
    for (int i = 0; i < kMoments; ++i) sums_of[i] = m[i];
    sums(sums_of, width, row);
  }
  std::fill_n(slots + int64_t(end) * width, int64_t(t.offsets[tile + 1] - end) * width, T(0));
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
  const T unfold = T(kUnfold);
  T* v_mean = static_cast<T*>(a.v_means2d) + 2 * flat;
  v_mean[0] = -unfold * r.P * total[1], v_mean[1] = -unfold * (r.Q * total[2] - r.k * r.P * total[1]);
  // dx = u / P + k v / Q, dy = v / Q
  const T x_u = 1 / r.P, y_v = 1 / r.Q, x_v = r.k * y_v;
  T* v_conic = static_cast<T*>(a.v_conics) + 3 * flat;
  v_conic[0] = (x_u * x_u * total[3] + 2 * x_u * x_v * total[4] + x_v * x_v * total[5]) / -2;
  v_conic[1] = -y_v * (x_u * total[4] + x_v * total[5]);
  v_conic[2] = y_v * y_v * total[5] / -2;
  static_cast<T*>(a.v_opacities)[flat] = total[0] / std::exp2(r.log2_opacity);
  T* v_features = static_cast<T*>(a.v_features) + flat * a.channels;
  for (int d = 0; d < a.channels; ++d) v_features[d] = total[kMoments + d];
  if (a.absgrad)
    for (int i = 0; i < 2; ++i) static_cast<T*>(a.v_absolute)[2 * flat + i] = unfold * total[kMoments + a.channels + i];
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
  Scratch<T> scratch(std::max(a.threads, 1), int64_t(kTilePixels + kBlockPixels) * a.channels + 128 +
                                                 kBlockPixels * (kMoments + 2 + kBlockPixels));
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
