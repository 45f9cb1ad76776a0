// conv_6_winograd.cu — step 6: Winograd. Of a 3x3 convolution with stride 1, 36 products give the 16
// outputs of a 4x4 tile, which are 144 products otherwise (OUT 2: 16 for 4, which are 36).
//
// Four kernels: the filters are transformed once; then, for as many images as the workspaces hold,
// the tiles of x are transformed (they overlap by two rows and columns), at each of the POINTS of a
// tile the channels are summed by a product of matrices, and the sums are transformed into y. Sums
// and workspaces are in the accumulator's type; 16-bit elements are rounded once, when stored.
// dgrad is the same, of dy, with the kernel turned round.
//
// Anything infinite or NaN in a tile makes all of its outputs NaN: an output that is not finite is
// computed again, directly. So outside x may be zeros that meet an infinite weight.
//
// Predicted, for ResNet-50's 3x3 64 to 64 channels at 56x56, N = 256, float, OUT 4, on an H200: 59
// GFLOP become 14.8 in the products, 0.22 ms at best. The workspaces hold 2.25 times x and y each
// (462 MB), are written once and read once: 1.85 GB, 0.43 ms, more than all else. OUT 2: 0.39 ms,
// and 4 times x and y, 0.76 ms. With 512 channels at 7x7 the workspaces cost less than the products.
// The product: 8x8 sums a thread of 128, 16 multiply-adds for each vector load from shared memory;
// at most 128 registers, 4 blocks of 4 warps; 12 KiB of shared memory.
// Measured: not yet on a GPU.
// Still slow: what goes through the workspaces (to fuse the three kernels is the next step);
// threads of neighbouring tiles read x OUT apart.
//
// Macros: OUT; BLOCKS, of winograd_product on a multiprocessor.
#include "winograd.cuh"

#ifndef BLOCKS
#define BLOCKS 4
#endif

// u[point][c][k] = G w GT; zeros behind C and K. One thread a (c, k), neighbours along k.
extern "C" __global__ void __launch_bounds__(128)
winograd_filters(accumulator *u, const element *w, const WinogradGeometry g) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  const int k = at % g.K_pitch, c = at / g.K_pitch;
  if (c >= g.C_pitch) return;
  const bool there = c < g.C && k < g.K;
  accumulator taps[3][3];
#pragma unroll
  for (int kh = 0; kh < 3; kh++)
#pragma unroll
    for (int kw = 0; kw < 3; kw++)
      taps[kh][kw] =
          there ? load(w + g.w_first + k * g.w_k + c * g.w_c + kh * g.w_h + kw * g.w_w) : 0;
  const int64 point = static_cast<int64>(g.C_pitch) * g.K_pitch;
  both_axes<Filter, SIZE>(taps, [&](int i, int j, accumulator v) {
    u[(i * SIZE + j) * point + at] = v;
  });
}

// v[point][c][tile] = BT d B; zeros behind C and the tiles. One thread a (c, tile), neighbours along
// the tiles.
extern "C" __global__ void __launch_bounds__(128)
winograd_input(accumulator *v, const element *x, const WinogradGeometry g) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  const int tile = at % g.pitch, c = at / g.pitch;
  if (c >= g.C_pitch) return;
  const Tile t = tile_of(tile, g);
  const bool there = c < g.C && tile < g.N * g.TY * g.TX;
  const int ih = t.y * OUT - g.padding_h, iw = t.x * OUT - g.padding_w;
  const element *from = x + t.n * g.x_n + c * g.x_c;
  accumulator d[SIZE][SIZE];
#pragma unroll
  for (int i = 0; i < SIZE; i++)
#pragma unroll
    for (int j = 0; j < SIZE; j++) {
      const int h = ih + i, u = iw + j;
      const bool inside = there && h >= 0 && h < g.IH && u >= 0 && u < g.IW;
      d[i][j] = inside ? load(from + h * g.x_h + u * g.x_w) : 0;
    }
  const int64 point = static_cast<int64>(g.C_pitch) * g.pitch;
  both_axes<Input, SIZE>(d, [&](int i, int j, accumulator value) {
    v[(i * SIZE + j) * point + at] = value;
  });
}

constexpr int ROWS = 64, COLUMNS = 128, DEPTH = 8;  // result channels, tiles, channels of a turn

struct __align__(16) Four { accumulator v[4]; };

// m[point][k][tile] = sum over c of u[point][c][k] * v[point][c][tile]. A block has ROWS x COLUMNS
// sums; a thread 8 x 8 of them: rows 4 * ty and 32 + 4 * ty, columns 4 * tx and 64 + 4 * tx, so that
// neighbours read neighbouring vectors. While a turn is computed, the next one is loaded.
extern "C" __global__ void __launch_bounds__(128, BLOCKS)
winograd_product(accumulator *m, const accumulator *u, const accumulator *v,
                 const WinogradGeometry g) {
  __shared__ Four left[2][DEPTH][ROWS / 4], right[2][DEPTH][COLUMNS / 4];
  const int across = g.pitch / COLUMNS, down = g.K_pitch / ROWS;
  unsigned at = blockIdx.x;
  const int column = at % across * COLUMNS, row = (at /= across) % down * ROWS;
  const int64 point = at / down;
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;

  // This thread's vectors of a turn: one of u, two of v.
  const accumulator *from_u =
      u + (point * g.C_pitch + ty) * g.K_pitch + row + tx * 4;
  const accumulator *from_v = v + (point * g.C_pitch + ty) * g.pitch + column + tx * 4;
  Four a, b, c;
  auto fetch = [&] {
    a = *reinterpret_cast<const Four *>(from_u);
    b = *reinterpret_cast<const Four *>(from_v);
    c = *reinterpret_cast<const Four *>(from_v + 64);
    from_u += static_cast<int64>(DEPTH) * g.K_pitch;
    from_v += static_cast<int64>(DEPTH) * g.pitch;
  };

  accumulator sum[8][8] = {};
  fetch();
#pragma unroll 1
  for (int k = 0; k < g.C_pitch; k += DEPTH) {
    const int now = k / DEPTH % 2;  // the half that is filled; of the other, all are done
    left[now][ty][tx] = a;
    right[now][ty][tx] = b;
    right[now][ty][16 + tx] = c;
    __syncthreads();
    if (k + DEPTH < g.C_pitch) fetch();
#pragma unroll
    for (int s = 0; s < DEPTH; s++) {
      const Four l[2] = {left[now][s][ty], left[now][s][8 + ty]};
      const Four r[2] = {right[now][s][tx], right[now][s][16 + tx]};
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) sum[i][j] += l[i / 4].v[i % 4] * r[j / 4].v[j % 4];
    }
  }

#pragma unroll
  for (int i = 0; i < 8; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      Four out;
#pragma unroll
      for (int j = 0; j < 4; j++) out.v[j] = sum[i][half * 4 + j];
      const int64 to = (point * g.K_pitch + row + i / 4 * 32 + ty * 4 + i % 4) * g.pitch;
      *reinterpret_cast<Four *>(m + to + column + half * 64 + tx * 4) = out;
    }
}

// An output as its definition has it, for what does not survive the transforms.
__device__ __forceinline__ accumulator output_directly(const element *x, const element *w,
                                                       const WinogradGeometry &g, int k, int oh,
                                                       int ow) {
  accumulator sum = 0;
#pragma unroll 1
  for (int c = 0; c < g.C; c++)
#pragma unroll 1
    for (int kh = 0; kh < 3; kh++)
#pragma unroll 1
      for (int kw = 0; kw < 3; kw++) {
        const int ih = oh - g.padding_h + kh, iw = ow - g.padding_w + kw;
        if (ih < 0 || ih >= g.IH || iw < 0 || iw >= g.IW) continue;
        sum += load(x + c * g.x_c + ih * g.x_h + iw * g.x_w) *
               load(w + k * g.w_k + c * g.w_c + kh * g.w_h + kw * g.w_w);
      }
  return sum;
}

// y = AT m A + b. One thread a (k, tile), neighbours along the tiles.
extern "C" __global__ void __launch_bounds__(128, 4)
winograd_output(element *y, const accumulator *m, const element *x, const element *w,
                const element *b, const WinogradGeometry g) {
  const unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
  const int tile = at % g.pitch, k = at / g.pitch;
  if (k >= g.K || tile >= g.N * g.TY * g.TX) return;
  const Tile t = tile_of(tile, g);
  const int64 point = static_cast<int64>(g.K_pitch) * g.pitch;
  accumulator sums[SIZE][SIZE];
#pragma unroll
  for (int i = 0; i < SIZE; i++)
#pragma unroll
    for (int j = 0; j < SIZE; j++) sums[i][j] = m[(i * SIZE + j) * point + at];
  const accumulator bias = b ? load(b + k * g.b_k) : 0;
  element *to = y + t.n * g.y_n + k * g.y_c;
  unsigned lost = 0;  // one bit an output
  both_axes<Out, OUT>(sums, [&](int i, int j, accumulator v) {
    const int oh = t.y * OUT + i, ow = t.x * OUT + j;
    if (oh >= g.OH || ow >= g.OW) return;
    if (!(v - v == 0)) lost |= 1u << (i * OUT + j);
    store(to + oh * g.y_h + ow * g.y_w, finished(v + bias));
  });
  if (lost == 0) return;
#pragma unroll 1
  for (int o = 0; o < OUT * OUT; o++) {
    const int oh = t.y * OUT + o / OUT, ow = t.x * OUT + o % OUT;
    if (lost >> o & 1)
      store(to + oh * g.y_h + ow * g.y_w,
            finished(bias + output_directly(x + t.n * g.x_n, w + g.w_first, g, k, oh, ow)));
  }
}
