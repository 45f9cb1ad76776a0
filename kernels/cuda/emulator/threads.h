// threads.h — a block's threads as threads of the system, for ThreadSanitizer, which sees a race
// whatever the order. Slow, and only what needs no scheduler: full warps. Part of runtime.cpp.
#pragma once
#include <pthread.h>
#include <ctime>

#include "order.h"

namespace emulator {
namespace {

// The same threads for all blocks of a launch: to make one takes longer than most blocks.
struct Crew {
  std::vector<Thread> threads;
  std::vector<pthread_t> handles;
  std::vector<pthread_barrier_t> warps;
  std::vector<unsigned char> messages[2];  // of a warp's last barrier, and of the one before
  pthread_barrier_t all, turn;             // turn: a block's begin and end, and who gives blocks too
  void (*call)(const void *);
  const void *bound;
  bool over;
} crew;

EMULATOR_LOCAL int side;  // of the messages

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

void *body(void *given) {
  current = static_cast<Thread *>(given);
  for (;;) {
    pthread_barrier_wait(&crew.turn);  // there is a block, or no more
    if (crew.over) return nullptr;
    crew.call(crew.bound);
    pthread_barrier_wait(&crew.turn);  // it is done
  }
}

void prepare(int count) {
  crew.threads.resize(count);
  crew.handles.resize(count);
  for (auto &messages : crew.messages) messages.resize(count * MESSAGE);
  crew.over = false;
  pthread_barrier_init(&crew.all, nullptr, count);
  pthread_barrier_init(&crew.turn, nullptr, count + 1);
  crew.warps.resize((count + WARP - 1) / WARP);
  for (size_t w = 0; w < crew.warps.size(); w++)
    pthread_barrier_init(&crew.warps[w], nullptr, lanes_of(static_cast<int>(w)));
  for (int i = 0; i < count; i++)
    if (pthread_create(&crew.handles[i], nullptr, body, &crew.threads[i])) std::abort();
}

// What a launch takes of the process, given back when it ends.
struct Held {
  ~Held() {
    crew.over = true;
    pthread_barrier_wait(&crew.turn);
    for (pthread_t handle : crew.handles) pthread_join(handle, nullptr);
    pthread_barrier_destroy(&crew.all);
    pthread_barrier_destroy(&crew.turn);
    for (pthread_barrier_t &barrier : crew.warps) pthread_barrier_destroy(&barrier);
  }
};

const char *run_block(unsigned, void (*call)(const void *), const void *bound) {
  crew.call = call;
  crew.bound = bound;
  for (int i = 0; i < block.threads; i++) {
    Thread &thread = crew.threads[i];
    const unsigned n = static_cast<unsigned>(i);
    thread = Thread{};
    thread.index = {n % block.block.x, n / block.block.x % block.block.y,
                    n / block.block.x / block.block.y};
    thread.number = i;
    thread.lane = i % WARP;
    thread.warp = i / WARP;
  }
  pthread_barrier_wait(&crew.turn);
  pthread_barrier_wait(&crew.turn);
  return nullptr;
}

}  // namespace

void block_barrier(const char *) { pthread_barrier_wait(&crew.all); }

int block_vote(const char *, int vote) {
  current->vote = vote;
  pthread_barrier_wait(&crew.all);
  int votes = 0;
  for (const Thread &thread : crew.threads) votes += thread.vote;
  pthread_barrier_wait(&crew.all);
  return votes;
}

// A warp's messages lie in two places by turns: who reads the last ones need not wait for the others,
// who cannot write there before they have met once more.
void warp_barrier(unsigned mask, const char *place) {
  const int lanes = lanes_of(current->warp);
  if (mask != ~0u || lanes != WARP) fail("%s: only full warps here", place);
  side = !side;
  std::memcpy(&crew.messages[side][current->number * MESSAGE], current->message, MESSAGE);
  pthread_barrier_wait(&crew.warps[current->warp]);
}

const unsigned char *message_of(int lane) {
  return &crew.messages[side][(current->warp * WARP + lane) * MESSAGE];
}

void exchange_done() {}

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
