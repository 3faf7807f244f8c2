// Structural similarity from blurred moments (Wang et al. 2004, equation 13), and its derivatives.
#pragma once
#include "gsr/math.h"

namespace gsr {

constexpr int kSsimHalf = 5;  // taps to either side
constexpr int kSsimTaps = 2 * kSsimHalf + 1;

// One side of the normalised window: taps[d] = tap at distance d.
template <class T>
struct SsimWindow {
  T taps[kSsimHalf + 1];
  SsimWindow() {
    double weights[kSsimHalf + 1], total = 0;
    for (int d = 0; d <= kSsimHalf; ++d) {
      weights[d] = ::exp(-d * d / (2 * 1.5 * 1.5));
      total += (d ? 2 : 1) * weights[d];
    }
    for (int d = 0; d <= kSsimHalf; ++d) taps[d] = T(weights[d] / total);
  }
};

template <class T>
struct SsimPoint {
  T value, d_mx, d_xx, d_xy;  // derivatives by the blurred x, x^2 and x y
};

template <class T>
GSR_HD SsimPoint<T> ssim_point(T mx, T my, T xx, T yy, T xy) {
  const T c1 = T(0.01 * 0.01), c2 = T(0.03 * 0.03);
  const T a1 = 2 * mx * my + c1, a2 = 2 * (xy - mx * my) + c2;
  const T r1 = T(1) / (mx * mx + my * my + c1), r2 = T(1) / ((xx - mx * mx) + (yy - my * my) + c2);
  SsimPoint<T> p;
  p.value = a1 * a2 * r1 * r2;
  p.d_xy = 2 * a1 * r1 * r2;
  p.d_xx = -p.value * r2;
  p.d_mx = 2 * (my * (a2 - a1) * r1 * r2 + mx * p.value * (r2 - r1));
  return p;
}

}  // namespace gsr
