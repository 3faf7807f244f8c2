// Gradient of compositing: the forward walk again, front to back with the same inlined step, so every skip and every
// cut is decided by the same bits. A pixel needs one scalar besides T: the remainder R = v . (what is still to come,
// background and alpha included), from which dL/dalpha = T (c . v) - R / (1 - alpha). A run of splats at a time, each
// is summed over the warp's pixels and goes to the splat's row of sums: by atomic additions, or, where runs must repeat
// to the bit, to a slot of each intersection and sub-tile that a second pass adds up.
#include "slots.h"
#include "transposed.h"
#include "wide.h"

namespace gsr {
namespace {

constexpr int kThreads = 256;
// Blocks of a walk that a processor's shared memory has room for: registers shall not be what keeps some out.
template <class T>
constexpr int least_blocks(bool is_smallest) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 900
  return sizeof(T) == 4 ? 12 + is_smallest : 1;
#else
  return sizeof(T) == 4 ? 8 : 1;
#endif
}

// Where the sums of a splat go, by its place in the list.
template <class T, bool kFixedOrder>
struct Sums {
  T* rows;
  int64_t width;

  GSR_DEVICE T* row(const TileLists<T>& t, int32_t position, int sub) const {
    return rows + width * (kFixedOrder ? slot_of(position, sub) : int64_t(t.list[position] & kRecordMask));
  }
  GSR_DEVICE static void add(T* row, int column, const T* four) {
    put(reinterpret_cast<Four<T>*>(row + column), Four<T>{four[0], four[1], four[2], four[3]});
  }
  // One number or four.
  template <class Value>
  GSR_DEVICE static void put(Value* to, Value value) {
    if (kFixedOrder)
      *to = value;
    else
      atomic_add(to, value);
  }
};

template <class T>
struct PixelGradient {
  T transmittance, remainder;

  GSR_DEVICE PixelGradient(const gsr_rasterization& a, const TileLists<T>& t, const SubTile<T>& pixel)
      : transmittance(pixel.transmittance()), remainder(0) {
    if (!pixel.inside) return;
    if (a.v_alphas) remainder = -t.transmittances[pixel.flat] * input<T>(a.v_alphas)[pixel.flat];
    const T *v_image = input<T>(a.v_image) + pixel.flat * a.channels,
            *image = input<T>(a.image) + pixel.flat * a.channels;
    for (int d = 0; d < a.channels; ++d) remainder += v_image[d] * image[d];
  }
  // One splat: vs of blend_vjp, and its weight; both 0 where it does not reach the pixel or the pixel is finished.
  // `cv`: its channels times the pixel's gradient.
  GSR_DEVICE Two<T> replay(const PixelCuts<T>& cuts, T power, T cv) {
    const bool reaches = power >= cuts.log2_alpha_min;
    const T before = transmittance, raw = reaches ? exp2_of(power) : T(0);
    cv = reaches ? cv : T(0);  // which need not be finite
    const Blended<T> b = blend(cuts, raw, before);
    transmittance = b.transmittance;
    return {blend_vjp(cuts, raw, b, before, cv, reciprocal(1 - b.alpha), remainder), b.weight};
  }
};

// The lanes' splats, those in `touched` that belong to the run, go to their rows of sums.
template <int kChannels, bool kAbsolute, class T, bool kFixedOrder>
GSR_DEVICE void add_run(const TileLists<T>& t, const SubTile<T>& pixel, const Walk<T>& walk, int run, uint32_t touched,
                        const Transposed<T>& table, const Sums<T, kFixedOrder>& sums) {
  const int splat = lane_index() % kRun, share = lane_index() / kRun;
  const bool wanted = splat < run && touched >> splat & 1;
  T values[kSums + kNarrow];
  const T left = pixel.x - T(lane_index() % kSubWidth), top = pixel.y - T(lane_index() / kSubWidth);
  sums_of_lane<T, kChannels, kAbsolute>(table, walk.record(splat).shape, left, top, values);
  bool nothing = !kFixedOrder;
  for (int i = 0; i < kSums + kNarrow; ++i) nothing &= values[i] == 0;
  if (!wanted || nothing) return;
  T* row = sums.row(t, walk.position(splat), pixel.sub);
  if (share == 0)
    sums.add(row, 0, values);
  else
    sums.add(row, 4, values + 4);
  if (kChannels && share == kShares - 1) sums.add(row, kSums, values + kSums);
}

// Few channels, from the records.
template <class T, int kChannels, bool kAbsolute, bool kFixedOrder>
GSR_KERNEL(kWalkThreads, least_blocks<T>(kChannels == 3 && !kAbsolute && !kFixedOrder))
backward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, Sums<T, kFixedOrder> sums) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  GSR_SHARED Transposed<T> tables[kWalkWarps];
  const SubTile<T> pixel(a, t);
  if (pixel.tile >= t.tiles) return;
  Transposed<T>& table = tables[warp_index()];
  PixelGradient<T> gradient(a, t, pixel);
  T v[kNarrow] = {};
  for (int d = 0; d < kChannels; ++d)
    if (pixel.inside && d < a.channels) v[d] = input<T>(a.v_image)[pixel.flat * a.channels + d];
  table.gradients[lane_index() / kSharePixels][lane_index() % kSharePixels] = {v[0], v[1], v[2], v[3]};
  Walk<T> walk(t, rings[warp_index()], pixel, t.last[pixel.tile * kSubTiles + pixel.sub]);
  for (int run; (run = walk.next()) > 0;) {
    uint32_t touched = 0;
    GSR_UNROLL
    for (int i = 0; i < kRun; i += 2) {  // two at a time, as their exponents do not wait for one another
      if (i >= run) break;
      const T powers[2] = {walk.power(i, pixel), walk.power(i + 1, pixel)};
      const bool here = gradient.transmittance > 0 && max(powers[0], powers[1]) >= cuts.log2_alpha_min;
      if (!warp_any(here) && !kFixedOrder) continue;
      touched |= 3u << i;
      for (int j = 0; j < 2; ++j) {
        const T* c = walk.record(i + j).channels;
        T cv = 0;
        for (int d = 0; d < kChannels; ++d) cv = d ? fma(c[d], v[d], cv) : c[d] * v[d];
        table.put(i + j, gradient.replay(cuts, powers[j], cv));
      }
    }
    warp_sync();
    if (touched) add_run<kChannels, kAbsolute>(t, pixel, walk, run, touched, table, sums);
  }
  copy_wait<0>();
}

// Adds to the products of channels and the pixel's gradient those of the run's channels in `wide`.
template <bool kFours, class T>
GSR_DEVICE void add_products(const gsr_rasterization& a, const SubTile<T>& pixel, const Wide<T>& wide, int first,
                             int width, T (&products)[kRun]) {
  const T* v_image = input<T>(a.v_image) + pixel.flat * a.channels + first;
  GSR_NO_UNROLL
  for (int d = 0; d < width; d += 4) {
    T v[4] = {};
    if (pixel.inside && kFours) read_four(v_image + d, v);
    for (int j = 0; j < 4; ++j)
      if (pixel.inside && !kFours && first + d + j < a.channels) v[j] = v_image[d + j];
    for (int i = 0; i < kRun; ++i) {
      T c[4];
      read_four(&wide.features[i][d], c);
      for (int j = 0; j < 4; ++j) products[i] = fma(c[j], v[j], products[i]);
    }
  }
}

// Channel gradients of the run's splats: lanes are channels, two of them where there are so many.
template <class T, bool kFixedOrder>
GSR_DEVICE void add_channels(const gsr_rasterization& a, const TileLists<T>& t, const SubTile<T>& pixel,
                             const Walk<T>& walk, uint32_t touched, const Transposed<T>& table,
                             const Sums<T, kFixedOrder>& sums) {
  constexpr int kPixels = 4, kEach = 2;  // at a time, as many as there are registers for
  for (int first = 0; first < a.channels; first += kEach * kWarp) {
    const int channel = first + lane_index();
    const bool valid[kEach] = {channel < a.channels, channel + kWarp < a.channels};
    T found[kRun][kEach] = {};
    for (int pixels = 0; pixels < kWarp; pixels += kPixels) {
      T v[kEach][kPixels];
      for (int p = 0; p < kPixels; ++p) {
        const int64_t flat = pixel.flat_of(a, pixels + p);
        for (int e = 0; e < kEach; ++e)
          v[e][p] = valid[e] && flat >= 0 ? input<T>(a.v_image)[flat * a.channels + channel + e * kWarp] : T(0);
      }
      GSR_UNROLL
      for (int i = 0; i < kRun; ++i) {
        if (!(touched >> i & 1)) continue;
        for (int p = 0; p < kPixels; p += 4) {
          T weights[4];
          read_four(&table.weights[i][pixels + p], weights);
          for (int j = 0; j < 4; ++j)
            for (int e = 0; e < kEach; ++e) found[i][e] = fma(weights[j], v[e][p + j], found[i][e]);
        }
      }
    }
    GSR_UNROLL
    for (int i = 0; i < kRun; ++i) {
      if (!(touched >> i & 1)) continue;
      T* to = sums.row(t, walk.position(i), pixel.sub) + kSums + channel;
      for (int e = 0; e < kEach; ++e)
        if (valid[e]) sums.put(to + e * kWarp, found[i][e]);
    }
  }
}

// Any number of channels, from their own array.
template <class T, bool kAbsolute, bool kFixedOrder>
GSR_KERNEL(kWalkThreads, 8)
backward_wide_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, Sums<T, kFixedOrder> sums) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  GSR_SHARED Transposed<T> tables[kWalkWarps];
  GSR_SHARED Wide<T> wides[kWalkWarps];
  const SubTile<T> pixel(a, t);
  if (pixel.tile >= t.tiles) return;
  Transposed<T>& table = tables[warp_index()];
  Wide<T>& wide = wides[warp_index()];
  PixelGradient<T> gradient(a, t, pixel);
  Walk<T> walk(t, rings[warp_index()], pixel, t.last[pixel.tile * kSubTiles + pixel.sub]);
  for (int run; (run = walk.next()) > 0;) {
    T products[kRun] = {};
    for (int first = 0; first < a.channels; first += kWide) {
      const int bits = width_bits(a.channels, first);
      const bool fours = by_four(a.channels, first);
      fours ? bring_features<true>(a, walk, first, bits, wide) : bring_features<false>(a, walk, first, bits, wide);
      copy_wait<0>();
      warp_sync();
      fours ? add_products<true>(a, pixel, wide, first, 1 << bits, products)
            : add_products<false>(a, pixel, wide, first, 1 << bits, products);
      warp_sync();
    }
    uint32_t touched = 0;
    GSR_UNROLL
    for (int i = 0; i < kRun; ++i) {  // no loop, so that products are registers
      if (i >= run) continue;
      const T power = walk.power(i, pixel);
      const bool here = warp_any(gradient.transmittance > 0 && power >= cuts.log2_alpha_min);
      touched |= uint32_t(here || kFixedOrder) << i;
      table.put(i, gradient.replay(cuts, power, products[i]));
    }
    warp_sync();
    if (!touched) continue;
    add_run<0, kAbsolute>(t, pixel, walk, run, touched, table, sums);
    warp_sync();
    add_channels(a, t, pixel, walk, touched, table, sums);
  }
  copy_wait<0>();
}

// Turns rows of sums into gradients, for every splat: 0 where it has no record.
template <class T>
GSR_KERNEL(kThreads)
finish_kernel(gsr_rasterization a, TileLists<T> t, const T* rows, int64_t width) {
  const int64_t flat = block_index() * kThreads + thread_index();
  if (flat >= a.C * a.N) return;
  const int32_t place = t.places[flat];
  T v_mean[2] = {}, v_conic[3] = {}, v_opacity = 0, absolute[2] = {}, channels[kNarrow] = {};
  if (place >= 0) {
    T row[kSums + kNarrow];
    for (int i = 0; i < kSums + kNarrow; i += 4) {
      T four[4];
      read_four(rows + place * width + i, four);
      for (int j = 0; j < 4; ++j) row[i + j] = four[j];
    }
    const Shape<T>& shape = t.records[place].shape;
    splat_vjp(shape, exp2(-shape.log2_opacity), row, v_mean, v_conic, &v_opacity);
    for (int i = 0; i < 2; ++i) absolute[i] = T(kUnfold) * row[kMoments + i];
    for (int i = 0; i < kNarrow; ++i) channels[i] = row[kSums + i];
  }
  for (int i = 0; i < 2; ++i) output<T>(a.v_means2d)[2 * flat + i] = v_mean[i];
  for (int i = 0; i < 3; ++i) output<T>(a.v_conics)[3 * flat + i] = v_conic[i];
  output<T>(a.v_opacities)[flat] = v_opacity;
  if (a.absgrad)
    for (int i = 0; i < 2; ++i) output<T>(a.v_absolute)[2 * flat + i] = absolute[i];
  if (a.channels <= kNarrow)
    for (int d = 0; d < kNarrow; ++d)
      if (d < a.channels) output<T>(a.v_features)[flat * a.channels + d] = channels[d];
}

// The channels of rows of sums, where there are many.
template <class T>
GSR_KERNEL(kThreads)
finish_channels_kernel(gsr_rasterization a, TileLists<T> t, const T* rows, int64_t width) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i >= a.C * a.N * a.channels) return;
  const int64_t flat = quotient(i, a.channels);
  const int32_t place = t.places[flat];
  output<T>(a.v_features)[i] = place >= 0 ? rows[place * width + kSums + i - flat * a.channels] : T(0);
}

template <bool kAbsolute, class T, bool kFixedOrder>
void backward(const gsr_rasterization& a, const TileLists<T>& t, const Sums<T, kFixedOrder>& sums) {
  const PixelCuts<T> cuts = pixel_cuts<T>(a);
  auto run = [&](auto kernel) { launch(kernel, walk_blocks(t), kWalkThreads, stream(), a, t, cuts, sums); };
  if (a.channels <= 3) return run(backward_kernel<T, 3, kAbsolute, kFixedOrder>);
  if (a.channels <= kNarrow) return run(backward_kernel<T, kNarrow, kAbsolute, kFixedOrder>);
  run(backward_wide_kernel<T, kAbsolute, kFixedOrder>);
}

template <class T, bool kFixedOrder>
void add_up(const gsr_rasterization& a, const TileLists<T>& t, const Sums<T, kFixedOrder>& sums) {
  a.absgrad ? backward<true>(a, t, sums) : backward<false>(a, t, sums);
}

template <class T>
void rasterize_vjp(gsr_rasterization& a) {
  const TileLists<T> t = tile_lists_of<T>(a);
  const int64_t width = sums_width(a.channels);
  T* rows = nullptr;
  if (session().deterministic) {
    if (!a.depths) throw std::invalid_argument("repeatable sums: turn deterministic algorithms on before the drawing");
    T* slots = scratch<T>(t.intersections * kSubTiles * width);
    add_up(a, t, Sums<T, true>{slots, width});
    rows = scratch<T>(t.visible * width);
    add_slots(a, t, slots, rows, width);
  } else {
    rows = zeros<T>(t.visible * width);
    add_up(a, t, Sums<T, false>{rows, width});
  }
  launch(finish_kernel<T>, blocks_for(a.C * a.N, kThreads), kThreads, stream(), a, t, static_cast<const T*>(rows),
         width);
  if (a.channels > kNarrow)
    launch(finish_channels_kernel<T>, blocks_for(a.C * a.N * a.channels, kThreads), kThreads, stream(), a, t,
           static_cast<const T*>(rows), width);
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize_vjp(gsr_rasterization* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::rasterize_vjp<decltype(t)>(*args); });
}
