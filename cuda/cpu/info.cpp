#include <string>

#include "api.h"

namespace gsr {
namespace {
thread_local std::string last_error;
}
void set_error(const char* text) { last_error = text; }
}  // namespace gsr

int32_t gsr_abi(void) { return GSR_ABI; }

const char* gsr_error(void) { return gsr::last_error.c_str(); }

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
