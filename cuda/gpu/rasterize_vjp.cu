// Gradient of compositing: the forward walk again, front to back with the same inlined step, so every skip and every
// cut is decided by the same bits. A pixel needs one scalar besides T: the remainder R = v . (what is still to come,
// background and alpha included), from which dL/dalpha = T (c . v) - R / (1 - alpha). Sums over pixels go through a
// tree for eight splats at once, and then to the splat's row of sums: by atomic additions, or, where runs must repeat
// to the bit, to a slot of each intersection that a second pass adds up.
#include "slots.h"
#include "stage.h"
#include "tree.h"

namespace gsr {
namespace {

constexpr int kThreads = 256;

template <class T, int kChannels>
struct PixelGradient {
  T through, remainder, v[kChannels ? kChannels : 1];

  GSR_DEVICE PixelGradient(const gsr_rasterization& a, const TileLists<T>& t, const LanePixel<T>& pixel)
      : through(pixel.through()), remainder(0), v{} {
    if (!pixel.inside) return;
    remainder = -t.transmittances[pixel.flat] * input<T>(a.v_alphas)[pixel.flat];
    const T *v_image = input<T>(a.v_image) + pixel.flat * a.channels,
            *image = input<T>(a.image) + pixel.flat * a.channels;
    for (int d = 0; d < (kChannels ? kChannels : a.channels); ++d) {
      if (d >= a.channels) break;
      remainder += v_image[d] * image[d];
      if (kChannels) v[d] = v_image[d];
    }
  }
};

// Moments, absolute gradients, and channels where their number is known. In a row of sums channels come before
// absolutes.
template <int kChannels, bool kAbsolute>
struct Columns {
  static constexpr int count = kMoments + kChannels + 2 * kAbsolute;
  GSR_DEVICE static int64_t of(int value, int channels) {
    return kChannels || value < kMoments ? value : value + channels;
  }
};

// One entry at one pixel: its values for the tree, and the weight. Returns whether any pixel of the warp is touched.
template <class T, int kChannels, bool kAbsolute>
GSR_DEVICE bool replay(const gsr_rasterization& a, const PixelCuts<T>& cuts, const LanePixel<T>& pixel,
                       const Record<T>& r, const T* features, PixelGradient<T, kChannels>& g, T* values, T* weight) {
  T u, v, alpha = 0;
  const T power = splat_power(r.shape, pixel.x, pixel.y, &u, &v);
  const bool touched = pixel.inside && g.through > 0 && power >= cuts.log2_alpha_min;
  if (!warp_any(touched)) return false;
  *weight = 0;
  T vs = 0, cv = 0;
  if (touched) {
    const T before = g.through, raw = exp2_of(power);
    if (kChannels)
      for (int d = 0; d < kChannels; ++d) cv = d ? fma(r.channels[d], g.v[d], cv) : r.channels[d] * g.v[d];
    else
      for (int d = 0; d < a.channels; ++d) cv = fma(features[d], input<T>(a.v_image)[pixel.flat * a.channels + d], cv);
    *weight = blend(cuts, raw, alpha, g.through);
    vs = blend_vjp(cuts, raw, alpha, *weight, before, cv, reciprocal(1 - alpha), g.remainder);
  }
  moments_of(vs, u, v, values);
  for (int d = 0; d < kChannels; ++d) values[kMoments + d] = *weight * g.v[d];
  if (kAbsolute) absolute_of(r.shape.P, r.shape.Pk, r.shape.Q, values, values + kMoments + kChannels);
  return true;
}

// Channel gradients of one entry, eight at a time, where their number is not known here.
template <class T>
GSR_DEVICE void add_channels(const gsr_rasterization& a, const LanePixel<T>& pixel, T weight, T* row) {
  for (int first = 0; first < a.channels; first += 8) {
    T products[8];
    for (int j = 0; j < 8; ++j)
      products[j] = pixel.inside && first + j < a.channels
                        ? weight * input<T>(a.v_image)[pixel.flat * a.channels + first + j]
                        : T(0);
    const T sum = sum_of_eight(products);
    const int channel = first + SumTree<T, 8>::entry();
    if (lane_index() % 4 == 0 && channel < a.channels) atomic_add(row + kMoments + channel, sum);
  }
}

// Where a full tree goes: `keys` holds, lane by lane, what the warp's splats are known by.
template <class T, int kChannels, bool kAbsolute>
struct AtomicSums {
  typedef Columns<kChannels, kAbsolute> C;
  T* sums;
  int64_t width;
  int channels;

  GSR_DEVICE void begin() {}
  GSR_DEVICE uint32_t key(uint32_t rank, int) const { return rank; }
  template <int kOwn>
  GSR_DEVICE void take(uint32_t key, const T (&own)[kOwn]) const {
    for (int q = 0; q < kOwn; ++q) {
      const int value = 4 * q + SumTree<T, 1>::value();
      if (value < C::count) atomic_add(sums + key * width + C::of(value, channels), own[q]);
    }
  }
  GSR_DEVICE void end(int32_t, int32_t) {}
  static constexpr bool is_fixed_order = false;
};

template <class T, int kChannels, bool kAbsolute>
struct SlotSums {
  typedef Columns<kChannels, kAbsolute> C;
  T (*shared)[kWarp][C::count];  // [warps]
  T* slots;

  GSR_DEVICE void begin() {
    for (int i = 0; i < C::count; ++i) shared[warp_index()][lane_index()][i] = 0;
  }
  GSR_DEVICE uint32_t key(uint32_t, int entry) const { return entry % kWarp; }
  template <int kOwn>
  GSR_DEVICE void take(uint32_t key, const T (&own)[kOwn]) const {
    for (int q = 0; q < kOwn; ++q) {
      const int value = 4 * q + SumTree<T, 1>::value();
      if (value < C::count) shared[warp_index()][key][value] = own[q];
    }
  }
  // Adds the warps up, for the list entries from `first` on.
  GSR_DEVICE void end(int32_t first, int32_t limit) {
    block_sync();
    for (int i = thread_index(); i < kWarp * C::count; i += kTileThreads) {
      const int32_t at = first + i / C::count;
      T sum = 0;
      for (int warp = 0; warp < kSubTiles; ++warp) sum += shared[warp][i / C::count][i % C::count];
      if (at < limit) slots[int64_t(at) * C::count + i % C::count] = sum;
    }
    block_sync();
  }
  static constexpr bool is_fixed_order = true;
};

// Collects entries until the tree is full, and flushes it.
template <class T, class Sums>
struct Collector {
  typedef SumTree<T, Sums::C::count> Tree;
  Sums& sums;
  Tree tree;
  uint32_t key = 0;

  GSR_DEVICE explicit Collector(Sums& s) : sums(s) {}
  GSR_DEVICE void add(T (&values)[Sums::C::count], uint32_t k) {
    if (tree.count() == Tree::entry()) key = k;
    if (tree.add(values)) finish(values, kGroup);
  }
  GSR_DEVICE void flush() {
    const int filled = tree.count();
    for (bool full = filled == 0; !full;) {
      T none[Sums::C::count] = {};
      full = tree.add(none);
      if (full) finish(none, filled);
    }
  }
  GSR_DEVICE void finish(const T (&values)[Sums::C::count], int filled) {
    T own[Tree::kOwn];
    tree.finish(values, own);
    if (Tree::entry() < filled) sums.take(key, own);
  }
};

template <class T, int kChannels, bool kAbsolute, class Sums>
GSR_DEVICE void backward_tile(const gsr_rasterization& a, const TileLists<T>& t, const PixelCuts<T>& cuts,
                              Stage<T>& stage, Sums& sums) {
  const int64_t tile = block_index();
  const LanePixel<T> pixel(a, t, tile);
  PixelGradient<T, kChannels> gradient(a, t, pixel);
  const int32_t* lasts = t.last + tile * kSubTiles;
  const int32_t last = lasts[warp_index()];
  int32_t end = lasts[0];
  for (int i = 1; i < kSubTiles; ++i) end = max(end, lasts[i]);
  Batches<T> batches(t, stage, t.offsets[tile], end);
  Collector<T, Sums> collector(sums);
  for (int batch = 0; batches.first(batch) < end; ++batch) {
    batches.arrive(batch);
    for (int start = 0; start < kBatch; start += kWarp) {
      if (Sums::is_fixed_order) sums.begin();
      for (uint32_t hits = batches.hits(batch, start, last); hits; hits &= hits - 1) {
        const int entry = start + lowest_bit(hits);
        const uint32_t rank = batches.rank(batch, entry);
        const T* features = kChannels ? nullptr : input<T>(a.features) + int64_t(t.flat_ids[rank]) * a.channels;
        T values[Sums::C::count], weight;
        if (!replay<T, kChannels, kAbsolute>(a, cuts, pixel, batches.record(batch, entry), features, gradient, values,
                                             &weight))
          continue;
        if constexpr (kChannels == 0) add_channels(a, pixel, weight, sums.sums + int64_t(rank) * sums.width);
        collector.add(values, sums.key(rank, entry));
      }
      if (Sums::is_fixed_order) collector.flush(), sums.end(batches.first(batch) + start, end);
    }
    block_sync();
  }
  collector.flush();
  copy_wait<0>();
}

template <class T, int kChannels, bool kAbsolute>
GSR_KERNEL(kTileThreads, sizeof(T) == 4 ? 2 : 1)
backward_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, T* rows, int64_t width) {
  GSR_SHARED Stage<T> stage;
  AtomicSums<T, kChannels, kAbsolute> sums{rows, width, a.channels};
  backward_tile<T, kChannels, kAbsolute>(a, t, cuts, stage, sums);
}

template <class T, int kChannels, bool kAbsolute>
GSR_KERNEL(kTileThreads, sizeof(T) == 4 ? 2 : 1)
backward_slots_kernel(gsr_rasterization a, TileLists<T> t, PixelCuts<T> cuts, T* slots) {
  GSR_SHARED Stage<T> stage;
  GSR_SHARED T shared[kSubTiles][kWarp][Columns<kChannels, kAbsolute>::count];
  SlotSums<T, kChannels, kAbsolute> sums{shared, slots};
  backward_tile<T, kChannels, kAbsolute>(a, t, cuts, stage, sums);
}

// Turns a record's row of moments, `channels` channels and absolutes into gradients.
template <class T>
GSR_KERNEL(kThreads)
finish_kernel(gsr_rasterization a, TileLists<T> t, const T* rows, int64_t width, int channels) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i >= min(t.visible, t.counts[0])) return;
  const int64_t flat = t.flat_ids[i];
  const T* row = rows + i * width;
  splat_vjp(input<T>(a.shapes) + 6 * flat, row, output<T>(a.v_means2d) + 2 * flat, output<T>(a.v_conics) + 3 * flat,
            output<T>(a.v_opacities) + flat);
  for (int d = 0; d < a.channels; ++d) output<T>(a.v_features)[flat * a.channels + d] = row[kMoments + d];
  if (!a.absgrad) return;
  for (int j = 0; j < 2; ++j) output<T>(a.v_absolute)[2 * flat + j] = T(kUnfold) * row[kMoments + channels + j];
}

template <class T>
void clear_gradients(const gsr_rasterization& a) {
  const int64_t bytes = a.C * a.N * static_cast<int64_t>(sizeof(T));
  fill_bytes(a.v_means2d, 0, 2 * bytes, stream()), fill_bytes(a.v_conics, 0, 3 * bytes, stream());
  fill_bytes(a.v_opacities, 0, bytes, stream()), fill_bytes(a.v_features, 0, bytes * a.channels, stream());
  if (a.absgrad) fill_bytes(a.v_absolute, 0, 2 * bytes, stream());
}

template <class T, int kChannels, bool kAbsolute>
void backward(const gsr_rasterization& a, const TileLists<T>& t) {
  const PixelCuts<T> cuts = pixel_cuts<T>(a.alpha_min, a.alpha_max, a.transmittance_min);
  const int channels = kChannels ? kChannels : a.channels;
  const int64_t width = kMoments + channels + 2 * kAbsolute;
  T* rows = zeros<T>(t.visible * width);
  if (!session().deterministic) {
    launch(backward_kernel<T, kChannels, kAbsolute>, t.tiles, kTileThreads, stream(), a, t, cuts, rows, width);
  } else if constexpr (kChannels != 0) {
    T* slots = zeros<T>(t.intersections * width);
    launch(backward_slots_kernel<T, kChannels, kAbsolute>, t.tiles, kTileThreads, stream(), a, t, cuts, slots);
    add_slots<T, kMoments + kChannels + 2 * kAbsolute>(a, t, slots, rows);
  } else {
    throw std::invalid_argument("repeatable sums on CUDA: at most 4 channels; turn deterministic algorithms off");
  }
  launch(finish_kernel<T>, blocks_for(t.visible, kThreads), kThreads, stream(), a, t, static_cast<const T*>(rows),
         width, channels);
}

template <class T, bool kAbsolute>
void backward(const gsr_rasterization& a, const TileLists<T>& t) {
  if (a.channels <= 3) return backward<T, 3, kAbsolute>(a, t);
  if (a.channels == 4) return backward<T, 4, kAbsolute>(a, t);
  backward<T, 0, kAbsolute>(a, t);
}

template <class T>
void rasterize_vjp(gsr_rasterization& a) {
  const TileLists<T> t = tile_lists_of<T>(a);
  clear_gradients<T>(a);
  if (a.absgrad)
    backward<T, true>(a, t);
  else
    backward<T, false>(a, t);
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize_vjp(gsr_rasterization* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::rasterize_vjp<decltype(t)>(*args); });
}
