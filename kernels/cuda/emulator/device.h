// device.h — CUDA C++'s words for the system's compiler: qualifiers, built-in variables, barriers,
// shuffles and votes. Intrinsics and atomics: intrinsics.h.
#pragma once
#include "intrinsics.h"
#include "state.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#if defined(__SANITIZE_ADDRESS__)
#define __shared__ static  // in no section: AddressSanitizer puts red zones around it
#else
#define __shared__ static __attribute__((section("emulator_shared")))
#endif
#define DYN_SHARED(T, name) T *name = reinterpret_cast<T *>(emulator::block.shared)

#define threadIdx (emulator::current->index)
#define blockIdx (emulator::block.index)
#define blockDim (emulator::block.block)
#define gridDim (emulator::block.grid)
#define warpSize 32

#define EMULATOR_TEXT_(x) #x
#define EMULATOR_TEXT(x) EMULATOR_TEXT_(x)
#define EMULATOR_HERE __FILE__ ":" EMULATOR_TEXT(__LINE__)

#define __syncthreads() emulator::block_barrier(EMULATOR_HERE)
#define __syncthreads_count(p) emulator::block_vote(EMULATOR_HERE, (p) ? 1 : 0)
#define __syncthreads_or(p) (emulator::block_vote(EMULATOR_HERE, (p) ? 1 : 0) > 0)
#define __syncthreads_and(p) (emulator::block_vote(EMULATOR_HERE, (p) ? 0 : 1) == 0)
#define __syncwarp emulator::WarpBarrier{EMULATOR_HERE}  // (mask), or ()

#define __shfl_sync(mask, v, ...) emulator::shuffle_from(EMULATOR_HERE, mask, v, __VA_ARGS__)
#define __shfl_up_sync(mask, v, ...) emulator::shuffle_up(EMULATOR_HERE, mask, v, __VA_ARGS__)
#define __shfl_down_sync(mask, v, ...) emulator::shuffle_down(EMULATOR_HERE, mask, v, __VA_ARGS__)
#define __shfl_xor_sync(mask, v, ...) emulator::shuffle_xor(EMULATOR_HERE, mask, v, __VA_ARGS__)
#define __ballot_sync(mask, p) emulator::ballot(EMULATOR_HERE, mask, p)
#define __any_sync(mask, p) (emulator::ballot(EMULATOR_HERE, mask, p) != 0)
#define __all_sync(mask, p) (emulator::ballot(EMULATOR_HERE, mask, !(p)) == 0)
#define __match_any_sync(mask, v) emulator::match(EMULATOR_HERE, mask, v)
#define __trap() emulator::fail("%s: trap", EMULATOR_HERE)

namespace emulator {

struct WarpBarrier {
  const char *place;
  void operator()(unsigned mask = ~0u) const {
    warp_barrier(mask, place);
    exchange_done();
  }
};

// Offer a value to the lanes of mask, and wait for theirs.
template <class T>
void offer(const T &value, unsigned mask, const char *place) {
  static_assert(sizeof(T) <= MESSAGE);
  std::memcpy(current->message, &value, sizeof(T));
  warp_barrier(mask, place);
}

template <class T>
T offered(int lane) {
  T value;
  std::memcpy(&value, message_of(lane), sizeof(T));
  return value;
}

// The value of lane `from`; poison if that lane takes no part, as its value is undefined then.
template <class T>
T exchange(const char *place, unsigned mask, T value, int from) {
  offer(value, mask, place);
  T found;
  std::memset(static_cast<void *>(&found), 0xff, sizeof(T));
  if (mask >> from & 1) found = offered<T>(from);
  exchange_done();
  return found;
}

template <class T>
T shuffle_from(const char *place, unsigned mask, T value, int source, int width = WARP) {
  const int lane = current->lane, first = lane / width * width;
  return exchange(place, mask, value, first + (source & (width - 1)));
}

template <class T>
T shuffle_up(const char *place, unsigned mask, T value, unsigned by, int width = WARP) {
  const int lane = current->lane, source = lane - static_cast<int>(by);
  return exchange(place, mask, value, source < lane / width * width ? lane : source);
}

template <class T>
T shuffle_down(const char *place, unsigned mask, T value, unsigned by, int width = WARP) {
  const int lane = current->lane, source = lane + static_cast<int>(by);
  return exchange(place, mask, value, source >= (lane / width + 1) * width ? lane : source);
}

template <class T>
T shuffle_xor(const char *place, unsigned mask, T value, int bits, int width = WARP) {
  const int lane = current->lane, source = lane ^ bits;
  return exchange(place, mask, value, source >= (lane / width + 1) * width ? lane : source);
}

inline unsigned ballot(const char *place, unsigned mask, bool vote) {
  offer(vote, mask, place);
  unsigned found = 0;
  for (int lane = 0; lane < WARP; lane++)
    if ((mask >> lane & 1) && offered<bool>(lane)) found |= 1u << lane;
  exchange_done();
  return found;
}

// The lanes of mask that offer the same value as this one.
template <class T>
unsigned match(const char *place, unsigned mask, T value) {
  offer(value, mask, place);
  unsigned found = 0;
  for (int lane = 0; lane < WARP; lane++)
    if ((mask >> lane & 1) && offered<T>(lane) == value) found |= 1u << lane;
  exchange_done();
  return found;
}

}  // namespace emulator
