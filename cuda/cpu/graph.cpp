// The graph Laplacian as a gather along the edges of every node. Its transpose, which backward needs, is the same
// gather along the transposed edges: no atomics, and the same bits for any number of threads. One walk along the edges
// of a node serves up to three registers of channels. The last one may overlap the one before it, which computes some
// channels twice; only once do they count in the sum.
#include <string.h>

#include <vector>

#include "api.h"
#include "gsr/math.h"
#include "pool.h"
#include "simd.h"

namespace gsr {
namespace {

constexpr int64_t kRows = 1024;

template <class T>
class Gather {
 public:
  explicit Gather(const gsr_graph& args) : args_(args) {
    const int64_t again = -args.F & (width - 1);
    for (int j = 0; j < width; ++j) fresh_[j] = j >= again;
  }

  // Fills the node's row of `out`; returns its part of the sum.
  GSR_HD double row(int64_t i) const {
    const int64_t F = args_.F;
    int64_t d = 0;
    double sum = 0;
    if (F >= width) {
      for (; d + 3 * width < F; d += 3 * width) sum += walk<width, 3>(i, d);
      if (F - d > 2 * width) return sum + walk<width, 3>(i, d);
      return sum + (F - d > width ? walk<width, 2>(i, d) : walk<width, 1>(i, d));
    }
    if constexpr (width > 8)
      if (F & 8) sum += walk<8, 1>(i, d), d += 8;
    if constexpr (width > 4)
      if (F & 4) sum += walk<4, 1>(i, d), d += 4;
    if constexpr (width > 2)
      if (F & 2) sum += walk<2, 1>(i, d), d += 2;
    return F & 1 ? sum + walk<1, 1>(i, d) : sum;
  }

 private:
  static constexpr int width = Vec<T>::width;

  // `count` vectors of `lanes` channels from d on.
  template <int lanes, int count>
  GSR_HD double walk(int64_t i, int64_t d) const {
    typedef T V __attribute__((vector_size(lanes * sizeof(T))));
    const auto load = [](const T* p) {
      V v;
      memcpy(&v, p, sizeof v);
      return v;
    };
    int64_t at[count];
    for (int n = 0; n < count; ++n) at[n] = lanes < width ? d : min(d + n * lanes, args_.F - lanes);
    V own[count], r[count], squares = {};
    for (int n = 0; n < count; ++n) {
      own[n] = load(features_ + i * args_.F + at[n]);
      r[n] = own[n] * (excess_ ? excess_[i] : T(0));
    }
    for (int64_t e = args_.offsets[i]; e < args_.offsets[i + 1]; ++e) {
      const T* other = features_ + args_.nodes[e] * args_.F;
      for (int n = 0; n < count; ++n) r[n] += weights_[e] * (own[n] - load(other + at[n]));
    }
    for (int n = 0; n < count; ++n) {
      const V weighted = r[n] * load(factors_ + at[n]);
      memcpy(out_ + i * args_.F + at[n], &weighted, sizeof weighted);
      const bool overlaps = at[n] != d + n * lanes;
      squares += overlaps ? weighted * r[n] * load(fresh_) : weighted * r[n];
    }
    T sum = 0;
    for (int j = 0; j < lanes; ++j) sum += squares[j];
    return sum;
  }

  const gsr_graph& args_;
  const T *features_ = static_cast<const T*>(args_.features), *weights_ = static_cast<const T*>(args_.weights);
  const T *factors_ = static_cast<const T*>(args_.factors), *excess_ = static_cast<const T*>(args_.excess);
  T* out_ = static_cast<T*>(args_.out);
  T fresh_[width];
};

template <class T>
void laplacian(const gsr_graph& args) {
  const Gather<T> gather(args);
  std::vector<double> sums((args.N + kRows - 1) / kRows);
  parallel_for(args.threads, sums.size(), [&](int64_t chunk, int) {
    double sum = 0;
    for (int64_t i = chunk * kRows; i < min(args.N, (chunk + 1) * kRows); ++i) sum += gather.row(i);
    sums[chunk] = sum;
  });
  *args.sum = 0;
  for (const double sum : sums) *args.sum += sum;
}

}  // namespace
}  // namespace gsr

int32_t gsr_laplacian(gsr_graph* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::laplacian<decltype(scalar)>(*args); });
}
