#include <setjmp.h>
#include <stdlib.h>
#include <ucontext.h>

#include <algorithm>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.h"
#include "gsr/gsr.h"

namespace gsr {
namespace emu {
namespace {

constexpr int kStack = 256 << 10;

struct Copy {
  void* to;
  const void* from;
  int bytes, commit;
};

struct Fiber {
  std::vector<char> stack = std::vector<char>(kStack);
  ucontext_t start;
  jmp_buf at;
  bool started, done;
  Wait wait;
  int meetings, commits;
  std::vector<Copy> copies;
};

// What lanes bring to a meeting. Two rows: who leaves one meeting early may bring its number to the next.
struct Exchange {
  uint64_t of[2][kWarp];
};

std::vector<Fiber> fibers;
std::vector<Exchange> exchanges;  // by warp
const std::function<void()>* body;
int running;
int64_t block;
jmp_buf scheduler;
std::mt19937 shuffler;
bool shuffled = false;

void enter() {
  (*body)();
  fibers[running].done = true;
  longjmp(scheduler, 1);
}

// ucontext makes the first switch to a fiber's stack; after that longjmp, which unlike swapcontext calls no kernel.
void resume(int thread) {
  running = thread;
  Fiber& f = fibers[thread];
  if (setjmp(scheduler)) return;
  if (f.started) longjmp(f.at, 1);
  f.started = true;
  setcontext(&f.start);
}

void prepare(int threads) {
  if (static_cast<int>(fibers.size()) < threads) fibers.resize(threads);
  exchanges.resize((threads + kWarp - 1) / kWarp);
  for (int thread = 0; thread < threads; ++thread) {
    Fiber& f = fibers[thread];
    f.started = f.done = false, f.wait = Wait::none, f.meetings = f.commits = 0;
    f.copies.clear();
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack.data(), f.start.uc_stack.ss_size = f.stack.size(), f.start.uc_link = nullptr;
    makecontext(&f.start, enter, 0);
  }
}

// Lets the fibers [begin, end) go on if all of them wait for the same thing.
bool release(int begin, int end, bool of_block) {
  const Wait kind = fibers[begin].wait;
  if (kind == Wait::none || (kind == Wait::block) != of_block) return false;
  for (int i = begin; i < end; ++i)
    if (fibers[i].done || fibers[i].wait != kind) return false;
  for (int i = begin; i < end; ++i) fibers[i].wait = Wait::none;
  return true;
}

void run_block(int threads) {
  prepare(threads);
  std::vector<int> order(threads);
  for (int i = 0; i < threads; ++i) order[i] = i;
  for (int done = 0; done < threads;) {
    if (shuffled) std::shuffle(order.begin(), order.end(), shuffler);
    bool moved = false;
    for (int thread : order) {
      if (fibers[thread].done || fibers[thread].wait != Wait::none) continue;
      resume(thread);
      moved = true, done += fibers[thread].done;
    }
    for (int warp = 0; warp < threads; warp += kWarp) moved |= release(warp, std::min(warp + kWarp, threads), false);
    moved |= release(0, threads, true);
    if (!moved) throw std::logic_error("emulation: threads wait at an operation that others do not come to");
  }
}

// Not inlined: what a function that calls setjmp keeps in registers is lost.
__attribute__((noinline)) const uint64_t* bring(uint64_t value) {
  Fiber& f = fibers[running];
  uint64_t* row = exchanges[running / kWarp].of[f.meetings++ % 2];
  row[running % kWarp] = value;
  return row;
}

}  // namespace

int current_thread() { return running; }
int64_t current_block() { return block; }

const uint64_t* meet(Wait kind, uint64_t value) {
  const uint64_t* const brought = bring(value);
  fibers[running].wait = kind;
  if (!setjmp(fibers[running].at)) longjmp(scheduler, 1);
  return brought;
}

// Copies happen as late as they may, so that a missing wait shows.
void copy_later(void* to, const void* from, int bytes) {
  Fiber& f = fibers[running];
  f.copies.push_back({to, from, bytes, f.commits});
}

void commit_copies() { ++fibers[running].commits; }

void finish_copies(int pending) {
  Fiber& f = fibers[running];
  auto due = [&](const Copy& c) { return c.commit < f.commits - pending; };
  for (const Copy& c : f.copies)
    if (due(c)) memcpy(c.to, c.from, c.bytes);
  f.copies.erase(std::remove_if(f.copies.begin(), f.copies.end(), due), f.copies.end());
}

void run(int64_t blocks, int threads, const std::function<void()>& kernel) {
  body = &kernel;
  for (block = 0; block < blocks; ++block) run_block(threads);
}

}  // namespace emu
}  // namespace gsr

// Lanes in a random order from now on, or in their own with seed 0.
GSR_API void gsr_emu_shuffle(uint32_t seed) { gsr::emu::shuffled = seed != 0, gsr::emu::shuffler.seed(seed); }
