// Exact k nearest neighbours. Points are sorted along a Morton curve and cut into leaves of at most 16; above the
// leaves stands a binary tree of their boxes, whose places follow from arithmetic alone. A thread takes a point, scans
// its own leaf, then climbs to the root and looks into every branch beside its path whose box is not farther than the
// worst neighbour so far, as the CPU does; a query of its own starts at the root. The distance of a box is computed
// like that of a point and rounding is monotonic, so no neighbour is missed; equal distances go to the lower index.
#include "gsr/nearest.h"
#include "reduce.h"
#include "sort.h"

namespace gsr {
namespace {

constexpr int kThreads = kReduceThreads, kMostLevels = 32, kBits = 10;

// The nodes of level l are 2^l .. 2^(l+1) - 1, node 1 is the root; leaf i holds points [N i / 2^levels, N (i+1) /
// 2^levels).
template <class T>
struct Tree {
  int64_t count;
  int levels;
  Point<T>* points;
  Box<T>* boxes;

  GSR_HD int32_t leaves() const { return 1 << levels; }
  GSR_DEVICE int32_t begin(int32_t leaf) const { return static_cast<int32_t>((count * leaf) >> levels); }
  GSR_DEVICE int32_t leaf_of(int64_t point) const {
    return static_cast<int32_t>((((point + 1) << levels) - 1) / count);
  }
};

template <class T>
GSR_DEVICE T square_distance(const T* q, const T* p) {
  return square(p[0] - q[0]) + square(p[1] - q[1]) + square(p[2] - q[2]);
}

// The least x, y, z, -x, -y, -z: of the points by blocks, then of the blocks.
template <class T>
GSR_KERNEL(kThreads)
bounds_kernel(const T* points, int64_t count, bool of_points, T* rows) {
  GSR_SHARED T shared[kThreads / kWarp][6];
  T least[6];
  for (int i = 0; i < 6; ++i) least[i] = T(INFINITY);
  const int64_t stride = of_points ? count : kThreads;  // one point a thread, or all rows in one block
  for (int64_t n = block_index() * kThreads + thread_index(); n < count; n += stride)
    for (int i = 0; i < 6; ++i)
      least[i] = min(least[i], of_points ? (i < 3 ? points[3 * n + i] : -points[3 * n + i - 3]) : points[6 * n + i]);
  for (int i = 0; i < 6; ++i)
    for (int distance = kWarp / 2; distance; distance /= 2) least[i] = min(least[i], shuffle_xor(least[i], distance));
  if (lane_index() == 0)
    for (int i = 0; i < 6; ++i) shared[warp_index()][i] = least[i];
  block_sync();
  if (thread_index() >= 6) return;
  T all = T(INFINITY);
  for (int warp = 0; warp < kThreads / kWarp; ++warp) all = min(all, shared[warp][thread_index()]);
  rows[6 * block_index() + thread_index()] = all;
}

// Every third bit, from the lowest on.
GSR_DEVICE uint32_t spread(uint32_t x) {
  x = (x | x << 16) & 0x030000ffu;
  x = (x | x << 8) & 0x0300f00fu;
  x = (x | x << 4) & 0x030c30c3u;
  return (x | x << 2) & 0x09249249u;
}

template <class T>
GSR_KERNEL(kThreads)
keys_kernel(const T* points, int64_t count, const T* bounds, Pairs<uint32_t> to) {
  const int64_t n = block_index() * kThreads + thread_index();
  if (n >= count) return;
  T extent = 0;
  for (int i = 0; i < 3; ++i) extent = max(extent, -bounds[3 + i] - bounds[i]);
  uint32_t key = 0;
  for (int i = 0; i < 3; ++i) {
    // 0 also where the extent is 0 or infinite
    const T place = (points[3 * n + i] - bounds[i]) / extent * T(1 << kBits);
    key |= spread(place > 0 ? static_cast<uint32_t>(min(place, T((1 << kBits) - 1))) : 0) << i;
  }
  to.keys[n] = key, to.values[n] = static_cast<uint32_t>(n);
}

template <class T>
GSR_KERNEL(kThreads)
order_kernel(const T* points, Tree<T> tree, const uint32_t* ids) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i >= tree.count) return;
  const int64_t n = ids[i];
  tree.points[i] = {{points[3 * n], points[3 * n + 1], points[3 * n + 2]}, static_cast<int32_t>(n)};
}

// Boxes of the nodes of a level, from their points or from the level below.
template <class T>
GSR_KERNEL(kThreads)
boxes_kernel(Tree<T> tree, int level) {
  const int32_t place = static_cast<int32_t>(block_index() * kThreads + thread_index()), node = (1 << level) + place;
  if (place >= 1 << level) return;
  const T far = T(INFINITY);
  Box<T> box = {{far, far, far}, {-far, -far, -far}, INT32_MAX};
  if (level == tree.levels) {
    for (int32_t i = tree.begin(place); i < tree.begin(place + 1); ++i) {
      const Point<T> point = tree.points[i];
      for (int axis = 0; axis < 3; ++axis)
        box.low[axis] = min(box.low[axis], point.p[axis]), box.high[axis] = max(box.high[axis], point.p[axis]);
      box.first_id = min(box.first_id, point.id);
    }
  } else {
    const Box<T> a = tree.boxes[2 * node], b = tree.boxes[2 * node + 1];
    for (int axis = 0; axis < 3; ++axis)
      box.low[axis] = min(a.low[axis], b.low[axis]), box.high[axis] = max(a.high[axis], b.high[axis]);
    box.first_id = min(a.first_id, b.first_id);
  }
  tree.boxes[node] = box;
}

template <class T>
GSR_DEVICE void scan(const Tree<T>& tree, const Point<T>& query, int32_t leaf, Nearest<T>& best) {
  for (int32_t j = tree.begin(leaf); j < tree.begin(leaf + 1); ++j) {
    const Point<T> point = tree.points[j];
    if (point.id != query.id) best.offer(square_distance(query.p, point.p), point.id);
  }
}

template <class T>
GSR_DEVICE void descend(const Tree<T>& tree, const Point<T>& query, int32_t root, Nearest<T>& best) {
  int32_t waiting[kMostLevels];
  int count = 0;
  for (waiting[count++] = root; count;) {
    const int32_t node = waiting[--count];
    if (!best.takes(square_distance(query.p, tree.boxes[node]), tree.boxes[node].first_id)) continue;
    if (node >= tree.leaves()) {
      scan(tree, query, node - tree.leaves(), best);
      continue;
    }
    const bool second_is_nearer =
        square_distance(query.p, tree.boxes[2 * node + 1]) < square_distance(query.p, tree.boxes[2 * node]);
    waiting[count++] = 2 * node + !second_is_nearer, waiting[count++] = 2 * node + second_is_nearer;
  }
}

template <class T>
GSR_DEVICE void write(const gsr_neighbors& a, int64_t row, const Nearest<T>& best) {
  for (int j = 0; j < best.k; ++j) {
    a.neighbors[row * a.k + j] = best.id[j];
    output<T>(a.distances)[row * a.k + j] = best.distance[j];
  }
}

template <class T>
GSR_KERNEL(kThreads, 4)  // or ptxas would spill for the sake of more blocks
nearest_kernel(gsr_neighbors a, Tree<T> tree) {
  const int64_t i = block_index() * kThreads + thread_index();
  if (i >= a.N) return;
  const Point<T> query = tree.points[i];
  const int32_t own = tree.leaf_of(i);
  Nearest<T> best(static_cast<int>(a.k));
  scan(tree, query, own, best);
  for (int32_t node = tree.leaves() + own; node > 1; node >>= 1) descend(tree, query, node ^ 1, best);
  write(a, query.id, best);
}

template <class T>
GSR_KERNEL(kThreads, 4)
nearest_of_queries_kernel(gsr_neighbors a, Tree<T> tree) {
  const int64_t m = block_index() * kThreads + thread_index();
  if (m >= a.M) return;
  const T* at = input<T>(a.queries) + 3 * m;
  const Point<T> query = {{at[0], at[1], at[2]}, -1};  // no point's index: it may find all
  Nearest<T> best(static_cast<int>(a.k));
  descend(tree, query, 1, best);
  write(a, m, best);
}

template <class T>
void nearest(const gsr_neighbors& a) {
  if (a.M == 0 || a.k == 0) return;
  if (a.N >= 1 << 30 || a.k > kMaxNeighbors) throw std::length_error("at most 2^30 points and 64 neighbours");
  const int64_t blocks = blocks_for(a.N, kThreads);
  const T* points = input<T>(a.points);
  T *rows = scratch<T>(6 * blocks), *bounds = scratch<T>(6);
  launch(bounds_kernel<T>, blocks, kThreads, stream(), points, a.N, true, rows);
  launch(bounds_kernel<T>, 1, kThreads, stream(), static_cast<const T*>(rows), blocks, false, bounds);
  auto order = scratch_pairs<uint32_t>(a.N);
  launch(keys_kernel<T>, blocks, kThreads, stream(), points, a.N, static_cast<const T*>(bounds), order);
  order = sorted(order, a.N, 3 * kBits);

  Tree<T> tree = {a.N, 0, scratch<Point<T>>(a.N), nullptr};
  while ((a.N + tree.leaves() - 1) >> tree.levels > kLeaf) ++tree.levels;
  tree.boxes = scratch<Box<T>>(2 * int64_t(tree.leaves()));
  launch(order_kernel<T>, blocks, kThreads, stream(), points, tree, static_cast<const uint32_t*>(order.values));
  for (int level = tree.levels; level >= 0; --level)
    launch(boxes_kernel<T>, blocks_for(int64_t(1) << level, kThreads), kThreads, stream(), tree, level);
  if (a.queries)
    launch(nearest_of_queries_kernel<T>, blocks_for(a.M, kThreads), kThreads, stream(), a, tree);
  else
    launch(nearest_kernel<T>, blocks, kThreads, stream(), a, tree);
}

}  // namespace
}  // namespace gsr

int32_t gsr_nearest(gsr_neighbors* args) {
  return gsr::on_stream(args, [&](auto t) { gsr::nearest<decltype(t)>(*args); });
}
