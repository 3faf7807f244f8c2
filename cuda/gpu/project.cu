// Projection, one thread for each camera and Gaussian, and its gradient, one thread for each Gaussian.
#include "projected.h"
#include "reduce.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads;
constexpr int kCameraNumbers = 12;  // R, t

template <class T, bool kWarped>
GSR_KERNEL(kThreads)
project_kernel(gsr_projection a) {
  const int64_t flat = block_index() * kThreads + thread_index();
  if (flat >= a.C * a.N) return;
  const int64_t c = quotient(flat, a.N), n = flat - c * a.N;
  const auto gaussian = gaussian_of<T, kWarped>(a, n);
  const bool valid = is_valid(gaussian);
  if (!valid && c == 0) atomic_add(a.nonfinite, int64_t(1));
  const ProjectedRow<T> row = project_row(a, camera_of<T>(a, c), gaussian, valid);
  write(row.mean, a.means2d, flat), write(row.conic, a.conics, flat), write(row.shape, a.shapes, flat);
  output<T>(a.depths)[flat] = row.depth, output<T>(a.opacities2d)[flat] = row.opacity;
  for (int i = 0; i < 2; ++i) a.radii[2 * flat + i] = static_cast<int32_t>(row.radii[i]);
}

template <class T, bool kWarped>
void project(const gsr_projection& a) {
  fill_bytes(a.nonfinite, 0, sizeof(int64_t), stream());
  launch(project_kernel<T, kWarped>, blocks_for(a.C * a.N, kThreads), kThreads, stream(), a);
}

// `v_cameras` has a row for each block and camera; without kCameras they are left out, and with them many registers.
template <class T, bool kWarped, bool kCameras>
GSR_KERNEL(kCameras ? kThreads : kVjpThreads, kCameras || kWarped || sizeof(T) != 4 ? 1 : 5)
project_vjp_kernel(gsr_projection a, T* v_cameras) {
  GSR_SHARED T shared[kThreads / kWarp][kCameraNumbers];
  const int64_t n = block_index() * (kCameras ? kThreads : kVjpThreads) + thread_index();
  RowGradient<T> row = {};
  for (int64_t c = 0; c < a.C; ++c) {
    T v_camera[kCameraNumbers] = {};
    if (n < a.N && a.radii[2 * (c * a.N + n)] > 0) {
      const RowGradient<T> g = row_vjp<kWarped>(a, c, n, row);
      for (int i = 0; i < 9 * kCameras; ++i) v_camera[i] = g.R[i];
      for (int i = 0; i < 3 * kCameras; ++i) v_camera[9 + i] = g.t[i];
    }
    if (kCameras) block_sum(v_camera, shared, v_cameras + (block_index() * a.C + c) * kCameraNumbers);
  }
  if (n >= a.N) return;
  write(row.mean, a.v_means, n), write(row.quat, a.v_quats, n), write(row.scale, a.v_scales, n);
  output<T>(a.v_opacities)[n] = row.opacity;
  if (kWarped && a.v_warps) write(row.warp, a.v_warps, n);
}

template <class T>
GSR_KERNEL(kThreads)
store_viewmats_kernel(const T* v_cameras, int64_t C, T* v_viewmats) {
  const int64_t at = block_index() * kThreads + thread_index();
  if (at >= 16 * C) return;
  const int row = at % 16 / 4, column = at % 4;
  const T* v_camera = v_cameras + at / 16 * kCameraNumbers;
  v_viewmats[at] = row == 3 ? T(0) : column == 3 ? v_camera[9 + row] : v_camera[3 * row + column];
}

template <class T, bool kWarped>
void project_vjp(const gsr_projection& a) {
  const int64_t blocks = blocks_for(a.N, kThreads), width = a.C * kCameraNumbers;
  if (!a.v_viewmats)
    return launch(project_vjp_kernel<T, kWarped, false>, blocks_for(a.N, kVjpThreads), kVjpThreads, stream(), a,
                  static_cast<T*>(nullptr));
  T* v_cameras = scratch<T>(blocks * width);
  launch(project_vjp_kernel<T, kWarped, true>, blocks, kThreads, stream(), a, v_cameras);
  T* sums = scratch<T>(width);
  sum_rows(v_cameras, blocks, width, sums);
  launch(store_viewmats_kernel<T>, blocks_for(16 * a.C, kThreads), kThreads, stream(), sums, a.C,
         output<T>(a.v_viewmats));
}

}  // namespace
}  // namespace gsr

int32_t gsr_project(gsr_projection* args) {
  return gsr::on_stream(args, [&](auto t) {
    args->warps ? gsr::project<decltype(t), true>(*args) : gsr::project<decltype(t), false>(*args);
  });
}

int32_t gsr_project_vjp(gsr_projection* args) {
  return gsr::on_stream(args, [&](auto t) {
    args->warps ? gsr::project_vjp<decltype(t), true>(*args) : gsr::project_vjp<decltype(t), false>(*args);
  });
}
