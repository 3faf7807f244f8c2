// Where a projected splat can reach the alpha threshold: its box of pixels, and how far it reaches in rows of pixel
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

// The ellipse where a splat's alpha is at the threshold, cut into strips of rows: from where to where in x it reaches
// inside each.
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
