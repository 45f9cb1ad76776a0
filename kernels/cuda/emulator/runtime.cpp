// runtime.cpp — runs the blocks of a launch one after another: shared memory, poison, errors.
// Compiled once and linked with every kernel. How a block's threads take turns: scheduler.h or,
// for ThreadSanitizer, threads.h.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "state.h"

namespace emulator {
EMULATOR_LOCAL Thread *current;
Block block;
}  // namespace emulator

#ifdef EMULATOR_THREADS
#include "threads.h"
#else
#include "scheduler.h"
#endif

// A sanitizer has handlers of its own, which say more.
#if !defined(EMULATOR_THREADS) && !defined(__SANITIZE_ADDRESS__)
#define EMULATOR_FAULTS
#include "faults.h"
#endif

// Static shared memory lies in a section of its own (device.h), so that it can be poisoned.
extern "C" {
extern char __start_emulator_shared[] __attribute__((weak));
extern char __stop_emulator_shared[] __attribute__((weak));
}

namespace emulator {
namespace {

constexpr size_t BAND = 1024;          // on either side of dynamic shared memory; also its alignment
constexpr unsigned char POISON = 0xff;  // NaN in every format of floating point, −1 as an integer

// Dynamic shared memory of exactly so many bytes between bands. With AddressSanitizer the bands
// are malloc's red zones instead: a band of ours would hide what runs over.
class SharedMemory {
 public:
  explicit SharedMemory(size_t bytes) : bytes_(bytes) {
#ifdef __SANITIZE_ADDRESS__
    if (posix_memalign(reinterpret_cast<void **>(&base_), BAND, bytes ? bytes : 1)) std::abort();
    start_ = base_;
#else
    if (posix_memalign(reinterpret_cast<void **>(&base_), BAND, bytes + 3 * BAND)) std::abort();
    start_ = base_ + BAND;
#endif
  }
  ~SharedMemory() { std::free(base_); }
  unsigned char *start() { return start_; }
  void poison() {
#ifdef __SANITIZE_ADDRESS__
    std::memset(start_, POISON, bytes_);
#else
    std::memset(base_, POISON, bytes_ + 3 * BAND);
    if (__start_emulator_shared)
      std::memset(__start_emulator_shared, POISON, __stop_emulator_shared - __start_emulator_shared);
#endif
  }
  // How far outside it something was written, in bytes; 0: nowhere.
  long overrun() const {
#ifndef __SANITIZE_ADDRESS__
    for (size_t i = 0; i < BAND; i++) {
      if (start_[bytes_ + i] != POISON) return static_cast<long>(i) + 1;
      if (start_[-1 - static_cast<long>(i)] != POISON) return -1 - static_cast<long>(i);
    }
#endif
    return 0;
  }

 private:
  size_t bytes_;
  unsigned char *base_, *start_;
};

// The blocks' order: forward, reverse or shuffled, as the threads'.
std::vector<unsigned long> block_order(unsigned long count, unsigned order) {
  std::vector<unsigned long> found(count);
  for (unsigned long i = 0; i < count; i++) found[i] = order == 1 ? count - 1 - i : i;
  if (order > 1) shuffle(found.data(), count);
  return found;
}

int say(const Request &request, const char *where, const char *what) {
  std::snprintf(request.error, request.error_bytes, "%s%s", where, what);
  return 1;
}

}  // namespace

int refuse(const Request &request, const char *message) { return say(request, "", message); }

int run(const Request &request, void (*call)(const void *), const void *bound) {
  block.grid = {request.grid[0], request.grid[1], request.grid[2]};
  block.block = {request.block[0], request.block[1], request.block[2]};
  const unsigned long threads = 1ul * request.block[0] * request.block[1] * request.block[2];
  if (threads < 1 || threads > 1024) return refuse(request, "a block has 1 to 1024 threads");
  block.threads = static_cast<int>(threads);
  SharedMemory memory(request.shared);
  block.shared = memory.start();
  block.shared_bytes = request.shared;
  const unsigned long blocks = 1ul * request.grid[0] * request.grid[1] * request.grid[2];
  seed(request.order);
  prepare(block.threads);
  [[maybe_unused]] Held held;
#ifdef EMULATOR_FAULTS
  const Faults faults;
#endif
  for (unsigned long b : block_order(blocks, request.order)) {
    block.index = {static_cast<unsigned>(b % request.grid[0]),
                   static_cast<unsigned>(b / request.grid[0] % request.grid[1]),
                   static_cast<unsigned>(b / request.grid[0] / request.grid[1])};
    block.serial++;
    memory.poison();
    char where[160], what[96];
    std::snprintf(where, sizeof where, "block (%u, %u, %u): ", block.index.x, block.index.y,
                  block.index.z);
#ifdef EMULATOR_FAULTS
    if (sigsetjmp(recovery, 1)) {
      const uint3 thread = current->index;
      std::snprintf(where, sizeof where, "block (%u, %u, %u): thread (%u, %u, %u): ", block.index.x,
                    block.index.y, block.index.z, thread.x, thread.y, thread.z);
      std::snprintf(what, sizeof what, "no memory at address %p", fault_address);
      return say(request, where, what);
    }
#endif
    const char *broken = run_block(request.order, call, bound);
    if (broken) return say(request, where, broken);
    if (long by = memory.overrun()) {
      std::snprintf(what, sizeof what, "wrote byte %ld %s its %zu bytes of dynamic shared memory",
                    by > 0 ? by - 1 : -by, by > 0 ? "behind" : "before", block.shared_bytes);
      return say(request, where, what);
    }
  }
  return 0;
}

}  // namespace emulator
