// pad_1_direct.cu — one thread copies one element of the padded array. (Its gradient, which sums, is
// pad_backward_1_direct.cu.)
//
// Where an element comes from is worked out axis by axis from the padding's numbers: no maps are
// uploaded. Axes are in the order of the output in memory, so a warp writes neighbours and, where
// nothing is mirrored, reads neighbours, in every layout. Elements are moved as bits (bits.cuh).
//
// Predicted, 64@112 padded by 3 in float, N = 256: x read and y written once, 1.74 GB, 405 us at
// 4.3 TB/s; four divisions an element. Full occupancy. Measured: not yet on a GPU.
// Still slow: 4 bytes a thread; rows inside could be copied 16 bytes at a time.
#include "bits.cuh"
#include "pad.cuh"

extern "C" __global__ void __launch_bounds__(256, 4)
pad_direct(bits *y, const bits *x, const bits value, const PadGeometry g) {
  unsigned_offset at = this_thread();
  offset from = 0, to = 0;
  bool inside = true;
#pragma unroll
  for (int j = 4; j >= 0; j--) {
    const PaddedAxis &a = g.axis[j];
    const int o = j > 0 ? at % a.out : at;
    if (j > 0) at /= a.out;
    if (o >= a.out) return;  // behind the last thread that is needed
    const int i = source_of(a, o);
    inside &= i >= 0;
    from += i * g.x[j];
    to += o * g.y[j];
  }
  y[to] = inside ? x[from] : value;
}
