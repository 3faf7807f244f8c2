// exp and tanh that a compiler can turn into vectors: no branches, no calls, no tables. Float to 2 units in the last
// place; double is the C library's.
#pragma once
#include <stdint.h>
#include <string.h>

#include "gsr/math.h"

namespace gsr {

GSR_HD double exp_of(double x) { return ::exp(x); }
GSR_HD double tanh_of(double x) { return ::tanh(x); }

GSR_HD float exp_of(float x) {
  x = clamp(x, -87.0f, 88.0f);
  // x = n ln 2 + f: the large constant rounds to the nearest integer, ln 2 is split so that f is exact
  const float shifted = x * 1.44269504f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float r = 1.0f / 720;
  r = r * f + 1.0f / 120;
  r = r * f + 1.0f / 24;
  r = r * f + 1.0f / 6;
  r = r * f + 0.5f;
  r = r * f * f + f + 1.0f;
  uint32_t bits, power;  // whole numbers below 0 wrap around
  memcpy(&bits, &r, sizeof bits);
  memcpy(&power, &shifted, sizeof power);
  bits += power << 23;
  memcpy(&r, &bits, sizeof r);
  return r;
}

GSR_HD float tanh_of(float x) {
  // (1 - e) / (1 + e) loses the digits of a small x, where the odd series is exact
  const float e = exp_of(-2 * fabsf(x)), far = (1 - e) / (1 + e), xx = x * x;
  const float near = x + x * xx * (-1.0f / 3 + xx * (2.0f / 15 + xx * (-17.0f / 315 + xx * (62.0f / 2835))));
  return xx < 0.06f ? near : copysignf(far, x);
}

}  // namespace gsr
