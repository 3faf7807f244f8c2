// The pixel-aligned model's rows: depth along the ray, mean, log-scales; and back. A thread a Gaussian.
#include "api.h"
#include "gsr/elementary.h"

namespace gsr {
namespace {

constexpr int kThreads = 256;

template <class T>
GSR_KERNEL(kThreads)
along_rays_kernel(gsr_ray_points a) {
  const int64_t n = block_index() * kThreads + thread_index();
  if (n >= a.N) return;
  const T log_depth = input<T>(a.log_start)[n] + T(a.range) * tanh_of(input<T>(a.residual)[n]);
  const T depth = exp_of(log_depth);
  for (int64_t i = 3 * n; i < 3 * n + 3; ++i) {
    output<T>(a.means)[i] = input<T>(a.origins)[i] + depth * input<T>(a.rays)[i];
    output<T>(a.log_scales)[i] = input<T>(a.log_sizes)[i] + log_depth;
  }
}

template <class T>
GSR_KERNEL(kThreads)
along_rays_vjp_kernel(gsr_ray_points a) {
  const int64_t n = block_index() * kThreads + thread_index();
  if (n >= a.N) return;
  const T tangent = tanh_of(input<T>(a.residual)[n]);
  const T depth = exp_of(input<T>(a.log_start)[n] + T(a.range) * tangent);
  const T *v_mean = input<T>(a.v_means) + 3 * n, *ray = input<T>(a.rays) + 3 * n;
  const T* v = input<T>(a.v_log_scales) + 3 * n;
  const T along = v_mean[0] * ray[0] + v_mean[1] * ray[1] + v_mean[2] * ray[2];
  const T v_log = along * depth + v[0] + v[1] + v[2];
  output<T>(a.v_residual)[n] = v_log * T(a.range) * (1 - tangent * tangent);
}

template <class T>
void forward(const gsr_ray_points& a) {
  launch(along_rays_kernel<T>, blocks_for(a.N, kThreads), kThreads, stream(), a);
}

template <class T>
void backward(const gsr_ray_points& a) {
  launch(along_rays_vjp_kernel<T>, blocks_for(a.N, kThreads), kThreads, stream(), a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_along_rays(gsr_ray_points* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::forward<decltype(t)>(*args); });
}

int32_t gsr_along_rays_vjp(gsr_ray_points* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::backward<decltype(t)>(*args); });
}
