// pack_channels.cu — the copy that a tensor-core step needs where channels are not neighbours: of x,
// dy or w with any strides, into rows of one group's channels, each row a whole number of 16 bytes.
//
// out[outer, p, group, c] = in(outer, p, group * channels + c), and 0 from `channels` up to
// `padded`; p counts four axes. Threads read along the last axis of p and write along c: a tile of
// 32 x 32 turns round in shared memory, 33 wide so that its columns lie in different banks.
//
// Predicted: one read and one write of the array, coalesced both ways for NCHW; at 4.3 TB/s that is
// 0.05 ms for 256 x 64 x 56 x 56 in 16 bits (2 x 103 MB), beside 0.12 ms for a 3x3 convolution of it;
// an element is a load, a store to shared memory and back, and some ten integer instructions. Full
// occupancy: 32 registers, 4 KiB a block of 8 warps.
// Measured: not yet on a GPU.
// Still slow: 2 or 4 bytes a thread at a time; whoever reads it next could have done it.
#include "types.cuh"

struct Pack {
  int outer, p0, p1, p2, p3, groups, channels, padded;
  offset in_outer, in_0, in_1, in_2, in_3, in_g, in_c;
};

static_assert(sizeof(Pack) == 8 * 4 + 7 * sizeof(offset), "as packed by the plan functions");

constexpr int SIDE = 32, ROWS = 8;

extern "C" __global__ void __launch_bounds__(SIDE * ROWS)
pack_channels(element *out, const element *in, const Pack s) {
  __shared__ element tile[SIDE][SIDE + 1];
  const int width = s.groups * s.padded, positions = s.p0 * s.p1 * s.p2 * s.p3;
  const int tiles_c = (width - 1) / SIDE + 1, tiles_p = (positions - 1) / SIDE + 1;
  unsigned at = blockIdx.x;
  const int c0 = at % tiles_c * SIDE, first = (at /= tiles_c) % tiles_p * SIDE;
  const int outer = at / tiles_p;

  const int p = first + threadIdx.x;
  const int i3 = p % s.p3, i2 = p / s.p3 % s.p2, i1 = p / s.p3 / s.p2 % s.p1;
  const int i0 = p / s.p3 / s.p2 / s.p1;
  const element *from = in + outer * s.in_outer + i0 * s.in_0 + i1 * s.in_1 + i2 * s.in_2 +
                        i3 * s.in_3;
#pragma unroll
  for (int r = threadIdx.y; r < SIDE; r += ROWS) {
    const int group = (c0 + r) / s.padded, c = (c0 + r) % s.padded;
    element v = Narrow<element>::of(0);
    if (p < positions && c0 + r < width && c < s.channels)
      v = from[group * s.in_g + c * s.in_c];
    tile[r][threadIdx.x] = v;
  }
  __syncthreads();
  const int c = c0 + threadIdx.x;
#pragma unroll
  for (int r = threadIdx.y; r < SIDE; r += ROWS)
    if (first + r < positions && c < width)
      out[(static_cast<offset>(outer) * positions + first + r) * width + c] =
          tile[threadIdx.x][r];
}
