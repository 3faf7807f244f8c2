// Yardsticks for `gs-reg bench cpu`: of the CPU library alone, in float. Part of gsr.h: the same rules of errors hold.
#pragma once
#include <stdint.h>

// What this processor can do in bare loops, a second, all threads together.
typedef struct {
  uint32_t struct_size;
  int32_t threads, is_double;
  double forward_pairs, backward_pairs;  // (pixel, splat) pairs of 4x4 blocks with 3 channels
  double flops, bytes;                   // multiply-adds count twice; bytes read from memory
} gsr_floor;

// The plain scalar algorithm over one camera's projected splats, forward and backward.
typedef struct {
  uint32_t struct_size;
  int32_t threads, is_double;
  int32_t width, height, channels;
  int64_t N;
  double alpha_min, alpha_max, transmittance_min;
  const float *means2d, *conics, *opacities, *depths, *features;  // [N,2] [N,3] [N] [N] [N,D]
  const int32_t* radii;                                           // [N,2]
  float *image, *alphas;                                          // [H,W,D] [H,W]
  const float *v_image, *v_alphas;
  float *v_means2d, *v_conics, *v_opacities, *v_features;  // overwritten
  double sort_seconds, forward_seconds, backward_seconds;  // out
  // out, of gsr_bench_pairs alone: pairs that reach the image; pairs of the 4x4 blocks that they lie in, a block being
  // left out once all its pixels are finished; pixels that finish
  int64_t contributing, evaluated, saturated;
} gsr_scalar;

GSR_API int32_t gsr_bench_floor(gsr_floor*);
GSR_API int32_t gsr_bench_scalar(gsr_scalar*);
GSR_API int32_t gsr_bench_pairs(gsr_scalar*);
