// One splat at one pixel: its alpha, the compositing step, and the gradient by replaying that step. The shape is a sum
// of squares, alpha = 2^(log2_opacity - u^2 - v^2) with u = P dx - P k dy and v = Q dy, so alpha never exceeds the
// opacity.
#pragma once
#include <stdint.h>

#include "gsr/math.h"

namespace gsr {

template <class T>
struct Shape {
  T x, y, P, Pk, Q, log2_opacity;
};

template <class T>
struct PixelCuts {
  T log2_alpha_min, alpha_max, transmittance_min;
};

template <class T>
inline PixelCuts<T> pixel_cuts(double alpha_min, double alpha_max, double transmittance_min) {
  PixelCuts<T> cuts;
  // the exponential is only good down to 2^-126
  cuts.log2_alpha_min = max(T(log2(alpha_min)), sizeof(T) == 4 ? T(-126) : T(-1020));
  cuts.alpha_max = T(alpha_max);
  // a cut of 0 means none: no product of (1 - alpha) may then finish a pixel
  cuts.transmittance_min = transmittance_min > 0 ? T(transmittance_min) : T(-1);
  return cuts;
}

// The exponent at a pixel centre. Products and sums are spelled out, so that forward and backward round alike.
template <class T>
GSR_HD T splat_power(const Shape<T>& s, T pixel_x, T pixel_y, T* u, T* v) {
  const T dy = s.y - pixel_y;
  *u = fma(-s.Pk, dy, s.P * (s.x - pixel_x));
  *v = s.Q * dy;
  return fma(-*u, *u, fma(-*v, *v, s.log2_opacity));
}

// Composites alpha `raw` (0 where it is below the threshold); returns its weight. The splat that would take a pixel to
// the cut is itself left out and finishes the pixel, which then keeps its transmittance with the sign turned.
template <class T>
GSR_HD T blend(const PixelCuts<T>& cuts, T raw, T& alpha, T& through) {
  const T before = through;
  alpha = min(raw, cuts.alpha_max);
  const T left = fma(-alpha, before, before);
  const bool open = left > cuts.transmittance_min;
  alpha = open ? alpha : T(0);
  through = open ? left : -T(fabs(before));
  return alpha * before;
}

// Gradient of alpha times alpha, from what the splat adds (cv = its channels times the pixel's gradient) and from the
// remainder: gradient times everything behind it, background and alpha included. 0 where alpha is capped.
template <class T>
GSR_HD T blend_vjp(const PixelCuts<T>& cuts, T raw, T alpha, T weight, T before, T cv, T reciprocal_rest,
                   T& remainder) {
  remainder = fma(-weight, cv, remainder);
  const T v_alpha = fma(-remainder, reciprocal_rest, before * cv);
  return raw > cuts.alpha_max ? T(0) : alpha * v_alpha;
}

constexpr int kMoments = 6;  // sums over pixels of vs, vs u, vs v, vs u^2, vs u v, vs v^2, with vs of blend_vjp
constexpr double kUnfold = 1.3862943611198906188;  // 2 ln 2: of the exponent's gradient

template <class T>
GSR_HD void moments_of(T vs, T u, T v, T* m) {
  m[0] = vs, m[1] = vs * u, m[2] = vs * v;
  m[3] = m[1] * u, m[4] = m[1] * v, m[5] = m[2] * v;
}

// Absolute gradient of the centre through one pixel, before kUnfold.
template <class T>
GSR_HD void absolute_of(T P, T Pk, T Q, const T* m, T* absolute) {
  absolute[0] = fabs(P * m[1]), absolute[1] = fabs(fma(-Pk, m[1], Q * m[2]));
}

// Gradients of centre, conic and opacity from the moments of all pixels. `shape` is a row P, k, Q, log2 opacity of
// gsr.h.
template <class T>
GSR_HD void splat_vjp(const T* shape, const T* m, T* v_mean, T* v_conic, T* v_opacity) {
  const T P = shape[0], k = shape[1], Q = shape[2], unfold = T(kUnfold);
  v_mean[0] = -unfold * P * m[1], v_mean[1] = -unfold * (Q * m[2] - k * P * m[1]);
  // dx = u / P + k v / Q, dy = v / Q
  const T x_u = 1 / P, y_v = 1 / Q, x_v = k * y_v;
  v_conic[0] = (x_u * x_u * m[3] + 2 * x_u * x_v * m[4] + x_v * x_v * m[5]) / -2;
  v_conic[1] = -y_v * (x_u * m[4] + x_v * m[5]);
  v_conic[2] = y_v * y_v * m[5] / -2;
  *v_opacity = m[0] * exp2(-shape[3]);
}

}  // namespace gsr
