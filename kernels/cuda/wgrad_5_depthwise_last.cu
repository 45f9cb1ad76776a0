// wgrad_5_depthwise_last.cu — wgrad_5_depthwise.cu in channels_last: a thread owns a vector of channels
// and one row of taps; one output channel an input channel. In two stages without atomics.
//
// A thread walks over every so many parts, 4 outputs in a row, of all images: it loads their dy and
// the elements of x that its row of taps meets, VECTOR channels at a time, and keeps TAPS_W vectors of
// sums. The PARTS threads of a block that share channels are added up in order, and what the blocks of
// a channel found (SPLITS of them, in a workspace) by conv_wgrad_depthwise_last_sum.
// What is outside x or y is skipped, which all lanes of a warp do together.
//
// Predicted, 3x3 C256@56 in float, N = 256: x and dy come from DRAM once if the blocks of three rows
// of taps run side by side, 1.64 GB, 382 us at 4.3 TB/s; from L2 three times. A thread has 10 loads
// of 16 bytes in flight for 48 multiply-adds. 94 registers: 2 blocks of 8 warps, 16 of 64.
// Measured: not yet on a GPU.
// Still slow: dy and x are loaded again for every row of taps.
//
// Macros: those of slide.cuh and channels.cuh, with ROWS = 1.
#include "channels.cuh"
#include "geometry.cuh"
#include "slide.cuh"

constexpr int BLOCK_C = THREADS_C * VECTOR;  // channels of a block

extern "C" __global__ void __launch_bounds__(THREADS, 1)
conv_wgrad_depthwise_last(accumulator *partial, const element *y, const element *x, const int splits,
                          const ConvGeometry g) {
  __shared__ accumulator held[PARTS * BLOCK_C];
  const int groups = (g.K - 1) / BLOCK_C + 1;
  unsigned block = blockIdx.x;
  const int kh = block % TAPS_H, group = (block /= TAPS_H) % groups, split = block / groups;
  const int lane = threadIdx.x % THREADS_C * VECTOR, own = threadIdx.x / THREADS_C;
  const int channel = group * BLOCK_C + lane, count = g.K - channel;

  accumulator sum[TAPS_W][VECTOR] = {};
  const int across = (g.OW - 1) / COLUMNS + 1;
  const int64 parts = static_cast<int64>(g.N) * g.OH * across;
  for (int64 at = split * PARTS + own; at < parts && count > 0; at += splits * PARTS) {
    const int ow = at % across * COLUMNS, oh = at / across % g.OH, n = at / across / g.OH;
    const int ih = oh * STRIDE_H - g.padding_h + kh * DILATION_H, left = left_of(ow, g.padding_w);
    if (ih < 0 || ih >= g.IH) continue;
    const element *dy = y + n * g.y_n + channel * g.y_k + oh * g.y_h;
    const element *row = x + n * g.x_n + channel * g.x_c + ih * g.x_h;
    accumulator grad[COLUMNS][VECTOR], v[SPAN_W][VECTOR];
#pragma unroll
    for (int i = 0; i < COLUMNS; i++)
      if (ow + i < g.OW) load_vector(grad[i], dy + (ow + i) * g.y_w, g.y_k, count);
#pragma unroll
    for (int s = 0; s < SPAN_W; s++)
      if (left + s >= 0 && left + s < g.IW)
        load_vector(v[s], row + (left + s) * g.x_w, g.x_c, count);
#pragma unroll
    for (int s = 0; s < SPAN_W; s++) {
      if (left + s < 0 || left + s >= g.IW) continue;
#pragma unroll
      for (int i = 0; i < COLUMNS; i++)
        if (tap_w(s, i) >= 0 && ow + i < g.OW)
#pragma unroll
          for (int k = 0; k < VECTOR; k++) sum[tap_w(s, i)][k] += grad[i][k] * v[s][k];
    }
  }

  accumulator *to = partial + static_cast<int64>(split) * g.K * (TAPS_H * TAPS_W) + kh * TAPS_W;
#pragma unroll
  for (int kw = 0; kw < TAPS_W; kw++) {
    __syncthreads();  // the last tap's sums are used up
#pragma unroll
    for (int k = 0; k < VECTOR; k++) held[own * BLOCK_C + lane + k] = sum[kw][k];
    __syncthreads();  // every thread's are there
    for (int i = threadIdx.x; i < BLOCK_C; i += THREADS) {
      accumulator total = 0;
#pragma unroll 1
      for (int p = 0; p < PARTS; p++) total += held[p * BLOCK_C + i];
      const int oc = group * BLOCK_C + i;
      if (oc < g.K) to[oc * (TAPS_H * TAPS_W) + kw] = total;
    }
  }
}

// One thread a weight.
extern "C" __global__ void __launch_bounds__(256)
conv_wgrad_depthwise_last_sum(element *w, const accumulator *partial, const int splits,
                              const ConvGeometry g) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x, oc = at / (TAPS_H * TAPS_W), k = at % (TAPS_H * TAPS_W);
  if (oc >= g.K) return;
  accumulator sum = 0;
  for (int split = 0; split < splits; split++)
    sum += partial[static_cast<int64>(split) * g.K * (TAPS_H * TAPS_W) + at];
  store(w + oc * g.w_k + k / TAPS_W * g.w_h + k % TAPS_W * g.w_w, sum);
}
