// The separable 11-tap window over rows of interleaved channels; loops that the compiler turns into vectors.
#pragma once
#include "gsr/ssim.h"

namespace gsr {

// a b + c in one rounding where the processor can; the C library's own fma would be a call.
template <class T>
GSR_HD T multiply_add(T a, T b, T c) {
#ifdef __FMA__
  return sizeof(T) == 4 ? T(__builtin_fmaf(a, b, c)) : T(__builtin_fma(a, b, c));
#else
  return a * b + c;
#endif
}

template <class T>
GSR_HD T tap_sum(const T* t, T c, T a1, T b1, T a2, T b2, T a3, T b3, T a4, T b4, T a5, T b5) {
  T sum = t[0] * c;
  sum = multiply_add(t[1], a1 + b1, sum);
  sum = multiply_add(t[2], a2 + b2, sum);
  sum = multiply_add(t[3], a3 + b3, sum);
  sum = multiply_add(t[4], a4 + b4, sum);
  return multiply_add(t[5], a5 + b5, sum);
}

// out[i] = sum over d of taps[|d|] in[i + (5 + d) step], so `in` starts five columns before `out`.
template <class T>
void blur_along(const T* taps, const T* __restrict in, int step, int size, T* __restrict out) {
  const T t[6] = {taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]};
  const T *p0 = in, *p1 = in + step, *p2 = in + 2 * step, *p3 = in + 3 * step, *p4 = in + 4 * step, *p5 = in + 5 * step,
          *p6 = in + 6 * step, *p7 = in + 7 * step, *p8 = in + 8 * step, *p9 = in + 9 * step, *p10 = in + 10 * step;
  for (int i = 0; i < size; ++i)
    out[i] = tap_sum(t, p5[i], p4[i], p6[i], p3[i], p7[i], p2[i], p8[i], p1[i], p9[i], p0[i], p10[i]);
}

// The same down the columns of a ring of 11 rows, around `row`; rows outside the image are `blank`.
template <class T>
void blur_down(const T* taps, const T* ring, int row, int height, const T* blank, int size, T* __restrict out) {
  const T t[6] = {taps[0], taps[1], taps[2], taps[3], taps[4], taps[5]};
  const T* p[kSsimTaps];
  for (int k = 0; k < kSsimTaps; ++k) {
    const int r = row - kSsimHalf + k;
    p[k] = r < 0 || r >= height ? blank : ring + r % kSsimTaps * size;
  }
  const T *p0 = p[0], *p1 = p[1], *p2 = p[2], *p3 = p[3], *p4 = p[4], *p5 = p[5], *p6 = p[6], *p7 = p[7], *p8 = p[8],
          *p9 = p[9], *p10 = p[10];
  for (int i = 0; i < size; ++i)
    out[i] = tap_sum(t, p5[i], p4[i], p6[i], p3[i], p7[i], p2[i], p8[i], p1[i], p9[i], p0[i], p10[i]);
}

}  // namespace gsr
