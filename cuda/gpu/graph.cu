// The graph Laplacian, a thread for each node and attribute: along an edge the threads of a node read attributes that
// lie side by side. The transpose, which backward needs, is the same gather along the transposed edges: no atomics.
#include "api.h"
#include "reduce.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads;

template <class T>
GSR_KERNEL(kThreads)
laplacian_kernel(gsr_graph a, double* sums) {
  GSR_SHARED double shared[kThreads / kWarp][1];
  const int64_t at = block_index() * kThreads + thread_index();
  double square[1] = {0};
  if (at < a.N * a.F) {
    const int64_t i = quotient(at, a.F), d = at - i * a.F;
    const T *features = input<T>(a.features) + d, own = input<T>(a.features)[at];
    T r = own * (a.excess ? input<T>(a.excess)[i] : T(0));
    for (int64_t e = a.offsets[i]; e < a.offsets[i + 1]; ++e)
      r += input<T>(a.weights)[e] * (own - features[a.nodes[e] * a.F]);
    const T weighted = r * input<T>(a.factors)[d];
    output<T>(a.out)[at] = weighted, square[0] = weighted * r;
  }
  block_sum(square, shared, sums + block_index());
}

template <class T>
void laplacian(const gsr_graph& a) {
  const int64_t blocks = blocks_for(a.N * a.F, kThreads);
  double* sums = scratch<double>(blocks);
  launch(laplacian_kernel<T>, blocks, kThreads, stream(), a, sums);
  sum_rows(sums, blocks, 1, a.sum);
}

}  // namespace
}  // namespace gsr

int32_t gsr_laplacian(gsr_graph* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::laplacian<decltype(t)>(*args); });
}
