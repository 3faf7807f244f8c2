// Adam, a thread a number. Rows that rest are not read beyond the flag that says so. Behind projection, its gradient
// and Adam for its inputs, a thread a Gaussian: those gradients, 44 bytes written and read again, never leave the
// registers.
#include "gsr/adam.h"
#include "projected.h"

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
    rest1 = adam_rest(rates.beta1, t), rest2 = adam_rest(rates.beta2, t);
  }
  adam_step(rates, rest1, rest2, input<T>(a.gradients)[at], output<T>(a.values)[at], output<T>(a.exp_avg)[at],
            output<T>(a.exp_avg_sq)[at]);
}

template <class T>
void adam(const gsr_adam_rows& a) {
  launch(adam_kernel<T>, blocks_for(a.N * a.width, kThreads), kThreads, stream(), a);
}

// Gradients of one Gaussian's inputs over all cameras, finite. Returns whether any sees it.
template <class T>
GSR_DEVICE bool gradients_of(const gsr_projection& a, int64_t n, T (&g)[11]) {
  RowGradient<T> row = {};
  bool seen = false;
  for (int64_t c = 0; c < a.C; ++c)
    if (a.radii[2 * (c * a.N + n)] > 0) seen = true, row_vjp<false>(a, c, n, row);
  for (int i = 0; i < 3; ++i) g[i] = row.mean[i], g[7 + i] = row.scale[i];
  for (int i = 0; i < 4; ++i) g[3 + i] = row.quat[i];
  g[10] = row.opacity;
  return seen;
}

template <class T>
GSR_KERNEL(kVjpThreads)
project_adam_kernel(gsr_projection a, gsr_adam_projection u) {
  constexpr int firsts[] = {0, 3, 7, 10, 11};
  const int64_t n = block_index() * kVjpThreads + thread_index();
  if (n >= a.N || overflows(u.counts, u.most_visible, u.most_intersections)) return;
  T g[11];
  if (!gradients_of(a, n, g)) return;
  if (u.in_logs) {
    const T opacity = input<T>(a.opacities)[n];
    for (int i = 0; i < 3; ++i) g[7 + i] *= input<T>(a.scales)[3 * n + i];
    g[10] *= opacity * (1 - opacity);
  }
  const T rest1 = T(u.now ? u.now[4] : u.rest1), rest2 = T(u.now ? u.now[5] : u.rest2);
  for (int part = 0; part < 4; ++part) {
    const int first = firsts[part], width = firsts[part + 1] - first;
    const AdamRates<T> rates = {T(u.now ? u.now[part] : u.lr[part]), T(u.beta1), T(u.beta2), T(u.eps)};
    for (int i = 0; i < width; ++i)
      adam_step(rates, rest1, rest2, g[first + i], output<T>(u.values[part])[width * n + i],
                output<T>(u.exp_avg[part])[width * n + i], output<T>(u.exp_avg_sq[part])[width * n + i]);
  }
}

template <class T>
void project_adam(const gsr_adam_projection& u) {
  if (u.projection->warps) throw std::invalid_argument("warps have no step of Adam behind projection");
  launch(project_adam_kernel<T>, blocks_for(u.projection->N, kVjpThreads), kVjpThreads, stream(), *u.projection, u);
}

}  // namespace
}  // namespace gsr

int32_t gsr_project_adam(gsr_adam_projection* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::project_adam<decltype(t)>(*args); });
}

int32_t gsr_adam(gsr_adam_rows* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::adam<decltype(t)>(*args); });
}
