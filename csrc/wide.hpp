// Sixteen floats at a time, in the compiler's own vector types, no intrinsics.
//
// Floats and Ints are one native vector on AVX-512, two on AVX2, four on SSE2 or NEON: `Twin` glues halves together.
// A comparison gives a mask: Ints whose lanes are all ones or zero, for select().
//
// This header is compiled once for each instruction set, inside a namespace of its own (GENEFACE_TARGET). The files
// that include it must not use templates or inline functions of the standard library: the linker keeps one copy of
// those, and it might be one that the machine cannot run.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#define GENEFACE_INLINE inline __attribute__((always_inline))

namespace geneface {
namespace GENEFACE_TARGET {

#if defined(__AVX512F__)
constexpr int kNativeLanes = 16;
#elif defined(__AVX__)
constexpr int kNativeLanes = 8;
#else
constexpr int kNativeLanes = 4;
#endif
constexpr int kLanes = 16;

typedef float NativeFloat __attribute__((vector_size(4 * kNativeLanes)));
// What a comparison gives: lanes of int, or, with Clang on Windows, of long, which is as wide there.
using NativeInt = decltype(NativeFloat{} < NativeFloat{});
static_assert(sizeof(NativeInt) == sizeof(NativeFloat), "masks have the lanes of their floats");

template <class Half>
struct Twin {
  Half lo, hi;
};

template <int lanes>
struct Wide {
  using Float = Twin<typename Wide<lanes / 2>::Float>;
  using Int = Twin<typename Wide<lanes / 2>::Int>;
};
template <>
struct Wide<kNativeLanes> {
  using Float = NativeFloat;
  using Int = NativeInt;
};
using Floats = Wide<kLanes>::Float;
using Ints = Wide<kLanes>::Int;

// ---- one native vector

GENEFACE_INLINE NativeFloat select(NativeInt mask, NativeFloat yes, NativeFloat no) { return mask ? yes : no; }
GENEFACE_INLINE NativeInt select(NativeInt mask, NativeInt yes, NativeInt no) { return mask ? yes : no; }
GENEFACE_INLINE NativeInt bits(NativeFloat x) { return reinterpret_cast<NativeInt>(x); }
GENEFACE_INLINE NativeFloat from_bits(NativeInt x) { return reinterpret_cast<NativeFloat>(x); }
GENEFACE_INLINE NativeInt truncate(NativeFloat x) { return __builtin_convertvector(x, NativeInt); }
GENEFACE_INLINE NativeFloat to_float(NativeInt x) { return __builtin_convertvector(x, NativeFloat); }
GENEFACE_INLINE NativeFloat square_root(NativeFloat x) {
  NativeFloat root = x;  // all lanes are replaced; GCC takes them for uninitialised otherwise
  for (int i = 0; i < kNativeLanes; i++) root[i] = __builtin_sqrtf(x[i]);
  return root;
}
GENEFACE_INLINE void load(const float* from, NativeFloat& to) { std::memcpy(&to, from, sizeof to); }
GENEFACE_INLINE void store(NativeFloat from, float* to) { std::memcpy(to, &from, sizeof from); }
GENEFACE_INLINE void store(NativeInt from, int32_t* to) { std::memcpy(to, &from, sizeof from); }
// x - 0 is x for every x, so this is a plain broadcast (x + 0 would not be: -0 + 0 is 0).
GENEFACE_INLINE void fill(float x, NativeFloat& to) { to = x - NativeFloat{}; }
GENEFACE_INLINE void fill(int32_t x, NativeInt& to) { to = x - NativeInt{}; }

// ---- two halves

#define GENEFACE_BINARY(op)                                                                            \
  template <class H>                                                                                   \
  GENEFACE_INLINE auto operator op(const Twin<H>& a, const Twin<H>& b)->Twin<decltype(a.lo op b.lo)> { \
    return {a.lo op b.lo, a.hi op b.hi};                                                               \
  }                                                                                                    \
  template <class H, class Scalar>                                                                     \
  GENEFACE_INLINE auto operator op(const Twin<H>& a, Scalar b)->Twin<decltype(a.lo op b)> {            \
    return {a.lo op b, a.hi op b};                                                                     \
  }                                                                                                    \
  template <class H, class Scalar>                                                                     \
  GENEFACE_INLINE auto operator op(Scalar a, const Twin<H>& b)->Twin<decltype(a op b.lo)> {            \
    return {a op b.lo, a op b.hi};                                                                     \
  }
GENEFACE_BINARY(+)
GENEFACE_BINARY(-)
GENEFACE_BINARY(*)
GENEFACE_BINARY(/)
GENEFACE_BINARY(<)
GENEFACE_BINARY(<=)
GENEFACE_BINARY(>)
GENEFACE_BINARY(>=)
GENEFACE_BINARY(==)
GENEFACE_BINARY(!=)
GENEFACE_BINARY(&)
GENEFACE_BINARY(|)
GENEFACE_BINARY(^)
GENEFACE_BINARY(<<)
GENEFACE_BINARY(>>)
#undef GENEFACE_BINARY

template <class H, class Other>
GENEFACE_INLINE Twin<H>& operator+=(Twin<H>& a, const Other& b) {
  return a = a + b;
}
template <class H, class Other>
GENEFACE_INLINE Twin<H>& operator-=(Twin<H>& a, const Other& b) {
  return a = a - b;
}
template <class H, class Other>
GENEFACE_INLINE Twin<H>& operator*=(Twin<H>& a, const Other& b) {
  return a = a * b;
}
template <class H>
GENEFACE_INLINE Twin<H> operator-(const Twin<H>& a) {
  return {-a.lo, -a.hi};
}

template <class M, class H>
GENEFACE_INLINE Twin<H> select(const Twin<M>& mask, const Twin<H>& yes, const Twin<H>& no) {
  return {select(mask.lo, yes.lo, no.lo), select(mask.hi, yes.hi, no.hi)};
}
#define GENEFACE_UNARY(name)                                                  \
  template <class H>                                                          \
  GENEFACE_INLINE auto name(const Twin<H>& x) -> Twin<decltype(name(x.lo))> { \
    return {name(x.lo), name(x.hi)};                                          \
  }
GENEFACE_UNARY(bits)
GENEFACE_UNARY(from_bits)
GENEFACE_UNARY(truncate)
GENEFACE_UNARY(to_float)
GENEFACE_UNARY(square_root)
#undef GENEFACE_UNARY

template <class H>
constexpr int kHalfLanes = sizeof(H) / 4;
template <class H>
GENEFACE_INLINE void load(const float* from, Twin<H>& to) {
  load(from, to.lo);
  load(from + kHalfLanes<H>, to.hi);
}
template <class H, class Number>
GENEFACE_INLINE void store(const Twin<H>& from, Number* to) {
  store(from.lo, to);
  store(from.hi, to + kHalfLanes<H>);
}
template <class H, class Number>
GENEFACE_INLINE void fill(Number x, Twin<H>& to) {
  fill(x, to.lo);
  fill(x, to.hi);
}

// ---- sixteen lanes

GENEFACE_INLINE Floats broadcast(float x) {
  Floats wide;
  fill(x, wide);
  return wide;
}
GENEFACE_INLINE Ints broadcast_int(int32_t x) {
  Ints wide;
  fill(x, wide);
  return wide;
}
GENEFACE_INLINE Floats load16(const float* from) {
  Floats wide;
  load(from, wide);
  return wide;
}
// The first `count` lanes; the others are 0, or left alone.
GENEFACE_INLINE Floats load_some(const float* from, int count) {
  if (count >= kLanes) return load16(from);
  float lanes[kLanes] = {};
  std::memcpy(lanes, from, sizeof(float) * count);
  return load16(lanes);
}
template <class Vector, class Number>
GENEFACE_INLINE void store_some(const Vector& from, Number* to, int count) {
  if (count >= kLanes) return store(from, to);
  Number lanes[kLanes];
  store(from, lanes);
  std::memcpy(to, lanes, sizeof(Number) * count);
}
GENEFACE_INLINE Floats minimum(const Floats& a, const Floats& b) { return select(a < b, a, b); }
GENEFACE_INLINE Floats maximum(const Floats& a, const Floats& b) { return select(a > b, a, b); }
GENEFACE_INLINE Floats minimum(const Floats& a, float b) { return minimum(a, broadcast(b)); }
GENEFACE_INLINE Floats maximum(const Floats& a, float b) { return maximum(a, broadcast(b)); }

// bfloat16 bits of each lane, rounded to the nearest, ties to even.
GENEFACE_INLINE Ints to_half(const Floats& x) {
  const Ints word = bits(x);
  return ((word + 0x7fff + (word >> 16 & 1)) >> 16) & 0xffff;
}
// Two bfloat16 a lane, the first in the lower half.
GENEFACE_INLINE Ints pack_halves(const Floats& first, const Floats& second) {
#if defined(__AVX512BF16__)
  // Lanes of the second lie behind those of the first; they are to stand beside each other.
  typedef uint16_t Halves __attribute__((vector_size(64)));
  const Halves both =
      reinterpret_cast<Halves>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first)));
  return reinterpret_cast<Ints>(__builtin_shufflevector(both, both, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7,
                                                        23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                                        31));
#else
  return to_half(first) | (to_half(second) << 16);
#endif
}
// Sixteen bfloat16, two a word: lanes 0 and 1, 2 and 3 ...
GENEFACE_INLINE void pack_neighbours(const Floats& x, float words[kLanes / 2]) {
#if defined(__AVX512BF16__)
  const __m256bh halves = _mm512_cvtneps_pbh(reinterpret_cast<__m512>(x));
  std::memcpy(words, &halves, sizeof halves);
#else
  int32_t lanes[kLanes];
  store(to_half(x), lanes);
  for (int k = 0; k < kLanes / 2; k++) {
    const int32_t pair = lanes[2 * k] | lanes[2 * k + 1] << 16;
    std::memcpy(words + k, &pair, sizeof pair);
  }
#endif
}
// sum + x.first w.first + x.second w.second in each lane, for packed pairs.
GENEFACE_INLINE Floats add_pairs(const Floats& sum, const Ints& x, const Ints& w) {
#if defined(__AVX512BF16__)
  return reinterpret_cast<Floats>(
      _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(w)));
#else
  const int32_t upper = static_cast<int32_t>(0xffff0000u);
  return sum + from_bits(x << 16) * from_bits(w << 16) + from_bits(x & upper) * from_bits(w & upper);
#endif
}

GENEFACE_INLINE bool any(const NativeInt& mask) {
  typedef int64_t Pair __attribute__((vector_size(16)));
  Pair pairs[kNativeLanes / 4];
  std::memcpy(pairs, &mask, sizeof pairs);
  Pair all = pairs[0];
  for (int k = 1; k < kNativeLanes / 4; k++) all |= pairs[k];
  return (all[0] | all[1]) != 0;
}
template <class H>
GENEFACE_INLINE bool any(const Twin<H>& mask) {
  return any(mask.lo | mask.hi);
}

// Sums of the lanes of several vectors, always in the same order.
template <int count>
GENEFACE_INLINE void sum_each(const Floats* const (&vectors)[count], float* sums) {
  typedef float Quarter __attribute__((vector_size(16)));
  float lanes[count][4];
  for (int k = 0; k < count; k++) {
    Quarter quarters[4];
    std::memcpy(quarters, vectors[k], sizeof quarters);
    const Quarter total = (quarters[0] + quarters[2]) + (quarters[1] + quarters[3]);
    std::memcpy(lanes[k], &total, sizeof total);
  }
  for (int k = 0; k < count; k++) sums[k] = (lanes[k][0] + lanes[k][2]) + (lanes[k][1] + lanes[k][3]);
}
GENEFACE_INLINE float sum(const Floats& x) {
  const Floats* const vectors[1] = {&x};
  float total;
  sum_each(vectors, &total);
  return total;
}

// 2^x for x in [-126, 127], relative error 1e-7. Other x give some number.
GENEFACE_INLINE Floats exp2(const Floats& x) {
  // Adding 1.5 * 2^23 rounds to an integer and leaves it in the lowest bits.
  const float rounder = 12582912.f;
  const Floats shifted = x + rounder;
  const Floats f = x - (shifted - rounder);
  // Minimax polynomial of degree 5 for the relative error on [-1/2, 1/2].
  Floats power = f * 1.327647198e-3f + 9.675541334e-3f;
  power = power * f + 5.550713274e-2f;
  power = power * f + 2.402211972e-1f;
  power = power * f + 6.931469671e-1f;
  power = power * f + 1.000000072f;
  return from_bits(bits(power) + (bits(shifted) << 23));
}
// e^x, held inside of the range of normal floats. NaN gives NaN.
GENEFACE_INLINE Floats exponential(const Floats& x) {
  const Floats scaled = x * 1.44269504f;
  const Floats power = exp2(minimum(maximum(scaled, -126.f), 126.f));
  return select(x == x, power, x);
}
// log2 x for normal positive x, error 2e-7 (absolute, for x near 1).
GENEFACE_INLINE Floats log2(const Floats& x) {
  // x = 2^e m with m in [sqrt(1/2), sqrt(2)); log m = 2 artanh((m - 1) / (m + 1)).
  const int32_t root_half = 0x3f3504f3;
  const Ints shifted = bits(x) - root_half;
  const Ints exponent = shifted >> 23;
  const Floats m = from_bits(bits(x) - (exponent << 23));
  const Floats s = (m - 1.f) / (m + 1.f);
  const Floats s2 = s * s;
  // 2 / (k ln 2) for k = 9, 7, 5, 3, 1.
  Floats series = s2 * 0.320598898f + 0.412198583f;
  series = series * s2 + 0.577078016f;
  series = series * s2 + 0.961796694f;
  series = series * s2 + 2.885390082f;
  return series * s + to_float(exponent);
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
