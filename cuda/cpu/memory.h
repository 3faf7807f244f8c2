// Memory that lives for one call but is kept by the library from call to call: at these sizes, a fresh page costs more
// than the work done on it.
#pragma once
#include <stdint.h>

#include <utility>

namespace gsr {

// At least `bytes` bytes, aligned to 64; from any thread. Contents are whatever was there.
void* take_memory(int64_t bytes);
void give_memory(void* memory);

template <class T>
class Reused {
 public:
  explicit Reused(int64_t count) : data_(static_cast<T*>(take_memory(count * static_cast<int64_t>(sizeof(T))))) {}
  Reused(Reused&& other) : data_(std::exchange(other.data_, nullptr)) {}
  Reused(const Reused&) = delete;
  Reused& operator=(Reused&& other) {
    std::swap(data_, other.data_);
    return *this;
  }
  ~Reused() {
    if (data_) give_memory(data_);
  }
  T* data() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  T* data_;
};

// Scratch for each worker, no two on one cache line.
template <class T>
class Scratch {
 public:
  Scratch(int workers, int64_t count) : count_((count + 15) / 16 * 16), memory_((workers > 1 ? workers : 1) * count_) {}
  T* of(int worker) const { return memory_.data() + worker * count_; }

 private:
  int64_t count_;
  Reused<T> memory_;
};

}  // namespace gsr
