// What every entry point shares: stream, memory, error text, and the choice between float and double.
#pragma once
#include <exception>
#include <new>
#include <stdexcept>

#include "device.h"
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
void set_error(const char* text);

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

// Runs call(float()) or call(double()); checks that caller and library agree on the struct; turns exceptions into
// codes.
template <class Args, class Call>
int32_t dispatch(const Args* args, Call call) {
  if (args->struct_size != sizeof(Args)) return set_error("library and caller disagree on the size of a struct"), 1;
  try {
    if (!session().scratch) throw std::runtime_error("gsr_cuda_begin() was not called on this thread");
    session().slots = 0;
    if (args->is_double) {
      call(double());
    } else {
      call(float());
    }
  } catch (const std::exception& error) {
    return set_error(error.what()), 2;
  }
  return 0;
}

}  // namespace gsr
