// fibers.h — stacks, and the switch from one to another: callee-saved registers go on the old stack,
// come from the new one. Part of runtime.cpp.
#pragma once
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#endif

namespace emulator {

constexpr size_t STACK = 128 << 10;

#if defined(__x86_64__)
extern "C" void emulator_switch(void **save, void *to);
asm(R"(
.text
.p2align 4
.globl emulator_switch
.hidden emulator_switch
emulator_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");
struct Fiber { void *pointer; };
inline void start(Fiber &fiber, char *top, void (*entry)()) {
  void **slots = reinterpret_cast<void **>(reinterpret_cast<uintptr_t>(top) & ~15ul) - 2;
  slots[0] = reinterpret_cast<void *>(entry);  // where `ret` goes
  slots[1] = nullptr;
  fiber.pointer = slots - 6;
}
inline void switch_to(Fiber &from, Fiber &to) { emulator_switch(&from.pointer, to.pointer); }

#elif defined(__aarch64__)
extern "C" void emulator_switch(void **save, void *to);
asm(R"(
.text
.p2align 4
.globl emulator_switch
.hidden emulator_switch
emulator_switch:
    sub sp, sp, #160
    stp x19, x20, [sp]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldp x19, x20, [sp]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    ret
)");
struct Fiber { void *pointer; };
inline void start(Fiber &fiber, char *top, void (*entry)()) {
  char *frame = reinterpret_cast<char *>(reinterpret_cast<uintptr_t>(top) & ~15ul) - 160;
  std::memset(frame, 0, 160);
  reinterpret_cast<void **>(frame)[11] = reinterpret_cast<void *>(entry);  // x30
  fiber.pointer = frame;
}
inline void switch_to(Fiber &from, Fiber &to) { emulator_switch(&from.pointer, to.pointer); }

#else  // any other machine: slower, the same
struct Fiber { ucontext_t context; };
inline void start(Fiber &fiber, char *top, void (*entry)()) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = top - STACK;
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, entry, 0);
}
inline void switch_to(Fiber &from, Fiber &to) { swapcontext(&from.context, &to.context); }
#endif

// One stack a thread, as long as a launch: each is two mappings, of which a process has some 65,000,
// and every compiled kernel has a runtime of its own. Below each lies a page that may not be touched.
class Stacks {
 public:
  void reserve(int count) {
    release();
    count_ = count;
    memory_ = static_cast<char *>(mmap(nullptr, pitch() * count, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (int i = 0; i < count; i++) mprotect(memory_ + i * pitch(), page(), PROT_NONE);
  }
  void release() {
    if (memory_) munmap(memory_, pitch() * count_);
    memory_ = nullptr;
  }
  char *top(int i) { return memory_ + (i + 1) * pitch(); }

 private:
  static size_t page() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }
  static size_t pitch() { return STACK + page(); }
  char *memory_ = nullptr;
  int count_ = 0;
};

}  // namespace emulator
