// The numbers of every struct, looked at before a kernel sees them: one that is out of its bounds would lead it to
// memory that is not its own. Both libraries come here, through dispatch().
#pragma once
#include <stdint.h>
#include <stdio.h>

#include <stdexcept>
#include <string>

#include "gsr/gsr.h"
#include "gsr/nearest.h"
#include "gsr/sh.h"

namespace gsr {

// A number that an entry point cannot take; the text has its name, what is right and what came.
struct BadNumber : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

constexpr int kMostThreads = 4096, kMostPixels = 1 << 20;  // of a side: places between them are still exact in float
constexpr double kMostLowPass = 1e6;

inline std::string in_words(int64_t value) { return std::to_string(value); }
inline std::string in_words(double value) {
  char text[32];
  snprintf(text, sizeof text, "%g", value);
  return text;
}

// False for NaN, so that it is refused too.
template <class Number>
void within(const char* name, Number value, Number low, Number high) {
  if (low <= value && value <= high) return;
  throw BadNumber(std::string(name) + ": expected " + in_words(low) + " to " + in_words(high) + ", got " +
                  in_words(value));
}

inline void at_least_zero(const char* name, int64_t value) {
  if (value < 0) throw BadNumber(std::string(name) + ": expected 0 or more, got " + in_words(value));
}

template <class Args>
void check_threads(const Args& a) {
  within<int64_t>("threads", a.threads, 1, kMostThreads);
}

template <class Args>
void check_size(const Args& a) {
  within<int64_t>("width", a.width, 0, kMostPixels), within<int64_t>("height", a.height, 0, kMostPixels);
}

template <class Args>
void check_cutoffs(const Args& a) {
  within("alpha_min", a.alpha_min, 0.0, 1.0), within("alpha_max", a.alpha_max, 0.0, 1.0);
  within("transmittance_min", a.transmittance_min, 0.0, 1.0);
}

// Tiles of all cameras are counted in 32 bits.
template <class Args>
void check_drawing(const Args& a) {
  check_threads(a), check_size(a), check_cutoffs(a);
  at_least_zero("channels", a.channels), at_least_zero("C", a.C), at_least_zero("N", a.N);
  constexpr int64_t most_rows = INT32_MAX - 1, tile = 16;
  if (a.C) within<int64_t>("N", a.N, 0, most_rows / a.C);
  const int64_t tiles = (a.width + tile - 1) / tile * ((a.height + tile - 1) / tile);
  if (tiles) within<int64_t>("C", a.C, 0, most_rows / tiles);
}

inline void check_numbers(const gsr_projection& a) {
  check_threads(a), check_size(a), at_least_zero("C", a.C), at_least_zero("N", a.N);
  within("alpha_min", a.alpha_min, 0.0, 1.0), within("eps2d", a.eps2d, 0.0, kMostLowPass);
  within("radius_clip", a.radius_clip, 0.0, double(1 << 30));
  if (a.near_plane != a.near_plane) throw BadNumber("near: expected a number, got nan");
  if (a.far_plane != a.far_plane) throw BadNumber("far: expected a number, got nan");
}

inline void check_numbers(const gsr_rasterization& a) {
  check_drawing(a);
  within<int64_t>("most_visible", a.visible, 0, INT32_MAX);
  within<int64_t>("most_intersections", a.intersections, 0, INT32_MAX);
}

inline void check_numbers(const gsr_lifting& a) { check_drawing(a); }

inline void check_numbers(const gsr_harmonics& a) {
  check_threads(a), at_least_zero("C", a.C), at_least_zero("N", a.N), at_least_zero("D", a.D);
  within<int64_t>("degree", a.degree, 0, 4);
  if (a.K < sh_count(a.degree))
    throw BadNumber("degree: expected at least " + in_words(int64_t(sh_count(a.degree))) + " coefficients for " +
                    in_words(int64_t(a.degree)) + ", got " + in_words(a.K));
}

inline void check_numbers(const gsr_photometry& a) {
  check_threads(a), check_size(a), at_least_zero("channels", a.channels), at_least_zero("C", a.C);
  if (a.stride < a.channels)
    throw BadNumber("stride: expected " + in_words(int64_t(a.channels)) + " or more, got " + in_words(a.stride));
}

inline void check_numbers(const gsr_ray_points& a) { check_threads(a), at_least_zero("N", a.N); }

// A kernel that finds fewer than k would leave numbers of points that are not there.
inline void check_numbers(const gsr_neighbors& a) {
  check_threads(a), within<int64_t>("N", a.N, 0, INT32_MAX - 1), within<int64_t>("M", a.M, 0, INT32_MAX - 1);
  within<int64_t>("k", a.k, 0, kMaxNeighbors);
  if (a.M == 0 || a.k == 0) return;
  const int64_t others = a.queries ? a.N : a.N - 1;
  if (!a.queries) within<int64_t>("M", a.M, a.N, a.N);
  if (a.k > others)
    throw BadNumber("k: expected at most " + in_words(others) + " of so few points, got " + in_words(a.k));
}

inline void check_numbers(const gsr_graph& a) {
  check_threads(a), at_least_zero("F", a.F), within<int64_t>("N", a.N, 0, INT32_MAX);
}

inline void check_numbers(const gsr_bumps& a) {
  check_threads(a), within<int64_t>("N", a.N, 0, INT32_MAX), within<int64_t>("M", a.M, 0, INT32_MAX);
  within<int64_t>("L", a.L, 0, 4096), within<int64_t>("O", a.O, 0, 1 << 20), within("faint", a.faint, 0.0, 80.0);
}

inline void check_numbers(const gsr_variation& a) {
  check_threads(a), check_size(a), at_least_zero("C", a.C);
  if (a.guide && !(a.edge > 0)) throw BadNumber("edge: expected a number above 0, got " + in_words(a.edge));
}

inline void check_numbers(const gsr_adam_rows& a) {
  check_threads(a), at_least_zero("N", a.N), at_least_zero("width", a.width);
  within<int64_t>("most_visible", a.most_visible, 0, INT32_MAX);
  within<int64_t>("most_intersections", a.most_intersections, 0, INT32_MAX);
}

inline void check_numbers(const gsr_floor& a) { check_threads(a); }

inline void check_numbers(const gsr_scalar& a) {
  check_threads(a), check_size(a), check_cutoffs(a), at_least_zero("channels", a.channels);
  within<int64_t>("N", a.N, 0, INT32_MAX - 1);
}

}  // namespace gsr
