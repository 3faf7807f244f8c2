// What forward and backward share: the pixels of a warp, and the walk of a block through the list of its tile, in
// batches of 64 that arrive in shared memory while the one before is worked on.
#pragma once
#include "tiles.h"

namespace gsr {

constexpr int kTileThreads = kTile * kTile, kBatch = 64;

template <class T>
struct Stage {
  Record<T> records[2][kBatch];
  uint32_t values[2][kBatch];
};

// Four threads an entry: three copy its record, one its place and hit bits.
template <class T>
class Batches {
 public:
  GSR_DEVICE Batches(const TileLists<T>& t, Stage<T>& stage, int32_t begin, int32_t end)
      : t_(t), stage_(stage), begin_(begin), end_(end), ahead_(value_of(0)) {
    fetch(0);
  }
  GSR_DEVICE int32_t first(int batch) const { return begin_ + batch * kBatch; }

  // Makes a batch ready and starts on the next. All threads come here, and must be done with the batch before.
  GSR_DEVICE void arrive(int batch) {
    fetch(batch + 1);
    copy_wait<1>();
    block_sync();
  }
  // Entries of the lanes from `start` on that touch the warp's sub-tile, as a ballot, up to `limit` in the list.
  GSR_DEVICE uint32_t hits(int batch, int start, int32_t limit) const {
    const bool inside = first(batch) + start + lane_index() < limit;
    return ballot(inside && stage_.values[batch % 2][start + lane_index()] >> (kRankBits + warp_index()) & 1);
  }
  GSR_DEVICE const Record<T>& record(int batch, int entry) const { return stage_.records[batch % 2][entry]; }
  GSR_DEVICE uint32_t rank(int batch, int entry) const { return stage_.values[batch % 2][entry] & kRankMask; }

 private:
  GSR_DEVICE uint32_t value_of(int batch) const {
    const int32_t at = first(batch) + thread_index() / 4;
    return at < end_ ? t_.list[at] : 0;
  }
  GSR_DEVICE void fetch(int batch) {
    constexpr int pieces = sizeof(Record<T>) / 16;
    const int entry = thread_index() / 4, part = thread_index() % 4;
    if (first(batch) + entry < end_) {
      const char* from = reinterpret_cast<const char*>(t_.records + (ahead_ & kRankMask));
      char* to = reinterpret_cast<char*>(&stage_.records[batch % 2][entry]);
      if (part == 3) stage_.values[batch % 2][entry] = ahead_;
      for (int piece = part; part < 3 && piece < pieces; piece += 3) copy_async(to + 16 * piece, from + 16 * piece);
    }
    copy_commit();
    ahead_ = value_of(batch + 1);
  }

  const TileLists<T>& t_;
  Stage<T>& stage_;
  const int32_t begin_, end_;
  uint32_t ahead_;  // this thread's entry of the batch to fetch next
};

// The pixel of a lane.
template <class T>
struct LanePixel {
  int camera;
  int64_t flat;
  T x, y;
  bool inside;

  GSR_DEVICE LanePixel(const gsr_rasterization& a, const TileLists<T>& t, int64_t tile) {
    const int64_t in_camera = int64_t(t.tiles_x) * t.tiles_y, within = tile % in_camera;
    const int sub = warp_index(), lane = lane_index();
    const int column = static_cast<int>(within % t.tiles_x) * kTile + sub % 2 * kSubWidth + lane % kSubWidth;
    const int row = static_cast<int>(within / t.tiles_x) * kTile + sub / 2 * kSubHeight + lane / kSubWidth;
    camera = static_cast<int>(tile / in_camera);
    flat = (int64_t(camera) * a.height + row) * a.width + column;
    x = column + T(0.5), y = row + T(0.5);
    inside = column < a.width && row < a.height;
  }
  // Finished from the start where it lies outside, if pixels can finish.
  GSR_DEVICE T through() const { return inside ? T(1) : T(-1); }
};

}  // namespace gsr
