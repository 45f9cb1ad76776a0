// bits.cuh — elements that are only moved, whatever they mean: so many BYTES. One compilation serves
// every dtype of that size, complex numbers and integers too.
#pragma once
#include "places.cuh"

#ifndef BYTES
#define BYTES 4
#endif

template <int N> struct BitsOf;
template <> struct BitsOf<1> { using type = unsigned char; };
template <> struct BitsOf<2> { using type = unsigned short; };
template <> struct BitsOf<4> { using type = unsigned; };
template <> struct BitsOf<8> { using type = uint2; };
template <> struct BitsOf<16> { using type = uint4; };
using bits = BitsOf<BYTES>::type;
