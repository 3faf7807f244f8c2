// Sums of bumps about given centers, at N points. A register holds the same number of bumps: those out of a point's
// reach cost one distance, the others an exponential. Points are worked on alone, and what backward adds up of them is
// added chunk by chunk: the same bits for any number of threads.
#include <math.h>

#include <algorithm>
#include <vector>

#include "api.h"
#include "gsr/math.h"
#include "pool.h"
#include "simd.h"

namespace gsr {
namespace {

constexpr int64_t kPoints = 256, kLargeChunk = 2048;
constexpr int kOutputs = 3;  // that are summed in one walk over the bumps of a point

template <class T>
class Bumps {
  typedef Vec<T> V;
  static constexpr int width = V::width;

 public:
  explicit Bumps(const gsr_bumps& args) : a_(args), registers_((args.M + width - 1) / width) {
    const int64_t rows = 6 + a_.L;
    memory_.resize(rows * registers_);
    const T *centers = static_cast<const T*>(a_.centers), *radii = static_cast<const T*>(a_.radii);
    const T* latents = static_cast<const T*>(a_.latents);
    for (int64_t b = 0; b < a_.M; ++b) {
      const double r = radii[b], reach = 2 * a_.faint * r * r;
      for (int d = 0; d < 3; ++d) at(d, b) = centers[3 * b + d];
      at(3, b) = T(reach), at(4, b) = T(1 / (r * r)), at(5, b) = T(-0.5 * M_LOG2E / (r * r));
      for (int64_t d = 0; d < a_.L; ++d) at(6 + d, b) = latents[a_.L * b + d];
    }
    for (int64_t b = a_.M; b < registers_ * width; ++b) at(3, b) = -1;  // no point is in reach of these
  }

  // The bumps that a point sees: numbers of registers, the heights in them, and the way from the point to the centers
  // by the squared radius.
  struct Seen {
    std::vector<int64_t> of;
    std::vector<V> heights, ways[3];
    explicit Seen(int64_t most) : of(most), heights(most) {
      for (auto& way : ways) way.resize(most);
    }
    int64_t count = 0;
  };

  void look(int64_t i, Seen& seen) const {
    const T *x = static_cast<const T*>(a_.x) + 3 * i, *latent = static_cast<const T*>(a_.latent) + a_.L * i;
    const V px(x[0]), py(x[1]), pz(x[2]), zero(T(0));
    const T size = T(std::max<int64_t>(a_.L, 1));
    const V edge(T(a_.edge)), sharp(T(-a_.sharp * M_LOG2E)), share(T(1) / size), least(T(-a_.faint * M_LOG2E));
    seen.count = 0;
    for (int64_t r = 0; r < registers_; ++r) {
      const V dx = row(0, r) - px, dy = row(1, r) - py, dz = row(2, r) - pz;
      const V square = fma(dx, dx, fma(dy, dy, dz * dz));
      const typename V::Mask near = greater(row(3, r), square);
      if (bits<T>(near) == 0) continue;
      V apart = zero;
      for (int64_t d = 0; d < a_.L; ++d) {
        const V difference = row(6 + d, r) - V(latent[d]);
        apart = fma(difference, difference, apart);
      }
      const V power = fma(max(fma(apart, share, -edge), zero), sharp, square * row(5, r));
      const typename V::Mask loud = greater(power, least);
      if (bits<T>(loud) == 0) continue;
      const V height = keep(near, keep(loud, exp2(max(power, least)))), inverse = row(4, r);
      seen.of[seen.count] = r, seen.heights[seen.count] = height;
      seen.ways[0][seen.count] = dx * inverse, seen.ways[1][seen.count] = dy * inverse;
      seen.ways[2][seen.count] = dz * inverse;
      ++seen.count;
    }
  }

  int64_t registers() const { return registers_; }

 private:
  T& at(int64_t row, int64_t b) { return memory_[row * registers_ + b / width].v[b % width]; }
  V row(int64_t row, int64_t r) const { return memory_[row * registers_ + r]; }

  const gsr_bumps& a_;
  const int64_t registers_;
  std::vector<V> memory_;  // zero where not set
};

// A column of weights [M,O] in registers.
template <class T>
std::vector<Vec<T>> columns(const gsr_bumps& a, int64_t registers) {
  std::vector<Vec<T>> out(a.O * registers, Vec<T>(T(0)));
  const T* weight = static_cast<const T*>(a.weight);
  for (int64_t b = 0; b < a.M; ++b)
    for (int64_t o = 0; o < a.O; ++o) out[o * registers + b / Vec<T>::width].v[b % Vec<T>::width] = weight[b * a.O + o];
  return out;
}

template <class T>
void forward(const gsr_bumps& a) {
  typedef Vec<T> V;
  const Bumps<T> bumps(a);
  const int64_t R = bumps.registers();
  const std::vector<V> weight = columns<T>(a, R);
  T *values = static_cast<T*>(a.values), *slopes = static_cast<T*>(a.slopes);
  parallel_for(a.threads, (a.N + kPoints - 1) / kPoints, [&](int64_t chunk, int) {
    typename Bumps<T>::Seen seen(R);
    for (int64_t i = chunk * kPoints; i < std::min(a.N, (chunk + 1) * kPoints); ++i) {
      bumps.look(i, seen);
      for (int64_t o = 0; o < a.O; o += kOutputs) {
        const int64_t few = std::min<int64_t>(kOutputs, a.O - o);
        V sums[kOutputs], pulls[3][kOutputs];
        for (int k = 0; k < kOutputs; ++k) sums[k] = pulls[0][k] = pulls[1][k] = pulls[2][k] = V(T(0));
        for (int64_t s = 0; s < seen.count; ++s)
          for (int k = 0; k < few; ++k) {
            const V part = seen.heights[s] * weight[(o + k) * R + seen.of[s]];
            sums[k] += part;
            if (slopes)
              for (int d = 0; d < 3; ++d) pulls[d][k] = fma(part, seen.ways[d][s], pulls[d][k]);
          }
        for (int k = 0; k < few; ++k) {
          values[i * a.O + o + k] = sum(sums[k]);
          if (slopes)
            for (int d = 0; d < 3; ++d) slopes[(d * a.N + i) * a.O + o + k] = sum(pulls[d][k]);
        }
      }
    }
  });
}

// Gradients of the points, and of the weights.
template <class T>
void backward(const gsr_bumps& a) {
  typedef Vec<T> V;
  const Bumps<T> bumps(a);
  const int64_t R = bumps.registers(), chunks = (a.N + kLargeChunk - 1) / kLargeChunk;
  const std::vector<V> weight = columns<T>(a, R);
  std::vector<V> parts(a.v_weight ? chunks * a.O * R : 0, V(T(0)));
  const T* v_values = static_cast<const T*>(a.v_values);
  T *v_x = static_cast<T*>(a.v_x), *v_weight = static_cast<T*>(a.v_weight);
  parallel_for(a.threads, chunks, [&](int64_t chunk, int) {
    typename Bumps<T>::Seen seen(R);
    V* part = a.v_weight ? parts.data() + chunk * a.O * R : nullptr;
    for (int64_t i = chunk * kLargeChunk; i < std::min(a.N, (chunk + 1) * kLargeChunk); ++i) {
      bumps.look(i, seen);
      const T* v = v_values + i * a.O;
      V pull[3] = {V(T(0)), V(T(0)), V(T(0))};
      for (int64_t s = 0; s < seen.count; ++s) {
        const int64_t r = seen.of[s];
        V level(T(0));
        for (int64_t o = 0; o < a.O; ++o) {
          level = fma(weight[o * R + r], V(v[o]), level);
          if (part) part[o * R + r] = fma(seen.heights[s], V(v[o]), part[o * R + r]);
        }
        level *= seen.heights[s];
        for (int d = 0; d < 3; ++d) pull[d] = fma(level, seen.ways[d][s], pull[d]);
      }
      for (int d = 0; d < 3; ++d) v_x[3 * i + d] = sum(pull[d]);
    }
  });
  if (!v_weight) return;
  for (int64_t b = 0; b < a.M; ++b)
    for (int64_t o = 0; o < a.O; ++o) {
      double total = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk)
        total += parts[(chunk * a.O + o) * R + b / V::width].v[b % V::width];
      v_weight[b * a.O + o] = T(total);
    }
}

}  // namespace
}  // namespace gsr

int32_t gsr_bumps_at(gsr_bumps* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::forward<decltype(scalar)>(*args); });
}

int32_t gsr_bumps_at_vjp(gsr_bumps* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::backward<decltype(scalar)>(*args); });
}
