// Host side of device.h: the threads of a block are fibers, which run one at a time until they wait for one another.
// Blocks run one after the other. Any order of the fibers is a legal one, so tests shuffle it.
#pragma once
#include <stdint.h>
#include <string.h>

#include <functional>

#define GSR_KERNEL(...) static void
#define GSR_DEVICE inline
#define GSR_SHARED static
#define GSR_UNROLL
#define GSR_NO_UNROLL

namespace gsr {
namespace emu {

enum class Wait { none, ballot, shuffle, block };

int current_thread();
int64_t current_block();
// Waits until all lanes of the warp (for `block`: all threads) stand at an operation of the same kind. Returns the
// numbers that the lanes brought.
const uint64_t* meet(Wait kind, uint64_t value);
void copy_later(void* to, const void* from, int bytes);
void commit_copies();
void finish_copies(int pending);
void run(int64_t blocks, int threads, const std::function<void()>& body);

}  // namespace emu

GSR_DEVICE int thread_index() { return emu::current_thread(); }
GSR_DEVICE int64_t block_index() { return emu::current_block(); }

GSR_DEVICE uint32_t ballot(bool flag) {
  const uint64_t* flags = emu::meet(emu::Wait::ballot, flag);
  uint32_t bits = 0;
  for (int lane = 0; lane < kWarp; ++lane) bits |= static_cast<uint32_t>(flags[lane]) << lane;
  return bits;
}
GSR_DEVICE bool warp_any(bool flag) { return ballot(flag) != 0; }
template <class T>
GSR_DEVICE T shuffle(T value, int lane) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  bits = emu::meet(emu::Wait::shuffle, bits)[lane];
  memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
GSR_DEVICE T shuffle_xor(T value, int mask) {
  return shuffle(value, thread_index() % kWarp ^ mask);
}
GSR_DEVICE void warp_sync() { emu::meet(emu::Wait::ballot, 0); }
GSR_DEVICE void block_sync() { emu::meet(emu::Wait::block, 0); }
template <class T>
GSR_DEVICE void atomic_add(T* to, T value) {
  *to += value;
}
template <class T>
GSR_DEVICE void atomic_add(Four<T>* to, Four<T> value) {
  to->x += value.x, to->y += value.y, to->z += value.z, to->w += value.w;
}
template <class T>
GSR_DEVICE void atomic_max(T* to, T value) {
  *to = max(*to, value);
}
GSR_DEVICE void copy_async(void* to, const void* from) { emu::copy_later(to, from, 16); }
GSR_DEVICE void copy_commit() { emu::commit_copies(); }
template <int pending>
GSR_DEVICE void copy_wait() {
  emu::finish_copies(pending);
}

GSR_DEVICE int bit_count(uint32_t x) { return __builtin_popcount(x); }
GSR_DEVICE float exp2_of(float x) { return x < -126 ? 0.0f : exp2f(x); }
GSR_DEVICE double exp2_of(double x) { return exp2(x); }
template <class T>
GSR_DEVICE T reciprocal(T x) {
  return 1 / x;
}
GSR_DEVICE uint32_t float_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, int threads, Stream, Arguments... arguments) {
  emu::run(blocks, threads, [=] { kernel(arguments...); });
}
inline void fill_bytes(void* to, int value, int64_t bytes, Stream) {
  if (bytes) memset(to, value, bytes);
}
inline void copy_bytes(void* to, const void* from, int64_t bytes, Stream) {
  if (bytes) memcpy(to, from, bytes);
}
inline void read_back(void* host, const void* device, int64_t bytes, Stream) { memcpy(host, device, bytes); }

}  // namespace gsr
