// Projection of one Gaussian into one camera as gsr.h defines it: what is culled, what is written; and the gradient.
#pragma once
#include <stdint.h>

#include "gsr/gsr.h"
#include "gsr/projection.h"

namespace gsr {

// False where an input is not finite or the quaternion is zero.
template <class T>
GSR_HD bool is_finite(const T* mean, const T* quat, const T* scale, T opacity) {
  T sum = opacity - opacity, length = 0;
  for (int i = 0; i < 3; ++i) sum += (mean[i] - mean[i]) + (scale[i] - scale[i]);
  for (int i = 0; i < 4; ++i) sum += quat[i] - quat[i], length += quat[i] * quat[i];
  return sum == 0 && length > 0 && length - length == 0;  // x - x is NaN for NaN and infinities
}

template <class T>
struct ProjectedRow {
  T mean[2], depth, conic[3], opacity, shape[6];
  int32_t radii[2];
};

// All zeros where the Gaussian is culled.
template <class T>
GSR_HD ProjectedRow<T> project_row(const gsr_projection& a, const Camera<T>& cam, const T* mean, const T* quat,
                                   const T* scale, T opacity) {
  ProjectedRow<T> row = {};
  const T z = cam.R[6] * mean[0] + cam.R[7] * mean[1] + cam.R[8] * mean[2] + cam.t[2];
  if (!(z >= T(a.near_plane) && z <= T(a.far_plane) && (a.orthographic || z > 0))) return row;
  const T alpha_min = T(a.alpha_min);
  opacity = min(opacity, T(1));
  if (opacity < alpha_min || opacity <= 0) return row;
  const Footprint<T> f = footprint(cam, mean, quat, scale, T(a.eps2d));
  if (!(f.det > 0)) return row;
  if (a.antialiased) opacity *= compensation(f);
  if (opacity < alpha_min || opacity <= 0) return row;

  const T extent = sqrt(2 * T(log(opacity / alpha_min)));  // in sigmas; infinite at alpha_min 0
  const T extent_x = extent * (sqrt(f.s00) * f.unit), extent_y = extent * (sqrt(f.s11) * f.unit), limit = T(1 << 30);
  const T radius_x = ceil(min(extent_x, limit)), radius_y = ceil(min(extent_y, limit));
  if (radius_x <= T(a.radius_clip) && radius_y <= T(a.radius_clip)) return row;
  if (!(f.u + radius_x > 0 && f.u - radius_x < a.width && f.v + radius_y > 0 && f.v - radius_y < a.height)) return row;

  row.mean[0] = f.u, row.mean[1] = f.v, row.depth = f.p[2], row.opacity = opacity;
  conic(f, row.conic);
  // exp(-sigma) = 2^-(P^2 (dx - k dy)^2 + Q^2 dy^2): a sum of squares, so never above 1
  const T fold = T(0.72134752044448170368);  // log2(e) / 2
  row.shape[0] = sqrt(fold * f.s11 / f.det) / f.unit, row.shape[1] = f.s01 / f.s11;
  row.shape[2] = sqrt(fold / f.s11) / f.unit, row.shape[3] = log2(opacity);
  row.shape[4] = extent_x, row.shape[5] = extent_y;
  row.radii[0] = static_cast<int32_t>(radius_x), row.radii[1] = static_cast<int32_t>(radius_y);
  return row;
}

template <class T>
struct RowGradient {
  T mean[3], quat[4], scale[3], opacity;
};

// Adds the gradient through one camera, and returns that of the camera (R, t).
template <class T>
GSR_HD FootprintGradient<T> project_row_vjp(const gsr_projection& a, const Camera<T>& cam, const T* mean, const T* quat,
                                            const T* scale, T opacity, const T* v_mean2d, T v_depth, const T* v_conic,
                                            T v_opacity2d, RowGradient<T>& row) {
  const Footprint<T> f = footprint(cam, mean, quat, scale, T(a.eps2d));
  row.opacity += opacity > 1 ? T(0) : (a.antialiased ? v_opacity2d * compensation(f) : v_opacity2d);
  const T v_compensation = a.antialiased ? v_opacity2d * min(opacity, T(1)) : T(0);
  const FootprintGradient<T> g =
      footprint_vjp(cam, f, mean, scale, v_mean2d[0], v_mean2d[1], v_depth, v_conic, v_compensation);
  for (int i = 0; i < 3; ++i) row.mean[i] += g.mean[i], row.scale[i] += g.scale[i];
  for (int i = 0; i < 4; ++i) row.quat[i] += g.quat[i];
  return g;
}

template <class T>
GSR_HD T finite_or_zero(T x) {
  return x - x == 0 ? x : T(0);
}

}  // namespace gsr
