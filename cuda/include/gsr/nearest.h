// What the trees of nearest neighbours on CPU and GPU share: their leaves, boxes, the distance of a box, which is
// rounded like that of a point, so that no neighbour is missed, and the list of the nearest so far.
#pragma once
#include <stdint.h>

#include "gsr/math.h"

namespace gsr {

constexpr int kLeaf = 16, kMaxNeighbors = 64;

template <class T>
struct Point {
  T p[3];
  int32_t id;
};

template <class T>
struct Box {
  T low[3], high[3];
  int32_t first_id;
};

// Squared distance to the box's nearest point.
template <class T>
GSR_HD T square_distance(const T* q, const Box<T>& box) {
  T sum = 0;
  for (int i = 0; i < 3; ++i) sum += square(max(max(box.low[i] - q[i], q[i] - box.high[i]), T(0)));
  return sum;
}

// The best so far in ascending order of (distance, index).
template <class T>
struct Nearest {
  int k;
  T distance[kMaxNeighbors];
  int32_t id[kMaxNeighbors];

  GSR_HD explicit Nearest(int k) : k(k) {
    for (int i = 0; i < k; ++i) distance[i] = T(INFINITY), id[i] = INT32_MAX;
  }
  static GSR_HD bool before(T d, int32_t i, T other, int32_t other_id) {
    return d < other || (d == other && i < other_id);
  }
  GSR_HD bool takes(T d, int32_t i) const { return before(d, i, distance[k - 1], id[k - 1]); }
  GSR_HD void offer(T d, int32_t i) {
    if (!takes(d, i)) return;
    int at = k - 1;
    for (; at > 0 && before(d, i, distance[at - 1], id[at - 1]); --at)
      distance[at] = distance[at - 1], id[at] = id[at - 1];
    distance[at] = d, id[at] = i;
  }
};

}  // namespace gsr
