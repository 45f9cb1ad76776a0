// hopper.h — mbarrier, and copies by the tensor memory accelerator at the last legal moment: when no
// thread can go on. See hopper.cuh; included there.
#pragma once
#include "device.h"

// As packed by refconv's emulated maps; `size`, `stride` and `box` innermost first.
struct alignas(64) TensorMap {
  const unsigned char *base;
  int rank, bytes;      // of an element
  int size[5], box[5];  // of windows: box[0] channels, box[1] positions
  long long stride[4];  // of axes 1 and up, in bytes
  int windows;
  short low[2], high[2], step[2];  // of windows, along w and h: first and last base, from either end
};
static_assert(sizeof(TensorMap) == 128);

namespace emulator {

struct Phases {
  unsigned arrivals : 15, pending : 15, parity : 1, unused : 1;
  int bytes;
};
static_assert(sizeof(Phases) == sizeof(Barrier));
constexpr unsigned POISONED = 0x7fff;

inline Phases &phases(Barrier *b, const char *place) {
  Phases &found = *reinterpret_cast<Phases *>(b);
  if (found.arrivals == POISONED) fail("%s: a barrier that nobody initialised", place);
  return found;
}

inline void settle(Phases &p) {
  if (p.pending || p.bytes) return;
  p.pending = p.arrivals;
  p.parity ^= 1;
}

inline void barrier_begin(Barrier *b, int arrivals) {
  const unsigned n = static_cast<unsigned>(arrivals);
  *reinterpret_cast<Phases *>(b) = {n, n, 0, 0, 0};
}

inline void arrive(Barrier *b, int bytes, const char *place) {
  const Alone alone(b);
  Phases &p = phases(b, place);
  if (!p.pending) fail("%s: more arrivals than the barrier counts", place);
  p.bytes += bytes;
  p.pending--;
  settle(p);
}

inline bool phase_over(void *b, unsigned parity) {
  return static_cast<Phases *>(b)->parity != parity;
}

inline void check(Barrier *b, const char *place) {
  const Alone alone(b);
  phases(b, place);
}

inline void wait_for_phase(Barrier *b, int parity, const char *place) {
  check(b, place);
  wait_until(phase_over, b, static_cast<unsigned>(parity), place);
}

struct TensorCopy {
  TensorMap map;
  unsigned char *to;
  Barrier *barrier;
  int at[4], tap[2];
};
static_assert(sizeof(TensorCopy) <= sizeof(Deferred::payload));

// One row of a box: channels from at[0] on at these coordinates; zeros outside.
inline void copy_row(const TensorCopy &copy, int row, const long long (&at)[4]) {
  const TensorMap &m = copy.map;
  const unsigned char *from = m.base;
  bool inside = true;
  for (int axis = 1; axis < m.rank; axis++) {
    inside &= at[axis] >= 0 && at[axis] < m.size[axis];
    if (inside) from += at[axis] * m.stride[axis - 1];
  }
  for (int i = 0; i < m.box[0]; i++) {
    size_t to = copy.to - block.shared + static_cast<size_t>(row * m.box[0] + i) * m.bytes;
    to ^= (to >> 7 & 7) << 4;
    const long long c = at[0] + i;
    unsigned char *here = block.shared + to;
    if (inside && c >= 0 && c < m.size[0]) std::memcpy(here, from + c * m.bytes, m.bytes);
    else std::memset(here, 0, m.bytes);
  }
}

inline void copy_tensor(const Deferred &what) {
  TensorCopy copy;
  std::memcpy(static_cast<void *>(&copy), what.payload, sizeof copy);
  const TensorMap &m = copy.map;
  long rows = 0;
  if (m.windows) {
    int w = copy.at[1], h = copy.at[2], n = copy.at[3];
    for (; rows < m.box[1]; rows++) {
      copy_row(copy, rows, {copy.at[0], w + copy.tap[0], h + copy.tap[1], n});
      w += m.step[0];
      if (w <= m.size[1] - 1 + m.high[0]) continue;
      w = m.low[0], h += m.step[1];
      if (h > m.size[2] - 1 + m.high[1]) h = m.low[1], n++;
    }
  } else {
    for (int j = 0; j < m.box[2]; j++)
      for (int i = 0; i < m.box[1]; i++)
        copy_row(copy, rows++, {copy.at[0], copy.at[1] + i, copy.at[2] + j, 0});
  }
  const Alone alone(copy.barrier);
  Phases &p = *reinterpret_cast<Phases *>(copy.barrier);
  p.bytes -= static_cast<int>(rows * m.box[0] * m.bytes);
  settle(p);
}

inline void copy_later(void *to, const TensorMap *map, const int (&at)[4], const int (&tap)[2],
                       Barrier *barrier, bool windows, const char *place) {
  auto *start = static_cast<unsigned char *>(to);
  if ((start - block.shared) % 128) fail("%s: a box is not aligned to 128 bytes", place);
  if (map->windows != windows) fail("%s: the map is of the other kind", place);
  if (windows && (tap[0] < 0 || tap[0] > 255 || tap[1] < 0 || tap[1] > 255))
    fail("%s: an offset of windows has 8 bits", place);
  check(barrier, place);
  TensorCopy copy{*map, start, barrier, {at[0], at[1], at[2], at[3]}, {tap[0], tap[1]}};
  Deferred deferred{copy_tensor, {}};
  std::memcpy(deferred.payload, &copy, sizeof copy);
  defer(deferred);
}

}  // namespace emulator

inline void barrier_init(Barrier *b, int arrivals) { emulator::barrier_begin(b, arrivals); }
inline void barrier_init_fence() {}
#define barrier_arrive(b) emulator::arrive(b, 0, EMULATOR_HERE)
#define barrier_arrive_expect(b, bytes) emulator::arrive(b, bytes, EMULATOR_HERE)
#define barrier_wait(b, parity) emulator::wait_for_phase(b, parity, EMULATOR_HERE)
#define copy_box(to, map, c, i, j, b) \
  emulator::copy_later(to, map, {c, i, j, 0}, {0, 0}, b, false, EMULATOR_HERE)
#define copy_windows(to, map, c, w, h, n, tap_w, tap_h, b) \
  emulator::copy_later(to, map, {c, w, h, n}, {tap_w, tap_h}, b, true, EMULATOR_HERE)
