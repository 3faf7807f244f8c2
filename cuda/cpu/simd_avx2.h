// AVX2 and FMA forms of the operations in simd.h.
#pragma once
#include <immintrin.h>

namespace gsr {

template <>
GSR_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm256_fmadd_ps(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm256_fmadd_pd(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return _mm256_fnmadd_ps(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return _mm256_fnmadd_pd(a.v, b.v, c.v);
}
template <>
GSR_INLINE Vec<float> min(Vec<float> a, Vec<float> b) {
  return _mm256_min_ps(a.v, b.v);
}
template <>
GSR_INLINE Vec<float> max(Vec<float> a, Vec<float> b) {
  return _mm256_max_ps(a.v, b.v);
}
template <>
GSR_INLINE Vec<float> select(Vec<float>::Mask m, Vec<float> a, Vec<float> b) {
  return _mm256_blendv_ps(b.v, a.v, Vec<float>::Raw(m));
}
template <>
GSR_INLINE uint32_t bits<float>(Vec<float>::Mask m) {
  return _mm256_movemask_ps(Vec<float>::Raw(m));
}
template <>
GSR_INLINE uint32_t bits<double>(Vec<double>::Mask m) {
  return _mm256_movemask_pd(Vec<double>::Raw(m));
}
// Estimate and one Newton step: 2e-7 relative.
template <>
GSR_INLINE Vec<float> reciprocal(Vec<float> a) {
  const Vec<float> r = _mm256_rcp_ps(a.v);
  return r * fnma(a, r, Vec<float>(2.f));
}
template <>
GSR_INLINE float sum(Vec<float> a) {
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
template <>
GSR_INLINE float largest(Vec<float> a) {
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
template <>
GSR_INLINE Vec<float> sum_each(const Vec<float>* a) {
  const auto pairs = [](Vec<float> x, Vec<float> y) -> __m256 {
    return _mm256_add_ps(_mm256_unpacklo_ps(x.v, y.v), _mm256_unpackhi_ps(x.v, y.v));
  };
  const auto fours = [](__m256 x, __m256 y) -> __m256 {
    const __m256d p = _mm256_castps_pd(x), q = _mm256_castps_pd(y);
    return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(p, q)), _mm256_castpd_ps(_mm256_unpackhi_pd(p, q)));
  };
  const __m256 lo = fours(pairs(a[0], a[1]), pairs(a[2], a[3])), hi = fours(pairs(a[4], a[5]), pairs(a[6], a[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(lo, hi, 0x20), _mm256_permute2f128_ps(lo, hi, 0x31));
}

}  // namespace gsr
