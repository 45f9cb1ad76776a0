// mma.h — ldmatrix and mma.sync by exchange in a warp. Products are summed in double and rounded
// once: what a tensor core gives lies within its own error of that. See ptx.cuh; included there,
// behind types.cuh.
#pragma once
#include "device.h"

namespace emulator {

struct Operands {
  unsigned a[4], b[2];
};

// Every lane's operands, offered to all; to be ended by exchange_done.
inline void offer_operands(const unsigned (&a)[4], const unsigned (&b)[2], const char *place) {
  Operands own;
  std::memcpy(own.a, a, sizeof own.a);
  std::memcpy(own.b, b, sizeof own.b);
  offer(own, ~0u, place);
}

// The k-th element of two in a register.
template <class T>
double half_of(unsigned bits, int k) {
  return widen(T{static_cast<unsigned short>(k ? bits >> 16 : bits)});
}

template <class T>
void multiply_add_16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                     const char *place) {
  offer_operands(a, b, place);
  for (int i = 0; i < 4; i++) {
    const int row = current->lane / 4 + i / 2 * 8, column = current->lane % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < 16; k++) {
      const unsigned left = offered<Operands>(row % 8 * 4 + k % 8 / 2).a[row / 8 + k / 8 * 2];
      const unsigned right = offered<Operands>(column * 4 + k % 8 / 2).b[k / 8];
      sum += half_of<T>(left, k % 2) * half_of<T>(right, k % 2);
    }
    d[i] = static_cast<float>(sum);
  }
  exchange_done();
}

inline double tf32(unsigned bits) { return __uint_as_float(bits & 0xffffe000u); }

inline void product_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2],
                         const char *place) {
  offer_operands(a, b, place);
  for (int i = 0; i < 4; i++) {
    const int row = current->lane / 4 + i / 2 * 8, column = current->lane % 4 * 2 + i % 2;
    double sum = d[i];
    for (int k = 0; k < 8; k++) {
      const unsigned left = offered<Operands>(row % 8 * 4 + k % 4).a[row / 8 + k / 4 * 2];
      const unsigned right = offered<Operands>(column * 4 + k % 4).b[k / 4];
      sum += tf32(left) * tf32(right);
    }
    d[i] = static_cast<float>(sum);
  }
  exchange_done();
}

inline void read_matrices(unsigned (&r)[4], const void *own_row, bool transposed,
                          const char *place) {
  if (reinterpret_cast<uintptr_t>(own_row) % 16) fail("%s: a row is not aligned to 16 bytes", place);
  offer(own_row, ~0u, place);
  for (int i = 0; i < 4; i++) {
    unsigned short pair[2];
    for (int j = 0; j < 2; j++) {
      const int along = current->lane / 4, across = current->lane % 4 * 2 + j;
      const void *row = offered<const void *>(i * 8 + (transposed ? across : along));
      pair[j] = static_cast<const unsigned short *>(row)[transposed ? along : across];
    }
    r[i] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
  }
  exchange_done();
}

template <class T> struct Product {
  const char *place;
  void operator()(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], T) const {
    multiply_add_16<T>(d, a, b, place);
  }
};

struct MultiplyAdd : Product<float16>, Product<bfloat16> {
  explicit MultiplyAdd(const char *place) : Product<float16>{place}, Product<bfloat16>{place} {}
  using Product<float16>::operator();
  using Product<bfloat16>::operator();
};

}  // namespace emulator

#define load_matrices(r, row) emulator::read_matrices(r, row, false, EMULATOR_HERE)
#define load_matrices_transposed(r, row) emulator::read_matrices(r, row, true, EMULATOR_HERE)
#define multiply_add emulator::MultiplyAdd(EMULATOR_HERE)
#define multiply_add_tf32(d, a, b) emulator::product_tf32(d, a, b, EMULATOR_HERE)

inline unsigned tf32_of(float v) {
  const unsigned u = __float_as_uint(v);
  return (u & 0x7fffffffu) >= 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}
