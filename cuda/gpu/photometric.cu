// Photometric loss over tiles of 16x16 pixels, a thread a pixel. The first pass blurs x, y, x^2, y^2 and x y of a tile
// with its border of five pixels, adds up the losses, and leaves three derivatives of SSIM a value; the second blurs
// those, which is the gradient.
#include "api.h"
#include "gsr/ssim.h"
#include "reduce.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads, kSide = 16, kReach = kSide + 2 * kSsimHalf, kMaps = 3;

template <class T>
using Square = T[kReach][kReach];
template <class T>
using Strip = T[kReach][kSide];

// The pixel of a thread, and the tile around it.
struct Place {
  int64_t plane;
  int left, top, column, row;
  bool inside;

  GSR_DEVICE explicit Place(const gsr_photometry& a) {
    const int tiles_x = (a.width + kSide - 1) / kSide, tiles_y = (a.height + kSide - 1) / kSide;
    const int64_t within = block_index() % (int64_t(tiles_x) * tiles_y);
    plane = block_index() / (int64_t(tiles_x) * tiles_y);
    left = static_cast<int>(within % tiles_x) * kSide, top = static_cast<int>(within / tiles_x) * kSide;
    column = left + thread_index() % kSide, row = top + thread_index() / kSide;
    inside = column < a.width && row < a.height;
  }
  GSR_DEVICE int64_t pixel(const gsr_photometry& a, int r, int c) const { return (plane * a.height + r) * a.width + c; }
};

// Fills a square with value(pixel), 0 outside the image.
template <class T, class Value>
GSR_DEVICE void fill(const gsr_photometry& a, const Place& p, Square<T>& to, Value value) {
  for (int i = thread_index(); i < kReach * kReach; i += kThreads) {
    const int r = i / kReach, c = i % kReach, row = p.top - kSsimHalf + r, column = p.left - kSsimHalf + c;
    const bool in_image = row >= 0 && row < a.height && column >= 0 && column < a.width;
    to[r][c] = in_image ? value(p.pixel(a, row, column)) : T(0);
  }
}

template <class T>
GSR_DEVICE T down_column(const SsimWindow<T>& window, const Strip<T>& strip) {
  const int row = thread_index() / kSide, column = thread_index() % kSide;
  T sum = 0;
  for (int d = -kSsimHalf; d <= kSsimHalf; ++d)
    sum = fma(window.taps[d < 0 ? -d : d], strip[row + kSsimHalf + d][column], sum);
  return sum;
}

// `maps` is null where no gradient is asked for; `rows` has three numbers for each block.
template <class T>
GSR_KERNEL(kThreads)
compare_kernel(gsr_photometry a, SsimWindow<T> window, T* maps, double* rows) {
  GSR_SHARED Square<T> x, y;
  GSR_SHARED Strip<T> strips[5];
  GSR_SHARED double shared[kThreads / kWarp][3];
  const Place p(a);
  const int64_t pixel = p.pixel(a, p.row, p.column), values = a.C * a.height * a.width * a.channels;
  const bool counts = p.inside && (!a.mask || a.mask[pixel]);
  T sums[3] = {0, 0, 0};
  for (int d = 0; d < a.channels; ++d) {
    fill(a, p, x, [&](int64_t at) { return input<T>(a.image)[at * a.stride + d]; });
    fill(a, p, y, [&](int64_t at) { return input<T>(a.target)[at * a.channels + d]; });
    block_sync();
    for (int i = thread_index(); i < kReach * kSide; i += kThreads) {
      const int r = i / kSide, c = i % kSide;
      T m[5] = {0, 0, 0, 0, 0};
      for (int k = 0; k < kSsimTaps; ++k) {
        const T tap = window.taps[k < kSsimHalf ? kSsimHalf - k : k - kSsimHalf];
        const T u = x[r][c + k], v = y[r][c + k], tu = tap * u;
        m[0] += tu, m[1] = fma(tap, v, m[1]), m[2] = fma(tu, u, m[2]), m[3] = fma(tap * v, v, m[3]);
        m[4] = fma(tu, v, m[4]);
      }
      for (int j = 0; j < 5; ++j) strips[j][r][c] = m[j];
    }
    const int r = thread_index() / kSide + kSsimHalf, c = thread_index() % kSide + kSsimHalf;
    const T difference = fabs(x[r][c] - y[r][c]);
    block_sync();
    T m[5];
    for (int j = 0; j < 5; ++j) m[j] = down_column(window, strips[j]);
    const SsimPoint<T> s = ssim_point(m[0], m[1], m[2], m[3], m[4]);
    if (counts) sums[0] += difference, sums[1] += T(1) - s.value, sums[2] += 1;
    if (!maps || !p.inside) continue;
    T* map = maps + pixel * a.channels + d;
    map[0] = counts ? -s.d_mx : T(0), map[values] = counts ? -s.d_xx : T(0), map[2 * values] = counts ? -s.d_xy : T(0);
  }
  const double exact[3] = {double(sums[0]), double(sums[1]), double(sums[2])};
  block_sum(exact, shared, rows + 3 * block_index());
}

template <class T>
GSR_KERNEL(kThreads)
differentiate_kernel(gsr_photometry a, SsimWindow<T> window, const T* maps) {
  GSR_SHARED Square<T> squares[kMaps];
  GSR_SHARED Strip<T> strips[kMaps];
  const Place p(a);
  const int64_t pixel = p.pixel(a, p.row, p.column), values = a.C * a.height * a.width * a.channels;
  for (int d = 0; d < a.channels; ++d) {
    for (int m = 0; m < kMaps; ++m)
      fill(a, p, squares[m], [&](int64_t at) { return maps[m * values + at * a.channels + d]; });
    block_sync();
    for (int i = thread_index(); i < kReach * kSide; i += kThreads) {
      const int r = i / kSide, c = i % kSide;
      T sums[kMaps] = {};
      for (int k = 0; k < kSsimTaps; ++k)
        for (int m = 0; m < kMaps; ++m)
          sums[m] = fma(window.taps[k < kSsimHalf ? kSsimHalf - k : k - kSsimHalf], squares[m][r][c + k], sums[m]);
      for (int m = 0; m < kMaps; ++m) strips[m][r][c] = sums[m];
    }
    block_sync();
    T g[kMaps];
    for (int m = 0; m < kMaps; ++m) g[m] = down_column(window, strips[m]);
    if (!p.inside) continue;
    const T x = input<T>(a.image)[pixel * a.stride + d], y = input<T>(a.target)[pixel * a.channels + d];
    output<T>(a.ssim_gradient)[pixel * a.channels + d] = g[0] + 2 * x * g[1] + y * g[2];
  }
}

template <class T>
void photometric(const gsr_photometry& a) {
  const int64_t tiles = int64_t((a.width + kSide - 1) / kSide) * ((a.height + kSide - 1) / kSide), blocks = a.C * tiles;
  const SsimWindow<T> window;
  double* rows = scratch<double>(3 * blocks);
  T* maps = a.ssim_gradient ? scratch<T>(kMaps * a.C * a.height * a.width * a.channels) : nullptr;
  launch(compare_kernel<T>, blocks, kThreads, stream(), a, window, maps, rows);
  sum_rows(rows, blocks, 3, a.sums);
  if (maps) launch(differentiate_kernel<T>, blocks, kThreads, stream(), a, window, static_cast<const T*>(maps));
}

template <class T>
GSR_KERNEL(kThreads)
photometric_vjp_kernel(gsr_photometry a) {
  const int64_t at = block_index() * kThreads + thread_index(), pixel = quotient(at, a.channels);
  if (at >= a.C * a.height * a.width * a.channels) return;
  const T by_l1 = T(a.scales ? a.scales[0] : a.scale_l1), by_ssim = T(a.scales ? a.scales[1] : a.scale_ssim);
  const T x = input<T>(a.image)[pixel * a.stride + at - pixel * a.channels], y = input<T>(a.target)[at];
  const T sign = (x > y ? T(1) : T(0)) - (x < y ? T(1) : T(0));
  const bool counts = !a.mask || a.mask[pixel];
  output<T>(a.v_image)[at] = (counts ? by_l1 * sign : T(0)) + by_ssim * input<T>(a.ssim_gradient)[at];
}

template <class T>
void photometric_vjp(const gsr_photometry& a) {
  const int64_t values = a.C * a.height * a.width * a.channels;
  launch(photometric_vjp_kernel<T>, blocks_for(values, kThreads), kThreads, stream(), a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_photometric(gsr_photometry* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::photometric<decltype(t)>(*args); });
}

int32_t gsr_photometric_vjp(gsr_photometry* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::photometric_vjp<decltype(t)>(*args); });
}
