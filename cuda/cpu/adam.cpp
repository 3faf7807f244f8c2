// Adam over rows of numbers. The numbers are taken in flat blocks, whatever the width of a row; what a row says of its
// numbers, whether they move and how they are corrected, is spread over them first. Blocks in which all rest are
// skipped.
#include "gsr/adam.h"

#include <algorithm>
#include <stdexcept>

#include "api.h"
#include "pool.h"
#include "simd_math.h"

namespace gsr {
namespace {

constexpr int kBlock = 240;  // whole rows of the usual widths, in whole registers
constexpr int kBlocks = 64;  // that a thread takes at once

// Of the numbers from `first` to `first + count`.
template <class T>
class Rows {
 public:
  T moves[kBlock], rest1[kBlock], rest2[kBlock];  // 1 or 0; as in adam_step

  // The logarithms are those of the rounded rates, which the means are made with.
  explicit Rows(const gsr_adam_rows& a) : a_(a), log_beta1_(::log(T(a.beta1))), log_beta2_(::log(T(a.beta2))) {
    std::fill_n(moves, kBlock, T(1));
    std::fill_n(rest1, kBlock, T(a.rest1)), std::fill_n(rest2, kBlock, T(a.rest2));
  }

  // Returns whether any moves.
  bool find(int64_t first, int count) {
    const int64_t row = first / a_.width;
    const int rows = static_cast<int>((first + count - 1) / a_.width - row) + 1;
    if (a_.visible) {
      const uint8_t* visible = a_.visible + row;
      if (std::all_of(visible, visible + rows, [](uint8_t seen) { return seen == 0; })) return false;
      for (int i = 0; i < rows; ++i) of_rows_[i] = visible[i] != 0;
      spread(first - row * a_.width, count, moves);
    }
    if (a_.row_steps) {
      const int32_t* steps = a_.row_steps + row;
      for (int i = 0; i < rows; ++i) of_rows_[i] = adam_rest(log_beta1_, T(steps[i]));
      spread(first - row * a_.width, count, rest1);
      for (int i = 0; i < rows; ++i) of_rows_[i] = adam_rest(log_beta2_, T(steps[i]));
      spread(first - row * a_.width, count, rest2);
    }
    return true;
  }

 private:
  // Each row's number for all of the row, from place `skipped` of the first row on.
  void spread(int64_t skipped, int count, T* __restrict out) const {
    const T* from = of_rows_;
    if (a_.width == 1) return void(std::copy_n(from, count, out));
    if (a_.width == 3) return spread_whole<3>(count, out);
    if (a_.width == 4) return spread_whole<4>(count, out);
    for (int64_t at = -skipped; at < count; at += a_.width, ++from)
      for (int64_t i = std::max<int64_t>(at, 0); i < std::min<int64_t>(at + a_.width, count); ++i) out[i] = *from;
  }

  // A width that the compiler knows, as blocks of such rows skip nothing.
  template <int width>
  void spread_whole(int count, T* __restrict out) const {
    for (int i = 0; i < count / width; ++i)
      for (int j = 0; j < width; ++j) out[width * i + j] = of_rows_[i];
  }

  const gsr_adam_rows& a_;
  const T log_beta1_, log_beta2_;
  T of_rows_[kBlock];
};

// A register of the numbers from `at` on, of which `rows` says what to do from its place i on.
template <class T>
GSR_INLINE void step(const AdamRates<Vec<T>>& rates, const Rows<T>& rows, int i, const T* gradients, T* values,
                     T* means, T* square_means) {
  typedef Vec<T> V;
  const V old_value = V::load_anywhere(values), old_mean = V::load_anywhere(means);
  const V old_square_mean = V::load_anywhere(square_means);
  V value = old_value, mean = old_mean, square_mean = old_square_mean;
  adam_step(rates, V::load_anywhere(rows.rest1 + i), V::load_anywhere(rows.rest2 + i), V::load_anywhere(gradients),
            value, mean, square_mean);
  const typename V::Mask moves = greater(V::load_anywhere(rows.moves + i), V(T(0)));
  select(moves, value, old_value).store_anywhere(values);
  select(moves, mean, old_mean).store_anywhere(means);
  select(moves, square_mean, old_square_mean).store_anywhere(square_means);
}

// The same for the last numbers, which do not fill a register.
template <class T>
void step_some(const AdamRates<Vec<T>>& rates, const Rows<T>& rows, int i, int count, const T* gradients, T* values,
               T* means, T* square_means) {
  constexpr int width = Vec<T>::width;
  T gradient[width] = {}, value[width] = {}, mean[width] = {}, square_mean[width] = {};
  std::copy_n(gradients, count, gradient), std::copy_n(values, count, value);
  std::copy_n(means, count, mean), std::copy_n(square_means, count, square_mean);
  step(rates, rows, i, gradient, value, mean, square_mean);
  std::copy_n(value, count, values), std::copy_n(mean, count, means);
  std::copy_n(square_mean, count, square_means);
}

template <class T>
void adam(const gsr_adam_rows& a) {
  if (a.now) throw std::invalid_argument("now: rates on the device are for the CUDA library");
  if (a.counts)
    throw std::invalid_argument("counts: those of a drawing with given capacities are for the CUDA library");
  const AdamRates<Vec<T>> rates = {T(a.lr), T(a.beta1), T(a.beta2), T(a.eps)};
  const T* gradients = static_cast<const T*>(a.gradients);
  T *values = static_cast<T*>(a.values), *means = static_cast<T*>(a.exp_avg);
  T* square_means = static_cast<T*>(a.exp_avg_sq);
  const int64_t all = a.N * a.width;
  if (all == 0) return;
  const int64_t block = a.width > kBlock ? kBlock : kBlock / a.width * a.width;
  const int64_t range = kBlocks * block;
  parallel_for(a.threads, (all + range - 1) / range, [&](int64_t chunk, int) {
    Rows<T> rows(a);
    const int64_t end = std::min(all, (chunk + 1) * range);
    for (int64_t first = chunk * range; first < end; first += block) {
      const int count = static_cast<int>(std::min(block, end - first));
      if (!rows.find(first, count)) continue;
      int i = 0;
      for (int64_t at = first; i + Vec<T>::width <= count; i += Vec<T>::width, at += Vec<T>::width)
        step(rates, rows, i, gradients + at, values + at, means + at, square_means + at);
      const int64_t at = first + i;
      if (i < count) step_some(rates, rows, i, count - i, gradients + at, values + at, means + at, square_means + at);
    }
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_adam(gsr_adam_rows* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::adam<decltype(scalar)>(*args); });
}
