// launch.h — EMULATOR_ENTRY(kernel) makes a C function launch_<kernel> of a kernel.
#pragma once
#include <utility>

#include "state.h"

namespace emulator {

template <class T>
T value_at(const void *where) {
  alignas(T) unsigned char copy[sizeof(T)];
  std::memcpy(copy, where, sizeof(T));
  return reinterpret_cast<T &>(copy);
}

template <class... A>
struct Bound {
  void (*kernel)(A...);
  void *const *arguments;
  template <size_t... I>
  void call(std::index_sequence<I...>) const {
    kernel(value_at<std::remove_const_t<A>>(arguments[I])...);
  }
  static void thunk(const void *self) {
    static_cast<const Bound *>(self)->call(std::index_sequence_for<A...>());
  }
};

// What a GPU would not notice: another number of arguments than the kernel has, or other sizes.
template <class... A>
int launch(void (*kernel)(A...), const Request &request) {
  const unsigned long long sizes[] = {sizeof(A)..., 0};
  if (request.count != sizeof...(A)) return refuse(request, "another number of arguments");
  for (unsigned i = 0; i < request.count; i++)
    if (request.sizes[i] != sizes[i]) return refuse(request, "an argument has another size");
  const Bound<A...> bound{kernel, request.arguments};
  return run(request, &Bound<A...>::thunk, &bound);
}

}  // namespace emulator

#define EMULATOR_ENTRY(kernel)                                                \
  extern "C" __attribute__((visibility("default"))) int launch_##kernel(      \
      const emulator::Request *request) {                                     \
    return emulator::launch(kernel, *request);                                \
  }
