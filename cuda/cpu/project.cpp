// Projection of all Gaussians into all cameras, and its gradient. Rows are independent, so threads take ranges of
// Gaussians; the camera gradient is summed range by range in a fixed order, whatever the number of threads.
#include <math.h>

#include <algorithm>
#include <vector>

#include "api.h"
#include "gsr/projection.h"
#include "pool.h"

namespace gsr {
namespace {

constexpr int64_t kRange = 4096;

template <class T>
std::vector<Camera<T>> cameras_of(const gsr_projection& a) {
  std::vector<Camera<T>> cams;
  for (int64_t c = 0; c < a.C; ++c)
    cams.push_back(camera_from(static_cast<const T*>(a.viewmats) + 16 * c, static_cast<const T*>(a.Ks) + 9 * c,
                               T(a.width), T(a.height), a.orthographic != 0));
  return cams;
}

template <class T>
bool is_finite(const T* mean, const T* quat, const T* scale, T opacity) {
  T sum = opacity - opacity, length = 0;
  for (int i = 0; i < 3; ++i) sum += (mean[i] - mean[i]) + (scale[i] - scale[i]);
  for (int i = 0; i < 4; ++i) sum += quat[i] - quat[i], length += quat[i] * quat[i];
  return sum == 0 && length > 0 && length - length == 0;  // x - x is NaN for NaN and infinities
}

// Depth from the mean alone: most culled Gaussians go here, before any covariance.
template <class T>
bool in_depth_range(const gsr_projection& a, const Camera<T>& cam, const T* mean) {
  const T z = cam.R[6] * mean[0] + cam.R[7] * mean[1] + cam.R[8] * mean[2] + cam.t[2];
  return z >= T(a.near_plane) && z <= T(a.far_plane) && (a.orthographic || z > 0);
}

template <class T>
void project_one(const gsr_projection& a, const Camera<T>& cam, int64_t n, int64_t flat) {
  const T* mean = static_cast<const T*>(a.means) + 3 * n;
  if (!in_depth_range(a, cam, mean)) return;
  const T* quat = static_cast<const T*>(a.quats) + 4 * n;
  const T* scale = static_cast<const T*>(a.scales) + 3 * n;
  T opacity = min(static_cast<const T*>(a.opacities)[n], T(1));
  const T alpha_min = T(a.alpha_min);
  if (opacity < alpha_min || opacity <= 0) return;
  const Footprint<T> f = footprint(cam, mean, quat, scale, T(a.eps2d));
  if (!(f.det > 0)) return;
  if (a.antialiased) opacity *= compensation(f);
  if (opacity < alpha_min || opacity <= 0) return;

  const T budget = log(opacity / alpha_min);  // half of the squared extent in sigmas; infinite at alpha_min 0
  const T sigma_x = sqrt(f.s00) * f.unit, sigma_y = sqrt(f.s11) * f.unit;
  const T extent = sqrt(2 * budget), extent_x = extent * sigma_x, extent_y = extent * sigma_y;
  const T limit = T(1 << 30);
  const T radius_x = ceil(min(extent_x, limit)), radius_y = ceil(min(extent_y, limit));
  if (radius_x <= T(a.radius_clip) && radius_y <= T(a.radius_clip)) return;
  if (!(f.u + radius_x > 0 && f.u - radius_x < a.width && f.v + radius_y > 0 && f.v - radius_y < a.height)) return;

  T* means2d = static_cast<T*>(a.means2d) + 2 * flat;
  means2d[0] = f.u, means2d[1] = f.v;
  static_cast<T*>(a.depths)[flat] = f.p[2];
  conic(f, static_cast<T*>(a.conics) + 3 * flat);
  static_cast<T*>(a.opacities2d)[flat] = opacity;
  // exp(-sigma) = 2^-(P^2 (dx - k dy)^2 + Q^2 dy^2): a sum of squares, so never above 1
  const T fold = T(0.72134752044448170368);  // log2(e) / 2
  T* shape = static_cast<T*>(a.shapes) + 6 * flat;
  shape[0] = sqrt(fold * f.s11 / f.det) / f.unit, shape[1] = f.s01 / f.s11, shape[2] = sqrt(fold / f.s11) / f.unit;
  shape[3] = log2(opacity), shape[4] = extent_x, shape[5] = extent_y;
  a.radii[2 * flat] = static_cast<int32_t>(radius_x), a.radii[2 * flat + 1] = static_cast<int32_t>(radius_y);
}

template <class T>
void clear_row(const gsr_projection& a, int64_t flat) {
  std::fill_n(static_cast<T*>(a.means2d) + 2 * flat, 2, T(0));
  static_cast<T*>(a.depths)[flat] = 0;
  std::fill_n(static_cast<T*>(a.conics) + 3 * flat, 3, T(0));
  static_cast<T*>(a.opacities2d)[flat] = 0;
  std::fill_n(static_cast<T*>(a.shapes) + 6 * flat, 6, T(0));
  a.radii[2 * flat] = a.radii[2 * flat + 1] = 0;
}

template <class T>
void project(const gsr_projection& a) {
  const auto cams = cameras_of<T>(a);
  const int64_t ranges = (a.N + kRange - 1) / kRange;
  std::vector<int64_t> nonfinite(ranges, 0);
  parallel_for(a.threads, ranges, [&](int64_t r, int) {
    for (int64_t n = r * kRange; n < std::min(a.N, (r + 1) * kRange); ++n) {
      const bool finite = is_finite(static_cast<const T*>(a.means) + 3 * n, static_cast<const T*>(a.quats) + 4 * n,
                                    static_cast<const T*>(a.scales) + 3 * n, static_cast<const T*>(a.opacities)[n]);
      nonfinite[r] += !finite;
      for (int64_t c = 0; c < a.C; ++c) {
        clear_row<T>(a, c * a.N + n);
        if (finite) project_one(a, cams[c], n, c * a.N + n);
      }
    }
  });
  *a.nonfinite = 0;
  for (int64_t count : nonfinite) *a.nonfinite += count;
}

template <class T>
struct RowGradient {
  T mean[3] = {}, quat[4] = {}, scale[3] = {}, opacity = 0;
};

template <class T>
T finite_or_zero(T x) {
  return x - x == 0 ? x : T(0);
}

// Adds the gradient through one camera to the row and to the camera's own sum (12 numbers: R, t).
template <class T>
void project_one_vjp(const gsr_projection& a, const Camera<T>& cam, int64_t n, int64_t flat, RowGradient<T>& row,
                     T* v_camera) {
  const T* mean = static_cast<const T*>(a.means) + 3 * n;
  const T* scale = static_cast<const T*>(a.scales) + 3 * n;
  const T* v_uv = static_cast<const T*>(a.v_means2d) + 2 * flat;
  const Footprint<T> f = footprint(cam, mean, static_cast<const T*>(a.quats) + 4 * n, scale, T(a.eps2d));
  const T given = static_cast<const T*>(a.opacities)[n], v_opacity = static_cast<const T*>(a.v_opacities2d)[flat];
  const T opacity = min(given, T(1));
  row.opacity += given > 1 ? T(0) : (a.antialiased ? v_opacity * compensation(f) : v_opacity);
  const FootprintGradient<T> g =
      footprint_vjp(cam, f, mean, scale, v_uv[0], v_uv[1], static_cast<const T*>(a.v_depths)[flat],
                    static_cast<const T*>(a.v_conics) + 3 * flat, a.antialiased ? v_opacity * opacity : T(0));
  for (int i = 0; i < 3; ++i) row.mean[i] += g.mean[i], row.scale[i] += g.scale[i];
  for (int i = 0; i < 4; ++i) row.quat[i] += g.quat[i];
  for (int i = 0; i < 9; ++i) v_camera[i] += finite_or_zero(g.R[i]);
  for (int i = 0; i < 3; ++i) v_camera[9 + i] += finite_or_zero(g.t[i]);
}

template <class T>
void store_row(const gsr_projection& a, int64_t n, const RowGradient<T>& row) {
  for (int i = 0; i < 3; ++i) static_cast<T*>(a.v_means)[3 * n + i] = finite_or_zero(row.mean[i]);
  for (int i = 0; i < 4; ++i) static_cast<T*>(a.v_quats)[4 * n + i] = finite_or_zero(row.quat[i]);
  for (int i = 0; i < 3; ++i) static_cast<T*>(a.v_scales)[3 * n + i] = finite_or_zero(row.scale[i]);
  static_cast<T*>(a.v_opacities)[n] = finite_or_zero(row.opacity);
}

template <class T>
void project_vjp(const gsr_projection& a) {
  const auto cams = cameras_of<T>(a);
  const int64_t ranges = (a.N + kRange - 1) / kRange;
  std::vector<T> v_cameras(ranges * a.C * 12, T(0));
  parallel_for(a.threads, ranges, [&](int64_t r, int) {
    for (int64_t n = r * kRange; n < std::min(a.N, (r + 1) * kRange); ++n) {
      RowGradient<T> row;
      for (int64_t c = 0; c < a.C; ++c) {
        const int64_t flat = c * a.N + n;
        if (a.radii[2 * flat] > 0) project_one_vjp(a, cams[c], n, flat, row, &v_cameras[(r * a.C + c) * 12]);
      }
      store_row(a, n, row);
    }
  });
  if (!a.v_viewmats) return;
  T* v_viewmats = static_cast<T*>(a.v_viewmats);
  std::fill_n(v_viewmats, 16 * a.C, T(0));
  for (int64_t r = 0; r < ranges; ++r)
    for (int64_t c = 0; c < a.C; ++c)
      for (int i = 0; i < 12; ++i) {
        const int64_t to = i < 9 ? 4 * (i / 3) + i % 3 : 4 * (i - 9) + 3;
        v_viewmats[16 * c + to] += v_cameras[(r * a.C + c) * 12 + i];
      }
}

}  // namespace
}  // namespace gsr

int32_t gsr_project(gsr_projection* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::project<decltype(t)>(*args); });
}

int32_t gsr_project_vjp(gsr_projection* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::project_vjp<decltype(t)>(*args); });
}
