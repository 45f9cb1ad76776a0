// access_log.h — what each thread of one block reads and writes. No kernel is changed for it: with
// -fsanitize=thread a compiler calls a function before every access to memory, and here these
// functions are; ThreadSanitizer itself is not linked. memcpy and memset of more than a few bytes
// (asynchronous copies) are caught by the linker's --wrap. Only what lies in the launch's arrays or
// in shared memory is noted, in order.
//
// The block is named, and no other runs; or it is the first that writes to a watched address, and
// those behind it do not run. Included in front of the kernel's unit.
#pragma once
#include <cstdlib>
#include <utility>

#include "launch.h"
#include "state.h"

#define EMULATOR_UNLOGGED __attribute__((no_sanitize_thread, noinline))
#define EMULATOR_EXPORTED extern "C" __attribute__((visibility("default")))

namespace emulator {

enum Kind : unsigned char { READ, WRITE };
constexpr unsigned char DYNAMIC = 254, STATIC = 255;  // shared memory, instead of an array
constexpr unsigned short NOBODY = 0xffff;             // a bulk copy, which belongs to no thread

struct Access {
  unsigned long long offset;       // in the array, in bytes
  unsigned long long instruction;  // where in the program
  unsigned size;
  unsigned short thread;
  unsigned char kind, array;
  unsigned char value[16];         // what is read, its first bytes; of a write nothing
};
static_assert(sizeof(Access) == 40);

struct Range {
  const unsigned char *start;
  unsigned long long bytes;
};

struct AccessLog {
  const Range *arrays = nullptr;
  unsigned count = 0;
  const unsigned char *watched = nullptr;
  long long only = -1;        // number of the block; −1: the one that writes to `watched`
  unsigned long long most = 0;
  bool on = false, found = false, full = false;
  unsigned long serial = 0;   // of the block that is noted
  uint3 index{};
  Access *items = nullptr;
  unsigned long long used = 0, room = 0;
};
inline AccessLog access_log;

extern "C" {
extern unsigned char __start_emulator_shared[] __attribute__((weak));
extern unsigned char __stop_emulator_shared[] __attribute__((weak));
}

EMULATOR_UNLOGGED inline long long number_of_block() {
  return block.index.x + 1ll * block.grid.x * (block.index.y + 1ll * block.grid.y * block.index.z);
}

// Whether this block need not run: it is not the one that is named, or that one is behind it.
EMULATOR_UNLOGGED inline bool passed_over() {
  const AccessLog &log = access_log;
  if (log.only >= 0) return log.only != number_of_block();
  return log.found && log.serial != block.serial;
}

EMULATOR_UNLOGGED inline void keep(const Access &what) {
  AccessLog &log = access_log;
  if (log.used == log.room) {
    if (log.room >= log.most) {
      log.full = true;
      return;
    }
    log.room = log.room ? 2 * log.room : 4096;
    if (log.room > log.most) log.room = log.most;
    log.items = static_cast<Access *>(std::realloc(log.items, log.room * sizeof(Access)));
    if (!log.items) std::abort();
  }
  log.items[log.used++] = what;
}

EMULATOR_UNLOGGED inline void note(const void *address, unsigned long long size, Kind kind,
                                   const void *instruction) {
  AccessLog &log = access_log;
  if (!log.on || !current) return;
  const unsigned char *at = static_cast<const unsigned char *>(address);
  Access made{0, reinterpret_cast<uintptr_t>(instruction), static_cast<unsigned>(size),
              static_cast<unsigned short>(current->number), kind, STATIC, {}};
  unsigned n = 0;
  while (n < log.count &&
         !(at >= log.arrays[n].start && at < log.arrays[n].start + log.arrays[n].bytes))
    n++;
  if (n < log.count) {
    made.array = static_cast<unsigned char>(n);
    made.offset = at - log.arrays[n].start;
  } else if (at >= block.shared && at < block.shared + block.shared_bytes) {
    made.array = DYNAMIC;
    made.offset = at - block.shared;
  } else if (at >= __start_emulator_shared && at < __stop_emulator_shared) {
    made.offset = at - __start_emulator_shared;
  } else {
    return;
  }
  if (current->state != State::ready) {  // nobody runs: a deferred copy, or the runtime's poison
    if (made.array == STATIC) return;
    made.thread = NOBODY;
  }
  if (log.serial != block.serial) {
    if (log.found) return;
    log.serial = block.serial;
    log.index = block.index;
    log.used = 0;
  }
  const bool hit = kind == WRITE && log.watched >= at && log.watched < at + size;
  log.found |= log.only >= 0 || hit;
  for (unsigned i = 0; kind == READ && i < size && i < sizeof made.value; i++)
    made.value[i] = at[i];
  keep(made);
}

template <class F, F *kernel> struct Logged;
template <class... A, void (*kernel)(A...)> struct Logged<void(A...), kernel> {
  static void call(A... arguments) {
    if (!passed_over()) kernel(arguments...);
  }
};

}  // namespace emulator

// What the compiler calls, by the size of the access.
#define EMULATOR_HOOK(name, size, kind)                                             \
  EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_##name(const void *p) {           \
    emulator::note(p, size, emulator::kind, __builtin_return_address(0));           \
  }
#define EMULATOR_HOOKS(size)             \
  EMULATOR_HOOK(read##size, size, READ)  \
  EMULATOR_HOOK(write##size, size, WRITE) \
  EMULATOR_HOOK(unaligned_read##size, size, READ) \
  EMULATOR_HOOK(unaligned_write##size, size, WRITE)
EMULATOR_HOOKS(1)
EMULATOR_HOOKS(2)
EMULATOR_HOOKS(4)
EMULATOR_HOOKS(8)
EMULATOR_HOOKS(16)
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_read_range(const void *p, unsigned long size) {
  emulator::note(p, size, emulator::READ, __builtin_return_address(0));
}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_write_range(const void *p, unsigned long size) {
  emulator::note(p, size, emulator::WRITE, __builtin_return_address(0));
}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_vptr_update(void **, void *) {}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_vptr_read(void **) {}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_func_entry(void *) {}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_func_exit() {}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void __tsan_init() {}

extern "C" void *__real_memcpy(void *, const void *, size_t);
extern "C" void *__real_memset(void *, int, size_t);
EMULATOR_EXPORTED EMULATOR_UNLOGGED void *__wrap_memcpy(void *to, const void *from, size_t size) {
  emulator::note(from, size, emulator::READ, __builtin_return_address(0));
  emulator::note(to, size, emulator::WRITE, __builtin_return_address(0));
  return __real_memcpy(to, from, size);
}
EMULATOR_EXPORTED EMULATOR_UNLOGGED void *__wrap_memset(void *to, int value, size_t size) {
  emulator::note(to, size, emulator::WRITE, __builtin_return_address(0));
  return __real_memset(to, value, size);
}

// Note the launch that comes next.
EMULATOR_EXPORTED EMULATOR_UNLOGGED void access_log_begin(const emulator::Range *arrays,
                                                          unsigned count, const void *watched,
                                                          long long only, unsigned long long most) {
  emulator::AccessLog &log = emulator::access_log;
  std::free(log.items);
  log = emulator::AccessLog{};
  log.arrays = arrays;
  log.count = count;
  log.watched = static_cast<const unsigned char *>(watched);
  log.only = only;
  log.most = most;
  log.on = true;
  emulator::current = nullptr;
}

// What was noted: where it begins, how many accesses, of which block; 1 if that was too much.
EMULATOR_EXPORTED EMULATOR_UNLOGGED int access_log_end(const emulator::Access **items,
                                                       unsigned long long *used, unsigned *block) {
  emulator::AccessLog &log = emulator::access_log;
  log.on = false;
  *items = log.items;
  *used = log.found ? log.used : 0;
  block[0] = log.index.x;
  block[1] = log.index.y;
  block[2] = log.index.z;
  return log.full;
}

#define EMULATOR_LOGGED(kernel)                                                            \
  EMULATOR_EXPORTED int launch_##kernel(const emulator::Request *request) {                \
    return emulator::launch(&emulator::Logged<decltype(kernel), kernel>::call, *request); \
  }
