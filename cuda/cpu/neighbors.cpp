// Exact k nearest neighbours: a balanced k-d tree with leaves of at most 16 points and the box of the points in each
// node. A point scans its own leaf, then climbs to the root and looks into every branch beside its path whose box is
// not farther than the worst neighbour so far; a query of its own starts at the root, nearer branches first. The
// distance of a box is computed like that of a point and rounding is monotonic, so no branch is dropped that a
// brute-force search would have used. Equal distances go to the lower index; a branch knows its lowest one, or every
// query among coincident points would look at all of them.
#include <algorithm>
#include <limits>
#include <stdexcept>
#include <vector>

#include "api.h"
#include "gsr/nearest.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int64_t kQueries = 64;  // that a thread takes at once

// The nodes of level l are 2^l .. 2^(l+1) - 1, node 1 is the root; node 2^l + p holds points [N p / 2^l, N (p+1) /
// 2^l).
template <class T>
class Tree {
 public:
  Tree(const T* points, int64_t count, int threads) : count_(count) {
    while ((count + (int64_t(1) << levels_) - 1) >> levels_ > kLeaf) ++levels_;
    points_.resize(count);
    for (int64_t i = 0; i < count; ++i)
      points_[i] = {{points[3 * i], points[3 * i + 1], points[3 * i + 2]}, int32_t(i)};
    boxes_.resize(int64_t(2) << levels_);
    const int shared = min(levels_, 5);
    split(1, 0, shared);
    parallel_for(threads, int64_t(1) << shared,
                 [&](int64_t branch, int) { split((int64_t(1) << shared) + branch, shared, levels_); });
    for (std::vector<T>& axis : axes_) axis.assign(count + kLeaf, T(0));  // so that a leaf can be read whole
    for (int64_t i = 0; i < count; ++i)
      for (int axis = 0; axis < 3; ++axis) axes_[axis][i] = points_[i].p[axis];
  }

  int64_t leaves() const { return int64_t(1) << levels_; }
  int64_t begin(int64_t leaf) const { return (count_ * leaf) >> levels_; }
  const Point<T>& point(int64_t i) const { return points_[i]; }

  // Calls scan(leaf) for each leaf that may hold a point for which useful(distance, id), starting with the query's own.
  template <class Scan, class Useful>
  void visit(const T* q, int64_t own_leaf, Scan scan, Useful useful) const {
    scan(own_leaf);
    for (int64_t node = leaves() + own_leaf; node > 1; node >>= 1) descend(q, node ^ 1, scan, useful);
  }

  // The same from the root on.
  template <class Scan, class Useful>
  void visit_all(const T* q, Scan scan, Useful useful) const {
    descend(q, 1, scan, useful);
  }

  // Squared distances of the points of a leaf; behind its end they mean nothing.
  void distances(const T* q, int64_t leaf, T* out) const {
    const T *x = &axes_[0][begin(leaf)], *y = &axes_[1][begin(leaf)], *z = &axes_[2][begin(leaf)];
    for (int j = 0; j < kLeaf; ++j) out[j] = square(x[j] - q[0]) + square(y[j] - q[1]) + square(z[j] - q[2]);
  }

 private:
  // Halves the node along the longest side of its box, down to level `until`.
  void split(int64_t node, int level, int until) {
    const int64_t place = node - (int64_t(1) << level);
    const int64_t begin = (count_ * place) >> level, end = (count_ * (place + 1)) >> level;
    const Box<T> box = boxes_[node] = bound(begin, end);
    if (level == until) return;
    int axis = 0;
    for (int i = 1; i < 3; ++i)
      if (box.high[i] - box.low[i] > box.high[axis] - box.low[axis]) axis = i;
    const int64_t middle = (count_ * (2 * place + 1)) >> (level + 1);
    std::nth_element(points_.begin() + begin, points_.begin() + middle, points_.begin() + end,
                     [axis](const Point<T>& a, const Point<T>& b) {
                       return a.p[axis] != b.p[axis] ? a.p[axis] < b.p[axis] : a.id < b.id;
                     });
    split(2 * node, level + 1, until), split(2 * node + 1, level + 1, until);
  }

  Box<T> bound(int64_t begin, int64_t end) const {
    const T far = std::numeric_limits<T>::infinity();
    Box<T> box = {{far, far, far}, {-far, -far, -far}, INT32_MAX};
    for (int64_t i = begin; i < end; ++i) {
      for (int axis = 0; axis < 3; ++axis) {
        box.low[axis] = min(box.low[axis], points_[i].p[axis]);
        box.high[axis] = max(box.high[axis], points_[i].p[axis]);
      }
      box.first_id = min(box.first_id, points_[i].id);
    }
    return box;
  }

  template <class Scan, class Useful>
  void descend(const T* q, int64_t node, Scan& scan, Useful& useful) const {
    if (!useful(square_distance(q, boxes_[node]), boxes_[node].first_id)) return;
    if (node >= leaves()) return scan(node - leaves());
    const bool second_is_nearer = square_distance(q, boxes_[2 * node + 1]) < square_distance(q, boxes_[2 * node]);
    descend(q, 2 * node + second_is_nearer, scan, useful);
    descend(q, 2 * node + !second_is_nearer, scan, useful);
  }

  int64_t count_;
  int levels_ = 0;
  std::vector<Point<T>> points_;
  std::vector<Box<T>> boxes_;
  std::vector<T> axes_[3];
};

// The k nearest of a query, into its row of the outputs. `own` is its place in the tree, so that it does not find
// itself, or -1; `visit(scan, useful)` walks through the tree.
template <class T, class Visit>
void search(const gsr_neighbors& args, const Tree<T>& tree, const T* query, int64_t own, int64_t row, Visit visit) {
  Nearest<T> best(static_cast<int>(args.k));
  const auto scan = [&](int64_t leaf) {
    T distances[kLeaf];
    tree.distances(query, leaf, distances);
    const int64_t begin = tree.begin(leaf), end = tree.begin(leaf + 1);
    for (int64_t j = begin; j < end; ++j)
      if (distances[j - begin] <= best.distance[best.k - 1] && j != own)
        best.offer(distances[j - begin], tree.point(j).id);
  };
  visit(scan, [&](T distance, int32_t id) { return best.takes(distance, id); });
  std::copy(best.id, best.id + args.k, args.neighbors + row * args.k);
  std::copy(best.distance, best.distance + args.k, static_cast<T*>(args.distances) + row * args.k);
}

// Of all points; leaf by leaf, as neighbours look into the same branches.
template <class T>
void nearest_of_points(const gsr_neighbors& args, const Tree<T>& tree) {
  parallel_for(args.threads, tree.leaves(), [&](int64_t leaf, int) {
    for (int64_t i = tree.begin(leaf); i < tree.begin(leaf + 1); ++i) {
      const Point<T>& point = tree.point(i);
      search(args, tree, point.p, i, point.id,
             [&](auto scan, auto useful) { tree.visit(point.p, leaf, scan, useful); });
    }
  });
}

template <class T>
void nearest_of_queries(const gsr_neighbors& args, const Tree<T>& tree) {
  parallel_for(args.threads, (args.M + kQueries - 1) / kQueries, [&](int64_t chunk, int) {
    for (int64_t m = chunk * kQueries; m < std::min(args.M, (chunk + 1) * kQueries); ++m) {
      const T* query = static_cast<const T*>(args.queries) + 3 * m;
      search(args, tree, query, -1, m, [&](auto scan, auto useful) { tree.visit_all(query, scan, useful); });
    }
  });
}

template <class T>
void nearest(const gsr_neighbors& args) {
  if (args.M == 0 || args.k == 0) return;
  if (args.k > kMaxNeighbors) throw std::length_error("at most 64 neighbours");
  const Tree<T> tree(static_cast<const T*>(args.points), args.N, args.threads);
  args.queries ? nearest_of_queries(args, tree) : nearest_of_points(args, tree);
}

}  // namespace
}  // namespace gsr

int32_t gsr_nearest(gsr_neighbors* args) {
  return gsr::dispatch(args, [&](auto scalar) { gsr::nearest<decltype(scalar)>(*args); });
}
