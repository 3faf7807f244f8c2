// Colours (or labels, features) of Gaussians from spherical harmonics, written straight into the rows that the
// rasterizer composites, with the depth behind them when it is given. The basis is evaluated once for each Gaussian and
// camera; channels are then taken in blocks of a width that the compiler knows.
#include "gsr/sh.h"

#include <algorithm>
#include <type_traits>
#include <vector>

#include "api.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int64_t kRows = 2048;

// Runs body(width, first channel) over D channels; `width` is a constant.
template <class Body>
GSR_HD void over_channels(int64_t D, Body body) {
  int64_t d = 0;
  for (; d + 8 <= D; d += 8) body(std::integral_constant<int, 8>(), d);
  if (d + 4 <= D) body(std::integral_constant<int, 4>(), d), d += 4;
  if (d + 3 == D) body(std::integral_constant<int, 3>(), d), d += 3;
  for (; d < D; ++d) body(std::integral_constant<int, 1>(), d);
}

// Summed in pairs, an order that vectors can follow.
template <int width, class T>
GSR_HD T total(const T* v) {
  if constexpr (width == 8) return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
  if constexpr (width == 4) return (v[0] + v[2]) + (v[1] + v[3]);
  if constexpr (width == 3) return v[0] + v[1] + v[2];
  return v[0];
}

template <class T>
struct Harmonics {
  const gsr_harmonics& args;
  const T *sh, *means, *centers, *depths;
  const int64_t D, pitch;  // channels; length of a row of them

  explicit Harmonics(const gsr_harmonics& a)
      : args(a),
        sh(static_cast<const T*>(a.sh)),
        means(static_cast<const T*>(a.means)),
        centers(static_cast<const T*>(a.centers)),
        depths(static_cast<const T*>(a.depths)),
        D(a.D),
        pitch(a.D + (a.depths ? 1 : 0)) {}

  template <int degree>
  void forward(int64_t begin, int64_t end) const {
    constexpr int K = sh_count(degree);
    const T bias = T(args.bias), floor = args.clamp ? T(0) : T(-INFINITY);
    for (int64_t c = 0; c < args.C; ++c)
      for (int64_t n = begin; n < end; ++n) {
        T unit[3] = {0, 0, 0}, Y[K];
        if (degree > 0) direction(means + 3 * n, centers + 3 * c, unit);
        sh_basis<degree>(unit[0], unit[1], unit[2], Y);
        const int64_t row = c * args.N + n;
        T* out = static_cast<T*>(args.out) + row * pitch;
        over_channels(D, [&](auto width, int64_t d) {
          const T* coefficients = sh + n * args.K * D + d;
          T sums[width];
          for (int j = 0; j < width; ++j) sums[j] = bias;
          for (int k = 0; k < K; ++k)
            for (int j = 0; j < width; ++j) sums[j] += Y[k] * coefficients[k * D + j];
          for (int j = 0; j < width; ++j) out[d + j] = sums[j] < floor ? floor : sums[j];  // lets NaN through
        });
        if (depths) out[D] = depths[row];
      }
  }

  template <int degree>
  void backward(int64_t begin, int64_t end, double* v_centers) const {
    T *v_means = static_cast<T*>(args.v_means), *v_sh = static_cast<T*>(args.v_sh);
    if (args.C == 0) std::fill(v_sh + begin * args.K * D, v_sh + end * args.K * D, T(0));
    for (int64_t n = begin; n < end; ++n) {
      T v_mean[3] = {0, 0, 0};
      for (int64_t c = 0; c < args.C; ++c) {
        T unit[3] = {0, 0, 0}, Y[sh_count(degree)], v_Y[sh_count(degree)] = {}, norm = 0;
        if (degree > 0) norm = direction(means + 3 * n, centers + 3 * c, unit);
        sh_basis<degree>(unit[0], unit[1], unit[2], Y);
        const bool finite = coefficients_vjp<degree>(n, c, Y, v_Y);
        if (degree == 0 || !v_means || !finite) continue;
        T v_unit[3], v_position[3];
        sh_basis_vjp<degree>(unit[0], unit[1], unit[2], v_Y, v_unit);
        direction_vjp(unit, norm, v_unit, v_position);
        for (int i = 0; i < 3; ++i) v_mean[i] += v_position[i], v_centers[3 * c + i] -= v_position[i];
      }
      if (v_means)
        for (int i = 0; i < 3; ++i) v_means[3 * n + i] = v_mean[i];
    }
  }

 private:
  // The gradients of one Gaussian's coefficients (those of the first camera overwrite) and of the basis. Returns
  // whether its channels are finite: else it is not drawn, and has none.
  template <int degree>
  GSR_HD bool coefficients_vjp(int64_t n, int64_t c, const T* Y, T* v_Y) const {
    constexpr int K = sh_count(degree);
    const bool with_basis = degree > 0 && args.v_means;
    const int64_t row = c * args.N + n;
    const T* v = static_cast<const T*>(args.v_out) + row * pitch;
    const T* out = static_cast<const T*>(args.out) + row * pitch;
    const bool finite = all_finite(out, D);
    if (depths) static_cast<T*>(args.v_depths)[row] = v[D];
    T* v_row = static_cast<T*>(args.v_sh) + n * args.K * D;
    if (c == 0) std::fill(v_row + (finite ? K * D : 0), v_row + args.K * D, T(0));  // also of degrees not drawn
    if (!finite) return false;
    over_channels(D, [&](auto width, int64_t d) {
      T g[width], product[width];
      for (int j = 0; j < width; ++j) g[j] = args.clamp && out[d + j] <= 0 ? T(0) : v[d + j];
      for (int k = 0; k < K; ++k) {
        T* v_coefficients = v_row + k * D + d;
        for (int j = 0; j < width; ++j) v_coefficients[j] = (c ? v_coefficients[j] : T(0)) + Y[k] * g[j];
        if (!with_basis) continue;
        for (int j = 0; j < width; ++j) product[j] = sh[(n * args.K + k) * D + d + j] * g[j];
        v_Y[k] += total<width>(product);
      }
    });
    return true;
  }
};

// Runs body(degree, begin, end, chunk) over the Gaussians; `degree` is a constant.
template <class Body>
void over_gaussians(const gsr_harmonics& args, Body body) {
  parallel_for(args.threads, (args.N + kRows - 1) / kRows, [&](int64_t chunk, int) {
    const int64_t begin = chunk * kRows, end = min(args.N, begin + kRows);
    switch (args.degree) {
      case 0:
        return body(std::integral_constant<int, 0>(), begin, end, chunk);
      case 1:
        return body(std::integral_constant<int, 1>(), begin, end, chunk);
      case 2:
        return body(std::integral_constant<int, 2>(), begin, end, chunk);
      case 3:
        return body(std::integral_constant<int, 3>(), begin, end, chunk);
      default:
        return body(std::integral_constant<int, 4>(), begin, end, chunk);
    }
  });
}

template <class T>
void forward(const gsr_harmonics& args) {
  const Harmonics<T> work(args);
  over_gaussians(args, [&](auto degree, int64_t begin, int64_t end, int64_t) {
    work.template forward<decltype(degree)::value>(begin, end);
  });
}

template <class T>
void backward(const gsr_harmonics& args) {
  const Harmonics<T> work(args);
  // the centres' sums are added chunk by chunk, so that threads change no bit
  const int64_t chunks = (args.N + kRows - 1) / kRows, size = 3 * args.C;
  std::vector<double> sums(chunks * size);
  over_gaussians(args, [&](auto degree, int64_t begin, int64_t end, int64_t chunk) {
    work.template backward<decltype(degree)::value>(begin, end, sums.data() + chunk * size);
  });
  if (!args.v_centers) return;
  for (int64_t i = 0; i < size; ++i) {
    double total = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) total += sums[chunk * size + i];
    static_cast<T*>(args.v_centers)[i] = T(total);
  }
}

}  // namespace
}  // namespace gsr

int32_t gsr_sh(gsr_harmonics* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::forward<decltype(scalar)>(*args); });
}

int32_t gsr_sh_vjp(gsr_harmonics* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::backward<decltype(scalar)>(*args); });
}
