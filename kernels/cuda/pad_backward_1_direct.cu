// pad_backward_1_direct.cu — the gradient of pad_1_direct.cu: one thread sums one element of dx, by
// gathering all elements of dy that show it.
//
// Along each axis these are found in order, one after another (next_shown), so nothing is added
// atomically and the bits are always the same. Axes are in the order of dx in memory.
//
// Predicted: dy read and dx written once, as pad; inside, one load a thread and some forty integer
// instructions for each axis; the threads of a replicated border have long loops. Full occupancy.
// Measured: not yet on a GPU.
// Still slow: replicating over a wide border sums it in one thread; bound by integer arithmetic.
#include "pad.cuh"
#include "places.cuh"

extern "C" __global__ void __launch_bounds__(256, 3)
pad_backward_direct(element *x, const element *y, const PadGeometry g) {
  unsigned_offset at = this_thread();
  int i[5];
  offset to = 0;
#pragma unroll
  for (int j = 4; j >= 0; j--) {
    i[j] = j > 0 ? at % g.axis[j].in : at;
    if (j > 0) at /= g.axis[j].in;
    if (i[j] >= g.axis[j].in) return;  // behind the last thread that is needed
    to += i[j] * g.x[j];
  }
  accumulator sum = 0;
#define EACH(j, o) \
  for (int o = next_shown(g.axis[j], i[j], 0); o < g.axis[j].out; \
       o = next_shown(g.axis[j], i[j], o + 1))
#pragma unroll 1
  EACH(0, o0)
#pragma unroll 1
  EACH(1, o1)
#pragma unroll 1
  EACH(2, o2)
#pragma unroll 1
  EACH(3, o3)
#pragma unroll 1
  EACH(4, o4)
  sum += load(y + o0 * g.y[0] + o1 * g.y[1] + o2 * g.y[2] + o3 * g.y[3] + o4 * g.y[4]);
#undef EACH
  store(x + to, sum);
}
