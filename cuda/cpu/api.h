// What the CPU's entry points share.
#pragma once
#include <stdint.h>
#include <string.h>

#include <chrono>

#include "gsr/dispatch.h"
#include "gsr/gsr.h"

namespace gsr {

// Adds the time from its making, or from next(), to a stage's total.
class Stopwatch {
 public:
  explicit Stopwatch(gsr_stage stage) : stage_(stage), start_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() { next(stage_); }
  void next(gsr_stage stage);

 private:
  gsr_stage stage_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace gsr
