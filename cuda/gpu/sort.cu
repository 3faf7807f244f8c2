#include "sort.h"

#ifdef __CUDACC__
#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>
#else
#include <algorithm>
#include <numeric>
#include <vector>
#endif

namespace gsr {

#ifdef __CUDACC__

template <class Key>
Pairs<Key> sorted(Pairs<Key> pairs, int64_t count, int bits) {
  const Pairs<Key> other = scratch_pairs<Key>(count);
  cub::DoubleBuffer<Key> keys(pairs.keys, other.keys);
  cub::DoubleBuffer<uint32_t> values(pairs.values, other.values);
  const auto on = static_cast<cudaStream_t>(stream());
  size_t bytes = 0;
  check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, values, count, 0, bits, on));
  check(cub::DeviceRadixSort::SortPairs(scratch<char>(bytes), bytes, keys, values, count, 0, bits, on));
  return {keys.Current(), values.Current()};
}

void exclusive_sums(int32_t* numbers, int64_t count) {
  const auto on = static_cast<cudaStream_t>(stream());
  size_t bytes = 0;
  check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, numbers, numbers, count, on));
  check(cub::DeviceScan::ExclusiveSum(scratch<char>(bytes), bytes, numbers, numbers, count, on));
}

#else

template <class Key>
Pairs<Key> sorted(Pairs<Key> pairs, int64_t count, int bits) {
  const Pairs<Key> other = scratch_pairs<Key>(count);
  const uint64_t mask = (uint64_t(1) << bits) - 1;
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return (pairs.keys[a] & mask) < (pairs.keys[b] & mask); });
  for (int64_t i = 0; i < count; ++i) other.keys[i] = pairs.keys[order[i]], other.values[i] = pairs.values[order[i]];
  return other;
}

void exclusive_sums(int32_t* numbers, int64_t count) { std::exclusive_scan(numbers, numbers + count, numbers, 0); }

#endif

template Pairs<uint16_t> sorted(Pairs<uint16_t>, int64_t, int);
template Pairs<uint32_t> sorted(Pairs<uint32_t>, int64_t, int);

}  // namespace gsr
