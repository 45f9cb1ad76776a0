// state.h — what the emulator knows of a running block, and the few ways in which a thread meets
// the others. Kernels see it through device.h; runtime.cpp is behind it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };

// With EMULATOR_THREADS a CUDA thread is a thread of the system, for ThreadSanitizer; else a fiber.
#ifdef EMULATOR_THREADS
#define EMULATOR_LOCAL thread_local
#else
#define EMULATOR_LOCAL
#endif

namespace emulator {

constexpr int WARP = 32;
constexpr int MESSAGE = 64;  // bytes a lane can offer its warp at once

enum class State : unsigned char { ready, block_barrier, warp_barrier, waiting, done };

struct Thread {
  uint3 index;
  int number, lane, warp;
  State state;
  const char *place;                         // of the barrier it waits at, file:line
  unsigned mask;                             // lanes it waits for
  alignas(16) unsigned char message[MESSAGE];  // what it offers at a warp's barrier
  int vote;                                  // what it offers at a block's barrier
  bool (*condition)(void *, unsigned);       // of State::waiting
  void *object;
  unsigned argument;
};

struct Block {
  dim3 grid, block;
  uint3 index;
  int threads;
  unsigned char *shared;  // dynamic shared memory
  size_t shared_bytes;
  unsigned long serial;   // counts blocks: whoever keeps state a block compares it
  int votes;              // sum of the votes at the last barrier
};

extern EMULATOR_LOCAL Thread *current;
extern Block block;

// Until every thread of the block is here; and the sum of their votes.
void block_barrier(const char *place);
int block_vote(const char *place, int vote);

// Until the lanes of mask are here; their messages may then be read, until exchange_done.
void warp_barrier(unsigned mask, const char *place);
const unsigned char *message_of(int lane);
void exchange_done();

// Until condition(object, argument) holds; it may change while other threads run.
void wait_until(bool (*condition)(void *, unsigned), void *object, unsigned argument,
                const char *place);

// Around what threads do to an object that others wait for. Fibers take turns: nothing happens then.
void lock(const void *object);
void unlock(const void *object);
struct Alone {
  const void *object;
  explicit Alone(const void *with) : object(with) { lock(object); }
  ~Alone() { unlock(object); }
};

// Something asynchronous (a bulk copy): done as late as possible, when no thread can go on; by
// threads of the system, which are not asked whether they can, at once.
struct Deferred {
  void (*run)(const Deferred &);
  alignas(16) unsigned char payload[256];
};
void defer(const Deferred &what);

// The kernel broke a rule: the launch ends here, with this message.
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// A launch as the caller describes it.
struct Request {
  unsigned grid[3], block[3];
  unsigned long long shared;
  void *const *arguments;           // where each argument lies
  const unsigned long long *sizes;  // and its bytes
  unsigned count;
  unsigned order;                   // of threads and blocks: 0 forward, 1 reverse, else shuffled
  char *error;
  unsigned long long error_bytes;
};

int run(const Request &request, void (*call)(const void *), const void *bound);
int refuse(const Request &request, const char *message);

}  // namespace emulator
