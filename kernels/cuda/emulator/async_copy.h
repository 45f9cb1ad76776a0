// async_copy.h — cp.async, at the last legal moment: the wait for its group. Whoever reads without
// waiting reads poison. See ptx.cuh.
#pragma once
#include <vector>

#include "state.h"

namespace emulator {

struct Copy {
  unsigned char *to;
  const void *from;
  int bytes;
  bool inside;
};

struct Groups {
  unsigned long serial = 0;  // of the block that these belong to
  std::vector<Copy> open;
  std::vector<std::vector<Copy>> committed;
};

// This thread's, empty at the start of a block.
inline Groups &groups() {
  static EMULATOR_LOCAL std::vector<Groups> all;
  if (all.size() < 1024) all.resize(1024);
  Groups &own = all[current->number];
  if (own.serial != block.serial) {
    own.open.clear();
    own.committed.clear();
    own.serial = block.serial;
  }
  return own;
}

inline void copy_async(void *to, const void *from, bool inside, int bytes, const char *place) {
  const auto source = reinterpret_cast<uintptr_t>(inside ? from : nullptr);
  if ((reinterpret_cast<uintptr_t>(to) | source) % bytes)
    fail("%s: an asynchronous copy is not aligned to its %d bytes", place, bytes);
  groups().open.push_back({static_cast<unsigned char *>(to), from, bytes, inside});
}

inline void copy_async_commit() {
  Groups &own = groups();
  own.committed.push_back(std::move(own.open));
  own.open.clear();
}

inline void copy_async_wait(int left) {
  std::vector<std::vector<Copy>> &committed = groups().committed;
  while (static_cast<int>(committed.size()) > left) {
    for (const Copy &copy : committed.front()) {
      if (copy.inside) std::memcpy(copy.to, copy.from, copy.bytes);
      else std::memset(copy.to, 0, copy.bytes);
    }
    committed.erase(committed.begin());
  }
}

}  // namespace emulator

#define copy_async_16(to, from, inside) \
  emulator::copy_async(to, from, inside, 16, EMULATOR_HERE)
#define copy_async_4(to, from, inside) emulator::copy_async(to, from, inside, 4, EMULATOR_HERE)
inline void copy_async_commit() { emulator::copy_async_commit(); }
template <int LEFT> void copy_async_wait() { emulator::copy_async_wait(LEFT); }
