// conv_4_stem.cu — step 4: few input channels (a network's first layer, 3 to 64 channels by 7x7 with
// stride 2), where a GEMM's depth is short and its windows overlap most. 1-D and 2-D.
//
// A block owns a tile of TILE_H x 32 outputs of one image. It loads the part of x under their
// windows, all channels of the group, into shared memory once, and keeps it for all the output
// channels, which it takes AT_ONCE at a time: loads their weights, all taps, and multiplies. Of the
// block's warps WARPS_H share the tile's rows, four each, and WARPS_K the channels, 16 each. A lane
// has one column: 4 rows x 16 channels, 64 sums in registers.
//
// Lanes read x stride_w columns apart, so a row of the tile is stored by phases of the stride, first
// the columns 0, stride, 2 stride …, then 1, stride + 1 …: whatever the stride, a warp reads 32
// neighbours, without a bank conflict. All lanes read the same weights, four at a time.
//
// Predicted, for ResNet's 3 to 64, 7x7 stride 2 at 224x224, N=256, float, on an H200: 60 GFLOP in
// 0.9 ms at best. Per tap a thread reads 4 values and 16 weights, 8 loads for 64 multiply-adds. x
// (154 MB, times 1.25 for the halos) comes once, y (822 MB) goes once: 0.23 ms. WARPS_H 4, WARPS_K
// 2: 256 threads, 30 KiB of x and 21 KiB of weights; at most 128 registers: 2 blocks of 8 warps, 16
// of 64. Measured: not yet on a GPU.
// Still slow: float's own units, also for 16 bits; nothing is in flight while a block multiplies,
// so other blocks must hide its loads, and with 11x11 and stride 4 few fit; in channels_last a lane
// writes 16 channels of a pixel, in vectors where they are aligned.
//
// Macros: WARPS_H, WARPS_K; Y_LAST: the channel is the dense axis of y. Dynamic shared memory: the
// weights and the tile (stem_bytes in the plan function).
#include "geometry.cuh"
#include "outside.cuh"

#ifndef WARPS_H
#define WARPS_H 4
#define WARPS_K 2
#endif
#ifndef Y_LAST
#define Y_LAST 0
#endif

constexpr int SUMS_H = 4, SUMS_K = 16;  // of a lane
constexpr int TILE_H = WARPS_H * SUMS_H, TILE_W = 32;
constexpr int AT_ONCE = WARPS_K * SUMS_K;
constexpr int PITCH = AT_ONCE + 4;  // of the weights: so lanes that store along taps meet 8 banks
constexpr int WARPS = WARPS_H * WARPS_K;
constexpr int VECTOR = 16 / sizeof(element);

struct __align__(16) Sums4 { accumulator of[4]; };
struct __align__(16) Vector { element of[VECTOR]; };

// The tile of x: [C][rows][stride_w][pitch].
struct Tile {
  int rows, columns, pitch, row;  // `row`: of all phases
};

__device__ __forceinline__ Tile tile_of(const ConvGeometry &g) {
  const int columns = (TILE_W - 1) * g.stride_w + (g.KW - 1) * g.dilation_w + 1;
  const int pitch = (columns - 1) / g.stride_w + 1;
  return {(TILE_H - 1) * g.stride_h + (g.KH - 1) * g.dilation_h + 1, columns, pitch,
          pitch * g.stride_w};
}

// sum += over all taps. `tile` is where the lane's first row and column of outputs begin.
template <bool CAREFUL>
__device__ __forceinline__ void multiply(accumulator (&sum)[SUMS_H][SUMS_K], const accumulator *tile,
                                         const accumulator *weights, const Tile &t,
                                         const ConvGeometry &g) {
  const int down = g.stride_h * t.row;  // from an output's row to the next one's
  const int by = g.dilation_w % g.stride_w, on = g.dilation_w / g.stride_w;
  for (int ic = 0; ic < g.C / g.groups; ic++)
    for (int kh = 0; kh < g.KH; kh++) {
      const accumulator *from = tile + (ic * t.rows + kh * g.dilation_h) * t.row;
      int phase = 0;
#pragma unroll 1
      for (int kw = 0; kw < g.KW; kw++) {
        accumulator value[SUMS_H];
#pragma unroll
        for (int i = 0; i < SUMS_H; i++) value[i] = from[i * down];
#pragma unroll
        for (int j = 0; j < SUMS_K; j += 4) {
          const Sums4 q = *reinterpret_cast<const Sums4 *>(weights + j);
#pragma unroll
          for (int i = 0; i < SUMS_H; i++)
            if (!CAREFUL || !is_outside(value[i]))
#pragma unroll
              for (int l = 0; l < 4; l++) sum[i][j + l] += value[i] * q.of[l];
        }
        weights += PITCH;
        phase += by;  // the next tap is dilation_w columns on: in another phase
        from += by * t.pitch + on;
        if (phase >= g.stride_w) {
          phase -= g.stride_w;
          from -= g.stride_w * t.pitch - 1;
        }
      }
    }
}

// A block takes `chunks` times AT_ONCE output channels of a group; `vectors`: y is aligned for them.
extern "C" __global__ void __launch_bounds__(WARPS * 32, 512 / (WARPS * 32))
conv_fprop_stem(element *y, const element *x, const element *w, const element *b, const int chunks,
                const int vectors, const ConvGeometry g) {
  const int C = g.C / g.groups, K = g.K / g.groups, taps = C * g.KH * g.KW;
  const Tile t = tile_of(g);
  DYN_SHARED(accumulator, weights);             // [taps][PITCH]
  accumulator *tile = weights + taps * PITCH;   // [C][rows][stride_w][pitch]

  const int tiles_w = (g.OW - 1) / TILE_W + 1, tiles_h = (g.OH - 1) / TILE_H + 1;
  const int parts = (K - 1) / (chunks * AT_ONCE) + 1;
  unsigned at = blockIdx.x;
  const int part = at % parts;  // neighbours share the tile
  const int ow0 = (at /= parts) % tiles_w * TILE_W, oh0 = (at /= tiles_w) % tiles_h * TILE_H;
  const int group = (at /= tiles_h) % g.groups, n = at / g.groups;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int warp_h = warp % WARPS_H * SUMS_H, warp_k = warp / WARPS_H * SUMS_K;

  const int top = oh0 * g.stride_h - g.padding_h, left = ow0 * g.stride_w - g.padding_w;
  for (int line = warp; line < C * t.rows; line += WARPS) {
    const int ic = line / t.rows, ih = top + line % t.rows;
    const element *from = x + n * g.x_n + (group * C + ic) * g.x_c + ih * g.x_h;
    for (int c = lane; c < t.columns; c += 32) {
      const int iw = left + c;
      const bool inside = ih >= 0 && ih < g.IH && iw >= 0 && iw < g.IW;
      tile[line * t.row + c % g.stride_w * t.pitch + c / g.stride_w] =
          inside ? present(from[iw * g.x_w]) : outside();
    }
  }

  const int end = min(K, (part + 1) * chunks * AT_ONCE);
  for (int oc0 = part * chunks * AT_ONCE; oc0 < end; oc0 += AT_ONCE) {
    bool strange = false;
    for (int j = warp; j < AT_ONCE; j += WARPS) {
      const element *from = w + (group * K + oc0 + j) * g.w_k;
      for (int tap = lane; tap < taps; tap += 32) {
        const int kw = tap % g.KW, kh = tap / g.KW % g.KH, ic = tap / g.KW / g.KH;
        const accumulator v =
            oc0 + j < K ? load(from + ic * g.w_c + kh * g.w_h + kw * g.w_w) : 0;
        strange |= !is_finite(v);
        weights[tap * PITCH + j] = v;
      }
    }
    accumulator sum[SUMS_H][SUMS_K] = {};
    const accumulator *own = tile + warp_h * g.stride_h * t.row + lane;
    if (__syncthreads_or(strange))  // the tile and the weights are there
      multiply<true>(sum, own, weights + warp_k, t, g);
    else
      multiply<false>(sum, own, weights + warp_k, t, g);
    __syncthreads();  // the weights are used up

    const int oc = group * K + oc0 + warp_k, count = K - oc0 - warp_k;
#pragma unroll
    for (int j = 0; j < SUMS_K; j++) {
      const accumulator bias = b && j < count ? load(b + (oc + j) * g.b_k) : 0;
#pragma unroll
      for (int i = 0; i < SUMS_H; i++) sum[i][j] = finished(sum[i][j] + bias);
    }
#pragma unroll
    for (int i = 0; i < SUMS_H; i++) {
      const int oh = oh0 + warp_h + i, ow = ow0 + lane;
      if (oh >= g.OH || ow >= g.OW) continue;
      element *to = y + n * g.y_n + oc * g.y_k + oh * g.y_h + ow * g.y_w;
      if (Y_LAST && vectors) {  // then K is a multiple of VECTOR
#pragma unroll
        for (int j = 0; j < SUMS_K; j += VECTOR) {
          Vector v;
#pragma unroll
          for (int l = 0; l < VECTOR; l++) store(&v.of[l], sum[i][j + l]);
          if (j < count) *reinterpret_cast<Vector *>(to + j) = v;
        }
      } else {
#pragma unroll
        for (int j = 0; j < SUMS_K; j++)
          if (j < count) store(to + j * g.y_k, sum[i][j]);
      }
    }
  }
}
