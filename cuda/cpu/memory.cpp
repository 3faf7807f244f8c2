#include "memory.h"

#include <stdlib.h>
#include <sys/mman.h>

#include <map>
#include <mutex>
#include <new>

namespace gsr {
namespace {

constexpr int64_t kHeader = 64, kHugePage = 2 << 20;

struct Header {
  int64_t bytes;
};

// Never destroyed: threads may still return memory while the process ends.
struct Store {
  std::mutex mutex;
  std::multimap<int64_t, Header*> spare;  // by size
  int64_t spare_bytes = 0, used_bytes = 0, most_used_bytes = 0;
};

Store& store() {
  static Store* instance = new Store;
  return *instance;
}

}  // namespace

void* take_memory(int64_t bytes) {
  bytes += kHeader;
  Store& s = store();
  std::lock_guard<std::mutex> lock(s.mutex);
  auto found = s.spare.lower_bound(bytes);
  Header* block;
  if (found != s.spare.end() && found->first <= 2 * bytes + kHugePage) {
    block = found->second;
    s.spare_bytes -= block->bytes;
    s.spare.erase(found);
  } else {
    bytes = (bytes + bytes / 8 + kHeader - 1) / kHeader * kHeader;
    const int64_t alignment = bytes >= kHugePage ? kHugePage : kHeader;
    void* memory = nullptr;
    if (posix_memalign(&memory, alignment, bytes)) throw std::bad_alloc();
    madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // only advice: failure costs time, not results
    block = static_cast<Header*>(memory);
    block->bytes = bytes;
  }
  s.used_bytes += block->bytes;
  if (s.used_bytes > s.most_used_bytes) s.most_used_bytes = s.used_bytes;
  return reinterpret_cast<char*>(block) + kHeader;
}

// Spare memory never exceeds what was in use at once, so what an early, larger scene left behind goes.
void give_memory(void* memory) {
  Header* block = reinterpret_cast<Header*>(static_cast<char*>(memory) - kHeader);
  Store& s = store();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.used_bytes -= block->bytes, s.spare_bytes += block->bytes;
  s.spare.emplace(block->bytes, block);
  while (s.spare_bytes > s.most_used_bytes) {
    Header* smallest = s.spare.begin()->second;
    s.spare_bytes -= smallest->bytes;
    s.spare.erase(s.spare.begin());
    free(smallest);
  }
}

}  // namespace gsr
