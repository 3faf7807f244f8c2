// One vector register of float or double. The operations are templates over the compiler's vector extension; a header
// for each instruction set specialises those that the compiler would not find by itself. One library is built for each
// instruction set, so nothing here is chosen at run time. Everything is forced inline: a register that goes through a
// call goes through memory.
#pragma once
#include <math.h>
#include <stdint.h>

#include "gsr/math.h"

#define GSR_INLINE inline __attribute__((always_inline))

namespace gsr {

#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
#elif defined(__AVX2__)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif

template <class T>
struct Native;
template <>
struct Native<float> {
  typedef float Raw __attribute__((vector_size(kRegisterBytes)));
  typedef int32_t Bits __attribute__((vector_size(kRegisterBytes)));
#if defined(__AVX512F__)
  typedef uint16_t Mask;
#else
  typedef Bits Mask;
#endif
};
template <>
struct Native<double> {
  typedef double Raw __attribute__((vector_size(kRegisterBytes)));
  typedef int64_t Bits __attribute__((vector_size(kRegisterBytes)));
#if defined(__AVX512F__)
  typedef uint8_t Mask;
#else
  typedef Bits Mask;
#endif
};

template <class T>
struct Vec {
  typedef typename Native<T>::Raw Raw;
  typedef typename Native<T>::Bits Bits;
  typedef typename Native<T>::Mask Mask;
  static constexpr int width = kRegisterBytes / sizeof(T);
  Raw v;

  GSR_INLINE Vec() {}
  GSR_INLINE Vec(Raw raw) : v(raw) {}
  GSR_INLINE Vec(T s) : v(s - Raw{}) {}
  static GSR_INLINE Vec load(const T* p) { return *reinterpret_cast<const Raw*>(p); }  // aligned
  static GSR_INLINE Vec load_anywhere(const T* p) {
    Raw raw;
    __builtin_memcpy(&raw, p, sizeof raw);
    return raw;
  }
  GSR_INLINE void store(T* p) const { *reinterpret_cast<Raw*>(p) = v; }  // aligned
  GSR_INLINE void store_anywhere(T* p) const { __builtin_memcpy(p, &v, sizeof v); }

  // in the class, so that numbers turn into registers on either side
  friend GSR_INLINE Vec operator+(Vec a, Vec b) { return a.v + b.v; }
  friend GSR_INLINE Vec operator-(Vec a, Vec b) { return a.v - b.v; }
  friend GSR_INLINE Vec operator*(Vec a, Vec b) { return a.v * b.v; }
  friend GSR_INLINE Vec operator/(Vec a, Vec b) { return a.v / b.v; }
  GSR_INLINE Vec operator-() const { return -v; }
  GSR_INLINE Vec& operator+=(Vec a) { return *this = *this + a; }
  GSR_INLINE Vec& operator-=(Vec a) { return *this = *this - a; }
  GSR_INLINE Vec& operator*=(Vec a) { return *this = *this * a; }
  GSR_INLINE Vec& operator/=(Vec a) { return *this = *this / a; }
};
template <class T>
struct MaskOf<Vec<T>> {
  typedef typename Vec<T>::Mask type;
};

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
// -|a|
template <class T>
GSR_INLINE Vec<T> negative(Vec<T> a) {
  typedef typename Vec<T>::Bits Bits;
  return typename Vec<T>::Raw(Bits(a.v) | Bits(Vec<T>(T(-0.0)).v));
}
// |a|
template <class T>
GSR_INLINE Vec<T> absolute(Vec<T> a) {
  typedef typename Vec<T>::Bits Bits;
  return typename Vec<T>::Raw(Bits(a.v) & ~Bits(Vec<T>(T(-0.0)).v));
}

// 2^p in float to 2.4e-7 relative (minimax polynomial of degree 5 on [-0.5, 0.5]), for -126 <= p <= 127; garbage
// beyond. In double to the last bit or two.
template <class T>
GSR_INLINE Vec<T> exp2(Vec<T> p);
// To the last bit or two.
template <class T>
GSR_INLINE Vec<T> reciprocal(Vec<T> a) {
  return T(1) / a.v;
}

#if !defined(__AVX512F__)
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
// a where m holds, else 0; whatever the bits of a, NaN included
template <class T>
GSR_INLINE Vec<T> keep(typename Vec<T>::Mask m, Vec<T> a) {
  return typename Vec<T>::Raw(typename Vec<T>::Bits(a.v) & m);
}
// 0 where m holds, else a
template <class T>
GSR_INLINE Vec<T> drop(typename Vec<T>::Mask m, Vec<T> a) {
  return typename Vec<T>::Raw(typename Vec<T>::Bits(a.v) & ~m);
}
// One bit a lane.
template <class T>
GSR_INLINE uint32_t bits(typename Vec<T>::Mask m) {
  uint32_t out = 0;
  for (int i = 0; i < Vec<T>::width; ++i) out |= (m[i] != 0 ? 1u : 0u) << i;
  return out;
}
#endif
template <class T>
GSR_INLINE T sum(Vec<T> a) {
  T out = 0;
  for (int i = 0; i < Vec<T>::width; ++i) out += a.v[i];
  return out;
}

// The sums of `width` vectors as the lanes of one, by a tree of transposes and additions.
template <class T>
GSR_INLINE Vec<T> sum_each(const Vec<T>* a) {
  Vec<T> out;
  for (int i = 0; i < Vec<T>::width; ++i) out.v[i] = sum(a[i]);
  return out;
}

}  // namespace gsr

#if defined(__AVX512F__)
#include "simd_avx512.h"
#elif defined(__AVX2__)
#include "simd_avx2.h"
#else
#include "simd_base.h"
#endif

namespace gsr {

template <>
GSR_INLINE Vec<double> exp2(Vec<double> p) {
  for (int i = 0; i < Vec<double>::width; ++i) p.v[i] = ::exp2(p.v[i]);
  return p;
}
#if !defined(__AVX512F__)
template <>
GSR_INLINE Vec<float> exp2(Vec<float> p) {
  typedef Vec<float> V;
  const V magic(12582912.f);  // 1.5 * 2^23: adding it rounds to the nearest integer
  const V shifted = p + magic;
  const V f = p - (shifted - magic);
  V r = fma(V(1.3276471960e-03f), f, V(9.6755415026e-03f));
  r = fma(r, f, V(5.5507132751e-02f));
  r = fma(r, f, V(2.4022119721e-01f));
  r = fma(r, f, V(6.9314696706e-01f));
  r = fma(r, f, V(1.0000000717e+00f));
  return V::Raw((V::Bits(shifted.v) << 23) + V::Bits(r.v));
}
#endif

// out[i] = sum of a[i] for `count` vectors; those from `count` to the next multiple of the width are read too.
template <class T>
GSR_INLINE void sums(const Vec<T>* a, int count, T* out) {
  constexpr int width = Vec<T>::width;
  int i = 0;
  for (; i + width <= count; i += width) sum_each(a + i).store_anywhere(out + i);
  if (count - i > 2) {
    alignas(kRegisterBytes) T last[width];
    sum_each(a + i).store(last);
    for (int j = 0; i + j < count; ++j) out[i + j] = last[j];
  } else {
    for (; i < count; ++i) out[i] = sum(a[i]);
  }
}

}  // namespace gsr
