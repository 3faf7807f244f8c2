// Registers of 16 bytes: SSE2, which every x86-64 has, NEON, and whatever else the compiler lowers them to.
#pragma once
#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

namespace gsr {

#if defined(__SSE2__)
template <>
GSR_INLINE Vec<float> min(Vec<float> a, Vec<float> b) {
  return _mm_min_ps(a.v, b.v);
}
template <>
GSR_INLINE Vec<float> max(Vec<float> a, Vec<float> b) {
  return _mm_max_ps(a.v, b.v);
}
template <>
GSR_INLINE uint32_t bits<float>(Vec<float>::Mask m) {
  return _mm_movemask_ps(Vec<float>::Raw(m));
}
template <>
GSR_INLINE uint32_t bits<double>(Vec<double>::Mask m) {
  return _mm_movemask_pd(Vec<double>::Raw(m));
}
// Estimate and one Newton step: 2e-7 relative.
template <>
GSR_INLINE Vec<float> reciprocal(Vec<float> a) {
  const Vec<float> r = _mm_rcp_ps(a.v);
  return r * fnma(a, r, Vec<float>(2.f));
}
template <>
GSR_INLINE Vec<float> sum_each(const Vec<float>* a) {
  __m128 r0 = a[0].v, r1 = a[1].v, r2 = a[2].v, r3 = a[3].v;
  const __m128 p = _mm_add_ps(_mm_unpacklo_ps(r0, r1), _mm_unpackhi_ps(r0, r1));
  const __m128 q = _mm_add_ps(_mm_unpacklo_ps(r2, r3), _mm_unpackhi_ps(r2, r3));
  return _mm_add_ps(_mm_movelh_ps(p, q), _mm_movehl_ps(q, p));
}
#elif defined(__ARM_NEON)
template <>
GSR_INLINE Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return vfmaq_f32(c.v, a.v, b.v);
}
template <>
GSR_INLINE Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return vfmaq_f64(c.v, a.v, b.v);
}
template <>
GSR_INLINE Vec<float> fnma(Vec<float> a, Vec<float> b, Vec<float> c) {
  return vfmsq_f32(c.v, a.v, b.v);
}
template <>
GSR_INLINE Vec<double> fnma(Vec<double> a, Vec<double> b, Vec<double> c) {
  return vfmsq_f64(c.v, a.v, b.v);
}
template <>
GSR_INLINE uint32_t bits<float>(Vec<float>::Mask m) {
  const Vec<float>::Mask place = {1, 2, 4, 8};
  return vaddvq_s32(m & place);
}
template <>
GSR_INLINE Vec<float> sum_each(const Vec<float>* a) {
  return vpaddq_f32(vpaddq_f32(a[0].v, a[1].v), vpaddq_f32(a[2].v, a[3].v));
}
#endif

}  // namespace gsr
