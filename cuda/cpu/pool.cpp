#include "pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace gsr {
namespace {

class Pool {
 public:
  void run(int threads, int64_t chunks, const std::function<void(int64_t, int)>& body) {
    std::lock_guard<std::mutex> one_caller(caller_);
    const int helpers = static_cast<int>(std::min<int64_t>(threads, chunks)) - 1;
    grow(helpers);
    body_ = &body, chunks_ = chunks, next_ = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      pending_ = helpers, wanted_ = helpers, ++generation_;
    }
    if (helpers > 0) wake_.notify_all();
    work(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&] { return pending_ == 0; });
  }

 private:
  void grow(int helpers) {
    while (static_cast<int>(workers_) < helpers) {
      const int id = ++workers_;
      std::thread([this, id, seen = generation_] { loop(id, seen); }).detach();
    }
  }

  void loop(int id, uint64_t seen) {
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return generation_ != seen; });
        seen = generation_;
        if (id > wanted_) continue;
      }
      work(id);
      std::lock_guard<std::mutex> lock(mutex_);
      if (--pending_ == 0) done_.notify_one();
    }
  }

  void work(int id) {
    for (int64_t chunk; (chunk = next_.fetch_add(1)) < chunks_;) (*body_)(chunk, id);
  }

  std::mutex caller_, mutex_;
  std::condition_variable wake_, done_;
  const std::function<void(int64_t, int)>* body_ = nullptr;
  int64_t chunks_ = 0;
  std::atomic<int64_t> next_{0};
  int workers_ = 0, wanted_ = 0, pending_ = 0;
  uint64_t generation_ = 0;
};

// Never destroyed: detached workers may still wait on it while the process ends.
Pool& pool() {
  static std::mutex mutex;
  static Pool* instance = nullptr;
  static pid_t owner = 0;
  std::lock_guard<std::mutex> lock(mutex);
  if (owner != getpid()) instance = new Pool, owner = getpid();
  return *instance;
}

}  // namespace

void parallel_for(int threads, int64_t chunks, const std::function<void(int64_t, int)>& body) {
  if (threads <= 1 || chunks <= 1) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(chunk, 0);
    return;
  }
  pool().run(threads, chunks, body);
}

}  // namespace gsr
