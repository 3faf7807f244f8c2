// Total variation of a map with holes, a thread a pixel: forward looks at the pair to the right and the pair below,
// backward gathers from all four pairs of the pixel.
#include "api.h"
#include "gsr/elementary.h"
#include "reduce.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads, kSums = 8;

struct Pair {
  bool counts, within;  // whether it counts, and also lies in one layer
};

template <class T>
GSR_DEVICE Pair pair_of(const gsr_variation& a, int64_t from, int64_t to) {
  Pair pair;
  pair.counts = a.valid[from] && a.valid[to];
  pair.within = pair.counts && a.layers && a.layers[from] == a.layers[to];
  return pair;
}

template <class T>
GSR_DEVICE T weight_of(const gsr_variation& a, int64_t from, int64_t to) {
  if (!a.guide) return 1;
  const T* guide = input<T>(a.guide);
  T sum = 0;
  for (int d = 0; d < 3; ++d) sum += fabs(guide[3 * to + d] - guide[3 * from + d]);
  return exp_of(sum / T(-3 * a.edge));
}

template <class T>
GSR_KERNEL(kThreads)
variation_kernel(gsr_variation a, double* rows) {
  GSR_SHARED double shared[kThreads / kWarp][kSums];
  const int64_t at = block_index() * kThreads + thread_index();
  double sums[kSums] = {0, 0, 0, 0, 0, 0, 0, 0};
  if (at < a.C * a.height * a.width) {
    const int64_t rows_before = quotient(at, a.width);
    const int column = static_cast<int>(at - rows_before * a.width),
              row = static_cast<int>(rows_before - quotient(rows_before, a.height) * a.height);
    for (int along = 0; along < 2; ++along) {
      const int64_t other = at + (along ? a.width : 1);
      if (along ? row + 1 >= a.height : column + 1 >= a.width) continue;
      const Pair pair = pair_of<T>(a, at, other);
      if (!pair.counts) continue;
      const double step = fabs(input<T>(a.map)[other] - input<T>(a.map)[at]) * weight_of<T>(a, at, other);
      sums[4 * along] += step, sums[4 * along + 1] += 1;
      if (pair.within) sums[4 * along + 2] += step, sums[4 * along + 3] += 1;
    }
  }
  block_sum(sums, shared, rows + kSums * block_index());
}

// Gradient of `at` through its pair with `other`; 0 where that lies outside or they are equal.
template <class T>
GSR_DEVICE T through_pair(const gsr_variation& a, int64_t at, int64_t other, const double* v_sums) {
  const Pair pair = pair_of<T>(a, at, other);
  const T step = input<T>(a.map)[at] - input<T>(a.map)[other];
  if (!pair.counts || step == 0) return 0;
  const T scale = T(v_sums[0]) + (pair.within ? T(v_sums[2]) : T(0)), weight = weight_of<T>(a, at, other);
  return step > 0 ? scale * weight : -scale * weight;
}

template <class T>
GSR_KERNEL(kThreads)
variation_vjp_kernel(gsr_variation a) {
  const int64_t at = block_index() * kThreads + thread_index();
  if (at >= a.C * a.height * a.width) return;
  const int64_t rows_before = quotient(at, a.width);
  const int column = static_cast<int>(at - rows_before * a.width),
            row = static_cast<int>(rows_before - quotient(rows_before, a.height) * a.height);
  T sum = 0;
  if (column > 0) sum += through_pair<T>(a, at, at - 1, a.v_sums);
  if (column + 1 < a.width) sum += through_pair<T>(a, at, at + 1, a.v_sums);
  if (row > 0) sum += through_pair<T>(a, at, at - a.width, a.v_sums + 4);
  if (row + 1 < a.height) sum += through_pair<T>(a, at, at + a.width, a.v_sums + 4);
  output<T>(a.v_map)[at] = sum;
}

template <class T>
void variation(const gsr_variation& a) {
  const int64_t blocks = blocks_for(a.C * a.height * a.width, kThreads);
  double* rows = scratch<double>(kSums * blocks);
  launch(variation_kernel<T>, blocks, kThreads, stream(), a, rows);
  sum_rows(rows, blocks, kSums, a.sums);
}

template <class T>
void variation_vjp(const gsr_variation& a) {
  launch(variation_vjp_kernel<T>, blocks_for(a.C * a.height * a.width, kThreads), kThreads, stream(), a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_total_variation(gsr_variation* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::variation<decltype(t)>(*args); });
}

int32_t gsr_total_variation_vjp(gsr_variation* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::variation_vjp<decltype(t)>(*args); });
}
