// Projection of all Gaussians into all cameras, and its gradient: the formulas of gsr/rows.h on a register of
// Gaussians at once. Rows are independent, so threads take ranges of Gaussians; the camera gradient is summed range by
// range in a fixed order, whatever the number of threads.
#include <algorithm>
#include <vector>

#include "api.h"
#include "gsr/rows.h"
#include "pool.h"
#include "simd_math.h"

namespace gsr {
namespace {

constexpr int64_t kRange = 4096;

template <class T>
std::vector<Camera<Vec<T>>> cameras_of(const gsr_projection& a) {
  std::vector<Camera<Vec<T>>> cams;
  for (int64_t c = 0; c < a.C; ++c) {
    Vec<T> viewmat[16], K[9];
    for (int i = 0; i < 16; ++i) viewmat[i] = static_cast<const T*>(a.viewmats)[16 * c + i];
    for (int i = 0; i < 9; ++i) K[i] = static_cast<const T*>(a.Ks)[9 * c + i];
    cams.push_back(camera_from(viewmat, K, Vec<T>(T(a.width)), Vec<T>(T(a.height)), a.orthographic != 0));
  }
  return cams;
}

// Calls body(range, first row, count) for pieces of at most kColumn rows.
template <class Body>
void over_rows(const gsr_projection& a, Body body) {
  parallel_for(a.threads, (a.N + kRange - 1) / kRange, [&](int64_t range, int) {
    const int64_t end = std::min(a.N, (range + 1) * kRange);
    for (int64_t n = range * kRange; n < end; n += kColumn)
      body(range, n, static_cast<int>(std::min<int64_t>(kColumn, end - n)));
  });
}

template <class T, bool kWarped>
struct Gaussians {
  Columns<T, 3> means, scales;
  Columns<T, 4> quats;
  Columns<T, 1> opacities;
  Columns<T, 9> warps;

  void read(const gsr_projection& a, int64_t first, int count) {
    means.read(a.means, first, count), scales.read(a.scales, first, count);
    quats.read(a.quats, first, count), opacities.read(a.opacities, first, count);
    if (kWarped) warps.read(a.warps, first, count);
  }
  GSR_INLINE Gaussian<Vec<T>, kWarped> get(int i) const {
    Gaussian<Vec<T>, kWarped> g;
    means.get(i, g.mean), scales.get(i, g.scale), quats.get(i, g.quat), opacities.get(i, &g.opacity);
    if (kWarped) warps.get(i, g.warp);
    return g;
  }
};

template <class T>
struct Projected {
  Columns<T, 2> means2d, radii;
  Columns<T, 1> depths, opacities;
  Columns<T, 3> conics;
  Columns<T, 6> shapes;

  GSR_INLINE void set(int i, const ProjectedRow<Vec<T>>& row) {
    means2d.set(i, row.mean), radii.set(i, row.radii), depths.set(i, &row.depth), opacities.set(i, &row.opacity);
    conics.set(i, row.conic), shapes.set(i, row.shape);
  }
  void write(const gsr_projection& a, int64_t first, int count) const {
    means2d.write(a.means2d, first, count), depths.write(a.depths, first, count);
    conics.write(a.conics, first, count), opacities.write(a.opacities2d, first, count);
    shapes.write(a.shapes, first, count), radii.template write<int32_t>(a.radii, first, count);
  }
};

template <class T, bool kWarped>
void project(const gsr_projection& a) {
  const auto cams = cameras_of<T>(a);
  std::vector<int64_t> valid((a.N + kRange - 1) / kRange, 0);
  over_rows(a, [&](int64_t range, int64_t first, int count) {
    Gaussians<T, kWarped> in;
    Projected<T> out;
    in.read(a, first, count);
    for (int i = 0; i < count; i += Vec<T>::width) valid[range] += __builtin_popcount(bits<T>(is_valid(in.get(i))));
    for (int64_t c = 0; c < a.C; ++c) {
      for (int i = 0; i < count; i += Vec<T>::width) {
        const Gaussian<Vec<T>, kWarped> gaussian = in.get(i);
        out.set(i, project_row(a, cams[c], gaussian, is_valid(gaussian)));
      }
      out.write(a, c * a.N + first, count);
    }
  });
  *a.nonfinite = a.N;
  for (int64_t count : valid) *a.nonfinite -= count;
}

// Gradients of one camera's outputs.
template <class T>
struct Incoming {
  Columns<T, 2> means2d;
  Columns<T, 1> depths, opacities, visible;
  Columns<T, 3> conics;

  void read(const gsr_projection& a, int64_t first, int count) {
    means2d.read(a.v_means2d, first, count), depths.read(a.v_depths, first, count);
    conics.read(a.v_conics, first, count), opacities.read(a.v_opacities2d, first, count);
    std::fill_n(visible.of[0], kColumn, T(0));
    for (int i = 0; i < count; ++i) visible.of[0][i] = T(a.radii[2 * (first + i)]);
  }
  GSR_INLINE ProjectedGradient<Vec<T>> get(int i) const {
    ProjectedGradient<Vec<T>> v;
    means2d.get(i, v.mean), conics.get(i, v.conic), depths.get(i, &v.depth), opacities.get(i, &v.opacity);
    return v;
  }
  GSR_INLINE typename Vec<T>::Mask is_visible(int i) const {
    return greater(Vec<T>::load(visible.of[0] + i), Vec<T>(T(0)));
  }
};

template <class T, bool kWarped>
struct Outgoing {
  Columns<T, 3> means = {}, scales = {};
  Columns<T, 4> quats = {};
  Columns<T, 1> opacities = {};
  Columns<T, 9> warps;

  Outgoing() {
    if (kWarped) warps = {};
  }
  GSR_INLINE void add(int i, const RowGradient<Vec<T>>& g) {
    means.add(i, g.mean), scales.add(i, g.scale), quats.add(i, g.quat), opacities.add(i, &g.opacity);
    if (kWarped) warps.add(i, g.warp);
  }
  void write(const gsr_projection& a, int64_t first, int count) const {
    means.write(a.v_means, first, count), scales.write(a.v_scales, first, count);
    quats.write(a.v_quats, first, count), opacities.write(a.v_opacities, first, count);
    if (kWarped && a.v_warps) warps.write(a.v_warps, first, count);
  }
};

// `v_cameras`: for each range of rows and camera, 12 numbers (R, t).
template <class T>
void store_viewmats(const gsr_projection& a, const std::vector<T>& v_cameras) {
  T* v_viewmats = static_cast<T*>(a.v_viewmats);
  std::fill_n(v_viewmats, 16 * a.C, T(0));
  for (size_t at = 0; at < v_cameras.size(); ++at) {
    const int64_t c = at / 12 % a.C, i = at % 12;
    v_viewmats[16 * c + (i < 9 ? 4 * (i / 3) + i % 3 : 4 * (i - 9) + 3)] += v_cameras[at];
  }
}

template <class T, bool kWarped, bool kCamera>
void project_vjp(const gsr_projection& a) {
  const auto cams = cameras_of<T>(a);
  const int64_t ranges = (a.N + kRange - 1) / kRange;
  std::vector<T> v_cameras(kCamera ? ranges * a.C * 12 : 0, T(0));
  over_rows(a, [&](int64_t range, int64_t first, int count) {
    Gaussians<T, kWarped> in;
    Incoming<T> v;
    Outgoing<T, kWarped> out;
    in.read(a, first, count);
    for (int64_t c = 0; c < a.C; ++c) {
      Vec<T> v_camera[12];
      std::fill_n(v_camera, 12, Vec<T>(T(0)));
      v.read(a, c * a.N + first, count);
      for (int i = 0; i < count; i += Vec<T>::width) {
        const auto visible = v.is_visible(i);
        if (!MaskOf<Vec<T>>::any(visible)) continue;
        const RowGradient<Vec<T>> g = project_row_vjp(a, cams[c], in.get(i), v.get(i), visible);
        out.add(i, g);
        for (int j = 0; j < 9 * kCamera; ++j) v_camera[j] += g.R[j];
        for (int j = 0; j < 3 * kCamera; ++j) v_camera[9 + j] += g.t[j];
      }
      for (int j = 0; j < 12 * kCamera; ++j) v_cameras[(range * a.C + c) * 12 + j] += sum(v_camera[j]);
    }
    out.write(a, first, count);
  });
  if (kCamera) store_viewmats(a, v_cameras);
}

template <class T, bool kWarped>
void project_vjp(const gsr_projection& a) {
  a.v_viewmats ? project_vjp<T, kWarped, true>(a) : project_vjp<T, kWarped, false>(a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_project(gsr_projection* args) {
  return gsr::dispatch(args, [&](auto t) {
    args->warps ? gsr::project<decltype(t), true>(*args) : gsr::project<decltype(t), false>(*args);
  });
}

int32_t gsr_project_vjp(gsr_projection* args) {
  return gsr::dispatch(args, [&](auto t) {
    args->warps ? gsr::project_vjp<decltype(t), true>(*args) : gsr::project_vjp<decltype(t), false>(*args);
  });
}
