// The plain scalar rasterizer that CPUs are usually given, as a yardstick: Gaussians in depth order, each over its
// bounding box, exp at every pixel; rows shared out in turn between threads, all of which walk all Gaussians; a list of
// ids at each pixel, which backward walks from its end. Written from the published description of that design.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "api.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int kGeometry = 6;  // gradients of mean, conic and opacity, before those of the channels

struct Box {
  int x0, y0, x1, y1;

  Box(const gsr_scalar& a, int64_t i) {
    const float *mean = a.means2d + 2 * i, rx = a.radii[2 * i], ry = a.radii[2 * i + 1];
    const auto clamped = [](float v, int size) { return static_cast<int>(std::min(std::max(v, 0.f), float(size))); };
    x0 = clamped(std::floor(mean[0] - rx), a.width), x1 = clamped(std::ceil(mean[0] + rx), a.width);
    y0 = clamped(std::floor(mean[1] - ry), a.height), y1 = clamped(std::ceil(mean[1] + ry), a.height);
  }
};

struct Sample {
  float dx, dy, falloff, raw;

  Sample(const gsr_scalar& a, int64_t i, int x, int y) {
    const float *mean = a.means2d + 2 * i, *conic = a.conics + 3 * i;
    dx = mean[0] - (x + 0.5f), dy = mean[1] - (y + 0.5f);
    const float sigma = 0.5f * (conic[0] * dx * dx + conic[2] * dy * dy) + conic[1] * dx * dy;
    falloff = std::exp(-std::max(sigma, 0.f));
    raw = a.opacities[i] * falloff;
  }
};

std::vector<int32_t> in_depth_order(const gsr_scalar& a) {
  std::vector<int32_t> order;
  for (int64_t i = 0; i < a.N; ++i)
    if (a.radii[2 * i] > 0 && a.radii[2 * i + 1] > 0) order.push_back(static_cast<int32_t>(i));
  std::stable_sort(order.begin(), order.end(), [&](int32_t i, int32_t j) { return a.depths[i] < a.depths[j]; });
  return order;
}

// Takes a splat into a pixel; returns its weight, 0 if it does not count. A finished pixel has T < 0.
float composite_at(const gsr_scalar& a, float raw, float& T) {
  if (T < 0 || raw < float(a.alpha_min)) return 0;
  const float alpha = std::min(raw, float(a.alpha_max)), left = T * (1 - alpha);
  if (left <= float(a.transmittance_min)) return T = -T, 0.f;
  const float weight = alpha * T;
  return T = left, weight;
}

template <int kChannels>
struct Scalar {
  const gsr_scalar& a;
  const int channels = kChannels ? kChannels : a.channels, width = kGeometry + channels;
  std::vector<int32_t> order;
  std::vector<float> T;
  std::vector<std::vector<int32_t>> ids;

  explicit Scalar(const gsr_scalar& args)
      : a(args), T(int64_t(a.width) * a.height, 1.f), ids(int64_t(a.width) * a.height) {}

  void forward_rows(int worker) {
    for (int32_t i : order) {
      const Box box(a, i);
      for (int y = box.y0 + (worker + a.threads - box.y0 % a.threads) % a.threads; y < box.y1; y += a.threads)
        for (int x = box.x0; x < box.x1; ++x) {
          const int64_t pixel = int64_t(y) * a.width + x;
          if (T[pixel] < 0) continue;
          const float weight = composite_at(a, Sample(a, i, x, y).raw, T[pixel]);
          if (weight <= 0) continue;
          for (int d = 0; d < channels; ++d) a.image[pixel * channels + d] += weight * a.features[i * channels + d];
          ids[pixel].push_back(i);
        }
    }
  }

  void backward_rows(int worker, float* sums) {
    std::vector<float> background(channels);
    for (int y = worker; y < a.height; y += a.threads)
      for (int x = 0; x < a.width; ++x) backward_pixel(x, y, background.data(), sums);
  }

  void backward_pixel(int x, int y, float* background, float* sums) {
    const int64_t pixel = int64_t(y) * a.width + x;
    const float* v = a.v_image + pixel * channels;
    const float last = std::fabs(T[pixel]);
    float before = last;
    std::fill_n(background, channels, 0.f);
    for (auto id = ids[pixel].rbegin(); id != ids[pixel].rend(); ++id) {
      const Sample s(a, *id, x, y);
      const float alpha = std::min(s.raw, float(a.alpha_max)), inverse = 1 / (1 - alpha);
      before *= inverse;
      const float *color = a.features + int64_t(*id) * channels, *conic = a.conics + 3 * int64_t(*id);
      float *sum = sums + int64_t(*id) * width, v_alpha = last * inverse * a.v_alphas[pixel];
      for (int d = 0; d < channels; ++d) {
        sum[kGeometry + d] += alpha * before * v[d];
        v_alpha += (color[d] * before - background[d] * inverse) * v[d];
        background[d] += alpha * before * color[d];
      }
      if (s.raw > float(a.alpha_max)) continue;
      const float v_sigma = -s.raw * v_alpha;
      sum[0] += v_sigma * (conic[0] * s.dx + conic[1] * s.dy), sum[1] += v_sigma * (conic[1] * s.dx + conic[2] * s.dy);
      sum[2] += 0.5f * v_sigma * s.dx * s.dx, sum[3] += v_sigma * s.dx * s.dy;
      sum[4] += 0.5f * v_sigma * s.dy * s.dy, sum[5] += s.falloff * v_alpha;
    }
  }

  void write_gradients(const std::vector<std::vector<float>>& sums) {
    for (int64_t i = 0; i < a.N; ++i) {
      const auto total = [&](int j) {
        float out = 0;
        for (const auto& own : sums) out += own[i * width + j];
        return out;
      };
      for (int j = 0; j < 2; ++j) a.v_means2d[2 * i + j] = total(j);
      for (int j = 0; j < 3; ++j) a.v_conics[3 * i + j] = total(2 + j);
      a.v_opacities[i] = total(5);
      for (int d = 0; d < channels; ++d) a.v_features[i * channels + d] = total(kGeometry + d);
    }
  }
};

template <int kChannels>
void run_scalar(gsr_scalar& a) {
  const auto now = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
  const double start = now();
  Scalar<kChannels> scalar(a);
  scalar.order = in_depth_order(a);
  const double sorted = now();
  std::fill_n(a.image, int64_t(a.width) * a.height * a.channels, 0.f);
  parallel_for(a.threads, a.threads, [&](int64_t rows, int) { scalar.forward_rows(static_cast<int>(rows)); });
  for (size_t pixel = 0; pixel < scalar.T.size(); ++pixel) a.alphas[pixel] = 1 - std::fabs(scalar.T[pixel]);
  const double drawn = now();
  std::vector<std::vector<float>> sums(a.threads);
  parallel_for(a.threads, a.threads, [&](int64_t rows, int) {
    sums[rows].assign(a.N * scalar.width, 0.f);
    scalar.backward_rows(static_cast<int>(rows), sums[rows].data());
  });
  scalar.write_gradients(sums);
  a.sort_seconds = sorted - start, a.forward_seconds = drawn - sorted, a.backward_seconds = now() - drawn;
}

// Counts, block by block, what any rasterizer with perfect culling of 4x4 blocks would have to evaluate.
void count_pairs(gsr_scalar& a) {
  const int columns = (a.width + 3) / 4, rows = (a.height + 3) / 4;
  std::vector<float> T(int64_t(16) * columns * rows, -1.f);
  const auto of_block = [&](int column, int row) { return &T[16 * (int64_t(row) * columns + column)]; };
  for (int y = 0; y < a.height; ++y)
    for (int x = 0; x < a.width; ++x) of_block(x / 4, y / 4)[y % 4 * 4 + x % 4] = 1;
  a.contributing = a.evaluated = 0;
  for (int32_t i : in_depth_order(a)) {
    const Box box(a, i);
    for (int row = box.y0 / 4; row < (box.y1 + 3) / 4; ++row)
      for (int column = box.x0 / 4; column < (box.x1 + 3) / 4; ++column) {
        float* block = of_block(column, row);
        if (std::all_of(block, block + 16, [](float t) { return t < 0; })) continue;
        bool hit = false;
        for (int p = 0; p < 16; ++p) {
          const int x = 4 * column + p % 4, y = 4 * row + p / 4;
          if (x >= a.width || y >= a.height) continue;
          const float raw = Sample(a, i, x, y).raw;
          hit |= raw >= float(a.alpha_min);
          a.contributing += composite_at(a, raw, block[p]) > 0;
        }
        a.evaluated += hit ? 16 : 0;
      }
  }
  a.saturated = std::count_if(T.begin(), T.end(), [](float t) { return t < 0; }) -
                (int64_t(16) * columns * rows - int64_t(a.width) * a.height);
}

}  // namespace
}  // namespace gsr

int32_t gsr_bench_scalar(gsr_scalar* args) {
  return gsr::dispatch(args,
                       [&](auto) { args->channels == 3 ? gsr::run_scalar<3>(*args) : gsr::run_scalar<0>(*args); });
}

int32_t gsr_bench_pairs(gsr_scalar* args) {
  return gsr::dispatch(args, [&](auto) { gsr::count_pairs(*args); });
}
