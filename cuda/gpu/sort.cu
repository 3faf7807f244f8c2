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

template <class Key>
void sort_into(Pairs<Key> to, Pairs<Key> from, int64_t count, int bits) {
  const auto on = static_cast<cudaStream_t>(stream());
  size_t bytes = 0;
  check(
      cub::DeviceRadixSort::SortPairs(nullptr, bytes, from.keys, to.keys, from.values, to.values, count, 0, bits, on));
  check(cub::DeviceRadixSort::SortPairs(scratch<char>(bytes), bytes, from.keys, to.keys, from.values, to.values, count,
                                        0, bits, on));
}

void exclusive_sums(int32_t* numbers, int64_t count) {
  const auto on = static_cast<cudaStream_t>(stream());
  size_t bytes = 0;
  check(cub::DeviceScan::ExclusiveSum(nullptr, bytes, numbers, numbers, count, on));
  check(cub::DeviceScan::ExclusiveSum(scratch<char>(bytes), bytes, numbers, numbers, count, on));
}

#else

template <class Key>
void sort_into(Pairs<Key> to, Pairs<Key> from, int64_t count, int bits) {
  const uint64_t mask = (uint64_t(1) << bits) - 1;
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return (from.keys[a] & mask) < (from.keys[b] & mask); });
  for (int64_t i = 0; i < count; ++i) to.keys[i] = from.keys[order[i]], to.values[i] = from.values[order[i]];
}

template <class Key>
Pairs<Key> sorted(Pairs<Key> pairs, int64_t count, int bits) {
  const Pairs<Key> other = scratch_pairs<Key>(count);
  sort_into(other, pairs, count, bits);
  return other;
}

void exclusive_sums(int32_t* numbers, int64_t count) { std::exclusive_scan(numbers, numbers + count, numbers, 0); }

#endif

template Pairs<uint16_t> sorted(Pairs<uint16_t>, int64_t, int);
template Pairs<uint32_t> sorted(Pairs<uint32_t>, int64_t, int);
template void sort_into(Pairs<uint16_t>, Pairs<uint16_t>, int64_t, int);
template void sort_into(Pairs<uint32_t>, Pairs<uint32_t>, int64_t, int);

}  // namespace gsr
