// The vector vocabulary for x86-64 with AVX-512 (F, BW, DQ, VL) and VAES: sixteen 32-bit lanes, four AES blocks.
// vector_portable.hpp says what each word means.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)
// GCC's own header leaves the unused operand of many intrinsics undefined, and then warns of it (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif

#include <cstdint>

namespace fastinit {
namespace {

constexpr int kLanes32 = 16;
constexpr int kLanes64 = 8;
constexpr int kVectorBytes = 4 * kLanes32;

struct U32 {
  __m512i v;
};
struct F32 {
  __m512 v;
};
struct Mask32 {
  __mmask16 v;
};
struct U64 {
  __m512i v;
};
struct F64 {
  __m512d v;
};
struct Mask64 {
  __mmask8 v;
};

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// --- integers
inline U32 splat(std::uint32_t x) { return {_mm512_set1_epi32(int(x))}; }
inline U64 splat(std::uint64_t x) { return {_mm512_set1_epi64((long long)x)}; }
inline U32 operator&(U32 a, U32 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline U64 operator&(U64 a, U64 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline U32 operator|(U32 a, U32 b) { return {_mm512_or_si512(a.v, b.v)}; }
inline U64 operator|(U64 a, U64 b) { return {_mm512_or_si512(a.v, b.v)}; }
inline U32 operator^(U32 a, U32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline U64 operator^(U64 a, U64 b) { return {_mm512_xor_si512(a.v, b.v)}; }
inline U32 and_or(U32 a, U32 b, U32 c) { return {_mm512_ternarylogic_epi32(a.v, b.v, c.v, 0xEA)}; }
inline U64 and_or(U64 a, U64 b, U64 c) { return {_mm512_ternarylogic_epi64(a.v, b.v, c.v, 0xEA)}; }
inline U32 lesser(U32 a, U32 b) { return {_mm512_min_epu32(a.v, b.v)}; }
inline U64 lesser(U64 a, U64 b) { return {_mm512_min_epu64(a.v, b.v)}; }
inline U32 operator-(U32 a, U32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
inline U64 operator-(U64 a, U64 b) { return {_mm512_sub_epi64(a.v, b.v)}; }
inline U64 operator+(U64 a, U64 b) { return {_mm512_add_epi64(a.v, b.v)}; }
template <int n>
U32 shift_right(U32 a) {
  return {_mm512_srli_epi32(a.v, n)};
}
template <int n>
U64 shift_right(U64 a) {
  return {_mm512_srli_epi64(a.v, n)};
}
inline U32 tail_of(U32 a) { return splat(1u << 31) - U32{_mm512_abs_epi32(a.v)}; }
inline U64 tail_of(U64 a) { return splat(std::uint64_t(1) << 63) - U64{_mm512_abs_epi64(a.v)}; }
inline U64 lower_halves(U64 a, U64 b) {
  return {_mm512_mask_shuffle_epi32(a.v, 0xAAAA, b.v, _MM_PERM_CDAB)};
}
inline U64 upper_halves(U64 a, U64 b) {
  return {_mm512_mask_shuffle_epi32(b.v, 0x5555, a.v, _MM_PERM_CDAB)};
}
inline U64 multiply_low_halves(U64 a, U64 b) { return {_mm512_mul_epu32(a.v, b.v)}; }

// --- floating point
inline F32 splat(float x) { return {_mm512_set1_ps(x)}; }
inline F64 splat(double x) { return {_mm512_set1_pd(x)}; }
inline F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F64 operator-(F64 a, F64 b) { return {_mm512_sub_pd(a.v, b.v)}; }
inline F64 operator+(F64 a, F64 b) { return {_mm512_add_pd(a.v, b.v)}; }
inline F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F64 operator*(F64 a, F64 b) { return {_mm512_mul_pd(a.v, b.v)}; }
inline F64 operator/(F64 a, F64 b) { return {_mm512_div_pd(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F64 fma(F64 a, F64 b, F64 c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
inline F32 smaller(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F64 smaller(F64 a, F64 b) { return {_mm512_min_pd(a.v, b.v)}; }
inline F32 greater(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F64 greater(F64 a, F64 b) { return {_mm512_max_pd(a.v, b.v)}; }
// max(a, b) is a > b ? a : b, and min likewise, so x stays where it equals a bound.
inline F32 keep_between(F32 bottom, F32 top, F32 x) {
  return {_mm512_min_ps(top.v, _mm512_max_ps(bottom.v, x.v))};
}
inline F64 keep_between(F64 bottom, F64 top, F64 x) {
  return {_mm512_min_pd(top.v, _mm512_max_pd(bottom.v, x.v))};
}

// --- the same bits as another type
inline U32 bits(F32 a) { return {_mm512_castps_si512(a.v)}; }
inline U64 bits(F64 a) { return {_mm512_castpd_si512(a.v)}; }
inline F32 float_of_bits(U32 a) { return {_mm512_castsi512_ps(a.v)}; }
inline F64 float_of_bits(U64 a) { return {_mm512_castsi512_pd(a.v)}; }
inline U64 pairs(U32 a) { return {a.v}; }

// --- conversions
inline F32 from_signed(U32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline F64 from_signed(U64 a) { return {_mm512_cvtepi64_pd(a.v)}; }
inline F32 from_unsigned(U32 a) { return {_mm512_cvtepu32_ps(a.v)}; }
inline F64 from_unsigned(U64 a) { return {_mm512_cvtepu64_pd(a.v)}; }
inline F32 from_tail(U32 a) { return {_mm512_cvtepi32_ps(_mm512_min_epu32(a.v, _mm512_set1_epi32(0x7FFFFF80)))}; }
inline F64 from_tail(U64 a) {
  return {_mm512_cvtepi64_pd(_mm512_min_epu64(a.v, _mm512_set1_epi64(0x7FFFFFFFFFFFFC00)))};
}
struct WidePair {
  U64 low, high;
};
inline WidePair widen(U32 a) {
  return {{_mm512_cvtepu32_epi64(_mm512_castsi512_si256(a.v))},
          {_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(a.v, 1))}};
}
inline F32 narrow(F64 low, F64 high) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.v)), _mm512_cvtpd_ps(high.v), 1)};
}

// --- masks
inline Mask64 is_less(F64 a, F64 b) { return {_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask32 is_less(U32 a, U32 b) { return {_mm512_cmplt_epu32_mask(a.v, b.v)}; }
inline Mask64 is_less(U64 a, U64 b) { return {_mm512_cmplt_epu64_mask(a.v, b.v)}; }
inline bool any(Mask32 m) { return m.v != 0; }
inline bool any(Mask64 m) { return m.v != 0; }
inline U32 select(Mask32 m, U32 yes, U32 no) { return {_mm512_mask_blend_epi32(m.v, no.v, yes.v)}; }
inline U64 select(Mask64 m, U64 yes, U64 no) { return {_mm512_mask_blend_epi64(m.v, no.v, yes.v)}; }
inline F32 select(Mask32 m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
inline F64 select(Mask64 m, F64 yes, F64 no) { return {_mm512_mask_blend_pd(m.v, no.v, yes.v)}; }

// --- lookups
constexpr int kPick32 = 16;
constexpr int kLevels32 = 1;
constexpr int kPick64 = 16;
struct Row32 {
  __m512 v;
};
using Place32 = U32;
inline Place32 place_of(U32 index) { return index; }
template <int own>
Row32 load_row(const double* row, double scale) {
  const __m512d low = _mm512_loadu_pd(row);
  const __m512d high = _mm512_mask_loadu_pd(_mm512_maskz_loadu_pd(0xFF >> (16 - own), row + 8),
                                            __mmask8(0xFF << (own - 8)), row - 8);
  const __m512d factor = _mm512_set1_pd(scale);
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(_mm512_mul_pd(low, factor))),
                             _mm512_cvtpd_ps(_mm512_mul_pd(high, factor)), 1)};
}
inline F32 pick(const Row32& row, Place32 place) { return {_mm512_permutexvar_ps(place.v, row.v)}; }
inline F64 pick(const double* row, U64 place) {
  return {_mm512_permutex2var_pd(_mm512_load_pd(row), place.v, _mm512_load_pd(row + 8))};
}
inline F64 gather(const double* row, U64 index) { return {_mm512_i64gather_pd(index.v, row, 8)}; }
struct Pieces64 {
  const double* of[8];

  Pieces64() = default;
  Pieces64(const double* pieces, U64 piece) {
    std::uint64_t number[8];
    _mm512_storeu_si512(number, piece.v);
    for (int i = 0; i < 8; ++i) of[i] = pieces + 16 * number[i];
  }
  void two(int i, F64& first, F64& second) const {
    const auto four = [&](int lane) {
      __m512d v = _mm512_castpd128_pd512(_mm_load_pd(of[lane] + i));
      v = _mm512_insertf64x2(v, _mm_load_pd(of[lane + 2] + i), 1);
      v = _mm512_insertf64x2(v, _mm_load_pd(of[lane + 4] + i), 2);
      return _mm512_insertf64x2(v, _mm_load_pd(of[lane + 6] + i), 3);
    };
    const __m512d even = four(0), odd = four(1);
    first = {_mm512_unpacklo_pd(even, odd)};
    second = {_mm512_unpackhi_pd(even, odd)};
  }
};

// --- memory
inline void store(void* p, U32 a) { _mm512_storeu_si512(p, a.v); }
inline void store(void* p, F32 a) { _mm512_storeu_ps(p, a.v); }
inline void store(void* p, F64 a) { _mm512_storeu_pd(p, a.v); }
constexpr bool kBypasses = true;
constexpr bool kMakesColumns = true;
inline void store_bypassing(void* p, U32 a) { _mm512_stream_si512(static_cast<__m512i*>(p), a.v); }
inline void store_bypassing(void* p, F32 a) { _mm512_stream_ps(static_cast<float*>(p), a.v); }
inline void store_bypassing(void* p, F64 a) { _mm512_stream_pd(static_cast<double*>(p), a.v); }
inline void finish_bypassing() { _mm_sfence(); }
inline U32 load(const void* p) { return {_mm512_loadu_si512(p)}; }
// Not PREFETCHW, which is an extension of its own and was measured to be no faster.
inline void prefetch(unsigned char* p) {
#if defined(__GNUC__)
  // GCC 12 takes a function that only prefetches for one that does nothing, and drops it.
  __asm__ volatile("prefetcht1 %0" : : "m"(*p));
#else
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
#endif
}

// --- transposition
inline void transpose(U32 (&v)[2], std::uint64_t) {
  const __m512i low = _mm512_unpacklo_epi64(v[0].v, v[1].v), high = _mm512_unpackhi_epi64(v[0].v, v[1].v);
  v[0] = {low}, v[1] = {high};
}
inline void transpose(U32 (&v)[4], std::uint32_t) {
  const __m512i low01 = _mm512_unpacklo_epi32(v[0].v, v[1].v), high01 = _mm512_unpackhi_epi32(v[0].v, v[1].v);
  const __m512i low23 = _mm512_unpacklo_epi32(v[2].v, v[3].v), high23 = _mm512_unpackhi_epi32(v[2].v, v[3].v);
  v[0] = {_mm512_unpacklo_epi64(low01, low23)};
  v[1] = {_mm512_unpackhi_epi64(low01, low23)};
  v[2] = {_mm512_unpacklo_epi64(high01, high23)};
  v[3] = {_mm512_unpackhi_epi64(high01, high23)};
}
inline void transpose(U32 (&v)[4], std::uint16_t) {
  // Four rows of four, from the lower halves and from the upper ones; then their columns together.
  const __m512i low01 = _mm512_unpacklo_epi16(v[0].v, v[1].v), high01 = _mm512_unpackhi_epi16(v[0].v, v[1].v);
  const __m512i low23 = _mm512_unpacklo_epi16(v[2].v, v[3].v), high23 = _mm512_unpackhi_epi16(v[2].v, v[3].v);
  const __m512i first01 = _mm512_unpacklo_epi32(low01, low23), first23 = _mm512_unpackhi_epi32(low01, low23);
  const __m512i last01 = _mm512_unpacklo_epi32(high01, high23), last23 = _mm512_unpackhi_epi32(high01, high23);
  v[0] = {_mm512_unpacklo_epi64(first01, last01)};
  v[1] = {_mm512_unpackhi_epi64(first01, last01)};
  v[2] = {_mm512_unpacklo_epi64(first23, last23)};
  v[3] = {_mm512_unpackhi_epi64(first23, last23)};
}
// 128 bits from each of rows 0, step, 2 step, 3 step
inline __m512i load_quarters(const unsigned char* row, std::size_t step) {
  const auto quarter = [=](std::size_t i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + i * step)); };
  __m512i v = _mm512_castsi128_si512(quarter(0));
  v = _mm512_inserti32x4(v, quarter(1), 1);
  v = _mm512_inserti32x4(v, quarter(2), 2);
  return _mm512_inserti32x4(v, quarter(3), 3);
}
inline void load_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  const __m512i r0 = load_quarters(rows, 4 * pitch), r1 = load_quarters(rows + pitch, 4 * pitch);
  const __m512i r2 = load_quarters(rows + 2 * pitch, 4 * pitch), r3 = load_quarters(rows + 3 * pitch, 4 * pitch);
  U32 v[4] = {{r0}, {r1}, {r2}, {r3}};
  transpose(v, std::uint32_t());
  for (int c = 0; c < 4; ++c) columns[c] = v[c];
}
inline void load_wide_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  const __m512i r0 = load_quarters(rows, 2 * pitch), r1 = load_quarters(rows + pitch, 2 * pitch);
  U32 v[2] = {{r0}, {r1}};
  transpose(v, std::uint64_t());
  columns[0] = v[0], columns[1] = v[1];
}
inline U32 load_pairs(const unsigned char* a, const unsigned char* b) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(a)));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(b)));
  return {_mm512_or_si512(low, _mm512_slli_epi32(high, 16))};
}
struct Slide {
  __m512i from;
  Slide() = default;
  explicit Slide(int n) {
    std::uint32_t places[16];
    for (int i = 0; i < 16; ++i) places[i] = std::uint32_t(i % 4 + n < 4 ? i + n : 16 + i + n - 4);
    from = _mm512_loadu_si512(places);
  }
  U32 operator()(U32 a, U32 b) const { return {_mm512_permutex2var_epi32(a.v, from, b.v)}; }
};

// --- 16-bit floating point
inline U32 pack_float16(F32 a, F32 b) {
  const __m256i low = _mm512_cvtps_ph(a.v, kNearest), high = _mm512_cvtps_ph(b.v, kNearest);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1)};
}
// Half of the last place less one, and one more where the result would be odd: that one is there already if the lowest
// bit is set, and makes a difference only where all lower bits are those of one half.
inline __m512i rounded_to_high_half(F32 a) {
  const __m512i f = _mm512_castps_si512(a.v);
  // f | (f >> 16 & 1)
  const __m512i odd = _mm512_ternarylogic_epi32(f, _mm512_srli_epi32(f, 16), _mm512_set1_epi32(1), 0xF8);
  return _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF));
}
inline U32 pack_bfloat16(F32 a, F32 b) {
  // 16-bit lanes 1, 3, .. 31 of a, then of b (whose lanes count from 32)
  const __m512i high_halves = _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29,
                                               27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
  return {_mm512_permutex2var_epi16(rounded_to_high_half(a), high_halves, rounded_to_high_half(b))};
}

// --- spreading
constexpr int kSpread = 4;
// Lanes of 16 bits serve every size of element.
struct Spread {
  int n;
  __m512i place[kSpread];
  __mmask32 mask[kSpread];

  Spread(int element_bytes, int distance) : n(distance) {
    const int element = element_bytes / 2;
    for (int i = 0; i < n; ++i) {
      std::uint16_t places[32];
      std::uint32_t bits = 0;
      for (int lane = 0; lane < 32; ++lane) {
        const int at = 32 * i + lane, number = at / (element * n), within = at % (element * n);
        places[lane] = std::uint16_t(number * element + within % element);
        bits |= std::uint32_t(within < element) << lane;
      }
      place[i] = _mm512_loadu_si512(places);
      mask[i] = bits;
    }
  }
  void store(unsigned char* p, U32 a) const {
    for (int i = 0; i < n; ++i) _mm512_mask_storeu_epi16(p + 64 * i, mask[i], _mm512_permutexvar_epi16(place[i], a.v));
  }
};

// --- blocks
struct Blocks {
  __m512i v;
};
inline Blocks repeat_block(std::uint64_t low, std::uint64_t high) {
  return {_mm512_broadcast_i64x2(_mm_set_epi64x((long long)high, (long long)low))};
}
inline Blocks later(Blocks a, std::uint64_t n) {
  return {_mm512_add_epi64(a.v, _mm512_maskz_set1_epi64(0x55, (long long)n))};
}
inline __m512i multiples(__m512i of, std::uint64_t step) {
  return _mm512_mullo_epi64(of, _mm512_set1_epi64((long long)step));
}
inline Blocks count_blocks(std::uint64_t block, std::uint64_t step) {
  return {_mm512_maskz_add_epi64(0x55, _mm512_set1_epi64((long long)block),
                                 multiples(_mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0), step))};
}
inline U64 count_lanes(std::uint64_t block, std::uint64_t step) {
  return {_mm512_add_epi64(_mm512_set1_epi64((long long)block),
                           multiples(_mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0), step))};
}
struct WordPair {
  U32 first, second;
};
inline WordPair merge_words(U64 even, U64 odd) {
  return {{_mm512_unpacklo_epi32(even.v, odd.v)}, {_mm512_unpackhi_epi32(even.v, odd.v)}};
}
inline Blocks load_blocks(const void* p) { return {_mm512_loadu_si512(p)}; }
inline void store(void* p, Blocks a) { _mm512_storeu_si512(p, a.v); }
inline Blocks operator^(Blocks a, Blocks b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <int n, std::size_t n_keys>
Blocks begin_rounds(Blocks input, const Blocks (&keys)[n_keys]) {
  __m512i s = _mm512_xor_si512(input.v, keys[0].v);
  for (int r = 1; r <= n; ++r) s = _mm512_aesenc_epi128(s, keys[r].v);
  return {s};
}
template <int done, int rounds, int n>
void finish_rounds(Blocks (&s)[n], const Blocks (&keys)[rounds + 1]) {
  for (int r = done + 1; r < rounds; ++r) {
    for (int i = 0; i < n; ++i) s[i].v = _mm512_aesenc_epi128(s[i].v, keys[r].v);
  }
  for (int i = 0; i < n; ++i) s[i].v = _mm512_aesenclast_epi128(s[i].v, keys[rounds].v);
}

}  // namespace
}  // namespace fastinit
