// order.h — the orders in which blocks and threads take turns are shuffled by numbers of their own,
// the same in every run. Part of runtime.cpp.
#pragma once

namespace emulator {
namespace {

unsigned random_state;

void seed(unsigned value) { random_state = value * 2654435761u + 1; }

template <class T>
void shuffle(T *items, unsigned long count) {
  for (unsigned long i = count; i-- > 1;) {
    random_state = random_state * 1664525u + 1013904223u;
    const unsigned long j = (random_state >> 8) % (i + 1);
    const T kept = items[i];
    items[i] = items[j];
    items[j] = kept;
  }
}

}  // namespace
}  // namespace emulator
