// Sums over all threads in a fixed order: each block writes its own, and one more launch adds those up.
#pragma once
#include "api.h"

namespace gsr {

constexpr int kReduceThreads = 256;

// Adds up `count` numbers of each thread of a block of 256 into to[0..count). All threads must come here.
template <int count, class T>
GSR_DEVICE void block_sum(const T* values, T (*shared)[count], T* to) {
  for (int i = 0; i < count; ++i) {
    const T sum = warp_sum(values[i]);
    if (lane_index() == 0) shared[warp_index()][i] = sum;
  }
  block_sync();
  if (thread_index() < count) {
    T sum = 0;
    for (int warp = 0; warp < kReduceThreads / kWarp; ++warp) sum += shared[warp][thread_index()];
    to[thread_index()] = sum;
  }
  block_sync();
}

// out[i] = sum over rows of rows[row][i], a block for each i.
template <class T, class Out>
GSR_KERNEL(kReduceThreads)
sum_rows_kernel(const T* rows, int64_t count, int64_t width, Out* out) {
  GSR_SHARED T shared[kReduceThreads / kWarp][1];
  T sum[1] = {0}, total[1] = {0};
  for (int64_t row = thread_index(); row < count; row += kReduceThreads) sum[0] += rows[row * width + block_index()];
  block_sum<1>(sum, shared, total);
  if (thread_index() == 0) out[block_index()] = Out(total[0]);
}

template <class T, class Out>
void sum_rows(const T* rows, int64_t count, int64_t width, Out* out) {
  launch(sum_rows_kernel<T, Out>, width, kReduceThreads, stream(), rows, count, width, out);
}

}  // namespace gsr
