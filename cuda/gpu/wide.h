// Channels of a run's splats where they are many: some at a time, in shared memory.
#pragma once
#include "walk.h"

namespace gsr {

constexpr int kWide = 32;

template <class T>
struct Wide {
  T features[kRun][kWide];
};

// Starts to bring the channels of a run from `first_channel` on; kFours: all kWide of them, in pieces of 16 bytes.
template <bool kFours, class T>
GSR_DEVICE void bring_features(const gsr_rasterization& a, const Walk<T>& walk, int first_channel, Wide<T>& to) {
  constexpr int kPiece = kFours ? 16 / sizeof(T) : 1, kPieces = kWide / kPiece;
  for (int i = lane_index(); i < walk.length() * kPieces; i += kWarp) {
    const int entry = i / kPieces, d = i % kPieces * kPiece;
    const T* from = input<T>(a.features) + int64_t(walk.record(entry).flat) * a.channels + first_channel + d;
    if (kFours)
      copy_async(&to.features[entry][d], from);
    else
      to.features[entry][d] = first_channel + d < a.channels ? *from : T(0);
  }
  copy_commit();
}

}  // namespace gsr
