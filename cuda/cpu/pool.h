// A small thread pool: one process-wide set of workers, created at first use, created again after a fork.
#pragma once
#include <stdint.h>

#include <functional>

namespace gsr {

// Runs body(chunk, worker) for every chunk below `chunks` on at most `threads` threads, the caller being worker 0.
// Chunks are handed out by one counter, in order.
void parallel_for(int threads, int64_t chunks, const std::function<void(int64_t, int)>& body);

}  // namespace gsr
