// Channels of a run's splats where they are many: some at a time, in shared memory.
#pragma once
#include "walk.h"

namespace gsr {

constexpr int kWide = 32;

template <class T>
struct Wide {
  T features[kRun][kWide];
};

// How many of the channels from `first` on are taken at a time, as a power of two: no more than needed, as those that
// are not there cost as much as the others.
GSR_HD int width_bits(int channels, int first) { return channels - first <= 8 ? 3 : channels - first <= 16 ? 4 : 5; }

// Starts to bring 2^bits channels of a run from `first` on. kFours: all are there, in pieces of 16 bytes; else zeros
// follow the last.
template <bool kFours, class T>
GSR_DEVICE void bring_features(const gsr_rasterization& a, const Walk<T>& walk, int first, int bits, Wide<T>& to) {
  constexpr int kPieceBits = !kFours ? 0 : sizeof(T) == 4 ? 2 : 1;
  const int pieces_bits = bits - kPieceBits;
  for (int i = lane_index(); i < walk.length() << pieces_bits; i += kWarp) {
    const int entry = i >> pieces_bits, d = (i - (entry << pieces_bits)) << kPieceBits;
    const T* from = input<T>(a.features) + int64_t(walk.record(entry).flat) * a.channels + first + d;
    if (kFours)
      copy_async(&to.features[entry][d], from);
    else
      to.features[entry][d] = first + d < a.channels ? *from : T(0);
  }
  copy_commit();
}

// Whether kFours holds.
GSR_HD bool by_four(int channels, int first) {
  return channels % 4 == 0 && channels - first >= 1 << width_bits(channels, first);
}

}  // namespace gsr
