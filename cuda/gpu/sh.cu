// Spherical harmonics into the rows that the rasterizer composites: a thread for each camera and Gaussian; backward,
// one for each Gaussian, which adds up its cameras, and a sum over blocks for the camera centres.
#include "api.h"
#include "gsr/sh.h"
#include "reduce.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads;

template <class T, int degree>
GSR_KERNEL(kThreads)
sh_kernel(gsr_harmonics a) {
  constexpr int K = sh_count(degree);
  const int64_t row = block_index() * kThreads + thread_index();
  if (row >= a.C * a.N) return;
  const int64_t c = quotient(row, a.N), n = row - c * a.N, pitch = a.D + (a.depths ? 1 : 0);
  T unit[3] = {0, 0, 0}, Y[K];
  if (degree > 0) direction(input<T>(a.means) + 3 * n, input<T>(a.centers) + 3 * c, unit);
  sh_basis<degree>(unit[0], unit[1], unit[2], Y);
  const T* coefficients = input<T>(a.sh) + n * a.K * a.D;
  T* out = output<T>(a.out) + row * pitch;
  for (int64_t d = 0; d < a.D; ++d) {
    T sum = T(a.bias);
    for (int k = 0; k < K; ++k) sum += Y[k] * coefficients[k * a.D + d];
    out[d] = a.clamp && sum < 0 ? T(0) : sum;  // lets NaN through
  }
  if (a.depths) out[a.D] = input<T>(a.depths)[row];
}

// Adds the gradients of the coefficients (those of the first camera overwrite) and those of the basis. Returns whether
// the channels are finite: else the splat is not drawn, and has none.
template <class T, int degree>
GSR_DEVICE bool coefficients_vjp(const gsr_harmonics& a, int64_t n, int64_t c, const T* Y, T* v_Y) {
  constexpr int K = sh_count(degree);
  const int64_t row = c * a.N + n, pitch = a.D + (a.depths ? 1 : 0);
  const T *v = input<T>(a.v_out) + row * pitch, *out = input<T>(a.out) + row * pitch;
  const T* coefficients = input<T>(a.sh) + n * a.K * a.D;
  T* v_coefficients = output<T>(a.v_sh) + n * a.K * a.D;
  if (a.depths) output<T>(a.v_depths)[row] = v[a.D];
  const bool finite = all_finite(out, a.D);
  for (int64_t d = 0; d < (finite ? a.D : 0); ++d) {
    const T g = a.clamp && out[d] <= 0 ? T(0) : v[d];
    for (int k = 0; k < K; ++k) {
      T& to = v_coefficients[k * a.D + d];
      to = (c ? to : T(0)) + Y[k] * g;
      if (degree > 0) v_Y[k] += coefficients[k * a.D + d] * g;
    }
  }
  if (c == 0)  // of degrees that are stored but not drawn, and of what is not drawn
    for (int64_t i = finite ? K * a.D : 0; i < a.K * a.D; ++i) v_coefficients[i] = 0;
  return finite;
}

// `v_centers` has a row of three for each block and camera, or is null.
template <class T, int degree>
GSR_KERNEL(kThreads)
sh_vjp_kernel(gsr_harmonics a, double* v_centers) {
  GSR_SHARED double shared[kThreads / kWarp][3];
  const int64_t n = block_index() * kThreads + thread_index();
  T v_mean[3] = {0, 0, 0};
  for (int64_t c = 0; c < a.C; ++c) {
    double v_center[3] = {0, 0, 0};
    if (n < a.N) {
      T unit[3] = {0, 0, 0}, Y[sh_count(degree)], v_Y[sh_count(degree)] = {}, norm = 0;
      if (degree > 0) norm = direction(input<T>(a.means) + 3 * n, input<T>(a.centers) + 3 * c, unit);
      sh_basis<degree>(unit[0], unit[1], unit[2], Y);
      const bool finite = coefficients_vjp<T, degree>(a, n, c, Y, v_Y);
      if (degree > 0 && a.v_means && finite) {
        T v_unit[3], v_position[3];
        sh_basis_vjp<degree>(unit[0], unit[1], unit[2], v_Y, v_unit);
        direction_vjp(unit, norm, v_unit, v_position);
        for (int i = 0; i < 3; ++i) v_mean[i] += v_position[i], v_center[i] = -v_position[i];
      }
    }
    if (v_centers) block_sum(v_center, shared, v_centers + (block_index() * a.C + c) * 3);
  }
  if (n >= a.N || !a.v_means) return;
  for (int i = 0; i < 3; ++i) output<T>(a.v_means)[3 * n + i] = v_mean[i];
}

template <class T, int degree>
void forward(const gsr_harmonics& a) {
  launch(sh_kernel<T, degree>, blocks_for(a.C * a.N, kThreads), kThreads, stream(), a);
}

template <class T, int degree>
void backward(const gsr_harmonics& a) {
  const int64_t blocks = blocks_for(a.N, kThreads), width = 3 * a.C;
  if (a.C == 0) fill_bytes(a.v_sh, 0, a.N * a.K * a.D * static_cast<int64_t>(sizeof(T)), stream());
  double* v_centers = a.v_centers ? scratch<double>(blocks * width) : nullptr;
  launch(sh_vjp_kernel<T, degree>, blocks, kThreads, stream(), a, v_centers);
  if (a.v_centers) sum_rows(v_centers, blocks, width, output<T>(a.v_centers));
}

template <class T>
void forward(const gsr_harmonics& a) {
  if (a.degree == 0) return forward<T, 0>(a);
  if (a.degree == 1) return forward<T, 1>(a);
  if (a.degree == 2) return forward<T, 2>(a);
  if (a.degree == 3) return forward<T, 3>(a);
  forward<T, 4>(a);
}

template <class T>
void backward(const gsr_harmonics& a) {
  if (a.degree == 0) return backward<T, 0>(a);
  if (a.degree == 1) return backward<T, 1>(a);
  if (a.degree == 2) return backward<T, 2>(a);
  if (a.degree == 3) return backward<T, 3>(a);
  backward<T, 4>(a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_sh(gsr_harmonics* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::forward<decltype(t)>(*args); });
}

int32_t gsr_sh_vjp(gsr_harmonics* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::backward<decltype(t)>(*args); });
}
