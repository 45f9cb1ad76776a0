// threads.h — a block's threads as threads of the system, for ThreadSanitizer, which sees a race
// whatever the order. Slow, and only what needs no scheduler: full warps. Part of runtime.cpp.
#pragma once
#include <pthread.h>
#include <ctime>

#include "order.h"

namespace emulator {
namespace {

struct Crew {
  std::vector<Thread> threads;
  std::vector<pthread_t> handles;
  std::vector<pthread_barrier_t> warps;
  pthread_barrier_t all;
  void (*call)(const void *);
  const void *bound;
} crew;

// What guards an object that threads wait for, by its address: a lock for all of them would order
// threads that a GPU does not.
constexpr int PATIENCE = 60;  // seconds
struct Door {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
};
Door doors[64];

Door &door_of(const void *object) { return doors[reinterpret_cast<uintptr_t>(object) / 8 % 64]; }

int lanes_of(int warp) {
  const int left = block.threads - warp * WARP;
  return left < WARP ? left : WARP;
}

struct Held {};  // each thread of the system has a stack of its own, and ends with the block

void prepare(int count) {
  crew.threads.resize(count);
  crew.handles.resize(count);
}

void *body(void *given) {
  current = static_cast<Thread *>(given);
  crew.call(crew.bound);
  return nullptr;
}

const char *run_block(unsigned, void (*call)(const void *), const void *bound) {
  crew.call = call;
  crew.bound = bound;
  pthread_barrier_init(&crew.all, nullptr, block.threads);
  crew.warps.resize((block.threads + WARP - 1) / WARP);
  for (size_t w = 0; w < crew.warps.size(); w++)
    pthread_barrier_init(&crew.warps[w], nullptr, lanes_of(static_cast<int>(w)));
  for (int i = 0; i < block.threads; i++) {
    Thread &thread = crew.threads[i];
    const unsigned n = static_cast<unsigned>(i);
    thread = Thread{};
    thread.index = {n % block.block.x, n / block.block.x % block.block.y,
                    n / block.block.x / block.block.y};
    thread.number = i;
    thread.lane = i % WARP;
    thread.warp = i / WARP;
    if (pthread_create(&crew.handles[i], nullptr, body, &thread)) std::abort();
  }
  for (pthread_t handle : crew.handles) pthread_join(handle, nullptr);
  pthread_barrier_destroy(&crew.all);
  for (pthread_barrier_t &barrier : crew.warps) pthread_barrier_destroy(&barrier);
  return nullptr;
}

}  // namespace

int block_barrier(const char *, int vote) {
  current->vote = vote;
  pthread_barrier_wait(&crew.all);
  int votes = 0;
  for (const Thread &thread : crew.threads) votes += thread.vote;
  pthread_barrier_wait(&crew.all);
  return votes;
}

void warp_barrier(unsigned mask, const char *place) {
  const int lanes = lanes_of(current->warp);
  if (mask != ~0u || lanes != WARP) fail("%s: only full warps here", place);
  pthread_barrier_wait(&crew.warps[current->warp]);
}

const unsigned char *message_of(int lane) { return crew.threads[current->warp * WARP + lane].message; }

void exchange_done() { pthread_barrier_wait(&crew.warps[current->warp]); }

void lock(const void *object) { pthread_mutex_lock(&door_of(object).mutex); }

void unlock(const void *object) {
  pthread_cond_broadcast(&door_of(object).changed);
  pthread_mutex_unlock(&door_of(object).mutex);
}

void wait_until(bool (*condition)(void *, unsigned), void *object, unsigned argument,
                const char *place) {
  Door &door = door_of(object);
  timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += PATIENCE;
  pthread_mutex_lock(&door.mutex);
  while (!condition(object, argument))
    if (pthread_cond_timedwait(&door.changed, &door.mutex, &end))
      fail("%s: waited %d s for what never came", place, PATIENCE);
  pthread_mutex_unlock(&door.mutex);
}

void defer(const Deferred &what) { what.run(what); }

void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  std::abort();
}

}  // namespace emulator
