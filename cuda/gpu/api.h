// What the entry points of the CUDA library share: stream and memory.
#pragma once
#include <new>
#include <stdexcept>

#include "device.h"
#include "gsr/dispatch.h"
#include "gsr/gsr_cuda.h"

namespace gsr {

struct Session {
  Stream stream = nullptr;
  bool deterministic = false;
  gsr_alloc scratch = nullptr;
  void* context = nullptr;
  int32_t slots = 0;
  char* memory = nullptr;  // what is left of the last block of scratch
  int64_t left = 0;
};

Session& session();

inline Stream stream() { return session().stream; }

constexpr int64_t kScratchBlock = 4 << 20, kAlignment = 256;

inline int64_t aligned(int64_t bytes) { return (max(bytes, int64_t(1)) + kAlignment - 1) / kAlignment * kAlignment; }

// Memory for the length of this call; small pieces are cut from a block, as asking the caller takes its time.
template <class T>
T* scratch(int64_t count) {
  Session& s = session();
  const int64_t bytes = aligned(count * static_cast<int64_t>(sizeof(T)));
  if (bytes > s.left) {
    const int64_t block = max(bytes, kScratchBlock);
    void* memory = s.scratch(s.context, s.slots++, block);
    if (!memory) throw std::bad_alloc();
    if (block == bytes) return static_cast<T*>(memory);
    s.memory = static_cast<char*>(memory), s.left = block;
  }
  T* piece = reinterpret_cast<T*>(s.memory);
  s.memory += bytes, s.left -= bytes;
  return piece;
}

template <class T>
T* zeros(int64_t count) {
  T* memory = scratch<T>(count);
  fill_bytes(memory, 0, count * static_cast<int64_t>(sizeof(T)), stream());
  return memory;
}

template <class T>
GSR_HD const T* input(const void* pointer) {
  return static_cast<const T*>(pointer);
}
template <class T>
GSR_HD T* output(void* pointer) {
  return static_cast<T*>(pointer);
}

// dispatch() with a session.
template <class Args, class Call>
int32_t on_stream(const Args* args, Call call) {
  return dispatch(args, [&](auto t) {
    if (!session().scratch) throw std::runtime_error("gsr_cuda_begin() was not called on this thread");
    session().slots = 0, session().left = 0;
    call(t);
  });
}

}  // namespace gsr
