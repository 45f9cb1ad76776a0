// scheduler.h — the turns of a block's threads, as fibers: a warp runs until each of its lanes waits
// for the block or has ended, then the next one. Part of runtime.cpp.
//
// A thread is never interrupted between two barriers, so a race shows only by the order of threads:
// forward, reverse and shuffled find what one order hides.
#pragma once
#include "fibers.h"
#include "order.h"

namespace emulator {
namespace {

struct Turns {
  std::vector<Thread> threads;
  std::vector<Fiber> fibers;
  std::vector<unsigned char> messages;  // as they were when the warp's barrier opened
  std::vector<Deferred> deferred;
  Fiber scheduler;
  Stacks stacks;
  void (*call)(const void *);
  const void *bound;
  bool failed;
  char error[256];
} turns;

void yield() { switch_to(turns.fibers[current->number], turns.scheduler); }

void entry() {
  turns.call(turns.bound);
  current->state = State::done;
  for (;;) yield();
}

void resume(Thread &thread) {
  current = &thread;
  switch_to(turns.scheduler, turns.fibers[thread.number]);
}

void prepare(int count) {
  turns.threads.resize(count);
  turns.fibers.resize(count);
  turns.messages.resize((count + WARP - 1) / WARP * WARP * MESSAGE);
  turns.stacks.reserve(count);
}

// What a launch takes of the process, given back when it ends.
struct Held {
  ~Held() { turns.stacks.release(); }
};

const char *base_name(const char *place) {
  const char *slash = std::strrchr(place, '/');
  return slash ? slash + 1 : place;
}

bool same_place(const char *a, const char *b) { return a == b || !std::strcmp(a, b); }

// The message of a rule that is broken; not by the thread that runs.
const char *broken(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(turns.error, sizeof turns.error, format, arguments);
  va_end(arguments);
  return turns.error;
}

// Open the barriers of a warp at which all the lanes that they name have arrived.
const char *open_warp_barriers(int warp, bool &any) {
  const int base = warp * WARP;
  const int count = block.threads - base < WARP ? block.threads - base : WARP;
  for (int lane = 0; lane < count; lane++) {
    Thread &thread = turns.threads[base + lane];
    if (thread.state != State::warp_barrier) continue;
    if (!(thread.mask >> lane & 1))
      return broken("%s: lane %d is not in its own mask", base_name(thread.place), lane);
    bool complete = true;
    for (int other = 0; other < WARP && complete; other++) {
      if (!(thread.mask >> other & 1)) continue;
      if (other >= count || turns.threads[base + other].state == State::done)
        return broken("%s: waits for lane %d, which has ended or was never there",
                      base_name(thread.place), other);
      const Thread &o = turns.threads[base + other];
      complete = o.state == State::warp_barrier && o.mask == thread.mask &&
                 same_place(o.place, thread.place);
    }
    if (!complete) continue;
    const unsigned mask = thread.mask;
    for (int other = 0; other < count; other++) {
      if (!(mask >> other & 1)) continue;
      Thread &o = turns.threads[base + other];
      std::memcpy(&turns.messages[o.number * MESSAGE], o.message, MESSAGE);
      o.state = State::ready;
    }
    any = true;
  }
  return nullptr;
}

// Run a warp until none of its lanes can go on.
const char *run_warp(int warp, const int *lanes) {
  const int base = warp * WARP;
  for (bool any = true; any;) {
    any = false;
    for (int i = 0; i < WARP; i++) {
      const int number = base + lanes[i];
      if (number >= block.threads || turns.threads[number].state != State::ready) continue;
      resume(turns.threads[number]);
      any = true;
      if (turns.failed) return turns.error;
    }
    for (int number = base; number < base + WARP && number < block.threads; number++) {
      Thread &thread = turns.threads[number];
      if (thread.state != State::waiting || !thread.condition(thread.object, thread.argument))
        continue;
      thread.state = State::ready;
      any = true;
    }
    if (const char *error = open_warp_barriers(warp, any)) return error;
  }
  return nullptr;
}

// Nothing runs any more: open the block's barrier, do one deferred thing, end, or say what is wrong.
const char *next_round(bool &ended) {
  bool waiting = false;
  for (Thread &thread : turns.threads) {
    if (thread.state != State::waiting) continue;
    if (thread.condition(thread.object, thread.argument)) return nullptr;  // by another warp
    waiting = true;
  }
  if (waiting) {
    if (turns.deferred.empty()) return broken("deadlock: what threads wait for never comes");
    const Deferred first = turns.deferred.front();
    turns.deferred.erase(turns.deferred.begin());
    first.run(first);
    return turns.failed ? turns.error : nullptr;
  }
  const char *place = nullptr;
  int done = 0, votes = 0;
  for (const Thread &thread : turns.threads) {
    if (thread.state == State::done) {
      done++;
      continue;
    }
    if (thread.state == State::warp_barrier)
      return broken("%s: deadlock: not every lane of mask %#x comes here", base_name(thread.place),
                    thread.mask);
    if (place && !same_place(place, thread.place))
      return broken("divergent barrier: threads wait at %s and at %s", base_name(place),
                    base_name(thread.place));
    place = thread.place;
    votes += thread.vote;
  }
  if (done == block.threads) {
    ended = true;
    return turns.deferred.empty() ? nullptr : broken("ended with asynchronous copies in flight");
  }
  if (done)
    return broken("%s: divergent barrier: %d of %d threads have ended", base_name(place), done,
                  block.threads);
  block.votes = votes;
  for (Thread &thread : turns.threads) thread.state = State::ready;
  return nullptr;
}

// One block; null, or what went wrong.
const char *run_block(unsigned order, void (*call)(const void *), const void *bound) {
  turns.call = call;
  turns.bound = bound;
  turns.failed = false;
  turns.deferred.clear();
  for (int i = 0; i < block.threads; i++) {
    Thread &thread = turns.threads[i];
    const unsigned n = static_cast<unsigned>(i);
    thread = Thread{};
    thread.index = {n % block.block.x, n / block.block.x % block.block.y,
                    n / block.block.x / block.block.y};
    thread.number = i;
    thread.lane = i % WARP;
    thread.warp = i / WARP;
    start(turns.fibers[i], turns.stacks.top(i), entry);
  }
  const int warps = (block.threads + WARP - 1) / WARP;
  std::vector<int> warp_order(warps);
  int lanes[WARP];
  for (bool ended = false; !ended;) {
    for (int i = 0; i < warps; i++) warp_order[i] = order == 1 ? warps - 1 - i : i;
    for (int i = 0; i < WARP; i++) lanes[i] = order == 1 ? WARP - 1 - i : i;
    if (order > 1) {
      shuffle(warp_order.data(), warps);
      shuffle(lanes, WARP);
    }
    for (int warp : warp_order)
      if (const char *error = run_warp(warp, lanes)) return error;
    if (const char *error = next_round(ended)) return error;
  }
  return nullptr;
}

}  // namespace

void block_barrier(const char *place) { block_vote(place, 0); }

int block_vote(const char *place, int vote) {
  current->state = State::block_barrier;
  current->place = place;
  current->vote = vote;
  yield();
  return block.votes;
}

void warp_barrier(unsigned mask, const char *place) {
  current->state = State::warp_barrier;
  current->mask = mask;
  current->place = place;
  yield();
}

const unsigned char *message_of(int lane) {
  return &turns.messages[(current->warp * WARP + lane) * MESSAGE];
}

void exchange_done() {}

void wait_until(bool (*condition)(void *, unsigned), void *object, unsigned argument,
                const char *place) {
  if (condition(object, argument)) return;
  current->state = State::waiting;
  current->place = place;
  current->condition = condition;
  current->object = object;
  current->argument = argument;
  yield();
}

void lock(const void *) {}

void unlock(const void *) {}

void defer(const Deferred &what) { turns.deferred.push_back(what); }

void fail(const char *format, ...) {
  if (!turns.failed) {
    va_list arguments;
    va_start(arguments, format);
    const uint3 i = current->index;
    const int used = std::snprintf(turns.error, sizeof turns.error, "thread (%u, %u, %u): ", i.x,
                                   i.y, i.z);
    std::vsnprintf(turns.error + used, sizeof turns.error - used, format, arguments);
    va_end(arguments);
  }
  turns.failed = true;
  current->state = State::done;
  for (;;) yield();
}

}  // namespace emulator
