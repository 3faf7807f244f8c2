// Stable radix sort and prefix sums: CUB's under nvcc, plain loops on the emulator.
#pragma once
#include "api.h"

namespace gsr {

template <class Key>
struct Pairs {
  Key* keys;
  uint32_t* values;
};

template <class Key>
Pairs<Key> scratch_pairs(int64_t count) {
  return {scratch<Key>(count), scratch<uint32_t>(count)};
}

// By the lowest `bits` bits of the keys, ascending. Returns where the result lies; `pairs` is overwritten.
template <class Key>
Pairs<Key> sorted(Pairs<Key> pairs, int64_t count, int bits);

// In place: each number becomes the sum of those before it.
void exclusive_sums(int32_t* numbers, int64_t count);

}  // namespace gsr
