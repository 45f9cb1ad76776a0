// wgrad_5_depthwise.cu — the weights' gradient of a depthwise convolution, 1-D and 2-D, in NCHW, in two
// stages without atomics. (channels_last: wgrad_5_depthwise_last.cu.)
//
// A block takes one output channel and every SPLITS-th part of its planes (the PLANES of a tile are
// images here). It loads x's tile as conv_5_depthwise.cu does; a thread holds its outputs' dy and one
// sum for each tap in registers, and reads every row of its part once. Then the block adds up its
// threads' sums, always in the same order, and writes TAPS_H * TAPS_W numbers to a workspace, of which
// conv_wgrad_depthwise_sum adds up SPLITS for each weight, in order.
// Outside x the tile is 0, which a dy that is infinite or NaN would make NaN: a block that meets one
// does its share again, tap by tap, and skips.
//
// Predicted, 3x3 C256@56 in float, N = 256: x and dy read once, 1.64 GB: 382 us at 4.3 TB/s; 9
// multiply-adds for an element of dy, 22 of 128 a cycle; the sums at the end are 9 numbers of 196
// threads for some 64 tiles. 92 registers: 3 blocks of 7 warps, 21 of 64. Measured: not yet on a GPU.
// Still slow: dy is loaded by each thread for itself, 16 bytes at most; one tile in flight a block.
//
// Macros: those of slide.cuh and planes.cuh. Dynamic shared memory: the tile.
#include "geometry.cuh"
#include "planes.cuh"
#include "slide.cuh"

using Part2 = Tile<STEP_H, STEP_W, SPAN_H, SPAN_W>;

constexpr int TAPS = TAPS_H * TAPS_W, GROUP = 4, LANES = 8;  // taps summed at a time, by so many threads each

// Writes to `to` the sums over the block of the first `count` of GROUP values of each thread. `held`
// has room for GROUP * (THREADS + LANES). Every thread of the block comes here.
__device__ __forceinline__ void block_sums(const accumulator (&values)[GROUP], int count,
                                           accumulator *held, accumulator *to) {
  accumulator *partial = held + GROUP * THREADS;
  __syncthreads();  // what was held before is used up
#pragma unroll
  for (int i = 0; i < GROUP; i++) held[i * THREADS + threadIdx.x] = values[i];
  __syncthreads();  // every thread's values are there
  for (int i = threadIdx.x; i < GROUP * LANES; i += THREADS) {
    accumulator sum = 0;
    for (int t = i % LANES; t < THREADS; t += LANES) sum += held[i / LANES * THREADS + t];
    partial[i] = sum;
  }
  __syncthreads();  // and sums of every LANES-th
  for (int i = threadIdx.x; i < GROUP && i < count; i += THREADS) {
    accumulator sum = 0;
#pragma unroll
    for (int t = 0; t < LANES; t++) sum += partial[i * LANES + t];
    to[i] = sum;
  }
}

// Where a block is in its channel: images n to n + PLANES - 1, outputs from row, column on.
__device__ __forceinline__ Part part_at(unsigned at, const ConvGeometry &g) {
  const unsigned across = (g.OW - 1) / (THREADS_W * COLUMNS) + 1;
  const unsigned down = (g.OH - 1) / (THREADS_H * ROWS) + 1;
  Part p;
  p.column = at % across * (THREADS_W * COLUMNS), at /= across;
  p.row = at % down * (THREADS_H * ROWS);
  p.plane = at / down * PLANES;
  return p;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_wgrad_depthwise(accumulator *partial, const element *y, const element *x, const int splits,
                     const int parts, const ConvGeometry g) {
  DYN_SHARED(accumulator, tile);
  __shared__ int64 planes[PLANES];
  __shared__ accumulator held[GROUP * (THREADS + LANES)];
  const int oc = blockIdx.x % g.K, split = blockIdx.x / g.K, c = oc / (g.K / g.C);
  const Own own = own_outputs();

  accumulator sum[TAPS] = {};
  bool finite = true;
  for (int at = split; at < parts; at += splits) {
    const Part part = part_at(at, g);
    __syncthreads();  // the last tile is used up
    for (int i = threadIdx.x; i < PLANES; i += THREADS) {
      const int n = part.plane + i;
      planes[i] = n < g.N ? static_cast<int64>(n) * g.x_n + static_cast<int64>(c) * g.x_c : -1;
    }
    __syncthreads();  // where planes begin is known
    Part2::fill(tile, x, planes, top_of(part.row, g.padding_h), left_of(part.column, g.padding_w),
                g.IH, g.IW, g.x_h, g.x_w, 0);
    const int n = part.plane + own.plane, oh = part.row + own.row, ow = part.column + own.column;
    const int rows = n < g.N ? g.OH - oh : 0, columns = g.OW - ow;
    accumulator dy[ROWS][COLUMNS];
#pragma unroll
    for (int j = 0; j < ROWS; j++)
#pragma unroll
      for (int i = 0; i < COLUMNS; i++) {
        dy[j][i] = j < rows && i < columns ? load(y + n * g.y_n + oc * g.y_k + (oh + j) * g.y_h +
                                                  (ow + i) * g.y_w) : 0;
        finite &= dy[j][i] - dy[j][i] == 0;
      }
    __syncthreads();  // the tile is whole

    const accumulator *from = Part2::at(tile, own);
#pragma unroll
    for (int r = 0; r < SPAN_H; r++) {
      accumulator v[Part2::WIDTH];
      Part2::row(v, from, r);
#pragma unroll
      for (int j = 0; j < ROWS; j++) {
        const int kh = tap_h(r, j);
        if (kh < 0 || j >= rows) continue;
#pragma unroll
        for (int s = 0; s < SPAN_W; s++)
#pragma unroll
          for (int i = 0; i < COLUMNS; i++)
            if (tap_w(s, i) >= 0 && i < columns)  // x may be infinite behind the last output
              sum[kh * TAPS_W + tap_w(s, i)] += dy[j][i] * v[s];
      }
    }
  }

  finite = __syncthreads_and(finite);
  accumulator *to = partial + static_cast<int64>(split) * g.K * TAPS + oc * TAPS;
  if (finite) {
#pragma unroll
    for (int k = 0; k < TAPS; k += GROUP) {
      accumulator values[GROUP];
#pragma unroll
      for (int i = 0; i < GROUP; i++) values[i] = k + i < TAPS ? sum[k + i < TAPS ? k + i : 0] : 0;
      block_sums(values, TAPS - k, held, to + k);
    }
    return;
  }
#pragma unroll 1
  for (int k = 0; k < TAPS; k++) {  // again, with what is outside left out
    accumulator values[GROUP] = {};
#pragma unroll 1
    for (int at = split; at < parts; at += splits) {
      const Part part = part_at(at, g);
      const int n = part.plane + own.plane;
#pragma unroll 1
      for (int i = 0; i < ROWS * COLUMNS; i++) {
        const int oh = part.row + own.row + i / COLUMNS, ow = part.column + own.column + i % COLUMNS;
        const int ih = oh * STRIDE_H - g.padding_h + k / TAPS_W * DILATION_H;
        const int iw = ow * STRIDE_W - g.padding_w + k % TAPS_W * DILATION_W;
        if (n < g.N && oh < g.OH && ow < g.OW && ih >= 0 && ih < g.IH && iw >= 0 && iw < g.IW)
          values[0] += load(y + n * g.y_n + oc * g.y_k + oh * g.y_h + ow * g.y_w) *
                       load(x + n * g.x_n + c * g.x_c + ih * g.x_h + iw * g.x_w);
      }
    }
    block_sums(values, 1, held, to + k);
  }
}

// One thread a weight.
extern "C" __global__ void __launch_bounds__(256)
conv_wgrad_depthwise_sum(element *w, const accumulator *partial, const int splits,
                         const ConvGeometry g) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x, oc = at / TAPS, k = at % TAPS;
  if (oc >= g.K) return;
  accumulator sum = 0;
  for (int split = 0; split < splits; split++)
    sum += partial[static_cast<int64>(split) * g.K * TAPS + at];
  store(w + oc * g.w_k + k / TAPS_W * g.w_h + k % TAPS_W * g.w_w, sum);
}
