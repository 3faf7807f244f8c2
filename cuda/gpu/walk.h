// What forward and backward share: the pixels of a warp, and its walk through the list of its tile. Each warp draws a
// patch of 8x8 pixels on its own, so none waits for another: it takes the entries that touch its patch, whose records
// arrive in a ring in shared memory while it works on those before, and goes through them in runs. A lane has two
// pixels, as reading a record costs more than what one pixel does with it.
#pragma once
#include "tiles.h"

namespace gsr {

constexpr int kWalkWarps = 2,
              kWalkThreads = kWalkWarps * kWarp;  // of a block; only to have enough warps on a processor
constexpr int kRun = 8, kRing = 48;
constexpr int kPatchSide = 8, kPatchPixels = kPatchSide * kPatchSide;

// One warp's pixels, row by row: the lane has number lane_index() and, a sub-tile further down, that and kWarp.
template <class T>
struct Patch {
  int64_t tile, flat[kHalves];
  int index, camera;
  T x, y[kHalves];  // of the lane's pixels
  bool inside[kHalves];

  GSR_DEVICE Patch(const gsr_rasterization& a, const TileLists<T>& t) {
    const int64_t warp = block_index() * kWalkWarps + warp_index(), in_camera = int64_t(t.tiles_x) * t.tiles_y;
    tile = warp / kPatches, index = static_cast<int>(warp % kPatches);
    const int64_t within = tile % in_camera;
    const int column =
        static_cast<int>(within % t.tiles_x) * kTile + index % 2 * kPatchSide + lane_index() % kPatchSide;
    const int row = static_cast<int>(within / t.tiles_x) * kTile + index / 2 * kPatchSide + lane_index() / kPatchSide;
    camera = static_cast<int>(tile / in_camera);
    x = column + T(0.5);
    for (int half = 0; half < kHalves; ++half) {
      const int at = row + half * kSubHeight;
      flat[half] = (int64_t(camera) * a.height + at) * a.width + column;
      y[half] = at + T(0.5);
      inside[half] = column < a.width && at < a.height;
    }
  }
  // Finished from the start where the pixel lies outside.
  GSR_DEVICE T through(int half) const { return inside[half] ? T(1) : T(-1); }
  // Exponents of a splat at the lane's pixels.
  GSR_DEVICE void powers(const Shape<T>& s, T* powers) const {
    T u, v;
    for (int half = 0; half < kHalves; ++half) powers[half] = splat_power(s, x, y[half], &u, &v);
  }
};

template <class T>
inline int64_t walk_blocks(const TileLists<T>& t) {
  return blocks_for(t.tiles * kPatches, kWalkWarps);
}

template <class T>
struct Ring {
  Record<T> records[kRing];
  int32_t positions[kRing];  // in the list
};

// All lanes call everything together.
template <class T>
class Walk {
 public:
  // Through the list of the patch's tile up to the position `end`.
  GSR_DEVICE Walk(const TileLists<T>& t, Ring<T>& ring, const Patch<T>& patch, int32_t end)
      : t_(t), ring_(ring), bits_(patch_bits(patch.index)), end_(end), chunk_(t.offsets[patch.tile]) {
    for (int i = 0; i < 2; ++i) ahead_[i] = value_at(chunk_ + i * kWarp);
  }

  // Makes the next run ready and starts on those behind it; returns its length, 0 where the list is over.
  GSR_DEVICE int next() {
    warp_sync();  // all lanes are done with the run before, whose room is taken now
    head_ += length_;
    const bool waiting = tail_ - head_ >= kRun;
    while (tail_ - head_ < 2 * kRun && chunk_ < end_) take_chunk();
    copy_commit();
    if (waiting)
      copy_wait<1>();  // what was asked for just now may take its time
    else
      copy_wait<0>();
    length_ = min(tail_ - head_, kRun);
    warp_sync();
    return length_;
  }
  GSR_DEVICE const Record<T>& record(int i) const { return ring_.records[head_ % kRing + i]; }
  GSR_DEVICE int32_t position(int i) const { return ring_.positions[head_ % kRing + i]; }
  GSR_DEVICE uint32_t index(int i) const { return t_.list[position(i)] & kRecordMask; }
  // Lane i of the run: the row of its splat; 0 behind the end.
  GSR_DEVICE int32_t flat_of_lane() const { return lane_index() < length_ ? t_.flat_ids[index(lane_index())] : 0; }

 private:
  GSR_DEVICE uint32_t value_at(int32_t chunk) const {
    const int32_t at = chunk + lane_index();
    return at < end_ ? t_.list[at] : 0;
  }
  GSR_DEVICE void take_chunk() {
    const uint32_t value = ahead_[0];
    const bool hit = value & bits_;
    const uint32_t votes = ballot(hit);
    if (hit) {
      const int slot = (tail_ + rank_in(votes)) % kRing;
      const char* from = reinterpret_cast<const char*>(t_.records + (value & kRecordMask));
      char* to = reinterpret_cast<char*>(&ring_.records[slot]);
      for (int piece = 0; piece < static_cast<int>(sizeof(Record<T>)); piece += 16)
        copy_async(to + piece, from + piece);
      ring_.positions[slot] = chunk_ + lane_index();
    }
    tail_ += bit_count(votes), chunk_ += kWarp;
    ahead_[0] = ahead_[1], ahead_[1] = value_at(chunk_ + kWarp);
  }

  const TileLists<T>& t_;
  Ring<T>& ring_;
  const uint32_t bits_;
  const int32_t end_;
  int32_t chunk_;  // where in the list the entries in ahead_[0] start
  uint32_t ahead_[2];
  int head_ = 0, tail_ = 0, length_ = 0;  // entries that touch the patch: begin of the run, end of the ring
};

}  // namespace gsr
