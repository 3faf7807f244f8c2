// Where a projected splat can reach the alpha threshold: its box of pixels, and the exact test of a rectangle of pixel
// centres. Both lean outwards a little: the pixel loop rounds in its own way, and a hit must never be missed.
#pragma once
#include <stdint.h>

#include "gsr/blend.h"
#include "gsr/math.h"

namespace gsr {

// Pixels of the image whose centres lie in the bounding box of a splat; empty if x0 > x1.
struct PixelBox {
  int x0, y0, x1, y1;
};

template <class T>
GSR_HD PixelBox pixel_box(T x, T y, T extent_x, T extent_y, int width, int height) {
  PixelBox box = {1, 0, 0, 0};
  const T ex = extent_x * T(1.00001) + T(1e-3), ey = extent_y * T(1.00001) + T(1e-3);
  const T left = max(x - ex - T(0.5), T(0)), right = min(x + ex - T(0.5), T(width - 1));
  const T top = max(y - ey - T(0.5), T(0)), bottom = min(y + ey - T(0.5), T(height - 1));
  if (!(left <= right && top <= bottom)) return box;
  box.x0 = static_cast<int>(ceil(left)), box.y0 = static_cast<int>(ceil(top));
  box.x1 = static_cast<int>(right), box.y1 = static_cast<int>(bottom);
  if (box.y0 > box.y1) box.x0 = box.x1 + 1;
  return box;
}

template <class T>
struct Ellipse {
  T x, y, P, k, Q, slope, budget;
};

// From a row P, k, Q, log2 opacity of gsr.h.
template <class T>
GSR_HD Ellipse<T> ellipse_of(const T* mean, const T* shape, T log2_alpha_min) {
  Ellipse<T> e;
  e.x = mean[0], e.y = mean[1], e.P = shape[0], e.k = shape[1], e.Q = shape[2];
  // the point of a vertical line that is nearest in the sense of the form has y = slope x
  e.slope = e.k * e.P * e.P / (e.k * e.k * e.P * e.P + e.Q * e.Q);
  e.budget = (shape[3] - log2_alpha_min) * T(1.00001) + T(1e-5);
  return e;
}

// Whether the ellipse reaches the rectangle of `columns` x `rows` pixel centres at (left, top). The smallest value of
// the form over it lies on the vertical or horizontal edge nearest to the mean, or is 0 inside.
template <class T>
GSR_HD bool touches(const Ellipse<T>& e, int left, int top, int columns, int rows) {
  const T lo_x = left + T(0.5) - e.x, hi_x = lo_x + (columns - 1), lo_y = top + T(0.5) - e.y, hi_y = lo_y + (rows - 1);
  const T near_x = clamp(T(0), lo_x, hi_x), near_y = clamp(T(0), lo_y, hi_y);
  const T best_y = clamp(near_x * e.slope, lo_y, hi_y), best_x = clamp(near_y * e.k, lo_x, hi_x);
  const T u1 = e.P * (near_x - e.k * best_y), v1 = e.Q * best_y;
  const T u2 = e.P * (best_x - e.k * near_y), v2 = e.Q * near_y;
  return min(u1 * u1 + v1 * v1, u2 * u2 + v2 * v2) <= e.budget;
}

// The same ellipse cut into strips of rows: from where to where in x it reaches inside each. As cautious as touches().
template <class T>
struct Strips {
  T x, y, k, Q, budget, half_height, y_rightmost, per_P;

  Strips() = default;
  GSR_HD Strips(const Shape<T>& s, T log2_alpha_min) : x(s.x), y(s.y), k(s.Pk / s.P), Q(s.Q), per_P(1 / s.P) {
    // infinite where no alpha is too small
    budget = min((s.log2_opacity - log2_alpha_min) * T(1.00001) + T(1e-5), T(1e30));
    half_height = sqrt(budget) / Q;
    // the rightmost point: where the derivative of k y + half_width(y) is 0
    y_rightmost = half_height * s.Pk / sqrt(s.Pk * s.Pk + Q * Q);
  }
  // Inside the rows of pixel centres [top, bottom]; empty (from > to) where it does not reach them.
  GSR_HD void reach(T top, T bottom, T& from, T& to) const {
    const T low = max(top - y, -half_height), high = min(bottom - y, half_height);
    from = 1, to = 0;
    if (!(low <= high)) return;
    const T right = clamp(y_rightmost, low, high), left = clamp(-y_rightmost, low, high);
    const T to_right = fma(k, right, half_width(right)), to_left = fma(k, left, -half_width(left));
    const T slack = T(1e-3) + T(1e-5) * max(T(fabs(to_right)), T(fabs(to_left)));
    from = x + to_left - slack, to = x + to_right + slack;
  }
  GSR_HD PixelBox box(int width, int height) const {
    const T half_width = fma(k, y_rightmost, this->half_width(y_rightmost));
    return pixel_box(x, y, half_width, half_height, width, height);
  }

 private:
  GSR_HD T half_width(T dy) const {
    const T v = Q * dy;
    return rough_sqrt(max(fma(-v, v, budget), T(0))) * per_P;
  }
};

}  // namespace gsr
