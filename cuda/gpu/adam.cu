// Adam, a thread a number. Rows that rest are not read beyond the flag that says so.
#include "api.h"
#include "gsr/adam.h"

namespace gsr {
namespace {

constexpr int kThreads = 256;

// Whether a drawing had more than memory was taken for, so that its gradients are not to be used.
GSR_DEVICE bool overflows(const int64_t* counts, int64_t most_visible, int64_t most_intersections) {
  return counts && (counts[0] > most_visible || counts[1] > most_intersections);
}

template <class T>
GSR_KERNEL(kThreads)
adam_kernel(gsr_adam_rows a) {
  const int64_t at = block_index() * kThreads + thread_index(), row = quotient(at, a.width);
  if (at >= a.N * a.width || (a.visible && !a.visible[row])) return;
  if (overflows(a.counts, a.most_visible, a.most_intersections)) return;
  const AdamRates<T> rates = {T(a.now ? a.now[0] : a.lr), T(a.beta1), T(a.beta2), T(a.eps)};
  T rest1 = T(a.now ? a.now[1] : a.rest1), rest2 = T(a.now ? a.now[2] : a.rest2);
  if (a.row_steps) {
    const T t = T(a.row_steps[row]);
    rest1 = adam_rest(log(rates.beta1), t), rest2 = adam_rest(log(rates.beta2), t);
  }
  adam_step(rates, rest1, rest2, input<T>(a.gradients)[at], output<T>(a.values)[at], output<T>(a.exp_avg)[at],
            output<T>(a.exp_avg_sq)[at]);
}

template <class T>
void adam(const gsr_adam_rows& a) {
  launch(adam_kernel<T>, blocks_for(a.N * a.width, kThreads), kThreads, stream(), a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_adam(gsr_adam_rows* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::adam<decltype(t)>(*args); });
}
