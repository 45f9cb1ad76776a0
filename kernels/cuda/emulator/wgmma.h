// wgmma.h — products by a warpgroup, at the last legal moment: the wait for their group. Whoever
// reads sums, or lets tiles be overwritten, before that is wrong. See wgmma.cuh; included there.
#pragma once
#include <vector>

#include "device.h"

namespace emulator {

struct Tiles {
  float *sums;
  int columns;
  unsigned long long a, b;
  void (*multiply)(const Tiles &);
};

struct Products {
  unsigned long serial = 0;  // of the block that these belong to
  std::vector<Tiles> open;
  std::vector<std::vector<Tiles>> committed;
};

// This thread's, empty at the start of a block.
inline Products &products() {
  static EMULATOR_LOCAL std::vector<Products> all;
  if (all.size() < 1024) all.resize(1024);
  Products &own = all[current->number];
  if (own.serial != block.serial) {
    own.open.clear();
    own.committed.clear();
    own.serial = block.serial;
  }
  return own;
}

// 16 elements of a tile's row, as its descriptor says.
template <class T>
void read_row(double (&to)[16], unsigned long long tile, int row) {
  const size_t start = (tile & 0x3fff) << 4, eight = (tile >> 32 & 0x3fff) << 4;
  for (int k = 0; k < 16; k++) {
    size_t at = start + row / 8 * eight + row % 8 * 128 + k * sizeof(T);
    at ^= (at >> 7 & 7) << 4;
    if (at + sizeof(T) > block.shared_bytes) fail("a tile of wgmma ends behind shared memory");
    T value;
    std::memcpy(&value, block.shared + at, sizeof value);
    to[k] = widen(value);
  }
}

inline unsigned long long tile_of(const void *p, const char *place) {
  const size_t at = static_cast<const unsigned char *>(p) - block.shared;
  if (at >= block.shared_bytes || at % 16)
    fail("%s: a tile is no chunk of dynamic shared memory", place);
  return at >> 4 | 1ull << 16 | (1024ull >> 4) << 32 | 1ull << 62;
}

template <class T>
void multiply_tiles(const Tiles &t) {
  const int row = current->warp % 4 * 16 + current->lane / 4;
  double left[2][16], right[16];
  for (int half = 0; half < 2; half++) read_row<T>(left[half], t.a, row + half * 8);
  for (int column = 0; column < t.columns / 4; column++) {
    read_row<T>(right, t.b, column / 2 * 8 + current->lane % 4 * 2 + column % 2);
    for (int half = 0; half < 2; half++) {
      float &sum = t.sums[column / 2 * 4 + half * 2 + column % 2];
      double exact = sum;
      for (int k = 0; k < 16; k++) exact += left[half][k] * right[k];
      sum = static_cast<float>(exact);
    }
  }
}

// Done by every lane before any goes on: the instruction is the warp's.
inline void wait_for_products(int left) {
  std::vector<std::vector<Tiles>> &committed = products().committed;
  while (static_cast<int>(committed.size()) > left) {
    for (const Tiles &tiles : committed.front()) tiles.multiply(tiles);
    committed.erase(committed.begin());
  }
  warp_barrier(~0u, "warpgroup_wait");
}

}  // namespace emulator

#define tile_of(p) emulator::tile_of(p, EMULATOR_HERE)
inline void warpgroup_fence() {}
inline void warpgroup_commit() {
  emulator::Products &own = emulator::products();
  own.committed.push_back(std::move(own.open));
  own.open.clear();
}
template <int LEFT, int COUNT>
void warpgroup_wait(float (&)[COUNT]) {
  emulator::wait_for_products(LEFT);
}
template <class T, int COUNT>
void warpgroup_multiply_add(float (&d)[COUNT], unsigned long long a, unsigned long long b, T) {
  emulator::products().open.push_back({d, 2 * COUNT, a, b, emulator::multiply_tiles<T>});
}
