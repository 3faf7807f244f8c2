// Bare loops: what this processor can do at most, to measure the rasterizer by. One tile in the nearest cache, splats
// that touch every pixel: no lists, no masks, nothing to skip and nothing to wait for.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "api.h"
#include "pool.h"
#include "simd.h"

namespace gsr {
namespace {

typedef Vec<float> V;
constexpr int kSplats = 256, kPixels = 256, kColors = 3, kSums = 6 + kColors, kRounds = 64;
constexpr float kAlphaMin = -7.9943534f, kAlphaMax = 0.999f, kCut = 1e-4f;  // the first is a power of two

struct BareSplat {
  float x, y, P, k, Q, log2_opacity, color[kColors];
};

struct alignas(64) BareTile {
  BareSplat splats[kSplats];
  alignas(64) float x[kPixels], y[kPixels], transmittance[kPixels], rest[kPixels];
  alignas(64) float color[kColors][kPixels], v_color[kColors][kPixels];
  float sums[kSplats][kSums + V::width];

  BareTile() : sums() {
    for (int i = 0; i < kSplats; ++i) {
      const float spread = 3 + 5 * (i * 37 % 100) / 100.f, opacity = 0.02f + 0.02f * (i * 53 % 100) / 100;
      splats[i] = {float(i * 7 % 16), float(i * 11 % 16), 0.85f / spread,    0.2f,
                   0.75f / spread,    std::log2(opacity), {0.5f, 0.4f, 0.3f}};
    }
    for (int i = 0; i < kPixels; ++i) {
      x[i] = (i / 16 % 4 * 4 + i % 4) + 0.5f, y[i] = (i / 64 * 4 + i % 16 / 4) + 0.5f, rest[i] = 0.1f;
      for (int d = 0; d < kColors; ++d) color[d][i] = 0, v_color[d][i] = 0.1f * (d + 1);
    }
  }

  // A block after the other, its pixels in registers.
  void forward() {
    constexpr int parts = 16 / V::width;
    for (int block = 0; block < kPixels; block += 16) {
      V state[parts], sums_of[parts][kColors];
      for (int p = 0; p < parts; ++p) {
        state[p] = V(1.f);
        for (int d = 0; d < kColors; ++d) sums_of[p][d] = V(0.f);
      }
      for (const BareSplat& s : splats)
#pragma GCC unroll 4
        for (int p = 0; p < parts; ++p) {
          V u, v;
          const V raw = raw_alpha(s, block + p * V::width, u, v), before = state[p];
          const V alpha = min(raw, V(kAlphaMax)), left = fnma(alpha, before, before);
          const V::Mask open = greater(left, V(kCut));
          const V weight = keep(open, alpha) * before;
          state[p] = select(open, left, negative(before));
          for (int d = 0; d < kColors; ++d) sums_of[p][d] = fma(weight, V(s.color[d]), sums_of[p][d]);
        }
      for (int p = 0; p < parts; ++p) {
        state[p].store(transmittance + block + p * V::width);
        for (int d = 0; d < kColors; ++d) sums_of[p][d].store(color[d] + block + p * V::width);
      }
    }
  }

  // A splat after the other, its sums in registers.
  void backward() {
    std::fill_n(transmittance, kPixels, 1.f);
    for (int n = 0; n < kSplats; ++n) {
      const BareSplat s = splats[n];
      V m[kSums];
      for (V& sum : m) sum = V(0.f);
      for (int i = 0; i < kPixels; i += V::width) backward_vector(s, i, m);
      for (int j = 0; j < kSums; ++j) sums[n][j] += sum(m[j]);
    }
  }

 private:
  GSR_INLINE V raw_alpha(const BareSplat& s, int i, V& u, V& v) const {
    const V dx = V(s.x) - V::load(x + i), dy = V(s.y) - V::load(y + i);
    u = V(s.P) * fnma(V(s.k), dy, dx), v = V(s.Q) * dy;
    const V power = fnma(u, u, fnma(v, v, V(s.log2_opacity)));
    return keep(at_least(power, V(kAlphaMin)), exp2(power));
  }

  GSR_INLINE void backward_vector(const BareSplat& s, int i, V* m) {
    V u, v, cv(0.f);
    const V raw = raw_alpha(s, i, u, v), before = V::load(transmittance + i);
    V alpha = min(raw, V(kAlphaMax));
    const V left = fnma(alpha, before, before);
    const V::Mask open = greater(left, V(kCut));
    alpha = keep(open, alpha);
    const V weight = alpha * before;
    select(open, left, negative(before)).store(transmittance + i);
    for (int d = 0; d < kColors; ++d) {
      const V v_channel = V::load(v_color[d] + i);
      cv = fma(V(s.color[d]), v_channel, cv), m[6 + d] = fma(weight, v_channel, m[6 + d]);
    }
    const V remainder = fnma(weight, cv, V::load(rest + i));
    remainder.store(rest + i);
    const V v_alpha = fnma(remainder, reciprocal(V(1.f) - alpha), before * cv);
    const V vs = drop(greater(raw, V(kAlphaMax)), alpha * v_alpha), vu = vs * u, vv = vs * v;
    m[0] = m[0] + vs, m[1] = m[1] + vu, m[2] = m[2] + vv;
    m[3] = fma(vu, u, m[3]), m[4] = fma(vu, v, m[4]), m[5] = fma(vv, v, m[5]);
  }
};

volatile float sink;  // keeps results alive

// Work done a second by all threads together, when each does `work` in a call of body(thread, round). The best of many
// rounds of about a millisecond: some of them fit between what else the machine does.
template <class Body>
double best_rate(int threads, double work, Body body) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    parallel_for(threads, threads, [&](int64_t thread, int) { body(thread, round); });
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::max(best, threads * work / taken.count());
  }
  return best;
}

void multiply_add(int64_t rounds) {
  constexpr int chains = 12;  // operations in flight; more would not stay in registers everywhere
  V x[chains];
  for (int j = 0; j < chains; ++j) x[j] = V(1.f + j);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int j = 0; j < chains; ++j) x[j] = fma(x[j], V(0.9999f), V(1e-5f));
  for (int j = 1; j < chains; ++j) x[0] = x[0] + x[j];
  sink = sum(x[0]);
}

// Four streams at a time: a processor fetches ahead in each of them.
void read_all(const float* from, int64_t count) {
  constexpr int streams = 4, line = 16, parts = line / V::width;
  V x[streams * parts];
  for (V& sum : x) sum = V(0.f);
  for (int64_t i = 0; i < count / streams; i += line)
#pragma GCC unroll 4
    for (int j = 0; j < streams; ++j)
#pragma GCC unroll 4
      for (int p = 0; p < parts; ++p)
        x[j * parts + p] = x[j * parts + p] + V::load(from + j * (count / streams) + i + p * V::width);
  for (int j = 1; j < streams * parts; ++j) x[0] = x[0] + x[j];
  sink = sum(x[0]);
}

void measure(gsr_floor& a) {
  constexpr int repeats = 12;
  std::vector<BareTile> tiles(a.threads);
  const auto each = [&](void (BareTile::*loop)()) {
    return best_rate(a.threads, double(repeats) * kSplats * kPixels, [&](int64_t thread, int) {
      for (int i = 0; i < repeats; ++i) (tiles[thread].*loop)();
      sink = tiles[thread].color[0][5] + tiles[thread].sums[3][2];
    });
  };
  a.forward_pairs = each(&BareTile::forward), a.backward_pairs = each(&BareTile::backward);
  constexpr int64_t steps = 200000;
  a.flops = best_rate(a.threads, 24.0 * V::width * steps, [](int64_t, int) { multiply_add(steps); });
  struct alignas(64) Line {
    float values[16];
  };
  constexpr int64_t lines = int64_t(1) << 17, parts = 16;  // 8 MB a round, out of 128: beyond any cache
  std::vector<Line> memory(lines * parts * a.threads);
  a.bytes = best_rate(a.threads, 64.0 * lines, [&](int64_t thread, int round) {
    read_all(memory[lines * (thread * parts + round % parts)].values, 16 * lines);
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_bench_floor(gsr_floor* args) {
  return gsr::dispatch(args, [&](auto) { gsr::measure(*args); });
}
