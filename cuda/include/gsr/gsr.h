// The one C interface of the native library: raw pointers, sizes, no torch. The CPU library implements it; the CUDA
// library implements the same symbols with a stream.
#pragma once
#include <cstdint>

#define GSR_API extern "C" __attribute__((visibility("default")))

// Version of this interface; Python refuses a library of another one.
#define GSR_ABI 1

GSR_API int32_t gsr_abi(void);
