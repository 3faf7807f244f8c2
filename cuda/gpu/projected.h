// One row of projection on the device, and its gradient.
#pragma once
#include "api.h"
#include "gsr/rows.h"

namespace gsr {

constexpr int kVjpThreads = 128;  // of gradients without sums over a block: more warps fit with so many registers

template <class T>
GSR_DEVICE Camera<T> camera_of(const gsr_projection& a, int64_t c) {
  return camera_from(input<T>(a.viewmats) + 16 * c, input<T>(a.Ks) + 9 * c, T(a.width), T(a.height),
                     a.orthographic != 0);
}

template <class T, int count>
GSR_DEVICE void read(const void* array, int64_t row, T (&values)[count]) {
  for (int i = 0; i < count; ++i) values[i] = input<T>(array)[count * row + i];
}

template <class T, int count>
GSR_DEVICE void write(const T (&values)[count], void* array, int64_t row) {
  for (int i = 0; i < count; ++i) output<T>(array)[count * row + i] = values[i];
}

template <class T, bool kWarped>
GSR_DEVICE Gaussian<T, kWarped> gaussian_of(const gsr_projection& a, int64_t n) {
  Gaussian<T, kWarped> g;
  read(a.means, n, g.mean), read(a.quats, n, g.quat), read(a.scales, n, g.scale);
  g.opacity = input<T>(a.opacities)[n];
  if (kWarped) read(a.warps, n, g.warp);
  return g;
}

// Adds the gradient of Gaussian n through camera c, which sees it, to `row`; returns it, with that of the camera.
template <bool kWarped, class T>
GSR_DEVICE RowGradient<T> row_vjp(const gsr_projection& a, int64_t c, int64_t n, RowGradient<T>& row) {
  const int64_t flat = c * a.N + n;
  ProjectedGradient<T> v;
  read(a.v_means2d, flat, v.mean), read(a.v_conics, flat, v.conic);
  v.depth = a.v_depths ? input<T>(a.v_depths)[flat] : T(0), v.opacity = input<T>(a.v_opacities2d)[flat];
  const RowGradient<T> g = project_row_vjp(a, camera_of<T>(a, c), gaussian_of<T, kWarped>(a, n), v, true);
  for (int i = 0; i < 3; ++i) row.mean[i] += g.mean[i], row.scale[i] += g.scale[i];
  for (int i = 0; i < 4; ++i) row.quat[i] += g.quat[i];
  for (int i = 0; i < 9 * kWarped; ++i) row.warp[i] += g.warp[i];
  row.opacity += g.opacity;
  return g;
}

}  // namespace gsr
