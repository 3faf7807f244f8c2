// The one C interface of the native library: raw pointers and sizes, no torch. The CPU library implements it; the CUDA
// library implements the same symbols with a stream. All arrays are contiguous, of the type that `is_double` names
// (float or double) unless the field says otherwise. A function returns 0, or an error code with a text in gsr_error().
#pragma once
#include <stdint.h>

#define GSR_API extern "C" __attribute__((visibility("default")))

// Version of this interface; Python refuses a library of another one.
#define GSR_ABI 2

// Memory of a size that only the library knows comes from the caller: one call for each slot, 64-byte aligned.
typedef void* (*gsr_alloc)(void* context, int32_t slot, int64_t bytes);

// Splats seen by cameras: C cameras of one image size, N Gaussians. Outputs have the flat index camera * N + gaussian.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads, antialiased, orthographic;
  int32_t width, height;
  int64_t C, N;
  double near_plane, far_plane, radius_clip, eps2d, alpha_min;
  const void *means, *quats, *scales, *opacities;  // [N,3] [N,4] wxyz [N,3] linear [N] linear
  const void* warps;                               // [N,3,3] W of the covariance (W R S)(W R S)^T, or null
  const void *viewmats, *Ks;                       // [C,4,4] world to camera, [C,3,3]
  // forward: culled rows are zero
  void *means2d, *depths, *conics, *opacities2d;  // [C,N,2] [C,N] [C,N,3] [C,N] (with the antialiasing factor)
  void* shapes;                                   // [C,N,6] P, k, Q, log2 opacity, half extents x, y (values only)
  int32_t* radii;                                 // [C,N,2]
  int64_t* nonfinite;                             // [1] culled for an input without a meaning
  // backward: gradients of the outputs in, of the inputs out; on CUDA v_depths may be null
  const void *v_means2d, *v_depths, *v_conics, *v_opacities2d;
  void *v_means, *v_quats, *v_scales, *v_opacities;  // overwritten
  void *v_warps, *v_viewmats;                        // [N,3,3] or null, [C,4,4] or null
} gsr_projection;

// Front-to-back compositing of projected splats with D channels.
typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads, absgrad;
  int32_t width, height, channels;
  int64_t C, N;
  double alpha_min, alpha_max, transmittance_min;
  const void *means2d, *shapes, *depths, *features;  // features [C,N,D]
  const int32_t* radii;
  const void* backgrounds;  // [C,D] or null
  void *image, *alphas;     // [C,H,W,D] [C,H,W]
  gsr_alloc alloc;          // forward: asked for every slot of gsr_slot
  void* context;
  void* state[8];  // backward: what alloc returned, by slot
  int64_t visible, intersections;
  // backward; on CUDA v_alphas, shapes and, unless sums must be repeatable, depths may be null
  const void *v_image, *v_alphas;
  void *v_means2d, *v_conics, *v_opacities, *v_features, *v_absolute;  // overwritten; v_absolute [C,N,2] or null
} gsr_rasterization;

enum gsr_slot { GSR_RECORDS, GSR_FLAT_IDS, GSR_FIRST, GSR_LIST, GSR_MASKS, GSR_POSITIONS, GSR_TILES, GSR_PIXELS };

GSR_API int32_t gsr_abi(void);
GSR_API const char* gsr_error(void);
// Best instruction set of this processor among the built libraries: "avx512", "avx2" or "base".
GSR_API const char* gsr_best_isa(void);

// Wall-clock seconds of each stage, over all calls since it was last asked.
enum gsr_stage { GSR_SORT, GSR_BIN, GSR_FORWARD, GSR_BACKWARD, GSR_REDUCTION, GSR_STAGES };
GSR_API void gsr_timings(double* seconds);

GSR_API int32_t gsr_project(gsr_projection*);
GSR_API int32_t gsr_project_vjp(gsr_projection*);
GSR_API int32_t gsr_rasterize(gsr_rasterization*);
GSR_API int32_t gsr_rasterize_vjp(gsr_rasterization*);

#include "gsr/bench.h"
#include "gsr/fused.h"
#include "gsr/lift.h"
