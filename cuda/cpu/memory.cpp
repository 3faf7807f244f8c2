#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace gsr {
namespace {

constexpr int64_t kLine = 64, kPage = 4096, kHugePage = 2 << 20, kLeast = 256 << 10;

// Straight from the system: what a C library keeps of freed memory would count twice.
Workspace::Block allocate(int64_t size) {
  size = (size + kPage - 1) / kPage * kPage;
  const int64_t slack = size >= kHugePage ? kHugePage : 0;
  void* memory = mmap(nullptr, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  char* start = static_cast<char*>(memory);
  if (slack) {
    const int64_t before = (kHugePage - reinterpret_cast<uintptr_t>(start) % kHugePage) % kHugePage;
    if (before) munmap(start, before);
    if (before < slack) munmap(start + before + size, slack - before);
    start += before;
#ifdef MADV_HUGEPAGE
    madvise(start, size / kHugePage * kHugePage, MADV_HUGEPAGE);  // only advice: failure costs time, not results
#endif
  }
  return {start, size};
}

// Blocks that no call uses: as many as there were calls at once. Never destroyed: a thread may still be in a call while
// the process ends.
struct Idle {
  std::mutex mutex;
  std::vector<Workspace::Block> blocks;
};

Idle& idle() {
  static Idle* instance = new Idle;
  return *instance;
}

}  // namespace

Workspace::Workspace() {
  Idle& pool = idle();
  std::lock_guard<std::mutex> lock(pool.mutex);
  if (pool.blocks.empty()) return;
  blocks_.push_back(pool.blocks.back());
  pool.blocks.pop_back();
}

// What did not fit into one block will next time.
Workspace::~Workspace() {
  if (blocks_.size() > 1) {
    for (const Block& block : blocks_) munmap(block.memory, block.size);
    blocks_.clear();
    try {
      blocks_.push_back(allocate(taken_));
    } catch (const std::bad_alloc&) {
    }
  }
  if (blocks_.empty()) return;
  Idle& pool = idle();
  std::lock_guard<std::mutex> lock(pool.mutex);
  pool.blocks.push_back(blocks_[0]);
}

void* Workspace::take_bytes(int64_t bytes) {
  bytes = (bytes + kLine - 1) / kLine * kLine;
  std::lock_guard<std::mutex> lock(mutex_);
  if (blocks_.empty() || used_ + bytes > blocks_.back().size) {
    blocks_.push_back(allocate(std::max({bytes + bytes / 8, taken_ / 2, kLeast})));
    used_ = 0;
  }
  used_ += bytes, taken_ += bytes;
  return blocks_.back().memory + used_ - bytes;
}

}  // namespace gsr
