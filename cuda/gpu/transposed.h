// Sums over the 32 pixels of a warp for a whole run of splats: lanes that were pixels write a row for each splat, then
// lanes are splats and read along the rows. Pixels lie on a grid, so moments come from the sums of each pixel row.
#pragma once
#include "walk.h"

namespace gsr {

constexpr int kAbsolutes = 2, kSums = kMoments + kAbsolutes;  // of a row of sums; then the channels
constexpr int kShares = kWarp / kRun;                         // lanes that share a splat: a block of pixel rows each
constexpr int kShareRows = kSubHeight / kShares, kSharePixels = kShareRows * kSubWidth;

// Rows a little longer than a warp, so that neighbours start in different banks.
template <class T>
struct Transposed {
  T vs[kRun][kWarp + 4], weights[kRun][kWarp + 4];
  Four<T> gradients[kShares][kSharePixels + 1];  // of the image, up to kNarrow channels

  GSR_DEVICE void put(int splat, Two<T> pixel) {
    vs[splat][lane_index()] = pixel.x, weights[splat][lane_index()] = pixel.y;
  }
};

// Width of a row of sums.
GSR_HD int64_t sums_width(int64_t channels) { return (kSums + max(channels, int64_t(kNarrow)) + 3) / 4 * 4; }

// Adds over shares; every lane of a splat gets the sums.
template <class T, int count>
GSR_DEVICE void add_shares(T (&sums)[count]) {
  for (int i = 0; i < count; ++i)
    for (int distance = kRun; distance < kWarp; distance *= 2) sums[i] += shuffle_xor(sums[i], distance);
}

// Moments of u and v from those of the pixel grid, whose origin is the sub-tile's centre; u0 and v0 belong to it.
template <class T>
GSR_DEVICE void moments_of_grid(const Shape<T>& s, T u0, T v0, const T (&grid)[kMoments], T* m) {
  const T sum = grid[0], a = grid[1], b = grid[2], aa = grid[3], ab = grid[4], bb = grid[5];
  // u = u0 - P a + Pk b, v = v0 - Q b
  const T slope = fma(s.Pk, b, -s.P * a), vb = s.Q * b;
  const T square = fma(s.P * s.P, aa, fma(s.Pk * s.Pk, bb, -2 * s.P * s.Pk * ab));
  const T mixed = s.Q * fma(s.Pk, bb, -s.P * ab);  // of (u - u0) (v0 - v)
  m[0] = sum;
  m[1] = fma(u0, sum, slope);
  m[2] = fma(v0, sum, -vb);
  m[3] = fma(u0, fma(u0, sum, 2 * slope), square);
  m[4] = fma(v0, m[1], -fma(u0, vb, mixed));
  m[5] = fma(v0, fma(v0, sum, -2 * vb), s.Q * s.Q * bb);
}

// Lane `i` and its shares: moments and absolutes of splat i of the run, and up to kChannels channels, over all pixels.
template <class T, int kChannels, bool kAbsolute>
GSR_DEVICE void sums_of_lane(const Transposed<T>& from, const Shape<T>& s, T left, T top, T (&sums)[kSums + kNarrow]) {
  const int splat = lane_index() % kRun, share = lane_index() / kRun;
  const T half_x = T(kSubWidth - 1) / 2, half_y = T(kSubHeight - 1) / 2;
  const T dx = s.x - (left + half_x), dy = s.y - (top + half_y);
  const T u0 = fma(-s.Pk, dy, s.P * dx), v0 = s.Q * dy;
  T grid[kMoments] = {}, rest[kAbsolutes + kNarrow] = {};
  GSR_NO_UNROLL
  for (int row = 0; row < kShareRows; ++row) {  // a loop, as more at a time would take more registers
    const T b = T(share * kShareRows + row) - half_y, u_row = fma(s.Pk, b, u0), v = fma(-s.Q, b, v0);
    T row_sums[3] = {};
    for (int column = 0; column < kSubWidth; column += 4) {
      const int pixel = row * kSubWidth + column;
      T four_vs[4], four_weights[4];
      read_four(&from.vs[splat][share * kSharePixels + pixel], four_vs);
      if (kChannels) read_four(&from.weights[splat][share * kSharePixels + pixel], four_weights);
      for (int j = 0; j < 4; ++j) {
        const T a = T(column + j) - half_x, of_pixel = four_vs[j];
        row_sums[0] += of_pixel, row_sums[1] = fma(of_pixel, a, row_sums[1]);
        row_sums[2] = fma(of_pixel, a * a, row_sums[2]);
        if (kAbsolute) {
          const T u = fma(-s.P, a, u_row);
          rest[0] += fabs(of_pixel * u), rest[1] += fabs(of_pixel * fma(-s.Pk, u, s.Q * v));
        }
        if (kChannels == 0) continue;
        const Four<T> g = from.gradients[share][pixel + j];
        const T of_channels[4] = {g.x, g.y, g.z, g.w};
        for (int d = 0; d < kChannels; ++d)
          rest[kAbsolutes + d] = fma(four_weights[j], of_channels[d], rest[kAbsolutes + d]);
      }
    }
    grid[0] += row_sums[0], grid[1] += row_sums[1], grid[3] += row_sums[2];
    grid[2] = fma(row_sums[0], b, grid[2]), grid[4] = fma(row_sums[1], b, grid[4]);
    grid[5] = fma(row_sums[0], b * b, grid[5]);
  }
  add_shares(grid);
  moments_of_grid(s, u0, v0, grid, sums);
  if (kAbsolute || kChannels) add_shares(rest);
  sums[kMoments] = s.P * rest[0], sums[kMoments + 1] = rest[1];
  for (int d = 0; d < kNarrow; ++d) sums[kSums + d] = rest[kAbsolutes + d];
}

}  // namespace gsr
