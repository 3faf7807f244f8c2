// Roots and logarithms of registers, and the way from rows of numbers to registers and back: what the formulas of
// gsr/rows.h need beyond the operations of the pixel loops, so that they run on a register of Gaussians at once.
#pragma once
#include <float.h>

#include <algorithm>

#include "simd.h"

namespace gsr {

template <class T>
GSR_INLINE Vec<T> sqrt(Vec<T> a) {
  for (int i = 0; i < Vec<T>::width; ++i) a.v[i] = ::sqrt(a.v[i]);
  return a;
}
#if defined(__AVX512F__)
template <>
GSR_INLINE Vec<float> sqrt(Vec<float> a) {
  return _mm512_sqrt_ps(a.v);
}
#elif defined(__AVX2__)
template <>
GSR_INLINE Vec<float> sqrt(Vec<float> a) {
  return _mm256_sqrt_ps(a.v);
}
#elif defined(__SSE2__)
template <>
GSR_INLINE Vec<float> sqrt(Vec<float> a) {
  return _mm_sqrt_ps(a.v);
}
#endif

template <class T>
GSR_INLINE bool any_nonzero(Vec<T> a) {
  const Vec<T> size = absolute(a);
  return bits<T>(greater(size, Vec<T>(T(0)))) != 0;
}

// Natural logarithm of a normal number above 0, to 2 units in the last place; of infinity, infinity.
template <class T>
GSR_INLINE Vec<T> log(Vec<T> a) {
  for (int i = 0; i < Vec<T>::width; ++i) a.v[i] = ::log(a.v[i]);
  return a;
}
template <>
GSR_INLINE Vec<float> log(Vec<float> a) {
  typedef Vec<float> V;
  typedef V::Bits Bits;
  typedef uint32_t Unsigned __attribute__((vector_size(sizeof(Bits))));  // wraps around where `a` is below 0
  // a = 2^n m with m between the roots of 1/2 and 2; log m = 2 artanh((m - 1) / (m + 1)), whose series is short there
  const uint32_t half = 0x3f3504f3;  // the bits of the root of 1/2
  const Bits n = Bits(Unsigned(a.v) - half) >> 23;
  const V m = V::Raw(Unsigned(a.v) - (Unsigned(n) << 23)), exponent = __builtin_convertvector(n, V::Raw);
  const V s = (m - 1) / (m + 1), z = s * s;
  V series = fma(z, V(1.f / 9), V(1.f / 7));
  series = fma(z, series, V(1.f / 5)), series = fma(z, series, V(1.f / 3)), series = fma(z * s, series, s);
  return select(greater(a, V(FLT_MAX)), a, fma(exponent, V(0.69314718f), series + series));
}

template <class T>
GSR_INLINE Vec<T> log2(Vec<T> a) {
  return log(a) * Vec<T>(T(1.4426950408889634074));
}

// The smallest integer that is at least `a`, for |a| < 2^31.
template <class T>
GSR_INLINE Vec<T> ceil(Vec<T> a) {
  typedef int32_t Whole __attribute__((vector_size(Vec<T>::width * sizeof(int32_t))));
  const Vec<T> cut = __builtin_convertvector(__builtin_convertvector(a.v, Whole), typename Vec<T>::Raw);
  return select(greater(a, cut), cut + 1, cut);
}

constexpr int kColumn = 64;  // rows that are worked on at once

// Rows of `width` numbers, turned over so that a register has the same number of consecutive rows.
template <class T, int width>
struct Columns {
  alignas(64) T of[width][kColumn];

  // The rest of the last register is set to zero.
  GSR_INLINE void read(const void* rows, int64_t first, int count) {
    const T* __restrict from = static_cast<const T*>(rows) + width * first;
    for (int j = 0; j < width; ++j) std::fill(of[j] + count, of[j] + whole(count), T(0));
    for (int i = 0; i < count; ++i)
      for (int j = 0; j < width; ++j) of[j][i] = from[width * i + j];
  }
  template <class Out = T>
  GSR_INLINE void write(void* rows, int64_t first, int count) const {
    Out* __restrict to = static_cast<Out*>(rows) + width * first;
    for (int i = 0; i < count; ++i)
      for (int j = 0; j < width; ++j) to[width * i + j] = static_cast<Out>(of[j][i]);
  }
  static int whole(int count) { return (count + Vec<T>::width - 1) / Vec<T>::width * Vec<T>::width; }

  GSR_INLINE void get(int i, Vec<T>* out) const {
    for (int j = 0; j < width; ++j) out[j] = Vec<T>::load(of[j] + i);
  }
  GSR_INLINE void set(int i, const Vec<T>* in) {
    for (int j = 0; j < width; ++j) in[j].store(of[j] + i);
  }
  GSR_INLINE void add(int i, const Vec<T>* in) {
    for (int j = 0; j < width; ++j) (Vec<T>::load(of[j] + i) + in[j]).store(of[j] + i);
  }
};

}  // namespace gsr
