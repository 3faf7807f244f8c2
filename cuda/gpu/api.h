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
};

Session& session();

inline Stream stream() { return session().stream; }

// Memory for the length of this call.
template <class T>
T* scratch(int64_t count) {
  Session& s = session();
  void* memory = s.scratch(s.context, s.slots++, max(count, int64_t(1)) * static_cast<int64_t>(sizeof(T)));
  if (!memory) throw std::bad_alloc();
  return static_cast<T*>(memory);
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
    session().slots = 0;
    call(t);
  });
}

}  // namespace gsr
