// What the trees of nearest neighbours on CPU and GPU share: their leaves, boxes, and the distance of a box, which is
// rounded like that of a point, so that no neighbour is missed.
#pragma once
#include <stdint.h>

#include "gsr/math.h"

namespace gsr {

constexpr int kLeaf = 16, kMostNeighbors = 32;

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

}  // namespace gsr
