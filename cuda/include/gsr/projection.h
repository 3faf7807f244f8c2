// One Gaussian seen by one camera: mean, 2D covariance, conic, extent, and their derivatives.
// The camera covariance is M M^T with M = J R W Rq diag(scale), a 2x3 matrix, W the Gaussian's warp if it has one; its
// determinant is taken as the sum of the squared 2x2 minors of M plus the low-pass terms, all positive, so thin splats
// lose no digits. M is divided by its largest entry first, so that huge splats do not overflow.
#pragma once
#include "gsr/math.h"

namespace gsr {

// One Gaussian; with T a register, one a lane. `warp` is there where kWarped.
template <class T, bool kWarped>
struct Gaussian {
  T mean[3], quat[4], scale[3], opacity, warp[9];
};

template <class T>
struct Camera {
  T R[9], t[3], fx, fy, cx, cy;
  T lo_x, hi_x, lo_y, hi_y;  // the slope x/z is clamped to these in the Jacobian only
  bool orthographic;
};

template <class T>
GSR_HD Camera<T> camera_from(const T* viewmat, const T* K, T width, T height, bool orthographic) {
  Camera<T> cam;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 3; ++j) cam.R[3 * i + j] = viewmat[4 * i + j];
    cam.t[i] = viewmat[4 * i + 3];
  }
  cam.fx = K[0], cam.fy = K[4], cam.cx = K[2], cam.cy = K[5];
  const T margin = T(0.15);
  cam.lo_x = -(cam.cx + margin * width) / cam.fx, cam.hi_x = (width - cam.cx + margin * width) / cam.fx;
  cam.lo_y = -(cam.cy + margin * height) / cam.fy, cam.hi_y = (height - cam.cy + margin * height) / cam.fy;
  cam.orthographic = orthographic;
  return cam;
}

// What forward computes and backward reads.
template <class T>
struct Footprint {
  T p[3], u, v;                                 // camera-space mean and its pixel
  T slope_x, slope_y;                           // clamped
  typename MaskOf<T>::type inside_x, inside_y;  // not clamped
  T quat[4], quat_norm, Rq[9], warped[9];       // W Rq where there is a W
  T J[6], B[6], A[9], M[6];                     // B = J R, A = W Rq diag(scale), M = B A / unit
  T unit;                                       // of length, in pixels
  T eps;                                        // the low-pass, in units
  T s00, s01, s11;                              // low-passed 2D covariance, in units
  T det, det_raw;                               // with and without the low-pass
};

template <class T, bool kWarped>
GSR_HD Footprint<T> footprint(const Camera<T>& cam, const Gaussian<T, kWarped>& g, T eps2d) {
  Footprint<T> f;
  const T *mean = g.mean, *quat = g.quat;
  for (int i = 0; i < 3; ++i)
    f.p[i] = cam.R[3 * i] * mean[0] + cam.R[3 * i + 1] * mean[1] + cam.R[3 * i + 2] * mean[2] + cam.t[i];
  const T x = f.p[0], y = f.p[1], z = f.p[2];
  if (cam.orthographic) {
    f.u = cam.fx * x + cam.cx, f.v = cam.fy * y + cam.cy;
    const typename MaskOf<T>::type nowhere{};
    f.slope_x = f.slope_y = 0, f.inside_x = f.inside_y = nowhere;
    f.J[0] = cam.fx, f.J[4] = cam.fy, f.J[1] = f.J[2] = f.J[3] = f.J[5] = 0;
  } else {
    const T rz = T(1) / z;
    f.u = cam.fx * x * rz + cam.cx, f.v = cam.fy * y * rz + cam.cy;
    const T slope_x = x * rz, slope_y = y * rz;
    f.slope_x = clamp(slope_x, cam.lo_x, cam.hi_x), f.slope_y = clamp(slope_y, cam.lo_y, cam.hi_y);
    f.inside_x = at_least(slope_x, cam.lo_x) & at_least(cam.hi_x, slope_x);
    f.inside_y = at_least(slope_y, cam.lo_y) & at_least(cam.hi_y, slope_y);
    f.J[0] = cam.fx * rz, f.J[1] = 0, f.J[2] = -cam.fx * f.slope_x * rz;
    f.J[3] = 0, f.J[4] = cam.fy * rz, f.J[5] = -cam.fy * f.slope_y * rz;
  }
  f.quat_norm = sqrt(quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]);
  for (int i = 0; i < 4; ++i) f.quat[i] = quat[i] / f.quat_norm;
  rotation_from_quat(f.quat, f.Rq);
  // products with the ones and zeros of an identity leave every number as it is, but for the sign of a zero
  if (kWarped) matmul<3, 3, 3>(g.warp, f.Rq, f.warped);
  const T* axes = kWarped ? f.warped : f.Rq;
  for (int i = 0; i < 9; ++i) f.A[i] = axes[i] * g.scale[i % 3];
  matmul<2, 3, 3>(f.J, cam.R, f.B);
  matmul<2, 3, 3>(f.B, f.A, f.M);
  f.unit = 1;
  for (int i = 0; i < 6; ++i) f.unit = max(f.unit, absolute(f.M[i]));
  for (int i = 0; i < 6; ++i) f.M[i] /= f.unit;
  const T* M = f.M;
  const T eps = f.eps = eps2d / f.unit / f.unit;
  const T raw00 = M[0] * M[0] + M[1] * M[1] + M[2] * M[2], raw11 = M[3] * M[3] + M[4] * M[4] + M[5] * M[5];
  f.s01 = M[0] * M[3] + M[1] * M[4] + M[2] * M[5];
  f.det_raw = square(M[0] * M[4] - M[1] * M[3]) + square(M[0] * M[5] - M[2] * M[3]) + square(M[1] * M[5] - M[2] * M[4]);
  f.det = f.det_raw + eps * (raw00 + raw11) + eps * eps;
  f.s00 = raw00 + eps, f.s11 = raw11 + eps;
  return f;
}

// Inverse of the low-passed covariance: a, b, c of a dx^2 + 2 b dx dy + c dy^2.
template <class T>
GSR_HD void conic(const Footprint<T>& f, T* abc) {
  const T scale = T(1) / f.unit / f.unit;
  abc[0] = f.s11 / f.det * scale, abc[1] = -f.s01 / f.det * scale, abc[2] = f.s00 / f.det * scale;
}

// sqrt(det_raw / det): how much the low-pass has thinned the splat; scales opacity in antialiased mode.
template <class T>
GSR_HD T compensation(const Footprint<T>& f) {
  return sqrt(max(T(0), f.det_raw / f.det));
}

template <class T>
struct FootprintGradient {
  T mean[3], quat[4], scale[3], warp[9];
  T R[9], t[3];
};

// The 2D covariance in the frame of the longest column of M, which then has no second component: what is across a
// needle is found without a difference of numbers of the size of its length.
template <class T>
struct AlongNeedle {
  T c, s;           // turns that column into (length, 0)
  T a[3], b[3];     // of B and W Rq: along and across
  T m[3], n[3];     // of M, the same
  T s00, s01, s11;  // low-passed 2D covariance, in units
};

template <class T>
GSR_HD AlongNeedle<T> along_needle(const Footprint<T>& f, const T* axes, const T* scale) {
  typedef typename MaskOf<T>::type Mask;
  AlongNeedle<T> r;
  T D[6], length[3];
  matmul<2, 3, 3>(f.B, axes, D);
  for (int k = 0; k < 3; ++k) length[k] = square(f.M[k]) + square(f.M[3 + k]);
  const Mask second = greater(length[1], length[0]) & at_least(length[1], length[2]);
  const Mask longest[3] = {at_least(length[0], max(length[1], length[2])), second,
                           greater(length[2], max(length[0], length[1]))};
  T x = 0, y = 0;
  for (int k = 0; k < 3; ++k) x += keep(longest[k], D[k]), y += keep(longest[k], D[3 + k]);
  const T norm = sqrt(x * x + y * y);
  const Mask seen = greater(norm, T(0));
  r.c = keep(seen, T(x / norm)) + drop(seen, T(1)), r.s = keep(seen, T(y / norm));
  r.s00 = r.s11 = f.eps, r.s01 = 0;
  for (int k = 0; k < 3; ++k) {
    r.a[k] = r.c * D[k] + r.s * D[3 + k], r.b[k] = drop(longest[k], T(r.c * D[3 + k] - r.s * D[k]));
    r.m[k] = r.a[k] * (scale[k] / f.unit), r.n[k] = r.b[k] * (scale[k] / f.unit);
    r.s00 += square(r.m[k]), r.s01 += r.m[k] * r.n[k], r.s11 += square(r.n[k]);
  }
  return r;
}

// Gradient of M, of which `along` has both rows, from those of conic and compensation.
template <class T>
GSR_HD void covariance_vjp(const Footprint<T>& f, const AlongNeedle<T>& r, const T* v_abc, T v_compensation, T* v_along,
                           T* v_across) {
  // conic X = S^-1: v_S = -X V X
  const T u2 = T(1) / f.unit / f.unit;
  const T x00 = r.s11 / f.det * u2, x01 = -r.s01 / f.det * u2, x11 = r.s00 / f.det * u2;
  const T p0 = r.c * v_abc[0] + r.s * (v_abc[1] / 2), p1 = r.c * (v_abc[1] / 2) + r.s * v_abc[2];
  const T q0 = r.c * (v_abc[1] / 2) - r.s * v_abc[0], q1 = r.c * v_abc[2] - r.s * (v_abc[1] / 2);
  const T v00 = r.c * p0 + r.s * p1, v01 = r.c * q0 + r.s * q1, v11 = r.c * q1 - r.s * q0;
  const T y00 = x00 * v00 + x01 * v01, y01 = x00 * v01 + x01 * v11;
  const T y10 = x01 * v00 + x11 * v01, y11 = x01 * v01 + x11 * v11;
  T g00 = -(y00 * x00 + y01 * x01) * f.unit, g01 = -(y00 * x01 + y01 * x11) * f.unit,
    g11 = -(y10 * x01 + y11 * x11) * f.unit;
  if (any_nonzero(v_compensation)) {
    // comp = sqrt(det_raw / det); d det = adj(S) : dS, without differences of large numbers. The 1e-6 is gsplat's.
    const T half = v_compensation * T(0.5) / (compensation(f) + T(1e-6)) / f.det;
    const T thinned = half * (f.eps / f.det) / f.unit, raw00 = r.s00 - f.eps, raw11 = r.s11 - f.eps;
    g00 += thinned * (raw11 * r.s11 + r.s01 * r.s01), g11 += thinned * (raw00 * r.s00 + r.s01 * r.s01);
    g01 -= thinned * (r.s01 * (r.s00 + raw11));
  }
  for (int k = 0; k < 3; ++k) {
    v_along[k] = 2 * (g00 * r.m[k] + g01 * r.n[k]);
    v_across[k] = 2 * (g01 * r.m[k] + g11 * r.n[k]);
  }
}

// Gradients of mean, quaternion, scale, warp and viewmat from those of pixel, depth, conic and compensation.
template <class T, bool kWarped>
GSR_HD FootprintGradient<T> footprint_vjp(const Camera<T>& cam, const Footprint<T>& f, const Gaussian<T, kWarped>& in,
                                          T v_u, T v_v, T v_z, const T* v_abc, T v_compensation) {
  FootprintGradient<T> g;
  const T* axes = kWarped ? f.warped : f.Rq;
  const AlongNeedle<T> r = along_needle(f, axes, in.scale);
  T v_along[3], v_across[3], v_M[6];
  covariance_vjp(f, r, v_abc, v_compensation, v_along, v_across);
  for (int k = 0; k < 3; ++k) {
    g.scale[k] = v_along[k] * r.a[k] + v_across[k] * r.b[k];
    v_M[k] = r.c * v_along[k] - r.s * v_across[k], v_M[3 + k] = r.s * v_along[k] + r.c * v_across[k];
  }
  T v_A[9], v_B[6], v_J[6], v_axes[9], v_Rq[9];
  matmul_tn<3, 2, 3>(f.B, v_M, v_A);
  matmul_nt<2, 3, 3>(v_M, f.A, v_B);
  for (int i = 0; i < 9; ++i) v_axes[i] = v_A[i] * in.scale[i % 3];
  if (kWarped) matmul_nt<3, 3, 3>(v_axes, f.Rq, g.warp), matmul_tn<3, 3, 3>(in.warp, v_axes, v_Rq);
  rotation_from_quat_vjp(f.quat, f.quat_norm, kWarped ? v_Rq : v_axes, g.quat);
  matmul_nt<2, 3, 3>(v_B, cam.R, v_J);
  matmul_tn<3, 2, 3>(f.J, v_B, g.R);

  if (cam.orthographic) {
    g.t[0] = cam.fx * v_u, g.t[1] = cam.fy * v_v, g.t[2] = v_z;
  } else {
    const T rz = T(1) / f.p[2];
    g.t[0] = cam.fx * rz * v_u, g.t[1] = cam.fy * rz * v_v;
    g.t[2] = v_z - (cam.fx * f.p[0] * v_u + cam.fy * f.p[1] * v_v) * rz * rz;
    // J(0,2) = -fx slope / z; where the slope is clamped, J depends on z alone
    g.t[2] +=
        (-cam.fx * v_J[0] - cam.fy * v_J[4] + cam.fx * f.slope_x * v_J[2] + cam.fy * f.slope_y * v_J[5]) * rz * rz;
    const T moved_x = keep(f.inside_x, cam.fx * v_J[2] * rz * rz),
            moved_y = keep(f.inside_y, cam.fy * v_J[5] * rz * rz);
    g.t[0] -= moved_x, g.t[1] -= moved_y;
    g.t[2] += f.slope_x * moved_x + f.slope_y * moved_y;
  }
  for (int j = 0; j < 3; ++j) {
    g.mean[j] = cam.R[j] * g.t[0] + cam.R[3 + j] * g.t[1] + cam.R[6 + j] * g.t[2];
    for (int i = 0; i < 3; ++i) g.R[3 * i + j] += g.t[i] * in.mean[j];
  }
  return g;
}

}  // namespace gsr
