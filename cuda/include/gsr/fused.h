// Operators around the rasterizer, each one pass over memory. Part of gsr.h: the same rules of types and errors hold.
#pragma once
#include <stdint.h>

// Mean absolute difference and SSIM (11-tap Gaussian of sigma 1.5, zero padding) of C images, channels last.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int32_t width, height, channels;
  int64_t C, stride;            // elements from one pixel of `image` to the next; `target` has no gaps
  const void *image, *target;   // [C,H,W,D]
  const uint8_t* mask;          // [C,H,W], 0 = the pixel does not count, or null
  double* sums;                 // forward: [3] |x - y|, 1 - SSIM, number of values that count
  void* ssim_gradient;          // [C,H,W,D] of the sum of 1 - SSIM; forward writes it unless it is null, backward reads
  double scale_l1, scale_ssim;  // backward: what to multiply the two gradients by
  void* v_image;                // [C,H,W,D], no gaps
  const double* scales;         // CUDA alone: [2] on the device in place of the two numbers, or null
} gsr_photometry;

// Sums of spherical harmonics of degree 0 to 4 in the direction from camera centre to mean, plus bias, clamped at 0 or
// not; with the depth as one more channel when it is given.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads, degree, clamp;
  int64_t C, N, K, D;
  double bias;
  const void *sh, *means, *centers, *depths;    // [N,K,D] [N,3] [C,3]; [C,N] or null
  void* out;                                    // [C,N,D] or, with depths, [C,N,D+1]
  const void* v_out;                            // backward, which also reads `out`
  void *v_sh, *v_means, *v_centers, *v_depths;  // overwritten; v_means and v_centers may be null
} gsr_harmonics;

// Gaussians bound to rays: depth = exp(log_start + range tanh(residual)), mean = origin + depth ray, and log-scales
// that grow with the depth.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int64_t N;
  double range;
  const void *residual, *log_start, *origins, *rays, *log_sizes;  // [N] [N] [N,3] [N,3] [N,3]
  void *means, *log_scales;                                       // [N,3] [N,3]
  const void *v_means, *v_log_scales;
  void* v_residual;  // that of log_sizes is v_log_scales
} gsr_ray_points;

// The k <= 64 nearest points of each query, nearest first, ties by index; without queries, the nearest other points of
// each point. All are finite, and there are enough.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int64_t N, M, k;
  const void *points, *queries;  // [N,3]; [M,3], or null: the points are the queries, and M is N
  int32_t* neighbors;            // [M,k]
  void* distances;               // [M,k] squared
} gsr_neighbors;

// A graph with weighted edges, and attributes on its nodes:
// r_i = excess_i f_i + sum over the edges of i of weight (f_i - f_node).
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int64_t N, F;
  const int64_t* offsets;          // [N+1] where the edges of a node start
  const int32_t* nodes;            // [E] where an edge leads to
  const void *weights, *excess;    // [E]; [N] or null
  const void *factors, *features;  // [F]; [N,F]
  void* out;                       // [N,F] factors times r
  double* sum;                     // [1] of factors times r^2
} gsr_graph;

// Differences between neighbouring pixels of a map, along rows and along columns. A pair counts if both ends are valid;
// it weighs exp(-d / edge), with d the mean absolute difference of the guide's three channels.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int32_t width, height;
  int64_t C;
  double edge;
  const void* map;                // [C,H,W]
  const uint8_t *valid, *layers;  // [C,H,W]; layers may be null
  const void* guide;              // [C,H,W,3] or null
  double* sums;          // [2,4] by direction: |difference| by weight and number of pairs; those within one layer
  const double* v_sums;  // [2,4] backward; those of numbers are not read
  void* v_map;           // [C,H,W]
} gsr_variation;

// Sums of M bumps at N points: values = sum_b h_b w_b with heights h = exp(-|x - center|^2 / (2 radius^2) - sharp
// max(mean squared difference of the latent vectors - edge, 0)), and their derivatives by x. A bump whose exponent is
// below -faint counts as 0.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int64_t N, M, L, O;
  double edge, sharp, faint;
  const void *x, *latent;                 // [N,3] [N,L]
  const void *centers, *latents, *radii;  // [M,3] [M,L] [M]
  const void* weight;                     // [M,O]
  void *values, *slopes;                  // [N,O]; [3,N,O] or null
  const void* v_values;                   // [N,O] backward
  void *v_x, *v_weight;                   // [N,3]; [M,O] or null
} gsr_bumps;

// Adam over N rows of `width` numbers, some of which rest. The CPU refuses `now` and `counts`.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int64_t N, width;
  double lr, beta1, beta2, eps;
  double rest1, rest2;       // 1 - beta^t, or 1 for means that are not corrected
  const double* now;         // [3] lr, rest1, rest2 on the device in place of the three above, or null
  const int32_t* row_steps;  // [N] t of each row in place of rest1 and rest2, this step included, or null
  const uint8_t* visible;    // [N], 0 = the row rests, or null
  const int64_t* counts;     // those of a drawing with given capacities, or null: nothing is done where they are more
  int64_t most_visible, most_intersections;  // than these capacities
  const void* gradients;                     // [N,width]
  void *values, *exp_avg, *exp_avg_sq;       // [N,width]
} gsr_adam_rows;

GSR_API int32_t gsr_photometric(gsr_photometry*);
GSR_API int32_t gsr_photometric_vjp(gsr_photometry*);
GSR_API int32_t gsr_sh(gsr_harmonics*);
GSR_API int32_t gsr_sh_vjp(gsr_harmonics*);
GSR_API int32_t gsr_along_rays(gsr_ray_points*);
GSR_API int32_t gsr_along_rays_vjp(gsr_ray_points*);
GSR_API int32_t gsr_nearest(gsr_neighbors*);
GSR_API int32_t gsr_laplacian(gsr_graph*);
GSR_API int32_t gsr_total_variation(gsr_variation*);
GSR_API int32_t gsr_total_variation_vjp(gsr_variation*);
GSR_API int32_t gsr_bumps_at(gsr_bumps*);
GSR_API int32_t gsr_bumps_at_vjp(gsr_bumps*);
GSR_API int32_t gsr_adam(gsr_adam_rows*);
