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
