// Sixteen lanes of float or double: one 4x4 block of pixels. The general form uses the compiler's vector extension,
// which every instruction set lowers in its own way; AVX-512 has a form of its own. One library is built for each
// instruction set, so nothing here is chosen at run time.
#pragma once
#include <math.h>
#include <stdint.h>

#define GSR_INLINE inline __attribute__((always_inline))

namespace gsr {

constexpr int kLanes = 16;

template <class T>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float Raw __attribute__((vector_size(64)));
  typedef int32_t Mask __attribute__((vector_size(64)));
};
template <>
struct Lanes<double> {
  typedef double Raw __attribute__((vector_size(128)));
  typedef int64_t Mask __attribute__((vector_size(128)));
};

template <class T>
struct Vec {
  typedef typename Lanes<T>::Raw Raw;
  typedef typename Lanes<T>::Mask Mask;
  Raw v;

  GSR_INLINE Vec() {}
  GSR_INLINE Vec(Raw raw) : v(raw) {}
  GSR_INLINE Vec(T s) : v(s - Raw{}) {}
  static GSR_INLINE Vec load(const T* p) { return *reinterpret_cast<const Raw*>(p); }
  GSR_INLINE void store(T* p) const { *reinterpret_cast<Raw*>(p) = v; }
};

template <class T>
GSR_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) {
  return a.v + b.v;
}
template <class T>
GSR_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) {
  return a.v - b.v;
}
template <class T>
GSR_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) {
  return a.v * b.v;
}
// a b + c
template <class T>
GSR_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return a.v * b.v + c.v;
}
// c - a b
template <class T>
GSR_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return c.v - a.v * b.v;
}
template <class T>
GSR_INLINE Vec<T> min(Vec<T> a, Vec<T> b) {
  return a.v < b.v ? a.v : b.v;
}
template <class T>
GSR_INLINE Vec<T> max(Vec<T> a, Vec<T> b) {
  return a.v > b.v ? a.v : b.v;
}
template <class T>
GSR_INLINE typename Vec<T>::Mask greater(Vec<T> a, Vec<T> b) {
  return a.v > b.v;
}
template <class T>
GSR_INLINE typename Vec<T>::Mask at_least(Vec<T> a, Vec<T> b) {
  return a.v >= b.v;
}
template <class T>
GSR_INLINE Vec<T> select(typename Vec<T>::Mask m, Vec<T> a, Vec<T> b) {
  return m ? a.v : b.v;
}
template <class T>
GSR_INLINE uint32_t bits(typename Vec<T>::Mask m) {
  uint32_t out = 0;
  for (int i = 0; i < kLanes; ++i) out |= (m[i] != 0 ? 1u : 0u) << i;
  return out;
}
template <class T>
GSR_INLINE bool any(typename Vec<T>::Mask m) {
  return bits<T>(m) != 0;
}
template <class T>
GSR_INLINE T sum(Vec<T> a) {
  T out = 0;
  for (int i = 0; i < kLanes; ++i) out += a.v[i];
  return out;
}
GSR_INLINE Vec<double> exp2(Vec<double> p) {
  for (int i = 0; i < kLanes; ++i) p.v[i] = ::exp2(p.v[i]);
  return p;
}
// 2^p for p <= 0 to 2.4e-7 relative (minimax polynomial of degree 5 on [-0.5, 0.5]); below -126 it is about 0.
#if !defined(__AVX512F__)
GSR_INLINE Vec<float> exp2(Vec<float> p) {
  p = max(p, Vec<float>(-126.f));
  const Vec<float> shifted = p + Vec<float>(12582912.f);  // 1.5 * 2^23: rounds to the nearest integer
  const Vec<float> f = p - (shifted - Vec<float>(12582912.f));
  Vec<float> r = fma(Vec<float>(1.3276471960e-03f), f, Vec<float>(9.6755415026e-03f));
  r = fma(r, f, Vec<float>(5.5507132751e-02f));
  r = fma(r, f, Vec<float>(2.4022119721e-01f));
  r = fma(r, f, Vec<float>(6.9314696706e-01f));
  r = fma(r, f, Vec<float>(1.0000000717e+00f));
  typedef Vec<float>::Mask Ints;
  const Ints power = (Ints(shifted.v) << 23) + Ints(r.v);
  return Vec<float>::Raw(power);
}
#endif
template <class T>
GSR_INLINE Vec<T> reciprocal(Vec<T> a) {
  return T(1) / a.v;
}
// Sums of `count` vectors, one result each.
template <int count, class T>
GSR_INLINE void sums(const Vec<T>* a, T* out) {
  for (int i = 0; i < count; ++i) out[i] = sum(a[i]);
}

}  // namespace gsr

#if defined(__AVX512F__)
#include "simd_avx512.h"
#endif
