// What the shared formulas need on host and device: nothing from the STL, no global state.
#pragma once
#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define GSR_HD __host__ __device__ __forceinline__
#else
#define GSR_HD inline __attribute__((always_inline))
#endif

namespace gsr {

template <class T>
GSR_HD T min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
GSR_HD T max(T a, T b) {
  return a > b ? a : b;
}
#ifdef __CUDA_ARCH__
// One instruction each, which two comparisons and a choice do not become by themselves.
__device__ __forceinline__ float min(float a, float b) { return fminf(a, b); }
__device__ __forceinline__ float max(float a, float b) { return fmaxf(a, b); }
#endif
// 2 units in the last place on a GPU; only for bounds with some slack.
template <class T>
GSR_HD T rough_sqrt(T x) {
  return sqrt(x);
}
#ifdef __CUDA_ARCH__
__device__ __forceinline__ float rough_sqrt(float x) {
  float root;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(root) : "f"(x));
  return root;
}
#endif
template <class T>
GSR_HD T clamp(T x, T lo, T hi) {
  return min(max(x, lo), hi);
}
template <class T>
GSR_HD T square(T x) {
  return x * x;
}

// The formulas hold for vectors of numbers too, which have their own versions of what is below.
template <class T>
struct MaskOf {
  typedef bool type;
  static GSR_HD bool any(bool m) { return m; }
};
template <class T>
GSR_HD bool greater(T a, T b) {
  return a > b;
}
template <class T>
GSR_HD bool at_least(T a, T b) {
  return a >= b;
}
template <class T>
GSR_HD typename MaskOf<T>::type is_finite(T a) {
  const T zero = a - a;  // NaN for NaN and infinities
  return at_least(zero, zero);
}
// Of a row of numbers.
template <class T>
GSR_HD bool all_finite(const T* values, int64_t count) {
  T zero = 0;
  for (int64_t i = 0; i < count; ++i) zero += values[i] - values[i];
  return zero == 0;
}
// a where m holds, else 0
template <class T>
GSR_HD T keep(bool m, T a) {
  return m ? a : T(0);
}
// 0 where m holds, else a
template <class T>
GSR_HD T drop(bool m, T a) {
  return m ? T(0) : a;
}
// c - a b
template <class T>
GSR_HD T fnma(T a, T b, T c) {
  return fma(-a, b, c);
}
// a where m holds, else -|b|; in one, as a compiler for GPUs makes more of it in two
template <class T>
GSR_HD T select_or_negative(bool m, T a, T b) {
  return m ? a : -T(fabs(b));
}
template <class T>
GSR_HD T absolute(T a) {
  return fabs(a);
}
template <class T>
GSR_HD bool any_nonzero(T a) {
  return a != 0;
}
// The smallest integer that is at least `a`, which lies between 0 and 2^31.
template <class T>
GSR_HD int whole_above(T a) {
#ifdef __CUDA_ARCH__
  return static_cast<int>(ceil(a));  // one instruction
#else
  const int cut = static_cast<int>(a);  // ceil would be a call without SSE4
  return cut + (T(cut) < a);
#endif
}

// c = a(m x k) b(k x n), row major.
template <int m, int k, int n, class T>
GSR_HD void matmul(const T* a, const T* b, T* c) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      T sum = a[i * k] * b[j];
      for (int l = 1; l < k; ++l) sum += a[i * k + l] * b[l * n + j];
      c[i * n + j] = sum;
    }
}

// c = a^T b with a(k x m), b(k x n).
template <int m, int k, int n, class T>
GSR_HD void matmul_tn(const T* a, const T* b, T* c) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      T sum = a[i] * b[j];
      for (int l = 1; l < k; ++l) sum += a[l * m + i] * b[l * n + j];
      c[i * n + j] = sum;
    }
}

// c = a b^T with a(m x k), b(n x k).
template <int m, int k, int n, class T>
GSR_HD void matmul_nt(const T* a, const T* b, T* c) {
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      T sum = a[i * k] * b[j * k];
      for (int l = 1; l < k; ++l) sum += a[i * k + l] * b[j * k + l];
      c[i * n + j] = sum;
    }
}

// Rotation (row major) of a unit quaternion w, x, y, z.
template <class T>
GSR_HD void rotation_from_quat(const T* q, T* R) {
  const T w = q[0], x = q[1], y = q[2], z = q[3];
  R[0] = 1 - 2 * (y * y + z * z), R[1] = 2 * (x * y - w * z), R[2] = 2 * (x * z + w * y);
  R[3] = 2 * (x * y + w * z), R[4] = 1 - 2 * (x * x + z * z), R[5] = 2 * (y * z - w * x);
  R[6] = 2 * (x * z - w * y), R[7] = 2 * (y * z + w * x), R[8] = 1 - 2 * (x * x + y * y);
}

// Gradient of a quaternion that is normalised first; `q` is the unit one, `norm` the length before.
template <class T>
GSR_HD void rotation_from_quat_vjp(const T* q, T norm, const T* v_R, T* v_quat) {
  const T w = q[0], x = q[1], y = q[2], z = q[3];
  T g[4];
  g[0] = 2 * (x * (v_R[7] - v_R[5]) + y * (v_R[2] - v_R[6]) + z * (v_R[3] - v_R[1]));
  g[1] = 2 * (-2 * x * (v_R[4] + v_R[8]) + y * (v_R[1] + v_R[3]) + z * (v_R[2] + v_R[6]) + w * (v_R[7] - v_R[5]));
  g[2] = 2 * (x * (v_R[1] + v_R[3]) - 2 * y * (v_R[0] + v_R[8]) + z * (v_R[5] + v_R[7]) + w * (v_R[2] - v_R[6]));
  g[3] = 2 * (x * (v_R[2] + v_R[6]) + y * (v_R[5] + v_R[7]) - 2 * z * (v_R[0] + v_R[4]) + w * (v_R[3] - v_R[1]));
  const T along = g[0] * w + g[1] * x + g[2] * y + g[3] * z;
  for (int i = 0; i < 4; ++i) v_quat[i] = (g[i] - along * q[i]) / norm;
}

}  // namespace gsr
