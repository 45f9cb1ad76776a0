// gemm_tile.cuh — a tile of a matrix product by one block, of which one factor is gathered from an
// array with an outside. What conv_3, dgrad_3 and wgrad_3 have in common.
//
//     sum[m][n] = sum over k of gathered[m][k] * dense[n][k]        m < TILE_M, n < TILE_N
//
// Neither factor exists as a matrix. Row m has a Place in the gathered array, step k a Link that is
// added to it: an offset and a distance along each axis. Where place + link lies outside the array,
// the element is a zero (outside.cuh). So nothing is divided while elements are fetched: places are
// worked out once by each thread, links once for the whole block, by one warp for 32 steps at a time.
//
// A turn takes DEPTH steps. While threads multiply one pair of tiles in shared memory, their loads
// for the next are in flight into registers; these go into the other pair, then comes the only
// barrier of the turn. A thread holds 8 x SUMS_N sums, as quads that lie half a tile apart, so that
// the 8 x 4 threads of a warp read 32 neighbouring rows and 16 neighbouring columns, without a bank
// conflict: per step 3 or 4 vector loads for 32 or 64 multiply-adds.
//
// Macros: TILE_M x TILE_N: 128x128, 128x64, 128x32 or 64x64.
#pragma once
#include "outside.cuh"

#ifndef TILE_M
#define TILE_M 128
#define TILE_N 128
#endif

constexpr int DEPTH = 8;
constexpr int SUMS_M = 8, SUMS_N = TILE_M == 128 && TILE_N >= 64 ? 8 : 4;
constexpr int THREADS = TILE_M / SUMS_M * (TILE_N / SUMS_N);
// Blocks at once: 128 registers a thread, and more for wide sums and wide offsets.
constexpr int BLOCKS = THREADS == 256 || sizeof(element) == 8 ? 2 : sizeof(offset) == 8 ? 3 : 4;
constexpr int SHARE = THREADS / TILE_M;  // threads that fetch for one row
constexpr int FETCHED = DEPTH / SHARE;   // elements that each of them fetches a turn
constexpr int PITCH_M = TILE_M + 4, PITCH_N = TILE_N + 4;  // 4: stores along k meet other banks
constexpr int TURNS = 32 / DEPTH;  // of which a warp makes the links
static_assert(THREADS % TILE_M == 0 && 2 * TILE_N <= THREADS && FETCHED % 4 == 0, "a tile that fits");

struct Place {
  const element *at;  // may lie outside: then it is not read
  int d, h, w;
};

struct Link {
  offset gathered, dense;
  int d, h, w;
};

struct __align__(16) Tiles {
  accumulator gathered[2][DEPTH * PITCH_M], dense[2][DEPTH * PITCH_N];
  Link links[2 * TURNS * DEPTH];
};

// Four elements or sums, moved at once.
struct __align__(sizeof(element) == 8 ? 16 : 4 * sizeof(element)) Quad { element of[4]; };
struct __align__(16) Sums4 { accumulator of[4]; };

// The gathered factor, as a thread sees it. ALONG_K: neighbouring threads fetch neighbouring k,
// else neighbouring rows: whichever lies closer in memory.
template <bool ALONG_K>
struct Gathered {
  int D, H, W;  // of the array
  bool quads;   // four steps, from a multiple of 4 on, are aligned neighbours, all in or all out
  bool there;   // whether the thread's row is one
  Place place;  // of that row

  static __device__ __forceinline__ int row() {
    return ALONG_K ? threadIdx.x / SHARE : threadIdx.x % TILE_M;
  }
  static __device__ __forceinline__ int step(int i) {
    return ALONG_K ? (threadIdx.x % SHARE + i / 4 * SHARE) * 4 + i % 4
                   : threadIdx.x / TILE_M + i * SHARE;
  }
  __device__ __forceinline__ bool inside(const Link &l) const {
    return static_cast<unsigned>(place.d + l.d) < D && static_cast<unsigned>(place.h + l.h) < H &&
           static_cast<unsigned>(place.w + l.w) < W;
  }
  // The thread's elements of the turn that begins at step k.
  __device__ __forceinline__ void fetch(accumulator (&to)[FETCHED], const Link *links, int k,
                                        int last) const {
    if (ALONG_K && quads) {
#pragma unroll
      for (int i = 0; i < FETCHED; i += 4) {
        const Link &l = links[step(i)];
        const bool here = there && k + step(i) < last && inside(l);
        Quad q;
        if (here) q = *reinterpret_cast<const Quad *>(place.at + l.gathered);
#pragma unroll
        for (int j = 0; j < 4; j++) to[i + j] = here ? present(q.of[j]) : outside();
      }
    } else {
#pragma unroll
      for (int i = 0; i < FETCHED; i++) {
        const Link &l = links[step(i)];
        const bool here = there && k + step(i) < last && inside(l);
        to[i] = here ? present(place.at[l.gathered]) : outside();
      }
    }
  }
  static __device__ __forceinline__ void put(accumulator *tile,
                                             const accumulator (&held)[FETCHED]) {
#pragma unroll
    for (int i = 0; i < FETCHED; i++) tile[step(i) * PITCH_M + row()] = held[i];
  }
};

// The dense factor: every element of a row that is there is there. Two threads a row, four steps
// each; threads that are left over fetch nothing.
template <bool ALONG_K>
struct Dense {
  const element *from;  // the thread's row
  bool quads;
  bool there;

  static __device__ __forceinline__ int row() {
    return ALONG_K ? threadIdx.x / 2 : threadIdx.x % TILE_N;
  }
  static __device__ __forceinline__ int step() {
    return (ALONG_K ? threadIdx.x % 2 : threadIdx.x / TILE_N) * 4;
  }
  static __device__ __forceinline__ bool takes_part() { return threadIdx.x < 2 * TILE_N; }
  // Whether one of them is infinite or NaN.
  __device__ __forceinline__ bool fetch(accumulator (&to)[4], const Link *links, int k,
                                        int last) const {
    const bool some = takes_part() && there;
    if (quads) {
      const bool here = some && k + step() < last;
      Quad q;
      if (here) q = *reinterpret_cast<const Quad *>(from + links[step()].dense);
#pragma unroll
      for (int i = 0; i < 4; i++) to[i] = here ? widen(q.of[i]) : accumulator(0);
    } else {
#pragma unroll
      for (int i = 0; i < 4; i++)
        to[i] = some && k + step() + i < last ? load(from + links[step() + i].dense) : 0;
    }
    return !(is_finite(to[0]) && is_finite(to[1]) && is_finite(to[2]) && is_finite(to[3]));
  }
  static __device__ __forceinline__ void put(accumulator *tile, const accumulator (&held)[4]) {
    if (!takes_part()) return;
#pragma unroll
    for (int i = 0; i < 4; i++) tile[(step() + i) * PITCH_N + row()] = held[i];
  }
};

// The thread's first row and column of sums; its others: row_of_sum, column_of_sum.
__device__ __forceinline__ int thread_m() {
  return threadIdx.x / 32 % (TILE_M / 64) * 8 + threadIdx.x % 8;
}
__device__ __forceinline__ int thread_n() {
  return threadIdx.x / 32 / (TILE_M / 64) * 4 + threadIdx.x % 32 / 8;
}
__device__ __forceinline__ int row_of_sum(int thread, int i) {
  return i / 4 * (TILE_M / 2) + thread * 4 + i % 4;
}
__device__ __forceinline__ int column_of_sum(int thread, int j) {
  return j / 4 * (TILE_N / 2) + thread * 4 + j % 4;
}

template <bool CAREFUL>
__device__ __forceinline__ void multiply(accumulator (&sum)[SUMS_M][SUMS_N],
                                         const accumulator *gathered, const accumulator *dense) {
#pragma unroll(CAREFUL ? 1 : DEPTH)
  for (int k = 0; k < DEPTH; k++) {
    Sums4 a[SUMS_M / 4], b[SUMS_N / 4];
#pragma unroll
    for (int i = 0; i < SUMS_M; i += 4)
      a[i / 4] = *reinterpret_cast<const Sums4 *>(gathered + k * PITCH_M +
                                                  row_of_sum(thread_m(), i));
#pragma unroll
    for (int j = 0; j < SUMS_N; j += 4)
      b[j / 4] = *reinterpret_cast<const Sums4 *>(dense + k * PITCH_N +
                                                  column_of_sum(thread_n(), j));
#pragma unroll
    for (int i = 0; i < SUMS_M; i++) {
      if (CAREFUL && is_outside(a[i / 4].of[i % 4])) continue;
#pragma unroll
      for (int j = 0; j < SUMS_N; j++) sum[i][j] += a[i / 4].of[i % 4] * b[j / 4].of[j % 4];
    }
  }
}

// sum += over steps first to last. `link(k)` is the link of step k; it may be asked for steps
// behind the last, whose answers are not used.
template <class G, class F, class MakeLink>
__device__ __forceinline__ void accumulate(accumulator (&sum)[SUMS_M][SUMS_N], Tiles &tiles,
                                           const G &gathered, const F &dense, int first, int last,
                                           MakeLink link) {
  const int turns = (last - first + DEPTH - 1) / DEPTH, lane = threadIdx.x % 32;
  if (threadIdx.x < 32) tiles.links[lane] = link(first + lane);
  __syncthreads();  // the first links are there
  accumulator a[FETCHED], b[4];
  gathered.fetch(a, tiles.links, first, last);
  bool strange = dense.fetch(b, tiles.links, first, last);
  gathered.put(tiles.gathered[0], a);
  dense.put(tiles.dense[0], b);
  bool careful = __syncthreads_or(strange);  // the first tiles are there
#pragma unroll 1
  for (int turn = 0; turn < turns; turn++) {
    const int next = turn + 1, k = first + next * DEPTH;
    // Links for the turns from TURNS on, in place of those of the TURNS before, by the warps in turn.
    if (turn % TURNS == 0 && threadIdx.x / 32 == turn / TURNS % (THREADS / 32))
      tiles.links[(turn / TURNS + 1) % 2 * 32 + lane] = link(first + (turn + TURNS) * DEPTH + lane);
    if (next < turns) {
      const Link *links = tiles.links + next % (2 * TURNS) * DEPTH;
      gathered.fetch(a, links, k, last);
      strange = dense.fetch(b, links, k, last);
    }
    if (careful)
      multiply<true>(sum, tiles.gathered[turn % 2], tiles.dense[turn % 2]);
    else
      multiply<false>(sum, tiles.gathered[turn % 2], tiles.dense[turn % 2]);
    if (next < turns) {
      gathered.put(tiles.gathered[next % 2], a);
      dense.put(tiles.dense[next % 2], b);
    }
    careful = __syncthreads_or(strange);  // the next tiles are there, and these used up
  }
}

// Calls store(m, n, sum) for every sum of the tile, neighbouring threads neighbouring m, or n: they
// pass through shared memory, some rows or columns of each thread at a time.
template <bool ALONG_M, class Store>
__device__ __forceinline__ void write_tile(const accumulator (&sum)[SUMS_M][SUMS_N], Tiles &tiles,
                                           Store store) {
  constexpr int LONG = ALONG_M ? TILE_M : TILE_N, PITCH = LONG + 4;
  constexpr int PASSES = ALONG_M ? SUMS_N : SUMS_M, MORE = ALONG_M ? SUMS_M : SUMS_N;
  constexpr int LINES = ALONG_M ? TILE_N / SUMS_N : TILE_M / SUMS_M;
  static_assert(LINES * PITCH * sizeof(accumulator) <= sizeof(Tiles::gathered) + sizeof(Tiles::dense),
                "lines fit into the tiles");
  accumulator *stage = tiles.gathered[0];
  const int line = ALONG_M ? thread_n() : thread_m(), along = ALONG_M ? thread_m() : thread_n();
#pragma unroll
  for (int pass = 0; pass < PASSES; pass++) {
    __syncthreads();  // the stage is free
#pragma unroll
    for (int i = 0; i < MORE; i += 4) {
      Sums4 q;
#pragma unroll
      for (int l = 0; l < 4; l++) q.of[l] = ALONG_M ? sum[i + l][pass] : sum[pass][i + l];
      *reinterpret_cast<Sums4 *>(stage + line * PITCH + i / 4 * (LONG / 2) + along * 4) = q;
    }
    __syncthreads();  // the stage is full
#pragma unroll 1
    for (int at = threadIdx.x; at < LINES * LONG; at += THREADS) {
      const int i = at % LONG, other = at / LONG;
      if (ALONG_M)
        store(i, column_of_sum(other, pass), stage[other * PITCH + i]);
      else
        store(row_of_sum(other, pass), i, stage[other * PITCH + i]);
    }
  }
}
