// Projection of one Gaussian into one camera as gsr.h defines it: what is culled, what is written; and the gradient.
// T is a number on a GPU and a register on the CPU, where each lane is a Gaussian of its own.
#pragma once
#include "gsr/gsr.h"
#include "gsr/projection.h"

namespace gsr {

constexpr double kLargestScale = 1e30;  // beyond it a float has no room for what follows

// False where an input is not finite, a scale beyond its bound or the quaternion zero.
template <class T, bool kWarped>
GSR_HD typename MaskOf<T>::type is_valid(const Gaussian<T, kWarped>& g) {
  T sum = g.opacity - g.opacity, length = T(0);
  for (int i = 0; i < 3; ++i) sum += (g.mean[i] - g.mean[i]) + (g.scale[i] - g.scale[i]);
  for (int i = 0; i < 9 * kWarped; ++i) sum += g.warp[i] - g.warp[i];
  for (int i = 0; i < 4; ++i) length += g.quat[i] * g.quat[i];
  const T scale = max(absolute(g.scale[0]), max(absolute(g.scale[1]), absolute(g.scale[2])));
  return is_finite(sum + length) & greater(length, T(0)) & at_least(T(kLargestScale), scale);
}

template <class T>
struct ProjectedRow {
  T mean[2], depth, conic[3], opacity, shape[6], radii[2];
};

// All zeros where the Gaussian is culled or not `wanted`.
template <class T, bool kWarped>
GSR_HD ProjectedRow<T> project_row(const gsr_projection& a, const Camera<T>& cam, const Gaussian<T, kWarped>& g,
                                   typename MaskOf<T>::type wanted) {
  typedef MaskOf<T> Masks;
  ProjectedRow<T> row = {};
  const T zero = T(0), alpha_min = T(a.alpha_min), clip = T(a.radius_clip), limit = T(1 << 30);
  const T depth = cam.R[6] * g.mean[0] + cam.R[7] * g.mean[1] + cam.R[8] * g.mean[2] + cam.t[2];
  typename Masks::type kept = wanted & at_least(depth, T(a.near_plane)) & at_least(T(a.far_plane), depth);
  if (!a.orthographic) kept = kept & greater(depth, zero);
  T opacity = min(g.opacity, T(1));
  kept = kept & at_least(opacity, alpha_min) & greater(opacity, zero);
  if (!Masks::any(kept)) return row;
  const Footprint<T> f = footprint(cam, g, T(a.eps2d));
  kept = kept & greater(f.det, zero);
  if (a.antialiased) {
    opacity *= compensation(f);
    kept = kept & at_least(opacity, alpha_min) & greater(opacity, zero);
  }
  if (!Masks::any(kept)) return row;

  const T extent = sqrt(2 * max(T(log(opacity / alpha_min)), zero));  // in sigmas; infinite at alpha_min 0
  const T extent_x = extent * sqrt(f.s00) * f.unit, extent_y = extent * sqrt(f.s11) * f.unit;
  const T radius_x = ceil(min(extent_x, limit)), radius_y = ceil(min(extent_y, limit));
  kept = kept & (greater(radius_x, clip) | greater(radius_y, clip));
  kept = kept & greater(f.u + radius_x, zero) & greater(T(a.width), f.u - radius_x);
  kept = kept & greater(f.v + radius_y, zero) & greater(T(a.height), f.v - radius_y);
  if (!Masks::any(kept)) return row;

  T abc[3];
  conic(f, abc);
  for (int i = 0; i < 3; ++i) row.conic[i] = keep(kept, abc[i]);
  row.mean[0] = keep(kept, f.u), row.mean[1] = keep(kept, f.v);
  row.depth = keep(kept, depth), row.opacity = keep(kept, opacity);
  row.radii[0] = keep(kept, radius_x), row.radii[1] = keep(kept, radius_y);
  // exp(-sigma) = 2^-(P^2 (dx - k dy)^2 + Q^2 dy^2): a sum of squares, so never above 1
  const T fold = T(0.72134752044448170368);  // log2(e) / 2
  row.shape[0] = keep(kept, sqrt(fold * f.s11 / f.det) / f.unit), row.shape[1] = keep(kept, f.s01 / f.s11);
  row.shape[2] = keep(kept, sqrt(fold / f.s11) / f.unit), row.shape[3] = keep(kept, T(log2(opacity)));
  row.shape[4] = keep(kept, extent_x), row.shape[5] = keep(kept, extent_y);
  return row;
}

// Gradients of what project_row returns, as far as it has any.
template <class T>
struct ProjectedGradient {
  T mean[2], depth, conic[3], opacity;
};

template <class T>
struct RowGradient : FootprintGradient<T> {
  T opacity;
};

// Gradients of the Gaussian and of the camera (R, t). Zero where the Gaussian is not `visible`, and for each number
// that would not be finite.
template <class T, bool kWarped>
GSR_HD RowGradient<T> project_row_vjp(const gsr_projection& a, const Camera<T>& cam, const Gaussian<T, kWarped>& g,
                                      const ProjectedGradient<T>& v, typename MaskOf<T>::type visible) {
  RowGradient<T> row;
  const Footprint<T> f = footprint(cam, g, T(a.eps2d));
  const T v_compensation = a.antialiased ? v.opacity * min(g.opacity, T(1)) : T(0);
  // above 1 the opacity is clamped
  row.opacity = keep(at_least(T(1), g.opacity), a.antialiased ? v.opacity * compensation(f) : v.opacity);
  static_cast<FootprintGradient<T>&>(row) =
      footprint_vjp(cam, f, g, v.mean[0], v.mean[1], v.depth, v.conic, v_compensation);
  const auto keep_finite = [&](T* values, int count) {
    for (int i = 0; i < count; ++i) values[i] = keep(visible & is_finite(values[i]), values[i]);
  };
  keep_finite(row.mean, 3), keep_finite(row.quat, 4), keep_finite(row.scale, 3), keep_finite(&row.opacity, 1);
  if (kWarped) keep_finite(row.warp, 9);
  keep_finite(row.R, 9), keep_finite(row.t, 3);
  return row;
}

}  // namespace gsr
