// Total variation of a map with holes. A row's pairs with the row below, or with its own next pixels, are one loop over
// arrays, which the compiler turns into vectors. Sums are added chunk of rows by chunk, and a pixel's gradient is its
// row's own: the same bits for any number of threads.
#include <algorithm>
#include <vector>

#include "api.h"
#include "gsr/elementary.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int kRows = 16, kSums = 8, kLanes = 16;

template <class T>
class Pairs {
 public:
  T *step, *counts, *within, *weight;  // difference; 1 or 0: both ends valid, and also in one layer; 0 if not counted

  explicit Pairs(const gsr_variation& args) : args_(args), memory_(4 * args.width) {
    step = memory_.data(), counts = step + args.width, within = counts + args.width, weight = within + args.width;
  }

  // Those of `count` pixels from `at` with the pixels `stride` further.
  void find(int64_t at, int64_t stride, int count) {
    T* __restrict d = step, * __restrict c = counts, * __restrict same = within, * __restrict w = weight;
    const T *map = static_cast<const T*>(args_.map) + at, *next = map + stride;
    const uint8_t *valid = args_.valid + at, *next_valid = valid + stride;
    for (int i = 0; i < count; ++i) d[i] = next[i] - map[i];
    for (int i = 0; i < count; ++i) c[i] = (valid[i] != 0) & (next_valid[i] != 0);
    if (args_.layers) {
      const uint8_t *layer = args_.layers + at, *next_layer = layer + stride;
      for (int i = 0; i < count; ++i) same[i] = layer[i] == next_layer[i];
      for (int i = 0; i < count; ++i) same[i] *= c[i];
    }
    if (args_.guide) {
      const T *guide = static_cast<const T*>(args_.guide) + 3 * at, *next_guide = guide + 3 * stride;
      const T rate = T(-1 / (3 * args_.edge));
      for (int i = 0; i < count; ++i)
        w[i] = std::abs(next_guide[3 * i] - guide[3 * i]) + std::abs(next_guide[3 * i + 1] - guide[3 * i + 1]) +
               std::abs(next_guide[3 * i + 2] - guide[3 * i + 2]);
      for (int i = 0; i < count; ++i) w[i] = c[i] * exp_of(w[i] * rate);
    } else {
      for (int i = 0; i < count; ++i) w[i] = c[i];
    }
  }

  // Adds the four sums of the pairs that were found.
  void add(int count, double* sums) const {
    double lanes[4][kLanes] = {};
    const auto add_one = [&](int i, int j) {
      const T size = weight[i] > 0 ? std::abs(step[i]) * weight[i] : T(0);  // a hole may hold anything
      lanes[0][j] += size, lanes[1][j] += counts[i], lanes[2][j] += size * within[i], lanes[3][j] += within[i];
    };
    int i = 0;
    for (; i + kLanes <= count; i += kLanes)
      for (int j = 0; j < kLanes; ++j) add_one(i + j, j);
    for (; i < count; ++i) add_one(i, 0);
    for (int k = 0; k < 4; ++k)
      for (int j = 0; j < kLanes; ++j) sums[k] += lanes[k][j];
  }

  // Gradient of each pair's second end; that of its first is the same with the other sign.
  void slopes(int count, const double* v_sums, T* __restrict out) const {
    const T all = T(v_sums[0]), inside = T(v_sums[2]);
    for (int i = 0; i < count; ++i) {
      const T size = weight[i] * (all + inside * within[i]);
      out[i] = step[i] > 0 ? size : step[i] < 0 ? -size : T(0);
    }
  }

 private:
  const gsr_variation& args_;
  std::vector<T> memory_;  // zero: without layers `within` stays so
};

template <class T>
void variation(const gsr_variation& a) {
  const int64_t rows = a.C * a.height, chunks = (rows + kRows - 1) / kRows;
  std::vector<double> sums(kSums * chunks);
  parallel_for(a.threads, chunks, [&](int64_t chunk, int) {
    Pairs<T> pairs(a);
    for (int64_t row = chunk * kRows; row < std::min(rows, (chunk + 1) * kRows); ++row) {
      pairs.find(row * a.width, 1, a.width - 1);
      pairs.add(a.width - 1, &sums[kSums * chunk]);
      if (row % a.height + 1 == a.height) continue;
      pairs.find(row * a.width, a.width, a.width);
      pairs.add(a.width, &sums[kSums * chunk + 4]);
    }
  });
  std::fill(a.sums, a.sums + kSums, 0.0);
  for (size_t i = 0; i < sums.size(); ++i) a.sums[i % kSums] += sums[i];
}

template <class T>
void variation_vjp(const gsr_variation& a) {
  if (a.width == 0) return;
  const int64_t rows = a.C * a.height, chunks = (rows + kRows - 1) / kRows;
  parallel_for(a.threads, chunks, [&](int64_t chunk, int) {
    Pairs<T> pairs(a);
    std::vector<T> memory(3 * a.width);
    T *above = memory.data(), *below = above + a.width, *along = below + a.width;
    const auto slopes_below = [&](int64_t row, T* out) {
      if (row % a.height + 1 == a.height) return void(std::fill(out, out + a.width, T(0)));
      pairs.find(row * a.width, a.width, a.width);
      pairs.slopes(a.width, a.v_sums + 4, out);
    };
    for (int64_t row = chunk * kRows; row < std::min(rows, (chunk + 1) * kRows); ++row) {
      if (row % a.height == 0)
        std::fill(above, above + a.width, T(0));
      else if (row == chunk * kRows)
        slopes_below(row - 1, above);
      slopes_below(row, below);
      pairs.find(row * a.width, 1, a.width - 1);
      pairs.slopes(a.width - 1, a.v_sums, along);
      along[a.width - 1] = 0;
      T* __restrict out = static_cast<T*>(a.v_map) + row * a.width;
      for (int i = 0; i < a.width; ++i) out[i] = above[i] - below[i] - along[i];
      for (int i = 1; i < a.width; ++i) out[i] += along[i - 1];
      std::swap(above, below);
    }
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_total_variation(gsr_variation* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::variation<decltype(scalar)>(*args); });
}

int32_t gsr_total_variation_vjp(gsr_variation* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::variation_vjp<decltype(scalar)>(*args); });
}
