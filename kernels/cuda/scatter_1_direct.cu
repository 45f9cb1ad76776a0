// scatter_1_direct.cu — moves to where an index points: scatter_add, the gradient of max pooling, and
// scatter, which is unpooling. Without atomics: sums in the order of s, always the same bits.
//
// y is divided among warps: one owns SEGMENT positions of one plane, keeps them in shared memory, and
// scans the plane's index in order, 32 at a time, for those that point into its segment. Of lanes
// that point to the same position the first one adds up all their values, lane by lane, so that the
// order is that of s; for scatter it takes the last lane's. At the end the segment is written, zeros
// included: y is written once, by nobody else.
// So that not every warp scans everything, scatter_ranges first finds the least and the largest index
// of each CHUNK of s. Pooling's positions grow with s, so a warp then reads little besides its own.
//
// Predicted, 64@56 into 64@112 in float, N = 256 (k3 s2): index read twice and x once (51 M each,
// 8 and 4 bytes), y (206 M) written once: 1.85 GB, 430 us at 4.3 TB/s; two
// compares an index for each warp that scans it, an addition where it owns it. At most 64 registers,
// and 16 KiB of shared memory (32 in double) for 4 warps: 8 blocks (7), 32 of 64 warps.
// Measured: not yet on a GPU.
// Still slow: a warp has one load of index and one of x in flight; in channels_last its lanes read
// C apart. An index without order makes every warp scan the whole plane.
#include "index.cuh"

constexpr int SEGMENT = 1024, CHUNK = 128, WARPS = 4;

struct Range { int least, most; };

// One warp a chunk; blocks of one warp along x, planes along the rest of the grid.
extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
scatter_ranges(Range *ranges, const int64 *index, const IndexGeometry g) {
  const unsigned chunks = (g.small - 1) / CHUNK + 1, lane = threadIdx.x % 32;
  const unsigned_offset at = static_cast<unsigned_offset>(blockIdx.x) * WARPS + threadIdx.x / 32;
  const unsigned_offset plane = at / chunks;
  const int n = plane / g.C, c = plane % g.C, first = at % chunks * CHUNK;
  if (n >= g.N) return;
  Range found = {g.large, -1};
#pragma unroll
  for (int s = first + lane; s < first + CHUNK; s += 32) {
    if (s >= g.small) break;
    const int i = static_cast<int>(index[n * g.index_n + c * g.index_c + s * g.index_s]);
    if (i >= 0) found = {min(found.least, i), max(found.most, i)};
  }
#pragma unroll
  for (int half = 16; half > 0; half /= 2) {
    found.least = min(found.least, __shfl_xor_sync(~0u, found.least, half));
    found.most = max(found.most, __shfl_xor_sync(~0u, found.most, half));
  }
  if (lane == 0) ranges[at] = found;
}

template <bool ADD>
__device__ __forceinline__ void scatter(element *y, const element *x, const int64 *index,
                                        const Range *ranges, const IndexGeometry &g,
                                        accumulator *shared) {
  const unsigned segments = (g.large - 1) / SEGMENT + 1, lane = threadIdx.x % 32;
  const unsigned_offset at = static_cast<unsigned_offset>(blockIdx.x) * WARPS + threadIdx.x / 32;
  const unsigned_offset plane = at / segments;
  const int n = plane / g.C, c = plane % g.C;
  if (n >= g.N) return;
  const int first = at % segments * SEGMENT, count = min(SEGMENT, g.large - first);
  accumulator *own = shared + threadIdx.x / 32 * SEGMENT;
  for (int i = lane; i < count; i += 32) own[i] = 0;
  __syncwarp();

  const int chunks = g.small > 0 ? (g.small - 1) / CHUNK + 1 : 0;
  for (int chunk = 0; chunk < chunks; chunk++) {
    const Range range = ranges[plane * chunks + chunk];
    if (range.most < first || range.least >= first + count) continue;
#pragma unroll 1
    for (int s0 = chunk * CHUNK; s0 < min((chunk + 1) * CHUNK, g.small); s0 += 32) {
      const int s = s0 + lane;
      int to = -1;
      accumulator value = 0;
      if (s < g.small) {
        to = static_cast<int>(index[n * g.index_n + c * g.index_c + s * g.index_s]) - first;
        if (to < 0 || to >= count) to = -1;
        else value = load(x + n * g.small_n + c * g.small_c + s * g.small_s);
      }
      const unsigned peers = __match_any_sync(~0u, to);
      const bool leads = to >= 0 && lane == __ffs(peers) - 1u;
      if (ADD) {
        accumulator sum = leads ? own[to] : 0;
        unsigned left = to >= 0 ? peers : 0;
        while (__any_sync(~0u, left != 0)) {
          const accumulator next = __shfl_sync(~0u, value, left ? __ffs(left) - 1 : 0);
          if (left) sum += next;
          left &= left - 1;
        }
        if (leads) own[to] = sum;
      } else if (to >= 0 && lane == 31u - __clz(peers)) {
        own[to] = value;
      }
      __syncwarp();  // whoever leads next for this position sees it
    }
  }
  element *out = y + n * g.large_n + c * g.large_c;
  for (int i = lane; i < count; i += 32) store(out + (first + i) * g.large_s, own[i]);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
scatter_add_direct(element *y, const element *x, const int64 *index, const Range *ranges,
                   const IndexGeometry g) {
  __shared__ accumulator segments[WARPS * SEGMENT];
  scatter<true>(y, x, index, ranges, g, segments);
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
scatter_direct(element *y, const element *x, const int64 *index, const Range *ranges,
               const IndexGeometry g) {
  __shared__ accumulator segments[WARPS * SEGMENT];
  scatter<false>(y, x, index, ranges, g, segments);
}
