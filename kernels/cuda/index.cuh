// index.cuh — an indexed move as kernels see it, passed by value: planes (n, c), of which the small
// side has `small` positions, each with an index into the `large` positions of the large side.
#pragma once
#include "places.cuh"

struct IndexGeometry {
  int N, C, small, large;
  offset small_n, small_c, small_s;
  offset large_n, large_c, large_s;
  offset index_n, index_c, index_s;
};

static_assert(sizeof(IndexGeometry) >= 4 * 4 + 9 * sizeof(offset), "as packed by the plans");
