// The few things that a kernel needs beyond plain C++. Under nvcc each is an intrinsic; under a host compiler it runs
// on the emulator, so that warp-level logic is tested where there is no GPU. Warp operations are for all 32 lanes at
// once.
#pragma once
#include <math.h>
#include <stdint.h>

#include "gsr/math.h"

namespace gsr {
typedef void* Stream;  // a cudaStream_t, in a form that hosts without CUDA know
constexpr int kWarp = 32;

// Read and written in as few pieces as the processor can; may stand for numbers of T.
template <class T>
struct __attribute__((may_alias, aligned(2 * sizeof(T)))) Two {
  T x, y;
};
template <class T>
struct __attribute__((may_alias, aligned(16))) Four {
  T x, y, z, w;
};
}  // namespace gsr

#ifdef __CUDACC__
#include <cuda_pipeline.h>
#include <cuda_runtime.h>

#include <stdexcept>

#define GSR_KERNEL(...) __global__ void __launch_bounds__(__VA_ARGS__)  // threads, least blocks at once
#define GSR_DEVICE __device__ __forceinline__
#define GSR_SHARED __shared__
#define GSR_UNROLL _Pragma("unroll")
#define GSR_NO_UNROLL _Pragma("unroll 1")

namespace gsr {

inline void check(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

GSR_DEVICE int thread_index() { return threadIdx.x; }
GSR_DEVICE int64_t block_index() { return blockIdx.x; }
GSR_DEVICE uint32_t ballot(bool flag) { return __ballot_sync(0xffffffffu, flag); }
GSR_DEVICE bool warp_any(bool flag) { return __any_sync(0xffffffffu, flag); }
template <class T>
GSR_DEVICE T shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
template <class T>
GSR_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
GSR_DEVICE void warp_sync() { __syncwarp(); }
GSR_DEVICE void block_sync() { __syncthreads(); }
template <class T>
GSR_DEVICE void atomic_add(T* to, T value) {
  atomicAdd(to, value);
}
GSR_DEVICE void atomic_add(int64_t* to, int64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}
// Four at once; both at a multiple of their size.
GSR_DEVICE void atomic_add(Four<float>* to, Four<float> value) {
#if __CUDA_ARCH__ >= 900
  atomicAdd(reinterpret_cast<float4*>(to), make_float4(value.x, value.y, value.z, value.w));
#else
  atomicAdd(&to->x, value.x), atomicAdd(&to->y, value.y), atomicAdd(&to->z, value.z), atomicAdd(&to->w, value.w);
#endif
}
GSR_DEVICE void atomic_add(Four<double>* to, Four<double> value) {
  atomicAdd(&to->x, value.x), atomicAdd(&to->y, value.y), atomicAdd(&to->z, value.z), atomicAdd(&to->w, value.w);
}
// The larger of both; of numbers that are not negative, whose bits have their order.
GSR_DEVICE void atomic_max(float* to, float value) { atomicMax(reinterpret_cast<int*>(to), __float_as_int(value)); }
GSR_DEVICE void atomic_max(double* to, double value) {
  atomicMax(reinterpret_cast<long long*>(to), __double_as_longlong(value));
}

// 16 bytes into shared memory, in the background until copy_wait().
GSR_DEVICE void copy_async(void* to, const void* from) { __pipeline_memcpy_async(to, from, 16); }
GSR_DEVICE void copy_commit() { __pipeline_commit(); }
// All but the last `pending` commits have arrived, for this thread; block_sync() for all.
template <int pending>
GSR_DEVICE void copy_wait() {
  __pipeline_wait_prior(pending);
}

GSR_DEVICE int bit_count(uint32_t x) { return __popc(x); }
// 2 units in the last place; below 2^-126 the result is 0.
GSR_DEVICE float exp2_of(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GSR_DEVICE double exp2_of(double x) { return exp2(x); }
// 1 unit in the last place.
GSR_DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GSR_DEVICE double reciprocal(double x) { return 1 / x; }
GSR_DEVICE uint32_t float_bits(float x) { return __float_as_uint(x); }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, Stream stream, Arguments... arguments) {
  if (blocks == 0) return;
  if (blocks > INT32_MAX) throw std::length_error("too many blocks for one launch: render fewer cameras at once");
  kernel<<<static_cast<unsigned>(blocks), threads, 0, static_cast<cudaStream_t>(stream)>>>(arguments...);
  check(cudaGetLastError());
}
inline void fill_bytes(void* to, int value, int64_t bytes, Stream stream) {
  if (bytes) check(cudaMemsetAsync(to, value, bytes, static_cast<cudaStream_t>(stream)));
}
inline void copy_bytes(void* to, const void* from, int64_t bytes, Stream stream) {
  if (bytes) check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(stream)));
}
// Copies to the host and waits for it.
inline void read_back(void* host, const void* device, int64_t bytes, Stream stream) {
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, static_cast<cudaStream_t>(stream)));
  check(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
}

}  // namespace gsr
#else
#include "emulator.h"
#endif

namespace gsr {

GSR_DEVICE int lane_index() { return thread_index() % kWarp; }
GSR_DEVICE int warp_index() { return thread_index() / kWarp; }
// Set bits of a ballot that belong to lower lanes.
GSR_DEVICE int rank_in(uint32_t votes) { return bit_count(votes & ((1u << lane_index()) - 1)); }

template <class T>
GSR_DEVICE T warp_sum(T value) {
  for (int distance = kWarp / 2; distance; distance /= 2) value += shuffle_xor(value, distance);
  return value;
}

// a / b of numbers that are not negative: where both fit, in 32 bits, which is many times as fast.
GSR_DEVICE int64_t quotient(int64_t a, int64_t b) {
  return (a | b) >> 32 ? a / b : static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
}

inline int64_t blocks_for(int64_t items, int threads) { return (items + threads - 1) / threads; }

}  // namespace gsr
