// Sums over the 32 pixels of a warp, for eight splats at once. Taking the splats one after the other, pairs of partial
// sums are merged as in a binary counter, half of the lanes keeping one splat and half the other; after eight, each
// group of four lanes holds one splat. Two more merges, across values, leave each lane with sums of its own: about nine
// shuffles for each value of eight splats, where single reductions take forty.
#pragma once
#include "device.h"

namespace gsr {

constexpr int kGroup = 8;

template <class T, int kValues>
class SumTree {
 public:
  static constexpr int kOwn = (kValues + 3) / 4;  // sums that a lane ends up with

  GSR_DEVICE int count() const { return count_; }
  // Which of the eight splats a lane ends up with.
  GSR_DEVICE static int entry() {
    const int lane = lane_index();
    return (lane >> 4 & 1) | (lane >> 2 & 2) | (lane & 4);
  }
  // Which of each four values.
  GSR_DEVICE static int value() { return (lane_index() >> 1 & 1) | (lane_index() & 1) << 1; }

  // Adds one splat's values; `sums` is overwritten. True when it was the eighth: then finish().
  GSR_DEVICE bool add(T (&sums)[kValues]) {
    const int place = count_++;
    if (!(place & 1)) return keep(sums, one_), false;
    join(one_, sums, 16);
    if (!(place & 2)) return keep(sums, two_), false;
    join(two_, sums, 8);
    if (!(place & 4)) return keep(sums, four_), false;
    join(four_, sums, 4);
    return true;
  }
  // The lane's sums: of splat entry(), values value(), value() + 4 ...
  GSR_DEVICE void finish(const T (&sums)[kValues], T (&own)[kOwn]) {
    for (int q = 0; q < kOwn; ++q) {
      T four[4];
      for (int j = 0; j < 4; ++j) four[j] = 4 * q + j < kValues ? sums[4 * q + j < kValues ? 4 * q + j : 0] : T(0);
      own[q] = merge(merge(four[0], four[1], 2), merge(four[2], four[3], 2), 1);
    }
    count_ = 0;
  }

 private:
  GSR_DEVICE static void keep(const T (&from)[kValues], T (&to)[kValues]) {
    for (int i = 0; i < kValues; ++i) to[i] = from[i];
  }
  GSR_DEVICE static void join(const T (&first)[kValues], T (&second)[kValues], int distance) {
    for (int i = 0; i < kValues; ++i) second[i] = merge(first[i], second[i], distance);
  }

  T one_[kValues], two_[kValues], four_[kValues];
  int count_ = 0;
};

// Sums of eight values over the warp; each lane gets that of value SumTree::entry().
template <class T>
GSR_DEVICE T sum_of_eight(const T (&values)[8]) {
  T sum[4];
  for (int i = 0; i < 4; ++i) sum[i] = merge(values[2 * i], values[2 * i + 1], 16);
  sum[0] = merge(sum[0], sum[1], 8), sum[2] = merge(sum[2], sum[3], 8);
  T total = merge(sum[0], sum[2], 4);
  total += shuffle_xor(total, 2);
  return total + shuffle_xor(total, 1);
}

}  // namespace gsr
