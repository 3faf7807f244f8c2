// Sums of bumps at points: a thread for each point and three outputs, which walks over all bumps with its warp, so that
// they are read once for all. The gradient of a bump's weights is a block's sum over all points: no atomics.
#include "api.h"
#include "gsr/elementary.h"
#include "reduce.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads, kOutputs = 3;

// Whether a point sees a bump; if so its height there, and the way to its center by the squared radius.
template <class T>
GSR_DEVICE bool sees(const gsr_bumps& a, int64_t n, int64_t b, T& height, T* way) {
  const T *x = input<T>(a.x) + 3 * n, *center = input<T>(a.centers) + 3 * b;
  const T radius = input<T>(a.radii)[b], inverse = 1 / (radius * radius);
  T square = 0;
  for (int d = 0; d < 3; ++d) way[d] = center[d] - x[d], square += way[d] * way[d];
  const T away = T(0.5) * square * inverse;
  if (!(away < T(a.faint))) return false;
  T apart = 0;
  for (int64_t l = 0; l < a.L; ++l) {
    const T difference = input<T>(a.latents)[b * a.L + l] - input<T>(a.latent)[n * a.L + l];
    apart += difference * difference;
  }
  const T power = away + T(a.sharp) * max(apart / T(max(a.L, int64_t(1))) - T(a.edge), T(0));
  if (!(power < T(a.faint))) return false;
  height = exp_of(-power);
  for (int d = 0; d < 3; ++d) way[d] *= inverse;
  return true;
}

GSR_DEVICE int outputs_from(const gsr_bumps& a, int64_t first) {
  return static_cast<int>(min(a.O - first, int64_t(kOutputs)));
}

template <class T>
GSR_KERNEL(kThreads)
bumps_kernel(gsr_bumps a, int64_t groups) {
  const int64_t at = block_index() * kThreads + thread_index();
  if (at >= a.N * groups) return;
  const int64_t group = quotient(at, a.N), n = at - group * a.N, first = group * kOutputs;
  const int few = outputs_from(a, first);
  T sums[kOutputs] = {0}, pulls[3][kOutputs] = {{0}}, height, way[3];
  for (int64_t b = 0; b < a.M; ++b) {
    if (!sees(a, n, b, height, way)) continue;
    for (int k = 0; k < few; ++k) {
      const T part = height * input<T>(a.weight)[b * a.O + first + k];
      sums[k] += part;
      for (int d = 0; d < 3; ++d) pulls[d][k] += part * way[d];
    }
  }
  for (int k = 0; k < few; ++k) {
    output<T>(a.values)[n * a.O + first + k] = sums[k];
    if (a.slopes)
      for (int d = 0; d < 3; ++d) output<T>(a.slopes)[(d * a.N + n) * a.O + first + k] = pulls[d][k];
  }
}

template <class T>
GSR_KERNEL(kThreads)
bumps_points_kernel(gsr_bumps a) {
  const int64_t n = block_index() * kThreads + thread_index();
  if (n >= a.N) return;
  T pull[3] = {0}, height, way[3];
  for (int64_t b = 0; b < a.M; ++b) {
    if (!sees(a, n, b, height, way)) continue;
    T level = 0;
    for (int64_t o = 0; o < a.O; ++o) level += input<T>(a.weight)[b * a.O + o] * input<T>(a.v_values)[n * a.O + o];
    for (int d = 0; d < 3; ++d) pull[d] += level * height * way[d];
  }
  for (int d = 0; d < 3; ++d) output<T>(a.v_x)[3 * n + d] = pull[d];
}

template <class T>
GSR_KERNEL(kThreads)
bumps_weights_kernel(gsr_bumps a, int64_t groups) {
  GSR_SHARED T shared[kThreads / kWarp][kOutputs];
  const int64_t b = quotient(block_index(), groups), first = (block_index() - b * groups) * kOutputs;
  const int few = outputs_from(a, first);
  T sums[kOutputs] = {0}, total[kOutputs] = {0}, height, way[3];
  for (int64_t n = thread_index(); n < a.N; n += kThreads) {
    if (!sees(a, n, b, height, way)) continue;
    for (int k = 0; k < few; ++k) sums[k] += height * input<T>(a.v_values)[n * a.O + first + k];
  }
  block_sum<kOutputs>(sums, shared, total);
  if (thread_index() < few) output<T>(a.v_weight)[b * a.O + first + thread_index()] = total[thread_index()];
}

int64_t groups_of(const gsr_bumps& a) { return (a.O + kOutputs - 1) / kOutputs; }

template <class T>
void forward(const gsr_bumps& a) {
  const int64_t groups = groups_of(a);
  launch(bumps_kernel<T>, blocks_for(a.N * groups, kThreads), kThreads, stream(), a, groups);
}

template <class T>
void backward(const gsr_bumps& a) {
  const int64_t groups = groups_of(a);
  launch(bumps_points_kernel<T>, blocks_for(a.N, kThreads), kThreads, stream(), a);
  if (a.v_weight) launch(bumps_weights_kernel<T>, a.M * groups, kThreads, stream(), a, groups);
}

}  // namespace
}  // namespace gsr

int32_t gsr_bumps_at(gsr_bumps* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::forward<decltype(t)>(*args); });
}

int32_t gsr_bumps_at_vjp(gsr_bumps* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::backward<decltype(t)>(*args); });
}
