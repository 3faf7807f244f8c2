// What the CUDA library adds to gsr.h. Its pointers are device pointers, but for `context` and the structs themselves;
// it works on the stream named here and waits for it only where gsr_rasterize has to ask how many tiles are hit: with
// `visible` and `intersections` given (as capacities, with slack), it does not wait at all and can be captured in a
// graph. Then the state keeps the true counts, and whatever is beyond a capacity is left out.
#pragma once
#include "gsr/gsr.h"

// For the calls of this thread from now on: the stream, whether sums must come out the same in every run, and where
// memory for the length of a call comes from (`slot` counts up; it may be handed out again to later work on the
// stream).
GSR_API void gsr_cuda_begin(void* stream, int32_t deterministic, gsr_alloc scratch, void* context);

// Adam over N rows of `width` numbers, some of which rest. The same rules of types and errors hold as in gsr.h.
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

GSR_API int32_t gsr_adam(gsr_adam_rows*);

// The gradient of projection, and Adam for its four inputs, in one pass: those gradients are not written anywhere.
// Gaussians that no camera sees rest.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int32_t in_logs;                   // the values of scales and opacities are logs and logits of what projection took
  const gsr_projection* projection;  // as gsr_project_vjp takes it, without warps; what it would write is not used
  double lr[4], beta1, beta2, eps;   // of means, quats, scales, opacities
  double rest1, rest2;               // 1 - beta^t, or 1 for means that are not corrected
  const double* now;                 // [6] lr, rest1, rest2 on the device in their place, or null
  const int64_t* counts;             // as in gsr_adam_rows
  int64_t most_visible, most_intersections;
  void *values[4], *exp_avg[4], *exp_avg_sq[4];  // [N,3] [N,4] [N,3] [N]
} gsr_adam_projection;

GSR_API int32_t gsr_project_adam(gsr_adam_projection*);
