// Photometric loss. The image is cut into vertical strips; in each, rows stream through two ring buffers of 11 rows:
//   row y: blur x, y, x^2, y^2, x y along the row                                -> ring of moments
//   row y - 5: blur the moments down the columns, SSIM and its three derivatives, blur those along the row -> ring
//   row y - 10: blur the derivatives down the columns, which is the gradient
// so nothing but the image, the target and the gradient touches memory. Channels stay interleaved: a tap at distance d
// lies d * channels further along. Strips overlap by 10 columns; sums are added strip by strip, whatever the threads.
#include <vector>

#include "api.h"
#include "blur.h"
#include "gsr/ssim.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int kStrip = 128;  // columns: the rings then fit in the second-level cache

// The pixels of part of a row without the gaps between them.
template <class T>
void compact(const T* in, int64_t stride, int D, int columns, T* __restrict out) {
  if (stride == D) {
    memcpy(out, in, sizeof(T) * columns * D);
  } else {
    int column = 0;
    // four at a time are one vector; the next pixel overwrites the fourth
    if (D == 3)
      for (; column < columns - 1; ++column) memcpy(out + 3 * column, in + column * stride, 4 * sizeof(T));
    for (; column < columns; ++column)
      for (int c = 0; c < D; ++c) out[column * D + c] = in[column * stride + c];
  }
}

// 1 for every value of a pixel that counts, else 0.
template <class T>
void weigh(const uint8_t* mask, int D, int columns, T* __restrict out) {
  for (int column = 0; column < columns; ++column)
    for (int c = 0; c < D; ++c) out[column * D + c] = !mask || mask[column];
}

template <class T>
struct Strip {
  const gsr_photometry& args;
  const SsimWindow<T> window;
  int64_t plane;
  int first, last, begin, end;  // columns of the result; columns that are read
  int D, moments, results;      // lengths of rows of moments (5 columns more on either side) and of the result
  std::vector<T> memory;
  T *x, *y, *xx, *yy, *xy, *blank;
  T *rings[5], *mean[5], *d[3], *weights, *d_rings[3], *gradient[3], *own_x, *own_y;
  std::vector<double> l1, ssim, count;  // by place in the row of moments

  Strip(const gsr_photometry& args, int64_t plane, int first, int last)
      : args(args), plane(plane), first(first), last(last), D(args.channels) {
    begin = max(0, first - 2 * kSsimHalf), end = min(args.width, last + 2 * kSsimHalf);
    const int columns = last - first;
    const int raw = (columns + 4 * kSsimHalf) * D;
    moments = (columns + 2 * kSsimHalf) * D, results = columns * D;
    memory.assign(6 * raw + (5 * kSsimTaps + 9) * moments + (3 * kSsimTaps + 5) * results, T(0));
    T* next = memory.data();
    const auto take = [&](int size) { return next += size, next - size; };
    for (T** row : {&x, &y, &xx, &yy, &xy, &blank}) *row = take(raw);
    for (T*& ring : rings) ring = take(kSsimTaps * moments);
    for (T*& row : mean) row = take(moments);
    for (T*& row : d) row = take(moments);
    weights = take(moments);
    for (T*& ring : d_rings) ring = take(kSsimTaps * results);
    for (T*& row : gradient) row = take(results);
    own_x = take(results), own_y = take(results);
    for (std::vector<double>* sums : {&l1, &ssim, &count}) sums->assign(moments, 0.0);
  }

  const T* image(int row, int column) const {
    return static_cast<const T*>(args.image) + ((plane * args.height + row) * args.width + column) * args.stride;
  }
  const T* target(int row, int column) const {
    return static_cast<const T*>(args.target) + ((plane * args.height + row) * args.width + column) * D;
  }

  void run() {
    const int halo = args.ssim_gradient ? 2 * kSsimHalf : kSsimHalf;
    for (int row = 0; row < args.height + halo; ++row) {
      if (row < args.height) read(row);
      if (row >= kSsimHalf && row - kSsimHalf < args.height) compare(row - kSsimHalf);
      if (args.ssim_gradient && row >= 2 * kSsimHalf) differentiate(row - 2 * kSsimHalf);
    }
  }

  void read(int row) {
    // columns outside the image were zeroed at the start and stay so
    const int offset = (begin - (first - 2 * kSsimHalf)) * D, size = (end - begin) * D;
    compact(image(row, begin), args.stride, D, end - begin, x + offset);
    memcpy(y + offset, target(row, begin), size * sizeof(T));
    T* __restrict xs = xx, * __restrict ys = yy, * __restrict both = xy;
    for (int i = offset; i < offset + size; ++i) xs[i] = x[i] * x[i], ys[i] = y[i] * y[i], both[i] = x[i] * y[i];
    const T* rows[5] = {x, y, xx, yy, xy};
    for (int m = 0; m < 5; ++m) blur_along(window.taps, rows[m], D, moments, rings[m] + row % kSsimTaps * moments);
    weigh_row(row);
    double *sums = l1.data(), *counts = count.data();
    const T *a = x + kSsimHalf * D, *b = y + kSsimHalf * D, *w = weights;
#pragma GCC ivdep
    for (int i = 0; i < moments; ++i) sums[i] += w[i] * T(fabs(a[i] - b[i])), counts[i] += w[i];
  }

  // 0 outside the image and where the mask leaves out.
  void weigh_row(int row) {
    const int from = max(0, first - kSsimHalf), to = min(args.width, last + kSsimHalf);
    const uint8_t* mask = args.mask ? args.mask + (plane * args.height + row) * args.width + from : nullptr;
    if (mask || row == 0) weigh(mask, D, to - from, weights + (from - (first - kSsimHalf)) * D);
  }

  void compare(int row) {
    for (int m = 0; m < 5; ++m) blur_down(window.taps, rings[m], row, args.height, blank, moments, mean[m]);
    weigh_row(row);
    const T *mx = mean[0], *my = mean[1], *mxx = mean[2], *myy = mean[3], *mxy = mean[4], *w = weights;
    T *d_mx = d[0], *d_xx = d[1], *d_xy = d[2];
    double* sums = ssim.data();
#pragma GCC ivdep
    for (int i = 0; i < moments; ++i) {
      const SsimPoint<T> p = ssim_point(mx[i], my[i], mxx[i], myy[i], mxy[i]);
      const T weight = w[i];
      d_mx[i] = -weight * p.d_mx, d_xx[i] = -weight * p.d_xx, d_xy[i] = -weight * p.d_xy;
      sums[i] += weight * (T(1) - p.value);
    }
    if (!args.ssim_gradient) return;
    for (int m = 0; m < 3; ++m) blur_along(window.taps, d[m], D, results, d_rings[m] + row % kSsimTaps * results);
  }

  void differentiate(int row) {
    for (int m = 0; m < 3; ++m) blur_down(window.taps, d_rings[m], row, args.height, blank, results, gradient[m]);
    compact(image(row, first), args.stride, D, last - first, own_x);
    memcpy(own_y, target(row, first), results * sizeof(T));
    T* __restrict out = static_cast<T*>(args.ssim_gradient) + ((plane * args.height + row) * args.width + first) * D;
    for (int i = 0; i < results; ++i)
      out[i] = gradient[0][i] + 2 * own_x[i] * gradient[1][i] + own_y[i] * gradient[2][i];
  }

  double sum(const std::vector<double>& values) const {
    double total = 0;
    for (int i = 0; i < results; ++i) total += values[kSsimHalf * D + i];
    return total;
  }
};

template <class T>
void photometric(const gsr_photometry& args) {
  for (int i = 0; i < 3; ++i) args.sums[i] = 0;
  if (!args.channels) return;
  const int64_t strips = max(1, (args.width + kStrip / 2) / kStrip);
  std::vector<double> sums(3 * args.C * strips);
  parallel_for(args.threads, args.C * strips, [&](int64_t chunk, int) {
    const int64_t strip = chunk % strips;
    Strip<T> work(args, chunk / strips, strip * args.width / strips, (strip + 1) * args.width / strips);
    work.run();
    double* out = &sums[3 * chunk];
    out[0] = work.sum(work.l1), out[1] = work.sum(work.ssim), out[2] = work.sum(work.count);
  });
  for (size_t i = 0; i < sums.size(); ++i) args.sums[i % 3] += sums[i];
}

template <class T>
void photometric_vjp(const gsr_photometry& args) {
  const T by_l1 = T(args.scale_l1), by_ssim = T(args.scale_ssim);
  const int D = args.channels, size = args.width * D, block = 16;
  const int64_t rows = args.C * args.height;
  parallel_for(args.threads, (rows + block - 1) / block, [&](int64_t chunk, int) {
    std::vector<T> memory(2 * size);
    T *x = memory.data(), *weights = x + size;
    weigh<T>(nullptr, D, args.width, weights);
    for (int64_t row = chunk * block; row < min(rows, (chunk + 1) * block); ++row) {
      const int64_t begin = row * args.width;
      compact(static_cast<const T*>(args.image) + begin * args.stride, args.stride, D, args.width, x);
      if (args.mask) weigh(args.mask + begin, D, args.width, weights);
      const T* y = static_cast<const T*>(args.target) + begin * D;
      const T* d_ssim = static_cast<const T*>(args.ssim_gradient) + begin * D;
      T* __restrict out = static_cast<T*>(args.v_image) + begin * D;
      for (int i = 0; i < size; ++i) {
        const T sign = (x[i] > y[i] ? T(1) : T(0)) - (x[i] < y[i] ? T(1) : T(0));
        out[i] = by_l1 * weights[i] * sign + by_ssim * d_ssim[i];
      }
    }
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_photometric(gsr_photometry* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::photometric<decltype(scalar)>(*args); });
}

int32_t gsr_photometric_vjp(gsr_photometry* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::photometric_vjp<decltype(scalar)>(*args); });
}
