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
struct Values {
  T of[count];
};

template <int count, class T>
GSR_DEVICE Values<T, count> read(const void* array, int64_t row) {
  Values<T, count> values;
  for (int i = 0; i < count; ++i) values.of[i] = input<T>(array)[count * row + i];
  return values;
}

template <int count, class T>
GSR_DEVICE void write(const T* values, void* array, int64_t row) {
  for (int i = 0; i < count; ++i) output<T>(array)[count * row + i] = values[i];
}

template <class T>
GSR_DEVICE FootprintGradient<T> row_vjp(const gsr_projection& a, int64_t c, int64_t n, RowGradient<T>& row) {
  const int64_t flat = c * a.N + n;
  const auto mean = read<3, T>(a.means, n), scale = read<3, T>(a.scales, n), v_conic = read<3, T>(a.v_conics, flat);
  const auto quat = read<4, T>(a.quats, n);
  const auto v_mean = read<2, T>(a.v_means2d, flat);
  return project_row_vjp(a, camera_of<T>(a, c), mean.of, quat.of, scale.of, input<T>(a.opacities)[n], v_mean.of,
                         a.v_depths ? input<T>(a.v_depths)[flat] : T(0), v_conic.of, input<T>(a.v_opacities2d)[flat],
                         row);
}

template <class T>
GSR_DEVICE void make_finite(RowGradient<T>& row) {
  for (int i = 0; i < 3; ++i) row.mean[i] = finite_or_zero(row.mean[i]), row.scale[i] = finite_or_zero(row.scale[i]);
  for (int i = 0; i < 4; ++i) row.quat[i] = finite_or_zero(row.quat[i]);
  row.opacity = finite_or_zero(row.opacity);
}

}  // namespace gsr
