// Sums over pixels for each splat: the adjoint of compositing. The walk of forward, a run of splats at a time: lanes
// that were pixels leave their weights in shared memory; then lanes are channels, and take the run's splats in turns.
// Sums go to the results by atomic additions, or, where runs must repeat to the bit, to slots as in rasterize_vjp.cu.
// The largest of some numbers does not depend on their order.
#include <type_traits>

#include "slots.h"
#include "wide.h"

namespace gsr {
namespace {

constexpr int kThreads = 256;

// The weights of a run, in rows a little longer than a warp, so that neighbours start in different banks; and the maps
// of the warp's pixels.
template <class T, int kWidth>
struct LiftRun {
  T weights[kRun][kWarp + 4], maps[kWarp][kWidth];
};

// Where sums go: the weights' and each channel's.
template <class T, bool kFixedOrder>
struct LiftSums {
  T *weights, *sums;  // of all splats; or both in the slots, a row of weight and channels each
  int64_t width;      // of a row

  GSR_DEVICE int64_t row(const Walk<T>& walk, int i, int sub) const {
    return width * (kFixedOrder ? slot_of(walk.position(i), sub) : int64_t(walk.record(i).flat));
  }
  GSR_DEVICE static void put(T* to, T value) {
    if (kFixedOrder)
      *to = value;
    else
      atomic_add(to, value);
  }
};

// Sum and largest of each splat's weights: two lanes a splat. `touched`: the splats of the run that are wanted.
template <class T, int kWidth, bool kFixedOrder>
GSR_DEVICE void add_weights(const LiftRun<T, kWidth>& from, const Walk<T>& walk, int sub, uint32_t touched,
                            const LiftSums<T, kFixedOrder>& to, T* largest_of) {
  constexpr int kPixels = kRun;  // of a lane
  const int splat = lane_index() % kRun, share = lane_index() / kRun;
  T sum = 0, largest = 0;
  for (int pixel = 0; pixel < kPixels; pixel += 4) {
    T four[4];
    read_four(&from.weights[splat][share * kPixels + pixel], four);
    for (int j = 0; j < 4; ++j) sum += four[j], largest = max(largest, four[j]);
  }
  sum += shuffle_xor(sum, kRun), largest = max(largest, shuffle_xor(largest, kRun));
  if (share || !(touched >> splat & 1)) return;
  const int64_t row = to.row(walk, splat, sub);
  to.put(to.weights + (kFixedOrder ? row : int64_t(walk.record(splat).flat)), sum);
  atomic_max(largest_of + walk.record(splat).flat, largest);
}

// Sums of weight times map: lanes are channels, in groups that have some of the splats each.
template <class T, int kWidth, bool kFixedOrder>
GSR_DEVICE void add_maps(const LiftRun<T, kWidth>& from, const Walk<T>& walk, int sub, uint32_t touched, int channels,
                         const LiftSums<T, kFixedOrder>& to, int first_channel) {
  constexpr int kGroups = kWarp / kWidth, kEach = kRun / kGroups;
  const int column = lane_index() % kWidth, group = lane_index() / kWidth;
  T found[kEach] = {};
  GSR_NO_UNROLL
  for (int pixel = 0; pixel < kWarp; pixel += 4) {  // a loop, as more at a time would take more registers
    T map[4];
    for (int j = 0; j < 4; ++j) map[j] = from.maps[pixel + j][column];
    for (int e = 0; e < kEach; ++e) {
      T weights[4];
      read_four(&from.weights[e * kGroups + group][pixel], weights);
      for (int j = 0; j < 4; ++j) found[e] = fma(weights[j], map[j], found[e]);
    }
  }
  const int channel = first_channel + column;
  for (int e = 0; e < kEach; ++e) {
    const int splat = e * kGroups + group;
    if (touched >> splat & 1 && channel < channels) to.put(to.sums + to.row(walk, splat, sub) + channel, found[e]);
  }
}

// 2^kBits channels from `first_channel` on; the first launch has the weights too.
template <class T, int kBits, bool kFixedOrder>
GSR_KERNEL(kWalkThreads)
lift_kernel(gsr_lifting a, gsr_rasterization c, TileLists<T> t, PixelCuts<T> cuts, LiftSums<T, kFixedOrder> sums,
            int first_channel) {
  constexpr int kWidth = 1 << kBits;
  GSR_SHARED Ring<T> rings[kWalkWarps];
  GSR_SHARED LiftRun<T, kWidth> runs[kWalkWarps];
  const SubTile<T> pixel(c, t);
  if (pixel.tile >= t.tiles) return;
  LiftRun<T, kWidth>& own = runs[warp_index()];
  for (int i = lane_index(); i < kWarp * kWidth; i += kWarp) {
    const int channel = first_channel + i % kWidth;
    const int64_t flat = pixel.flat_of(c, i / kWidth);
    own.maps[i / kWidth][i % kWidth] =
        flat >= 0 && channel < a.channels ? input<T>(a.maps)[flat * a.channels + channel] : T(0);
  }
  int32_t last = t.offsets[pixel.tile + 1];
  Walk<T> walk(t, rings[warp_index()], pixel, last);
  T transmittance = pixel.transmittance();
  for (int run; (run = walk.next()) > 0;) {
    T weights[kRun];
    weights_of_run(walk, pixel, cuts, transmittance, weights);
    uint32_t touched = 0;
    GSR_UNROLL
    for (int i = 0; i < kRun; ++i) {
      own.weights[i][lane_index()] = weights[i];
      touched |= uint32_t(kFixedOrder ? i < run : warp_any(weights[i] != 0)) << i;
    }
    warp_sync();
    if (touched) {
      if (first_channel == 0) add_weights(own, walk, pixel.sub, touched, sums, output<T>(a.largest));
      add_maps(own, walk, pixel.sub, touched, a.channels, sums, first_channel);
    }
    if (!warp_any(transmittance > 0)) {
      last = walk.position(run - 1) + 1;
      break;
    }
  }
  copy_wait<0>();
  if (lane_index() == 0) t.last[pixel.tile * kSubTiles + pixel.sub] = last;
}

template <class T, bool kFixedOrder>
void add_up(const gsr_lifting& a, const gsr_rasterization& c, const TileLists<T>& t,
            const LiftSums<T, kFixedOrder>& sums) {
  const PixelCuts<T> cuts = pixel_cuts<T>(c);
  for (int first = 0; first == 0 || first < a.channels; first += kWide) {
    const auto run = [&](auto bits) {
      launch(lift_kernel<T, bits(), kFixedOrder>, walk_blocks(t), kWalkThreads, stream(), a, c, t, cuts, sums, first);
    };
    const int left = a.channels - first;
    if (left <= 4)
      run(std::integral_constant<int, 2>());
    else if (left <= 8)
      run(std::integral_constant<int, 3>());
    else
      run(std::integral_constant<int, 5>());
  }
}

// From rows of visible splats to the results.
template <class T>
GSR_KERNEL(kThreads)
scatter_kernel(gsr_lifting a, TileLists<T> t, const T* rows) {
  const int64_t i = block_index() * kThreads + thread_index(), width = a.channels + 1;
  if (i >= t.visible * width) return;
  const int64_t record = quotient(i, width), column = i - record * width, flat = t.flat_ids[record];
  if (column == 0)
    output<T>(a.weights)[flat] = rows[i];
  else
    output<T>(a.sums)[flat * a.channels + column - 1] = rows[i];
}

void* take(void*, int32_t, int64_t bytes) { return scratch<char>(bytes); }

template <class T>
void lift(const gsr_lifting& a) {
  gsr_rasterization c = compositing_of(a, take, nullptr);
  const TileLists<T> t = build_tile_lists<T>(c);
  const int64_t bytes = a.C * a.N * static_cast<int64_t>(sizeof(T));
  fill_bytes(a.sums, 0, a.channels * bytes, stream());
  fill_bytes(a.weights, 0, bytes, stream()), fill_bytes(a.largest, 0, bytes, stream());
  if (!session().deterministic)
    return add_up(a, c, t, LiftSums<T, false>{output<T>(a.weights), output<T>(a.sums), a.channels});
  const int64_t width = a.channels + 1;
  T *slots = scratch<T>(t.intersections * kSubTiles * width), *rows = scratch<T>(t.visible * width);
  add_up(a, c, t, LiftSums<T, true>{slots, slots + 1, width});
  add_slots(c, t, slots, rows, width);
  launch(scatter_kernel<T>, blocks_for(t.visible * width, kThreads), kThreads, stream(), a, t,
         static_cast<const T*>(rows));
}

}  // namespace
}  // namespace gsr

int32_t gsr_lift(gsr_lifting* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::lift<decltype(t)>(*args); });
}
