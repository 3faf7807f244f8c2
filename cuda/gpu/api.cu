#include <string>

#include "api.h"

namespace gsr {
namespace {
thread_local std::string last_error;
thread_local Session current;
}  // namespace

Session& session() { return current; }
void set_error(const char* text) { last_error = text; }
}  // namespace gsr

int32_t gsr_abi(void) { return GSR_ABI; }

const char* gsr_error(void) { return gsr::last_error.c_str(); }

const char* gsr_best_isa(void) { return "cuda"; }

// Stages overlap on a stream: only a profiler knows their times.
void gsr_timings(double* seconds) {
  for (int stage = 0; stage < GSR_STAGES; ++stage) seconds[stage] = 0;
}

void gsr_cuda_begin(void* stream, int32_t deterministic, gsr_alloc scratch, void* context) {
  gsr::current.stream = stream, gsr::current.deterministic = deterministic != 0;
  gsr::current.scratch = scratch, gsr::current.context = context;
}
