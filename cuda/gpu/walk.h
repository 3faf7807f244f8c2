// What forward, backward and lift share: the pixels of a warp, and its walk through the list of its tile. Each warp
// draws a sub-tile on its own, so none waits for another: it takes the entries that touch its sub-tile, whose records
// arrive in a ring in shared memory while it works on those before, and goes through them in runs.
#pragma once
#include "tiles.h"

namespace gsr {

constexpr int kWalkWarps = 2,
              kWalkThreads = kWalkWarps * kWarp;  // of a block; only to have enough warps on a processor
constexpr int kRing = 64, kRun = 16;

// One warp's pixels: a lane a pixel of an 8x4 sub-tile.
template <class T>
struct SubTile {
  int64_t tile, flat;
  int sub, camera;
  T x, y;  // of the lane's pixel
  bool inside;

  GSR_DEVICE SubTile(const gsr_rasterization& a, const TileLists<T>& t) {
    const int64_t warp = block_index() * kWalkWarps + warp_index(), in_camera = int64_t(t.tiles_x) * t.tiles_y;
    tile = warp / kSubTiles, sub = static_cast<int>(warp % kSubTiles);
    const int64_t within = tile % in_camera;
    const int column = static_cast<int>(within % t.tiles_x) * kTile + left() + lane_index() % kSubWidth;
    const int row = static_cast<int>(within / t.tiles_x) * kTile + top() + lane_index() / kSubWidth;
    camera = static_cast<int>(tile / in_camera);
    flat = (int64_t(camera) * a.height + row) * a.width + column;
    x = column + T(0.5), y = row + T(0.5);
    inside = column < a.width && row < a.height;
  }
  GSR_DEVICE int left() const { return sub % 2 * kSubWidth; }
  GSR_DEVICE int top() const { return sub / 2 * kSubHeight; }
  // Flat index of any of its pixels, -1 where it lies outside; the same for all lanes.
  GSR_DEVICE int64_t flat_of(const gsr_rasterization& a, int i) const {
    const int column = static_cast<int>(x) - lane_index() % kSubWidth + i % kSubWidth;
    const int row = static_cast<int>(y) - lane_index() / kSubWidth + i / kSubWidth;
    return column < a.width && row < a.height ? (int64_t(camera) * a.height + row) * a.width + column : -1;
  }
  // In front of all splats; 0 outside the image.
  GSR_DEVICE T transmittance() const { return inside ? T(1) : T(0); }
};

template <class T>
inline int64_t walk_blocks(const TileLists<T>& t) {
  return blocks_for(t.tiles * kSubTiles, kWalkWarps);
}

// Four neighbours, from a multiple of four on.
template <class T>
GSR_DEVICE void read_four(const T* from, T (&to)[4]) {
  const Four<T> four = *reinterpret_cast<const Four<T>*>(from);
  to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
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
  // Through the list of the sub-tile's tile up to the position `end`.
  GSR_DEVICE Walk(const TileLists<T>& t, Ring<T>& ring, const SubTile<T>& s, int32_t end)
      : t_(t), ring_(ring), bit_(kRecordBits + s.sub), end_(end), chunk_(t.offsets[s.tile]) {
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
    if (length_ % 2 && lane_index() == 0) {
      Record<T> none = {};
      none.shape.log2_opacity = T(-INFINITY);
      ring_.records[head_ % kRing + length_] = none;  // loops that take two may take one too many
    }
    warp_sync();
    return length_;
  }
  GSR_DEVICE const Record<T>& record(int i) const { return ring_.records[head_ % kRing + i]; }
  // The exponent of entry i at the lane's pixel.
  GSR_DEVICE T power(int i, const SubTile<T>& pixel) const {
    T u, v;
    return splat_power(record(i).shape, pixel.x, pixel.y, &u, &v);
  }
  GSR_DEVICE int32_t position(int i) const { return ring_.positions[head_ % kRing + i]; }
  GSR_DEVICE int length() const { return length_; }

 private:
  GSR_DEVICE uint32_t value_at(int32_t chunk) const {
    const int32_t at = chunk + lane_index();
    return at < end_ ? t_.list[at] : 0;
  }
  GSR_DEVICE void take_chunk() {
    const uint32_t value = ahead_[0];
    const bool hit = value >> bit_ & 1;
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
  const int bit_;
  const int32_t end_;
  int32_t chunk_;  // where in the list the entries in ahead_[0] start
  uint32_t ahead_[2];
  int head_ = 0, tail_ = 0, length_ = 0;  // entries that touch the sub-tile: begin of the run, end of the ring
};

// Weights of a run, one after the other, and the transmittance behind it. All lanes come here.
template <class T>
GSR_DEVICE void weights_of_run(const Walk<T>& walk, const SubTile<T>& pixel, const PixelCuts<T>& cuts, T& transmittance,
                               T (&weights)[kRun]) {
  GSR_UNROLL
  for (int i = 0; i < kRun; ++i) {
    weights[i] = 0;
    if (i >= walk.length()) continue;
    const T power = walk.power(i, pixel);
    const bool reaches = power >= cuts.log2_alpha_min;
    if (!warp_any(reaches && transmittance > 0)) continue;
    const Blended<T> b = blend(cuts, reaches ? exp2_of(power) : T(0), transmittance);
    weights[i] = b.weight, transmittance = b.transmittance;
  }
}

}  // namespace gsr
