// The pixel-aligned model's rows in one pass: depth along the ray, mean, log-scales; and back.
#include "api.h"
#include "gsr/elementary.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int64_t kRows = 4096;
constexpr int kBlock = 64;  // rows whose depths stay in registers and first-level cache

template <class T>
const T* at(const void* base, int64_t i) {
  return static_cast<const T*>(base) + i;
}

template <class T>
T* at(void* base, int64_t i) {
  return static_cast<T*>(base) + i;
}

// Each value three times, to meet the flat rows of three.
template <class T>
void thrice(const T* in, int64_t count, T* __restrict out) {
  for (int64_t i = 0; i < count; ++i) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = in[i];
}

// Runs body(first row, count) over blocks of rows.
template <class Body>
void over_blocks(const gsr_ray_points& args, Body body) {
  parallel_for(args.threads, (args.N + kRows - 1) / kRows, [&](int64_t chunk, int) {
    const int64_t end = min(args.N, (chunk + 1) * kRows);
    for (int64_t n = chunk * kRows; n < end; n += kBlock) body(n, min<int64_t>(kBlock, end - n));
  });
}

template <class T>
void along_rays(const gsr_ray_points& args) {
  over_blocks(args, [&](int64_t n, int64_t count) {
    const T *residual = at<T>(args.residual, n), *log_start = at<T>(args.log_start, n);
    T logs[kBlock], depths[kBlock], logs3[3 * kBlock], depths3[3 * kBlock];
    for (int64_t i = 0; i < count; ++i) logs[i] = log_start[i] + T(args.range) * tanh_of(residual[i]);
    for (int64_t i = 0; i < count; ++i) depths[i] = exp_of(logs[i]);
    thrice(logs, count, logs3), thrice(depths, count, depths3);
    const T *origins = at<T>(args.origins, 3 * n), *rays = at<T>(args.rays, 3 * n);
    const T* log_sizes = at<T>(args.log_sizes, 3 * n);
    T* __restrict means = at<T>(args.means, 3 * n), * __restrict log_scales = at<T>(args.log_scales, 3 * n);
    for (int64_t i = 0; i < 3 * count; ++i) means[i] = origins[i] + depths3[i] * rays[i];
    for (int64_t i = 0; i < 3 * count; ++i) log_scales[i] = log_sizes[i] + logs3[i];
  });
}

template <class T>
void along_rays_vjp(const gsr_ray_points& args) {
  over_blocks(args, [&](int64_t n, int64_t count) {
    const T *residual = at<T>(args.residual, n), *log_start = at<T>(args.log_start, n), *rays = at<T>(args.rays, 3 * n);
    const T *v_means = at<T>(args.v_means, 3 * n), *v_log_scales = at<T>(args.v_log_scales, 3 * n);
    T* __restrict out = at<T>(args.v_residual, n);
    T tangents[kBlock], depths[kBlock];
    for (int64_t i = 0; i < count; ++i) tangents[i] = tanh_of(residual[i]);
    for (int64_t i = 0; i < count; ++i) depths[i] = exp_of(log_start[i] + T(args.range) * tangents[i]);
    for (int64_t i = 0; i < count; ++i) {
      const T* v = v_means + 3 * i;
      const T along = v[0] * rays[3 * i] + v[1] * rays[3 * i + 1] + v[2] * rays[3 * i + 2];
      const T v_log = along * depths[i] + v_log_scales[3 * i] + v_log_scales[3 * i + 1] + v_log_scales[3 * i + 2];
      out[i] = v_log * T(args.range) * (1 - tangents[i] * tangents[i]);
    }
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_along_rays(gsr_ray_points* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::along_rays<decltype(scalar)>(*args); });
}

int32_t gsr_along_rays_vjp(gsr_ray_points* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::along_rays_vjp<decltype(scalar)>(*args); });
}
