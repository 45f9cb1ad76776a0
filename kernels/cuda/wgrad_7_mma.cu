// wgrad_7_mma.cu — step 7 of the weight's gradient: a matrix product on tensor cores over all
// positions of the batch, cut into parts (split-K) that are added up in a fixed order.
//
// Rows of the product are output channels, columns (tap, input channel), and what is summed over is
// (n, od, oh, ow). Of both operands a position's channels are neighbours, so a tile's rows are
// positions, and fragments come out of it transposed: by ldmatrix for 16 bits, one by one for
// floats. A thread copies always the same channels and taps; its position goes on by POSITIONS a
// tile, carried from axis to axis without a division. Positions whose tap is outside x are zeros.
//
// dw is small and the sum long: blocks of one tile each would be few. So every tile has `splits`
// blocks, which write their sums to a workspace; conv_wgrad_mma_sum adds these in order, so the bits
// are always the same, and stores them in w's own layout. Sums that are not finite (padding's
// zeros times infinite gradients) are added up again there, as in igemm.cuh.
//
// Predicted, ResNet-50 3x3 64 -> 64 at 56x56, N = 256, bf16: 59 GFLOP; 9 tiles of 64x64, each with
// 30 splits; dy and x are read 9 times, mostly from L2, which gives 32 FLOP a byte: 300 us at 6
// TB/s. 4.4 MB of parts: 3 us. With 256 channels 128x128 tiles do twice as much a byte.
// 64x64 tiles: 4 warps, at most 128 registers, 4 blocks: 16 warps of 64.
// Measured: not yet on a GPU.
// Still slow: taps of the same x are read as if they were other columns; floats' fragments take
// 24 loads of 4 bytes a step of 16 products.
//
// Macros: BLOCK x BLOCK is a block's tile, of WARPS_M x WARPS_N warps; STAGES, BLOCKS as in
// igemm.cuh; TERMS of fragments.cuh. Dynamic shared memory: STAGES * 2 * POSITIONS * BLOCK elements.
#include "fragments.cuh"

#ifndef BLOCK
#define BLOCK 128
#define WARPS_M 2
#define WARPS_N 4
#define STAGES 4
#define BLOCKS 2
#endif

// As packed by the plan function. `rows`: output channels of a group; `inputs`: its input channels,
// in whole chunks `channels`; `span`: positions of a split.
struct Wgrad {
  int N, groups, rows, inputs, channels, splits, span;
  int ID, IH, IW, OD, OH, OW, KD, KH, KW;
  int step_d, step_h, step_w, start_d, start_h, start_w, hop_d, hop_h, hop_w;
  offset y_n, y_g, y_d, y_h, y_w, x_n, x_g, x_d, x_h, x_w, w_k, w_c, w_d, w_h, w_w;
};

static_assert(sizeof(Wgrad) == 25 * 4 + 15 * sizeof(offset) + (sizeof(offset) == 8 ? 4 : 0),
              "as packed by the plan function");

constexpr int THREADS = WARPS_M * WARPS_N * 32;
constexpr int WARP_M = BLOCK / WARPS_M, WARP_N = BLOCK / WARPS_N;
constexpr int ACROSS = BLOCK / VECTOR;   // chunks of a tile's row
constexpr int POSITIONS = 4 * VECTOR;    // rows of a tile: two steps of mma
constexpr int PASS = THREADS / ACROSS, COPIES = POSITIONS / PASS;
constexpr int HALF = POSITIONS * BLOCK;  // elements of one operand's tile
static_assert(POSITIONS % PASS == 0 && WARP_M % 16 == 0 && WARP_N % 16 == 0, "whole passes");

struct Place { int n, d, h, w; };

// Where a chunk lies: 8 rows' chunks of one column (16 bits), or 4 rows' pairs (floats), in
// different banks.
__device__ __forceinline__ int swizzled_wide(int row, int chunk) {
  return (row * ACROSS + (chunk ^ (VECTOR == 8 ? row % 8 : row % 4 * 2))) * VECTOR;
}

__device__ __forceinline__ unsigned word(const element *tile, int row, int column) {
  return *reinterpret_cast<const unsigned *>(tile + swizzled_wide(row, column / VECTOR) +
                                             column % VECTOR);
}

// The fragment of `a` for 16 channels from `column` on, and positions from step on.
__device__ __forceinline__ void turn_left(unsigned (&a)[4], const element *tile, int column,
                                          int step) {
  const int lane = threadIdx.x % 32;
  if (VECTOR == 8) {
    const int row = step * 16 + lane / 16 * 8 + lane % 8;
    load_matrices_transposed(a, tile + swizzled_wide(row, column / VECTOR + lane / 8 % 2));
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++)
      a[i] = word(tile, step * 8 + lane % 4 + i / 2 * 4, column + lane / 4 + i % 2 * 8);
  }
}

// Two fragments of `b`.
__device__ __forceinline__ void turn_right(unsigned (*b)[2], const element *tile, int column,
                                           int step) {
  const int lane = threadIdx.x % 32;
  if (VECTOR == 8) {
    unsigned both[4];
    const int row = step * 16 + lane % 16;
    load_matrices_transposed(both, tile + swizzled_wide(row, column / VECTOR + lane / 16));
    b[0][0] = both[0], b[0][1] = both[1], b[1][0] = both[2], b[1][1] = both[3];
  } else {
#pragma unroll
    for (int i = 0; i < 4; i++)
      b[i / 2][i % 2] = word(tile, step * 8 + lane % 4 + i % 2 * 4, column + lane / 4 + i / 2 * 8);
  }
}

extern "C" __global__ void __launch_bounds__(WARPS_M * WARPS_N * 32, BLOCKS)
conv_wgrad_mma(float *parts, const element *y, const element *x, const Wgrad g) {
  DYN_SHARED(element, tiles);  // [STAGES][dy, x][POSITIONS][BLOCK]
  const int columns = g.KD * g.KH * g.KW * g.channels;
  const int tiles_n = (columns - 1) / BLOCK + 1, tiles_m = (g.rows - 1) / BLOCK + 1;
  unsigned at = blockIdx.x;
  const int n0 = at % tiles_n * BLOCK, m0 = (at /= tiles_n) % tiles_m * BLOCK;
  const int group = (at /= tiles_m) % g.groups, split = at / g.groups;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warp_m = warp % WARPS_M * WARP_M, warp_n = warp / WARPS_M * WARP_N;

  // This thread's channels of dy, and tap and channels of x.
  const int chunk = threadIdx.x % ACROSS, first = threadIdx.x / ACROSS;
  const int oc = m0 + chunk * VECTOR, column = n0 + chunk * VECTOR;
  const int tap = column / g.channels, kw = tap % g.KW, kh = tap / g.KW % g.KH;
  const int kd = tap / g.KW / g.KH;
  const bool left_there = oc < g.rows, right_there = column < columns;
  const element *dy = y + group * g.y_g + (left_there ? oc : 0);
  const element *in = x + group * g.x_g + column % g.channels;
  const int d0 = g.start_d + kd * g.hop_d, h0 = g.start_h + kh * g.hop_h;
  const int v0 = g.start_w + kw * g.hop_w;

  // Its positions, and how they go on.
  Place place[COPIES];
#pragma unroll
  for (int i = 0; i < COPIES; i++) {
    unsigned p = split * unsigned(g.span) + first + i * PASS;
    place[i].w = p % g.OW, p /= g.OW;
    place[i].h = p % g.OH, p /= g.OH;
    place[i].d = p % g.OD, place[i].n = p / g.OD;
  }
  const int by_w = POSITIONS % g.OW, by_h = POSITIONS / g.OW % g.OH;
  const int by_d = POSITIONS / g.OW / g.OH % g.OD, by_n = POSITIONS / g.OW / g.OH / g.OD;

  auto next = [&](element *tile) {
#pragma unroll
    for (int i = 0; i < COPIES; i++) {
      Place &p = place[i];
      const bool there = p.n < g.N;
      const int d = d0 + p.d * g.step_d, h = h0 + p.h * g.step_h, v = v0 + p.w * g.step_w;
      const bool left = there && left_there;
      const bool right = there && right_there && unsigned(d) < unsigned(g.ID) &&
                         unsigned(h) < unsigned(g.IH) && unsigned(v) < unsigned(g.IW);
      const int to = swizzled_wide(first + i * PASS, chunk);
      copy_async_16(tile + to,
                    left ? dy + p.n * g.y_n + p.d * g.y_d + p.h * g.y_h + p.w * g.y_w : y, left);
      copy_async_16(tile + HALF + to,
                    right ? in + p.n * g.x_n + d * g.x_d + h * g.x_h + v * g.x_w : x, right);
      p.w += by_w, p.h += by_h, p.d += by_d, p.n += by_n;
      if (p.w >= g.OW) p.w -= g.OW, p.h++;
      if (p.h >= g.OH) p.h -= g.OH, p.d++;
      if (p.d >= g.OD) p.d -= g.OD, p.n++;
    }
  };

  const long long left_over = 1ll * g.N * g.OD * g.OH * g.OW - 1ll * split * g.span;
  const int steps = int((min(left_over, 1ll * g.span) + POSITIONS - 1) / POSITIONS);
#pragma unroll
  for (int s = 0; s < STAGES - 1; s++) {
    if (s < steps) next(tiles + s * 2 * HALF);
    copy_async_commit();
  }
  float sum[WARP_M / 16][WARP_N / 8][4] = {};
  for (int s = 0; s < steps; s++) {
    copy_async_wait<STAGES - 2>();
    __syncthreads();  // tile s is whole, and tile s - 1 is used up
    if (s + STAGES - 1 < steps) next(tiles + (s + STAGES - 1) % STAGES * 2 * HALF);
    copy_async_commit();
    const element *tile = tiles + s % STAGES * 2 * HALF;
#pragma unroll
    for (int step = 0; step < 2; step++) {
      unsigned left[WARP_M / 16][4], right[WARP_N / 8][2];
#pragma unroll
      for (int i = 0; i < WARP_M / 16; i++) turn_left(left[i], tile, warp_m + i * 16, step);
#pragma unroll
      for (int j = 0; j < WARP_N / 8; j += 2)
        turn_right(right + j, tile + HALF, warp_n + j * 8, step);
      multiply_all(sum, left, right, element{});
    }
  }
  copy_async_wait<0>();

  const offset K = g.rows * g.groups;
  float *out = parts + (split * K + group * g.rows) * columns;
#pragma unroll
  for (int i = 0; i < WARP_M / 16; i++)
#pragma unroll
    for (int j = 0; j < WARP_N / 8; j++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int row = m0 + warp_m + i * 16 + lane / 4 + half * 8;
        const int c = n0 + warp_n + j * 8 + lane % 4 * 2;
        if (row < g.rows && c < columns)
          *reinterpret_cast<float2 *>(out + static_cast<offset>(row) * columns + c) =
              make_float2(sum[i][j][half * 2], sum[i][j][half * 2 + 1]);
      }
}

extern "C" __global__ void __launch_bounds__(256)
conv_wgrad_mma_sum(element *w, const float *parts, const element *y, const element *x,
                   const Wgrad g) {
  const int columns = g.KD * g.KH * g.KW * g.channels, K = g.rows * g.groups;
  const unsigned at = blockIdx.x * 256u + threadIdx.x;
  if (at >= unsigned(K) * columns) return;
  const int oc = at / columns, column = at % columns, ic = column % g.channels;
  const int tap = column / g.channels, kw = tap % g.KW, kh = tap / g.KW % g.KH;
  const int kd = tap / g.KW / g.KH, group = oc / g.rows;
  if (ic >= g.inputs) return;
  float sum = 0;
#pragma unroll 1
  for (int s = 0; s < g.splits; s++)
    sum += parts[(static_cast<offset>(s) * K + oc) * columns + column];
  if (AGAIN && !is_finite(sum)) {
    sum = 0;
    const element *dy = y + group * g.y_g + oc % g.rows, *in = x + group * g.x_g + ic;
    for (int n = 0; n < g.N; n++)
      for (int od = 0; od < g.OD; od++)
        for (int oh = 0; oh < g.OH; oh++)
#pragma unroll 1
          for (int ow = 0; ow < g.OW; ow++) {
            const int d = od * g.step_d + g.start_d + kd * g.hop_d;
            const int h = oh * g.step_h + g.start_h + kh * g.hop_h;
            const int v = ow * g.step_w + g.start_w + kw * g.hop_w;
            if (d < 0 || d >= g.ID || h < 0 || h >= g.IH || v < 0 || v >= g.IW) continue;
            sum += load(dy + n * g.y_n + od * g.y_d + oh * g.y_h + ow * g.y_w) *
                   load(in + n * g.x_n + d * g.x_d + h * g.x_h + v * g.x_w);
          }
  }
  store(w + oc * g.w_k + ic * g.w_c + kd * g.w_d + kh * g.w_h + kw * g.w_w, sum);
}
