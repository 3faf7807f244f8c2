// Scratch of one call, in blocks that the library keeps for the next call: at these sizes, a fresh page costs more than
// the work done on it.
#pragma once
#include <stdint.h>

#include <mutex>
#include <vector>

namespace gsr {

class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Room for `count` elements, aligned to 64 bytes, with whatever was there; until the workspace ends. From any thread.
  template <class T>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(count * static_cast<int64_t>(sizeof(T))));
  }

  struct Block {
    char* memory;
    int64_t size;
  };

 private:
  void* take_bytes(int64_t bytes);

  std::mutex mutex_;
  std::vector<Block> blocks_;
  int64_t used_ = 0, taken_ = 0;  // of the last block; in all
};

// Room for each worker, no two on one cache line.
template <class T>
class Scratch {
 public:
  Scratch(Workspace& workspace, int workers, int64_t count)
      : count_((count + 15) / 16 * 16), memory_(workspace.take<T>((workers > 1 ? workers : 1) * count_)) {}
  T* of(int worker) const { return memory_ + worker * count_; }

 private:
  int64_t count_;
  T* memory_;
};

}  // namespace gsr
