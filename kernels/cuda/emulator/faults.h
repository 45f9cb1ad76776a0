// faults.h — while a launch runs, touching memory that is not there ends the launch with a message
// instead of ending the process. Part of runtime.cpp.
#pragma once
#include <csetjmp>
#include <csignal>

namespace emulator {
namespace {

sigjmp_buf recovery;
const void *fault_address;

void on_fault(int, siginfo_t *info, void *) {
  fault_address = info->si_addr;
  siglongjmp(recovery, 1);  // off the fiber's stack, which nothing returns to
}

// Catches faults as long as it lives; the handler has a stack of its own, since a fiber's may be
// what overflowed.
class Faults {
 public:
  Faults() {
    stack_t own{};
    own.ss_sp = stack_;
    own.ss_size = sizeof stack_;
    sigaltstack(&own, &stack_before_);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    sigaction(SIGSEGV, &action, &segv_before_);
    sigaction(SIGBUS, &action, &bus_before_);
  }
  ~Faults() {
    sigaction(SIGSEGV, &segv_before_, nullptr);
    sigaction(SIGBUS, &bus_before_, nullptr);
    sigaltstack(&stack_before_, nullptr);
  }

 private:
  alignas(16) char stack_[64 << 10];
  stack_t stack_before_;
  struct sigaction segv_before_, bus_before_;
};

}  // namespace
}  // namespace emulator
