// Real spherical harmonics of degree 0 to 4 in the order and signs of 3D Gaussian splatting, as homogeneous polynomials
// of the direction: every function but the first is 0 in the direction (0, 0, 0).
#pragma once
#include "gsr/math.h"

namespace gsr {

GSR_HD constexpr int sh_count(int degree) { return (degree + 1) * (degree + 1); }

struct ShFactors {
  static constexpr double c0 = 0.28209479177387814, c1 = 0.4886025119029199;
  static constexpr double c2 = 1.0925484305920792, c20 = 0.31539156525252005, c22 = 0.5462742152960396;
  static constexpr double c33 = 0.5900435899266435, c32 = 2.890611442640554, c31 = 0.4570457994644658,
                          c30 = 0.3731763325901154, c3e = 1.445305721320277;
  static constexpr double c44 = 2.5033429417967046, c43 = 1.7701307697799304, c42 = 0.9461746957575601,
                          c41 = 0.6690465435572892, c40 = 0.10578554691520431, c4e = 0.47308734787878004,
                          c4f = 0.6258357354491761;
};

template <int degree, class T>
GSR_HD void sh_basis(T x, T y, T z, T* Y) {
  typedef ShFactors F;
  const T xx = x * x, yy = y * y, zz = z * z;
  Y[0] = T(F::c0);
  if (degree > 0) Y[1] = T(-F::c1) * y, Y[2] = T(F::c1) * z, Y[3] = T(-F::c1) * x;
  if (degree > 1) {
    Y[4] = T(F::c2) * x * y, Y[5] = T(-F::c2) * y * z, Y[6] = T(F::c20) * (2 * zz - xx - yy);
    Y[7] = T(-F::c2) * x * z, Y[8] = T(F::c22) * (xx - yy);
  }
  if (degree > 2) {
    const T f = 4 * zz - xx - yy;
    Y[9] = T(-F::c33) * y * (3 * xx - yy), Y[10] = T(F::c32) * x * y * z, Y[11] = T(-F::c31) * y * f;
    Y[12] = T(F::c30) * z * (2 * zz - 3 * xx - 3 * yy), Y[13] = T(-F::c31) * x * f;
    Y[14] = T(F::c3e) * z * (xx - yy), Y[15] = T(-F::c33) * x * (xx - 3 * yy);
  }
  if (degree > 3) {
    const T w = xx + yy, g = 6 * zz - w, h = 4 * zz - 3 * w;
    Y[16] = T(F::c44) * x * y * (xx - yy), Y[17] = T(-F::c43) * y * z * (3 * xx - yy);
    Y[18] = T(F::c42) * x * y * g, Y[19] = T(-F::c41) * y * z * h;
    Y[20] = T(F::c40) * (8 * zz * zz - 24 * zz * w + 3 * w * w), Y[21] = T(-F::c41) * x * z * h;
    Y[22] = T(F::c4e) * (xx - yy) * g, Y[23] = T(-F::c43) * x * z * (xx - 3 * yy);
    Y[24] = T(F::c4f) * (xx * xx - 6 * xx * yy + yy * yy);
  }
}

// Gradient by the direction of sum v[k] Y[k].
template <int degree, class T>
GSR_HD void sh_basis_vjp(T x, T y, T z, const T* v, T* v_direction) {
  typedef ShFactors F;
  const T xx = x * x, yy = y * y, zz = z * z, xy = x * y, xz = x * z, yz = y * z;
  T gx = 0, gy = 0, gz = 0;
  if (degree > 0) gx -= T(F::c1) * v[3], gy -= T(F::c1) * v[1], gz += T(F::c1) * v[2];
  if (degree > 1) {
    const T a = T(F::c2), b = T(2 * F::c20), c = T(2 * F::c22);
    gx += a * (v[4] * y - v[7] * z) - b * v[6] * x + c * v[8] * x;
    gy += a * (v[4] * x - v[5] * z) - b * v[6] * y - c * v[8] * y;
    gz += 2 * b * v[6] * z - a * (v[5] * y + v[7] * x);
  }
  if (degree > 2) {
    const T a = T(F::c33), b = T(F::c32), c = T(F::c31), d = T(F::c30), e = T(F::c3e);
    gx += -6 * a * v[9] * xy + b * v[10] * yz + 2 * c * v[11] * xy - 6 * d * v[12] * xz;
    gx += -c * v[13] * (4 * zz - 3 * xx - yy) + 2 * e * v[14] * xz - 3 * a * v[15] * (xx - yy);
    gy += -3 * a * v[9] * (xx - yy) + b * v[10] * xz - c * v[11] * (4 * zz - xx - 3 * yy) - 6 * d * v[12] * yz;
    gy += 2 * c * v[13] * xy - 2 * e * v[14] * yz + 6 * a * v[15] * xy;
    gz +=
        b * v[10] * xy - 8 * c * (v[11] * yz + v[13] * xz) + 3 * d * v[12] * (2 * zz - xx - yy) + e * v[14] * (xx - yy);
  }
  if (degree > 3) {
    const T p = T(F::c44), q = T(F::c43), r = T(F::c42), s = T(F::c41), t = T(F::c40), u = T(F::c4e), w4 = T(F::c4f);
    const T w = xx + yy, xyz = xy * z;
    gx += p * v[16] * y * (3 * xx - yy) - 6 * q * v[17] * xyz + r * v[18] * y * (6 * zz - 3 * xx - yy);
    gx += 6 * s * v[19] * xyz + 12 * t * v[20] * x * (w - 4 * zz) - s * v[21] * z * (4 * zz - 9 * xx - 3 * yy);
    gx += 4 * u * v[22] * x * (3 * zz - xx) - 3 * q * v[23] * z * (xx - yy) + 4 * w4 * v[24] * x * (xx - 3 * yy);
    gy += p * v[16] * x * (xx - 3 * yy) - 3 * q * v[17] * z * (xx - yy) + r * v[18] * x * (6 * zz - xx - 3 * yy);
    gy += -s * v[19] * z * (4 * zz - 3 * xx - 9 * yy) + 12 * t * v[20] * y * (w - 4 * zz) + 6 * s * v[21] * xyz;
    gy += 4 * u * v[22] * y * (yy - 3 * zz) + 6 * q * v[23] * xyz + 4 * w4 * v[24] * y * (yy - 3 * xx);
    gz += -q * v[17] * y * (3 * xx - yy) + 12 * r * v[18] * xyz - 3 * s * v[19] * y * (4 * zz - w);
    gz += 16 * t * v[20] * z * (2 * zz - 3 * w) - 3 * s * v[21] * x * (4 * zz - w);
    gz += 12 * u * v[22] * z * (xx - yy) - q * v[23] * x * (xx - 3 * yy);
  }
  v_direction[0] = gx, v_direction[1] = gy, v_direction[2] = gz;
}

// Unit direction from a centre to a mean, and the distance; (0, 0, 0) at the centre itself.
template <class T>
GSR_HD T direction(const T* mean, const T* center, T* unit) {
  for (int i = 0; i < 3; ++i) unit[i] = mean[i] - center[i];
  const T norm = sqrt(unit[0] * unit[0] + unit[1] * unit[1] + unit[2] * unit[2]);
  const T inverse = norm > 0 ? 1 / norm : T(0);
  for (int i = 0; i < 3; ++i) unit[i] *= inverse;
  return norm;
}

// Gradient by the mean; the centre's is its opposite.
template <class T>
GSR_HD void direction_vjp(const T* unit, T norm, const T* v_unit, T* v_mean) {
  const T along = unit[0] * v_unit[0] + unit[1] * v_unit[1] + unit[2] * v_unit[2];
  for (int i = 0; i < 3; ++i) v_mean[i] = norm > 0 ? (v_unit[i] - along * unit[i]) / norm : T(0);
}

}  // namespace gsr
