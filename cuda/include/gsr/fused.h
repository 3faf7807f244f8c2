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
} gsr_photometry;

GSR_API int32_t gsr_photometric(gsr_photometry*);
GSR_API int32_t gsr_photometric_vjp(gsr_photometry*);
