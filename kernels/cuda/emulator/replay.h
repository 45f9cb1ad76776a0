// replay.h — EMULATOR_REPLAY({"kernel", launch_kernel}, …) makes a program of a file's kernels, that
// runs one launch from a file, for the sanitizers (replay.cpp).
#pragma once
#include "state.h"

namespace emulator {

struct Entry {
  const char *kernel;
  int (*launch)(const Request *);
};

// Reads the file argv[1], calls the kernel named argv[3], writes the arrays to argv[2].
int replay(char **argv, const Entry *entries, unsigned count);

}  // namespace emulator

#define EMULATOR_REPLAY(...)                                                      \
  int main(int, char **argv) {                                                    \
    const emulator::Entry entries[] = {__VA_ARGS__};                              \
    return emulator::replay(argv, entries, sizeof entries / sizeof entries[0]);   \
  }
