// AVX-512 forms of the operations in simd.h; a mask is a register of its own, one bit a lane.
#pragma once
#include <immintrin.h>

namespace gsr {

template <>
GSR_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fmadd_ps(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm512_fmadd_pd(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm512_fnmadd_ps(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm512_fnmadd_pd(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<float> min(Vec<float> a, Vec<float> b) {
  return _mm512_min_ps(a.v, b.v);
}
template <>
GSR_INLINE Vec<double> min(Vec<double> a, Vec<double> b) {
  return _mm512_min_pd(a.v, b.v);
}
template <>
GSR_INLINE Vec<float> max(Vec<float> a, Vec<float> b) {
  return _mm512_max_ps(a.v, b.v);
}
template <>
GSR_INLINE Vec<double> max(Vec<double> a, Vec<double> b) {
  return _mm512_max_pd(a.v, b.v);
}
GSR_INLINE uint16_t greater(Vec<float> a, Vec<float> b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
GSR_INLINE uint8_t greater(Vec<double> a, Vec<double> b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GT_OQ); }
GSR_INLINE uint16_t at_least(Vec<float> a, Vec<float> b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ); }
GSR_INLINE uint8_t at_least(Vec<double> a, Vec<double> b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_GE_OQ); }
GSR_INLINE Vec<float> select(uint16_t m, Vec<float> a, Vec<float> b) { return _mm512_mask_blend_ps(m, b.v, a.v); }
GSR_INLINE Vec<double> select(uint8_t m, Vec<double> a, Vec<double> b) { return _mm512_mask_blend_pd(m, b.v, a.v); }
GSR_INLINE Vec<float> keep(uint16_t m, Vec<float> a) { return _mm512_maskz_mov_ps(m, a.v); }
GSR_INLINE Vec<double> keep(uint8_t m, Vec<double> a) { return _mm512_maskz_mov_pd(m, a.v); }
GSR_INLINE Vec<float> drop(uint16_t m, Vec<float> a) { return _mm512_maskz_mov_ps(static_cast<uint16_t>(~m), a.v); }
GSR_INLINE Vec<double> drop(uint8_t m, Vec<double> a) { return _mm512_maskz_mov_pd(static_cast<uint8_t>(~m), a.v); }
template <class T>
GSR_INLINE uint32_t bits(typename Vec<T>::Mask m) {
  return m;
}
template <>
GSR_INLINE Vec<float> exp2(Vec<float> p) {
  typedef Vec<float> V;
  const V n = _mm512_roundscale_ps(p.v, 0x08), f = p - n;
  V r = fma(V(1.3276471960e-03f), f, V(9.6755415026e-03f));
  r = fma(r, f, V(5.5507132751e-02f));
  r = fma(r, f, V(2.4022119721e-01f));
  r = fma(r, f, V(6.9314696706e-01f));
  r = fma(r, f, V(1.0000000717e+00f));
  return _mm512_scalef_ps(r.v, n.v);
}
// Estimate and one Newton step: 2e-7 relative.
template <>
GSR_INLINE Vec<float> reciprocal(Vec<float> a) {
  const Vec<float> r = _mm512_rcp14_ps(a.v);
  return r * fnma(a, r, Vec<float>(2.f));
}
template <>
GSR_INLINE float sum(Vec<float> a) {
  return _mm512_reduce_add_ps(a.v);
}
template <>
GSR_INLINE float largest(Vec<float> a) {
  return _mm512_reduce_max_ps(a.v);
}
template <>
GSR_INLINE Vec<float> sum_each(const Vec<float>* a) {
  __m512 b[8], c[4];
  for (int i = 0; i < 8; ++i) {
    const __m512 x = a[2 * i].v, y = a[2 * i + 1].v;
    b[i] = _mm512_add_ps(_mm512_unpacklo_ps(x, y), _mm512_unpackhi_ps(x, y));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d x = _mm512_castps_pd(b[2 * i]), y = _mm512_castps_pd(b[2 * i + 1]);
    c[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
  }
  const __m512 d0 = _mm512_add_ps(_mm512_shuffle_f32x4(c[0], c[1], 0x88), _mm512_shuffle_f32x4(c[0], c[1], 0xdd));
  const __m512 d1 = _mm512_add_ps(_mm512_shuffle_f32x4(c[2], c[3], 0x88), _mm512_shuffle_f32x4(c[2], c[3], 0xdd));
  return _mm512_add_ps(_mm512_shuffle_f32x4(d0, d1, 0x88), _mm512_shuffle_f32x4(d0, d1, 0xdd));
}

// From the 16 bits of each of up to 64 splats to the 64 bits of each block.
GSR_INLINE void turn_over(const uint16_t* in, int count, uint64_t* out) {
  const uint64_t wanted = count < 64 ? (uint64_t(1) << count) - 1 : ~uint64_t(0);
  const __m512i low = _mm512_maskz_loadu_epi16(static_cast<uint32_t>(wanted), in);
  const __m512i high = _mm512_maskz_loadu_epi16(static_cast<uint32_t>(wanted >> 32), in + 32);
  for (int b = 0; b < 16; ++b) {
    const __m512i bit = _mm512_set1_epi16(static_cast<int16_t>(1 << b));
    out[b] = _mm512_test_epi16_mask(low, bit) | uint64_t(_mm512_test_epi16_mask(high, bit)) << 32;
  }
}

}  // namespace gsr
