// Gradient of compositing: the forward walk again, front to back with the same inlined step, so every skip and every
// cut is decided by the same bits. A pixel needs one scalar besides T: the remainder R = v . (what is still to come,
// background and alpha included), from which dL/dalpha = T (c . v) - R / (1 - alpha). A run of splats at a time, each
// is summed over the warp's pixels and goes to the splat's row of sums: by atomic additions, or, where runs must repeat
// to the bit, to a slot of each intersection and patch that a second pass adds up.
#include "slots.h"
#include "transposed.h"

namespace gsr {
namespace {

constexpr int kThreads = 256;

// Where the sums of a splat go, by its place in the list.
template <class T>
struct Sums {
  T* rows;
  int64_t width;
  bool is_fixed_order;

  GSR_DEVICE T* row(const TileLists<T>& t, int32_t position, int patch) const {
    return rows + width * (is_fixed_order ? slot_of(position, patch) : int64_t(t.list[position] & kRecordMask));
  }
  GSR_DEVICE void add(T* row, int column, const T* four) const {
    Four<T>* to = reinterpret_cast<Four<T>*>(row + column);
    const Four<T> values = {four[0], four[1], four[2], four[3]};
    if (is_fixed_order)
      *to = values;
    else
      atomic_add(to, values);
  }
};

template <class T>
struct PixelGradient {
  T through, remainder;

  PixelGradient() = default;
  GSR_DEVICE PixelGradient(const gsr_rasterization& a, const TileLists<T>& t, const Patch<T>& patch, int half)
      : through(patch.through(half)), remainder(0) {
    if (!patch.inside[half]) return;
    const int64_t flat = patch.flat[half];
    remainder = -t.transmittances[flat] * input<T>(a.v_alphas)[flat];
    const T *v_image = input<T>(a.v_image) + flat * a.channels, *image = input<T>(a.image) + flat * a.channels;
    for (int d = 0; d < a.channels; ++d) remainder += v_image[d] * image[d];
  }
  // One splat: vs of blend_vjp, and its weight; both 0 where it does not reach the pixel or the pixel is finished.
  // `cv`: its channels times the pixel's gradient.
  GSR_DEVICE Two<T> replay(const PixelCuts<T>& cuts, T power, T cv) {
    const bool reaches = power >= cuts.log2_alpha_min;
    const T before = through, raw = reaches ? exp2_of(power) : T(0);
    cv = reaches ? cv : T(0);  // which need not be finite
    T alpha;
    const T weight = blend(cuts, raw, alpha, through);
    return {blend_vjp(cuts, raw, alpha, weight, before, cv, reciprocal(1 - alpha), remainder), weight};
  }
};

// The lanes' splats, those in `touched`, go to their rows of sums.
template <class T, int kChannels, bool kAbsolute>
GSR_DEVICE void add_run(const TileLists<T>& t, const Patch<T>& patch, const Walk<T>& walk, uint32_t touched,
                        const Transposed<T>& table, const Sums<T>& sums) {
  const int splat = lane_index() % kRun, share = lane_index() / kRun;
  T values[kSums + 4];
  const T left = patch.x - T(lane_index() % kPatchSide), top = patch.y[0] - T(lane_index() / kPatchSide);
  sums_of_lane<T, kChannels, kAbsolute>(table, walk.record(splat).shape, left, top, values);
  if (!(touched >> splat & 1)) return;
  T* row = sums.row(t, walk.position(splat), patch.index);
  if (share == 0) sums.add(row, 0, values);
  if (share == 1) sums.add(row, 4, values + 4);
  if (kChannels && share == 2) sums.add(row, kSums, values + kSums);
}

// Few channels, from the records.
template <class T, int kChannels, bool kAbsolute>
GSR_KERNEL(kWalkThreads)
backward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, Sums<T> sums) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  GSR_SHARED Transposed<T> tables[kWalkWarps];
  const Patch<T> patch(a, t);
  if (patch.tile >= t.tiles) return;
  Transposed<T>& table = tables[warp_index()];
  PixelGradient<T> gradients[kHalves];
  T v[kHalves][kChannels] = {};
  for (int half = 0; half < kHalves; ++half) {
    gradients[half] = PixelGradient<T>(a, t, patch, half);
    for (int d = 0; d < kChannels; ++d) {
      if (patch.inside[half] && d < a.channels) v[half][d] = input<T>(a.v_image)[patch.flat[half] * a.channels + d];
      table.gradients[d][half * kWarp + lane_index()] = v[half][d];
    }
  }
  Walk<T> walk(t, rings[warp_index()], patch, t.last[patch.tile * kPatches + patch.index]);
  for (int run; (run = walk.next()) > 0;) {
    uint32_t touched = 0;
    for (int i = 0; i < run; ++i) {
      const Record<T>& r = walk.record(i);
      T powers[kHalves];
      patch.powers(r.shape, powers);
      bool any[kHalves];
      for (int half = 0; half < kHalves; ++half)
        any[half] = warp_any(gradients[half].through > 0 && powers[half] >= cuts.log2_alpha_min);
      if (!(any[0] || any[1] || sums.is_fixed_order)) continue;
      touched |= 1u << i;
      for (int half = 0; half < kHalves; ++half) {
        Two<T> values = {};
        if (any[half]) {
          T cv = 0;
          for (int d = 0; d < kChannels; ++d) cv = d ? fma(r.channels[d], v[half][d], cv) : r.channels[d] * v[half][d];
          values = gradients[half].replay(cuts, powers[half], cv);
        }
        table.put(i, half, values);
      }
    }
    warp_sync();
    if (touched) add_run<T, kChannels, kAbsolute>(t, patch, walk, touched, table, sums);
  }
  copy_wait<0>();
}

constexpr int kChunk = 8;  // channels at a time where there are many

// Adds channels `first` to first + kChunk of the run's splats, times the pixels' gradients. kFours: all of them, four
// by four.
template <bool kFours, class T>
GSR_DEVICE void add_products(const gsr_rasterization& a, const Patch<T>& patch, int32_t own_flat, int first,
                             T (&products)[kRun][kHalves]) {
  T v[kHalves][kChunk] = {};
  for (int half = 0; half < kHalves; ++half) {
    const T* v_image = input<T>(a.v_image) + patch.flat[half] * a.channels + first;
    if (!patch.inside[half]) continue;
    for (int d = 0; d < kChunk; d += 4) {
      T four[4] = {};
      if (kFours) read_four(v_image + d, four);
      for (int j = 0; j < 4; ++j) {
        if (!kFours && first + d + j < a.channels) four[j] = v_image[d + j];
        v[half][d + j] = four[j];
      }
    }
  }
  for (int i = 0; i < kRun; ++i) {
    const T* features = input<T>(a.features) + int64_t(shuffle(own_flat, i)) * a.channels + first;
    for (int d = 0; d < kChunk; d += 4) {
      T c[4] = {};
      if (kFours) read_four(features + d, c);
      for (int j = 0; j < 4; ++j) {
        if (!kFours && first + d + j < a.channels) c[j] = features[d + j];
        for (int half = 0; half < kHalves; ++half) products[i][half] = fma(c[j], v[half][d + j], products[i][half]);
      }
    }
  }
}

// Channel gradients of the run's splats: lanes are channels, two of them where there are so many.
template <class T>
GSR_DEVICE void add_channels(const gsr_rasterization& a, const TileLists<T>& t, const Patch<T>& patch,
                             const Walk<T>& walk, uint32_t touched, const Transposed<T>& table, const Sums<T>& sums) {
  constexpr int kPixels = 16, kEach = 2;  // at a time, as many as there are registers for
  for (int first = 0; first < a.channels; first += kEach * kWarp) {
    const int channel = first + lane_index();
    T found[kRun][kEach] = {};
    for (int pixel = 0; pixel < kPatchPixels; pixel += kPixels) {
      T v[kEach][kPixels];
      for (int p = 0; p < kPixels; ++p) {
        const int half = pixel / kWarp;
        const int64_t flat = shuffle(patch.inside[half] ? patch.flat[half] : int64_t(-1), (pixel + p) % kWarp);
        for (int e = 0; e < kEach; ++e) {
          const bool valid = flat >= 0 && channel + e * kWarp < a.channels;
          v[e][p] = valid ? input<T>(a.v_image)[flat * a.channels + channel + e * kWarp] : T(0);
        }
      }
      GSR_UNROLL
      for (int i = 0; i < kRun; ++i) {
        if (!(touched >> i & 1)) continue;
        for (int p = 0; p < kPixels; p += 4) {
          T weights[4];
          read_four(&table.weights[i][pixel + p], weights);
          for (int j = 0; j < 4; ++j)
            for (int e = 0; e < kEach; ++e) found[i][e] = fma(weights[j], v[e][p + j], found[i][e]);
        }
      }
    }
    GSR_UNROLL
    for (int i = 0; i < kRun; ++i) {
      if (!(touched >> i & 1)) continue;
      T* to = sums.row(t, walk.position(i), patch.index) + kSums + channel;
      for (int e = 0; e < kEach; ++e) {
        if (channel + e * kWarp >= a.channels) continue;
        if (sums.is_fixed_order)
          to[e * kWarp] = found[i][e];
        else
          atomic_add(to + e * kWarp, found[i][e]);
      }
    }
  }
}

// Any number of channels, from their own array.
template <class T, bool kAbsolute>
GSR_KERNEL(kWalkThreads, 8)
backward_wide_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, Sums<T> sums) {
  GSR_SHARED Ring<T> rings[kWalkWarps];
  GSR_SHARED Transposed<T> tables[kWalkWarps];
  const Patch<T> patch(a, t);
  if (patch.tile >= t.tiles) return;
  Transposed<T>& table = tables[warp_index()];
  PixelGradient<T> gradients[kHalves] = {PixelGradient<T>(a, t, patch, 0), PixelGradient<T>(a, t, patch, 1)};
  Walk<T> walk(t, rings[warp_index()], patch, t.last[patch.tile * kPatches + patch.index]);
  for (int run; (run = walk.next()) > 0;) {
    const int32_t own_flat = walk.flat_of_lane();
    T products[kRun][kHalves] = {};
    int first = 0;
    if (a.channels % 4 == 0)
      for (; first + kChunk <= a.channels; first += kChunk) add_products<true>(a, patch, own_flat, first, products);
    for (; first < a.channels; first += kChunk) add_products<false>(a, patch, own_flat, first, products);
    uint32_t touched = 0;
    GSR_UNROLL
    for (int i = 0; i < kRun; ++i) {  // no loop, so that products are registers
      if (i >= run) continue;
      T powers[kHalves];
      patch.powers(walk.record(i).shape, powers);
      for (int half = 0; half < kHalves; ++half) {
        const bool here = gradients[half].through > 0 && powers[half] >= cuts.log2_alpha_min;
        touched |= uint32_t(warp_any(here) || sums.is_fixed_order) << i;
        table.put(i, half, gradients[half].replay(cuts, powers[half], products[i][half]));
      }
    }
    warp_sync();
    if (!touched) continue;
    add_run<T, 0, kAbsolute>(t, patch, walk, touched, table, sums);
    warp_sync();
    add_channels(a, t, patch, walk, touched, table, sums);
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
  T v_mean[2] = {}, v_conic[3] = {}, v_opacity = 0, absolute[2] = {}, channels[4] = {};
  if (place >= 0) {
    T row[12];
    for (int i = 0; i < 12; i += 4) {
      const Four<T> four = *reinterpret_cast<const Four<T>*>(rows + place * width + i);
      row[i] = four.x, row[i + 1] = four.y, row[i + 2] = four.z, row[i + 3] = four.w;
    }
    const Record<T>& r = t.records[place];
    const T shape[4] = {r.shape.P, r.shape.Pk / r.shape.P, r.shape.Q, r.shape.log2_opacity};
    splat_vjp(shape, row, v_mean, v_conic, &v_opacity);
    for (int i = 0; i < 2; ++i) absolute[i] = T(kUnfold) * row[kMoments + i];
    for (int i = 0; i < 4; ++i) channels[i] = row[kSums + i];
  }
  for (int i = 0; i < 2; ++i) output<T>(a.v_means2d)[2 * flat + i] = v_mean[i];
  for (int i = 0; i < 3; ++i) output<T>(a.v_conics)[3 * flat + i] = v_conic[i];
  output<T>(a.v_opacities)[flat] = v_opacity;
  if (a.absgrad)
    for (int i = 0; i < 2; ++i) output<T>(a.v_absolute)[2 * flat + i] = absolute[i];
  if (a.channels <= 4)
    for (int d = 0; d < 4; ++d)
      if (d < a.channels) output<T>(a.v_features)[flat * a.channels + d] = channels[d];
}

// The channels of rows of sums, where there are many.
template <class T>
GSR_KERNEL(kThreads)
finish_channels_kernel(gsr_rasterization a, TileLists<T> t, const T* rows, int64_t width) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i >= a.C * a.N * a.channels) return;
  const int32_t place = t.places[i / a.channels];
  output<T>(a.v_features)[i] = place >= 0 ? rows[place * width + kSums + i % a.channels] : T(0);
}

template <class T, bool kAbsolute>
void backward(const gsr_rasterization& a, const TileLists<T>& t, const Sums<T>& sums) {
  const PixelCuts<T> cuts = pixel_cuts<T>(a.alpha_min, a.alpha_max, a.transmittance_min);
  auto run = [&](auto kernel) { launch(kernel, walk_blocks(t), kWalkThreads, stream(), a, t, cuts, sums); };
  if (a.channels <= 3) return run(backward_kernel<T, 3, kAbsolute>);
  if (a.channels == 4) return run(backward_kernel<T, 4, kAbsolute>);
  run(backward_wide_kernel<T, kAbsolute>);
}

template <class T>
void rasterize_vjp(gsr_rasterization& a) {
  const TileLists<T> t = tile_lists_of<T>(a);
  const int64_t width = sums_width(a.channels);
  T* rows = nullptr;
  auto fill = [&](const Sums<T>& sums) { a.absgrad ? backward<T, true>(a, t, sums) : backward<T, false>(a, t, sums); };
  if (session().deterministic) {
    T* slots = scratch<T>(t.intersections * kPatches * width);
    fill({slots, width, true});
    rows = scratch<T>(t.visible * width);
    add_slots(a, t, slots, rows, width);
  } else {
    rows = zeros<T>(t.visible * width);
    fill({rows, width, false});
  }
  launch(finish_kernel<T>, blocks_for(a.C * a.N, kThreads), kThreads, stream(), a, t, static_cast<const T*>(rows),
         width);
  if (a.channels > 4)
    launch(finish_channels_kernel<T>, blocks_for(a.C * a.N * a.channels, kThreads), kThreads, stream(), a, t,
           static_cast<const T*>(rows), width);
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize_vjp(gsr_rasterization* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::rasterize_vjp<decltype(t)>(*args); });
}
