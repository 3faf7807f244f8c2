// One splat at one pixel: its alpha, the compositing step, and the gradient by replaying that step. The shape is a sum
// of squares, alpha = 2^(log2_opacity - u^2 - v^2) with u = P dx - P k dy and v = Q dy, so alpha never exceeds the
// opacity. All holds for registers of pixels too.
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

// From the settings of a drawing; T is a number or a register of numbers of type `Number`.
template <class T, class Number = T, class Settings>
inline PixelCuts<T> pixel_cuts(const Settings& a) {
  // the exponential is only good down to 2^-126; a cut of 0 means none: no product of (1 - alpha) may then finish a
  // pixel
  const Number least = sizeof(Number) == 4 ? Number(-126) : Number(-1020);
  return {T(max(Number(log2(a.alpha_min)), least)), T(Number(a.alpha_max)),
          T(a.transmittance_min > 0 ? Number(a.transmittance_min) : Number(-1))};
}

// The exponent at a pixel centre. Products and sums are spelled out, so that forward and backward round alike.
template <class T>
GSR_HD T splat_power(const Shape<T>& s, T pixel_x, T pixel_y, T* u, T* v) {
  const T dy = s.y - pixel_y;
  *u = fnma(s.Pk, dy, s.P * (s.x - pixel_x));
  *v = s.Q * dy;
  return fnma(*u, *u, fnma(*v, *v, s.log2_opacity));
}

// What one splat does to a pixel.
template <class T>
struct Blended {
  T alpha, weight, transmittance;  // the last behind it
  typename MaskOf<T>::type open;   // not finished after this splat
};

// Composites alpha `raw`, which is 0 where it is below the threshold. The splat that would take a pixel to the cut is
// itself left out and finishes the pixel, which then keeps its transmittance with the sign turned: it never passes
// again, and `transmittance > 0` is the test for "still open". Pixels outside the image start with 0.
template <class T>
GSR_HD Blended<T> blend(const PixelCuts<T>& cuts, T raw, T before) {
  const T alpha = min(raw, cuts.alpha_max), left = fnma(alpha, before, before);
  Blended<T> b;
  b.open = greater(left, cuts.transmittance_min);
  b.alpha = keep(b.open, alpha), b.weight = b.alpha * before;
  b.transmittance = select_or_negative(b.open, left, before);
  return b;
}

// Gradient of alpha times alpha, from what the splat adds (cv = its channels times the pixel's gradient) and from the
// remainder: gradient times everything behind it, background and alpha included. 0 where alpha is capped.
// `reciprocal_rest` is 1 / (1 - alpha).
template <class T>
GSR_HD T blend_vjp(const PixelCuts<T>& cuts, T raw, const Blended<T>& b, T before, T cv, T reciprocal_rest,
                   T& remainder) {
  remainder = fnma(b.weight, cv, remainder);
  const T v_alpha = fnma(remainder, reciprocal_rest, before * cv);
  return drop(greater(raw, cuts.alpha_max), b.alpha * v_alpha);
}

constexpr int kMoments = 6;  // sums over pixels of vs, vs u, vs v, vs u^2, vs u v, vs v^2, with vs of blend_vjp
constexpr double kUnfold = 1.3862943611198906188;  // 2 ln 2: of the exponent's gradient

// Gradients of centre, conic and opacity from the moments of all pixels. `per_opacity` is 1 / opacity: CPU and GPU have
// fast ways of their own to 2^-log2_opacity.
template <class T>
GSR_HD void splat_vjp(const Shape<T>& s, T per_opacity, const T* m, T* v_mean, T* v_conic, T* v_opacity) {
  const T unfold = T(kUnfold);
  v_mean[0] = -unfold * s.P * m[1], v_mean[1] = -unfold * (s.Q * m[2] - s.Pk * m[1]);
  // dx = u / P + Pk v / (P Q), dy = v / Q
  const T x_u = 1 / s.P, y_v = 1 / s.Q, x_v = s.Pk * x_u * y_v;
  v_conic[0] = (x_u * x_u * m[3] + 2 * x_u * x_v * m[4] + x_v * x_v * m[5]) / -2;
  v_conic[1] = -y_v * (x_u * m[4] + x_v * m[5]);
  v_conic[2] = y_v * y_v * m[5] / -2;
  *v_opacity = m[0] * per_opacity;
}

}  // namespace gsr
