// Vec<float> for AVX-512; included by simd.h, which explains the operations.
#pragma once
#include <immintrin.h>

namespace gsr {

template <>
struct Vec<float> {
  typedef __m512 Raw;
  typedef __mmask16 Mask;
  Raw v;

  GSR_INLINE Vec() {}
  GSR_INLINE Vec(Raw raw) : v(raw) {}
  GSR_INLINE Vec(float s) : v(_mm512_set1_ps(s)) {}
  static GSR_INLINE Vec load(const float* p) { return _mm512_load_ps(p); }
  GSR_INLINE void store(float* p) const { _mm512_store_ps(p, v); }
};
template <>
GSR_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fmadd_ps(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fnmadd_ps(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<float> min(Vec<float> a, Vec<float> b) {
  return _mm512_min_ps(a.v, b.v);
}
template <>
GSR_INLINE Vec<float> max(Vec<float> a, Vec<float> b) {
  return _mm512_max_ps(a.v, b.v);
}
template <>
GSR_INLINE __mmask16 greater(Vec<float> a, Vec<float> b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ);
}
template <>
GSR_INLINE __mmask16 at_least(Vec<float> a, Vec<float> b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ);
}
template <>
GSR_INLINE Vec<float> select(__mmask16 m, Vec<float> a, Vec<float> b) {
  return _mm512_mask_blend_ps(m, b.v, a.v);
}
template <>
GSR_INLINE uint32_t bits<float>(__mmask16 m) {
  return m;
}
template <>
GSR_INLINE float sum(Vec<float> a) {
  return _mm512_reduce_add_ps(a.v);
}
GSR_INLINE Vec<float> exp2(Vec<float> p) {
  const __m512 n = _mm512_roundscale_ps(p.v, 0x08);
  const Vec<float> f = _mm512_sub_ps(p.v, n);
  Vec<float> r = fma(Vec<float>(1.3276471960e-03f), f, Vec<float>(9.6755415026e-03f));
  r = fma(r, f, Vec<float>(5.5507132751e-02f));
  r = fma(r, f, Vec<float>(2.4022119721e-01f));
  r = fma(r, f, Vec<float>(6.9314696706e-01f));
  r = fma(r, f, Vec<float>(1.0000000717e+00f));
  return _mm512_scalef_ps(r.v, n);
}
// Estimate and one Newton step: 2e-7 relative.
template <>
GSR_INLINE Vec<float> reciprocal(Vec<float> a) {
  const __m512 r = _mm512_rcp14_ps(a.v);
  return _mm512_mul_ps(r, _mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(2.f)));
}

// A transpose-add tree over sixteen vectors: lane i of the result is the sum of a[i].
GSR_INLINE __m512 sums_of_16(const __m512* a) {
  __m512 b[8], c[4];
  for (int i = 0; i < 8; ++i)
    b[i] = _mm512_add_ps(_mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]));
  for (int i = 0; i < 4; ++i) {
    const __m512d lo = _mm512_castps_pd(b[2 * i]), hi = _mm512_castps_pd(b[2 * i + 1]);
    c[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi)), _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi)));
  }
  const __m512 d0 = _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
  const __m512 d1 = _mm512_add_ps(_mm512_shuffle_f32x4(c[2], c[3], 0x88), _mm512_shuffle_f32x4(c[2], c[3], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(d0, d1, 0x88), _mm512_shuffle_f32x4(d0, d1, 0xdd));
}

}  // namespace gsr
