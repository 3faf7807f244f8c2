#include <atomic>
#include <string>

#include "api.h"

namespace gsr {
namespace {
thread_local std::string last_error;
std::atomic<int64_t> nanoseconds[GSR_STAGES];
}  // namespace

void set_error(const char* text) { last_error = text; }

void Stopwatch::next(gsr_stage stage) {
  const auto now = std::chrono::steady_clock::now();
  nanoseconds[stage_] += std::chrono::duration_cast<std::chrono::nanoseconds>(now - start_).count();
  stage_ = stage, start_ = now;
}
}  // namespace gsr

int32_t gsr_abi(void) { return GSR_ABI; }

const char* gsr_error(void) { return gsr::last_error.c_str(); }

void gsr_timings(double* seconds) {
  for (int stage = 0; stage < GSR_STAGES; ++stage) seconds[stage] = 1e-9 * gsr::nanoseconds[stage].exchange(0);
}

const char* gsr_best_isa(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return "avx512";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return "avx2";
#endif
  return "base";
}
