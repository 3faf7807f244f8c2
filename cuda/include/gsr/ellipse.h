// Where a projected splat can reach the alpha threshold: its box of pixels, and how far its outline reaches in rows of
// pixel centres. The CPU goes by the extents that projection leaves and takes a register of bands at once; a GPU goes
// by the shape alone (Strips in cuda/gpu/tiles.h), which is all that its records hold.
#pragma once
#include "gsr/math.h"

namespace gsr {

// A little slack: the pixel loop rounds in its own way, and a hit must never be missed.
template <class T>
GSR_HD T padded_extent(T extent) {
  return extent * T(1.00001) + T(1e-3);
}

// Pixels of the image whose centres lie in the bounding box of a splat; empty if x0 > x1.
struct PixelBox {
  int x0, y0, x1, y1;
};

template <class T>
GSR_HD PixelBox pixel_box(T x, T y, T extent_x, T extent_y, int width, int height) {
  PixelBox box = {1, 0, 0, 0};
  const T ex = padded_extent(extent_x), ey = padded_extent(extent_y);
  const T left = max(x - ex - T(0.5), T(0)), right = min(x + ex - T(0.5), T(width - 1));
  const T top = max(y - ey - T(0.5), T(0)), bottom = min(y + ey - T(0.5), T(height - 1));
  if (!(left <= right && top <= bottom)) return box;
  box.x0 = whole_above(left), box.y0 = whole_above(top);
  box.x1 = static_cast<int>(right), box.y1 = static_cast<int>(bottom);
  if (box.y0 > box.y1) box.x0 = box.x1 + 1;
  return box;
}

// The ellipse where a splat's alpha is at the threshold, about its centre: x = k y -+ ratio sqrt(half_height^2 - y^2).
template <class T>
struct Outline {
  T k, ratio, half_height;  // ratio = Q / P
  T tip;                    // the rightmost point lies at y = tip, the leftmost at -tip

  // The leftmost and rightmost x inside the rows [low, high], which lie between -half_height and half_height. Rows is
  // T, or a register of it.
  template <class Rows>
  GSR_HD void reach(Rows low, Rows high, Rows& left, Rows& right) const {
    const Rows right_y = clamp(Rows(tip), low, high), left_y = clamp(Rows(-tip), low, high);
    right = fma(Rows(k), right_y, half_width(right_y)), left = fma(Rows(k), left_y, -half_width(left_y));
  }

 private:
  template <class Rows>
  GSR_HD Rows half_width(Rows y) const {
    return Rows(ratio) * rough_sqrt(max(fnma(y, y, Rows(half_height * half_height)), Rows(T(0))));
  }
};

}  // namespace gsr
