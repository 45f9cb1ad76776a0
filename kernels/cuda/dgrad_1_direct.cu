// dgrad_1_direct.cu — step 1 of the input's gradient, which is also transposed convolution: one
// thread computes one element of dx. conv_1_direct.cu turned round.
//
// dx[i] gathers dy[o] * w[k] from all o and k with o * stride - padding + k * dilation == i. Nothing
// is added atomically, so the result is the same bits every time. Of an axis only every step-th tap
// fits, step = stride / gcd(stride, dilation); which one comes first depends on the phase of
// i + padding. From tap to tap, o goes back by dilation / gcd. The bias is that of a transposed
// convolution.
//
// Predicted: stride^2 times fewer multiply-adds than taps, 2 loads for each. Neighbouring threads
// are neighbouring iw, so with stride 1 a warp reads neighbouring dy and the same w; with stride 2
// its lanes are of two phases, which read other weights, and loops differ by a tap in length.
// dy comes from DRAM about once, dx goes once. 56 registers: 4 blocks of 8 warps, 32 of 64.
// Measured: not yet on a GPU.
// Still slow: phases mixed in a warp; every operand is loaded again for each use.
#include "geometry.cuh"

struct Phases {
  int step_d, step_h, step_w;  // taps from one that fits to the next
  int back_d, back_h, back_w;  // outputs that this goes back by
};

// The first tap that fits position `at` = i + padding; K if there is none.
__device__ __forceinline__ int first_fitting(int at, int stride, int dilation, int step, int K) {
  for (int k = 0; k < step && k < K; k++)
    if ((at - k * dilation) % stride == 0) return k;
  return K;
}

extern "C" __global__ void __launch_bounds__(256, 3)
conv_dgrad_direct(element *x, const element *y, const element *w, const element *b, const Phases p,
                  const ConvGeometry g) {
  const unsigned positions = g.ID * g.IH * g.IW;  // of a plane (n, c), which has whole blocks
  const unsigned blocks = (positions - 1) / blockDim.x + 1;
  const unsigned plane = blockIdx.x / blocks;
  const unsigned at = blockIdx.x % blocks * blockDim.x + threadIdx.x;
  if (at >= positions) return;
  const int c = plane % g.C, n = plane / g.C;
  const int iw = at % g.IW, ih = at / g.IW % g.IH, id = at / g.IW / g.IH;

  const int C = g.C / g.groups, K = g.K / g.groups, oc0 = c / C * K, ic = c % C;
  const int d = id + g.padding_d, h = ih + g.padding_h, v = iw + g.padding_w;
  const int kd0 = first_fitting(d, g.stride_d, g.dilation_d, p.step_d, g.KD);
  const int kh0 = first_fitting(h, g.stride_h, g.dilation_h, p.step_h, g.KH);
  const int kw0 = first_fitting(v, g.stride_w, g.dilation_w, p.step_w, g.KW);
  const int od0 = (d - kd0 * g.dilation_d) / g.stride_d;
  const int oh0 = (h - kh0 * g.dilation_h) / g.stride_h;
  const int ow0 = (v - kw0 * g.dilation_w) / g.stride_w;

  accumulator sum = b ? load(b + c * g.b_k) : 0;
  for (int oc = oc0; oc < oc0 + K; oc++)
    for (int kd = kd0, od = od0; kd < g.KD && od >= 0; kd += p.step_d, od -= p.back_d)
      for (int kh = kh0, oh = oh0; od < g.OD && kh < g.KH && oh >= 0;
           kh += p.step_h, oh -= p.back_h) {
        if (oh >= g.OH) continue;
        const element *row = y + n * g.y_n + oc * g.y_k + od * g.y_d + oh * g.y_h;
        const element *taps = w + oc * g.w_k + ic * g.w_c + kd * g.w_d + kh * g.w_h;
#pragma unroll 1
        for (int kw = kw0, ow = ow0; kw < g.KW && ow >= 0; kw += p.step_w, ow -= p.back_w)
          if (ow < g.OW) sum += load(row + ow * g.y_w) * load(taps + kw * g.w_w);
      }
  store(x + n * g.x_n + c * g.x_c + id * g.x_d + ih * g.x_h + iw * g.x_w, sum);
}
