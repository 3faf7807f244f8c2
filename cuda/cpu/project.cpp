// Projection of all Gaussians into all cameras, and its gradient: the formulas of gsr/projection.h on a register of
// Gaussians at once. Rows are independent, so threads take ranges of Gaussians; the camera gradient is summed range by
// range in a fixed order, whatever the number of threads.
#include <algorithm>
#include <vector>

#include "api.h"
#include "gsr/projection.h"
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

template <class T>
struct Gaussians {
  Columns<T, 3> means, scales;
  Columns<T, 4> quats;
  Columns<T, 1> opacities;

  void read(const gsr_projection& a, int64_t first, int count) {
    means.read(a.means, first, count), scales.read(a.scales, first, count);
    quats.read(a.quats, first, count), opacities.read(a.opacities, first, count);
  }
};

// One register of them.
template <class T>
struct Lanes {
  typedef Vec<T> V;
  V mean[3], scale[3], quat[4], opacity;

  GSR_INLINE Lanes(const Gaussians<T>& from, int i) {
    from.means.get(i, mean), from.scales.get(i, scale), from.quats.get(i, quat), from.opacities.get(i, &opacity);
  }
  GSR_INLINE typename V::Mask valid() const {
    V sum = opacity - opacity, length(T(0));  // x - x is NaN for NaN and infinities
    for (int j = 0; j < 3; ++j) sum += (mean[j] - mean[j]) + (scale[j] - scale[j]);
    for (int j = 0; j < 4; ++j) length += quat[j] * quat[j];
    return is_finite(sum + length) & greater(length, V(T(0)));
  }
};

template <class T>
struct Projected {
  Columns<T, 2> means2d, radii;
  Columns<T, 1> depths, opacities;
  Columns<T, 3> conics;
  Columns<T, 6> shapes;

  void write(const gsr_projection& a, int64_t first, int count) const {
    means2d.write(a.means2d, first, count), depths.write(a.depths, first, count);
    conics.write(a.conics, first, count), opacities.write(a.opacities2d, first, count);
    shapes.write(a.shapes, first, count), radii.template write<int32_t>(a.radii, first, count);
  }
};

// Where `wanted` holds and nothing culls; all else becomes zero.
template <class T>
GSR_INLINE void project_lanes(const gsr_projection& a, const Camera<Vec<T>>& cam, const Lanes<T>& in,
                              typename Vec<T>::Mask wanted, int i, Projected<T>& out) {
  typedef Vec<T> V;
  const V zero(T(0)), alpha_min(T(a.alpha_min)), limit(T(1 << 30)), clip(T(a.radius_clip));
  const V width(T(a.width)), height(T(a.height));
  const Footprint<V> f = footprint(cam, in.mean, in.quat, in.scale, V(T(a.eps2d)));
  const V depth = f.p[2];
  typename V::Mask kept = wanted & at_least(depth, V(T(a.near_plane))) & at_least(V(T(a.far_plane)), depth);
  if (!a.orthographic) kept = kept & greater(depth, zero);
  V opacity = min(in.opacity, V(T(1)));
  if (a.antialiased) opacity *= compensation(f);
  kept = kept & greater(f.det, zero) & at_least(opacity, alpha_min) & greater(opacity, zero);

  const V budget = max(log(opacity / alpha_min), zero);  // half of the squared extent in sigmas; may be infinite
  const V extent = sqrt(2 * budget), extent_x = extent * sqrt(f.s00) * f.unit, extent_y = extent * sqrt(f.s11) * f.unit;
  const V radius_x = ceil(min(extent_x, limit)), radius_y = ceil(min(extent_y, limit));
  kept = kept & (greater(radius_x, clip) | greater(radius_y, clip));
  kept = kept & greater(f.u + radius_x, zero) & greater(width, f.u - radius_x);
  kept = kept & greater(f.v + radius_y, zero) & greater(height, f.v - radius_y);

  const auto set = [&](auto& columns, auto... values) {
    const V kept_values[] = {keep(kept, V(values))...};
    columns.set(i, kept_values);
  };
  V abc[3];
  conic(f, abc);
  set(out.means2d, f.u, f.v), set(out.radii, radius_x, radius_y);
  set(out.depths, depth), set(out.opacities, opacity), set(out.conics, abc[0], abc[1], abc[2]);
  // exp(-sigma) = 2^-(P^2 (dx - k dy)^2 + Q^2 dy^2): a sum of squares, so never above 1
  const V fold(T(0.72134752044448170368)), log2_e(T(1.4426950408889634074));  // log2(e) / 2
  set(out.shapes, sqrt(fold * f.s11 / f.det) / f.unit, f.s01 / f.s11, sqrt(fold / f.s11) / f.unit,
      log(opacity) * log2_e, extent_x, extent_y);
}

template <class T>
void project(const gsr_projection& a) {
  const auto cams = cameras_of<T>(a);
  std::vector<int64_t> valid((a.N + kRange - 1) / kRange, 0);
  over_rows(a, [&](int64_t range, int64_t first, int count) {
    Gaussians<T> in;
    Projected<T> out;
    in.read(a, first, count);
    for (int i = 0; i < count; i += Vec<T>::width) valid[range] += __builtin_popcount(bits<T>(Lanes<T>(in, i).valid()));
    for (int64_t c = 0; c < a.C; ++c) {
      for (int i = 0; i < count; i += Vec<T>::width) {
        const Lanes<T> lanes(in, i);
        project_lanes(a, cams[c], lanes, lanes.valid(), i, out);
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
};

template <class T>
struct Outgoing {
  Columns<T, 3> means, scales;
  Columns<T, 4> quats;
  Columns<T, 1> opacities;

  void write(const gsr_projection& a, int64_t first, int count) const {
    means.write(a.v_means, first, count), scales.write(a.v_scales, first, count);
    quats.write(a.v_quats, first, count), opacities.write(a.v_opacities, first, count);
  }
};

// Adds the gradient through one camera to the rows and, if asked for, to the camera's own sum (12 numbers: R, t).
template <class T, bool kCamera>
GSR_INLINE void project_lanes_vjp(const gsr_projection& a, const Camera<Vec<T>>& cam, const Lanes<T>& in,
                                  const Incoming<T>& v, int i, Outgoing<T>& out, Vec<T>* v_camera) {
  typedef Vec<T> V;
  V v_mean2d[2], v_conic[3], v_depth, v_opacity, radius;
  v.means2d.get(i, v_mean2d), v.conics.get(i, v_conic), v.depths.get(i, &v_depth), v.opacities.get(i, &v_opacity);
  v.visible.get(i, &radius);
  const typename V::Mask visible = greater(radius, V(T(0)));
  const Footprint<V> f = footprint(cam, in.mean, in.quat, in.scale, V(T(a.eps2d)));
  const V opacity = min(in.opacity, V(T(1)));
  const FootprintGradient<V> g = footprint_vjp(cam, f, in.mean, in.scale, v_mean2d[0], v_mean2d[1], v_depth, v_conic,
                                               a.antialiased ? v_opacity * opacity : V(T(0)));
  const auto add = [&](T* column, V value) {
    (V::load(column + i) + keep(visible & is_finite(value), value)).store(column + i);
  };
  for (int j = 0; j < 3; ++j) add(out.means.of[j], g.mean[j]), add(out.scales.of[j], g.scale[j]);
  for (int j = 0; j < 4; ++j) add(out.quats.of[j], g.quat[j]);
  // above 1 the opacity is clamped
  add(out.opacities.of[0],
      keep(at_least(V(T(1)), in.opacity), a.antialiased ? v_opacity * compensation(f) : v_opacity));
  const auto add_to_camera = [&](V& sum, V value) { sum += keep(visible & is_finite(value), value); };
  for (int j = 0; j < 9 * kCamera; ++j) add_to_camera(v_camera[j], g.R[j]);
  for (int j = 0; j < 3 * kCamera; ++j) add_to_camera(v_camera[9 + j], g.t[j]);
}

template <class T, bool kCamera>
void project_vjp(const gsr_projection& a) {
  const auto cams = cameras_of<T>(a);
  const int64_t ranges = (a.N + kRange - 1) / kRange;
  std::vector<T> v_cameras(kCamera ? ranges * a.C * 12 : 0, T(0));
  over_rows(a, [&](int64_t range, int64_t first, int count) {
    Gaussians<T> in;
    Incoming<T> v;
    Outgoing<T> out = {};
    in.read(a, first, count);
    for (int64_t c = 0; c < a.C; ++c) {
      Vec<T> v_camera[12];
      std::fill_n(v_camera, 12, Vec<T>(T(0)));
      v.read(a, c * a.N + first, count);
      for (int i = 0; i < count; i += Vec<T>::width)
        project_lanes_vjp<T, kCamera>(a, cams[c], Lanes<T>(in, i), v, i, out, v_camera);
      for (int j = 0; j < 12 * kCamera; ++j) v_cameras[(range * a.C + c) * 12 + j] += sum(v_camera[j]);
    }
    out.write(a, first, count);
  });
  if (!kCamera) return;
  T* v_viewmats = static_cast<T*>(a.v_viewmats);
  std::fill_n(v_viewmats, 16 * a.C, T(0));
  for (int64_t r = 0; r < ranges; ++r)
    for (int64_t c = 0; c < a.C; ++c)
      for (int i = 0; i < 12; ++i) {
        const int64_t to = i < 9 ? 4 * (i / 3) + i % 3 : 4 * (i - 9) + 3;
        v_viewmats[16 * c + to] += v_cameras[(r * a.C + c) * 12 + i];
      }
}

template <class T>
void project_vjp(const gsr_projection& a) {
  a.v_viewmats ? project_vjp<T, true>(a) : project_vjp<T, false>(a);
}

}  // namespace
}  // namespace gsr

int32_t gsr_project(gsr_projection* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::project<decltype(t)>(*args); });
}

int32_t gsr_project_vjp(gsr_projection* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::project_vjp<decltype(t)>(*args); });
}
