// Sums over the pixels of maps, for each splat and camera: with w the weight with which a splat is blended into a
// pixel, w times the map, w, and the largest w. It is the adjoint of compositing features, without a forward image.
// Part of gsr.h: the same rules of types and errors hold.
#pragma once
#include <stdint.h>

typedef struct {
  uint32_t struct_size;
  int32_t is_double, threads;
  int32_t width, height, channels;
  int64_t C, N;
  double alpha_min, alpha_max, transmittance_min;
  const void *means2d, *shapes, *depths;  // as gsr_rasterize takes them
  const int32_t* radii;
  const void* maps;                // [C,H,W,D]
  void *sums, *weights, *largest;  // [C,N,D] [C,N] [C,N], overwritten
} gsr_lifting;

GSR_API int32_t gsr_lift(gsr_lifting*);

#ifdef __cplusplus
namespace gsr {

// The call whose tile lists these are: compositing without channels. It asks `alloc` for its memory.
inline gsr_rasterization compositing_of(const gsr_lifting& a, gsr_alloc alloc, void* context) {
  gsr_rasterization r = {};
  r.is_double = a.is_double, r.threads = a.threads, r.width = a.width, r.height = a.height, r.C = a.C, r.N = a.N;
  r.alpha_min = a.alpha_min, r.alpha_max = a.alpha_max, r.transmittance_min = a.transmittance_min;
  r.means2d = a.means2d, r.shapes = a.shapes, r.depths = a.depths, r.radii = a.radii;
  r.alloc = alloc, r.context = context;
  return r;
}

}  // namespace gsr
#endif
