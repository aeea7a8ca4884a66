// The vector vocabulary for x86-64 with AVX2, FMA, F16C and AES-NI, and VAES where the compiler is told so: eight
// 32-bit lanes, two AES blocks. vector_portable.hpp says what each word means.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace fastinit {
namespace {

constexpr int kLanes32 = 8;
constexpr int kLanes64 = 4;
constexpr int kVectorBytes = 4 * kLanes32;

struct U32 {
  __m256i v;
};
struct F32 {
  __m256 v;
};
struct U64 {
  __m256i v;
};
struct F64 {
  __m256d v;
};
// All bits of a lane set, or none.
struct Mask32 {
  __m256i v;
};
struct Mask64 {
  __m256i v;
};

constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

// --- integers
inline U32 splat(std::uint32_t x) { return {_mm256_set1_epi32(int(x))}; }
inline U64 splat(std::uint64_t x) { return {_mm256_set1_epi64x((long long)x)}; }
inline U32 operator&(U32 a, U32 b) { return {_mm256_and_si256(a.v, b.v)}; }
inline U64 operator&(U64 a, U64 b) { return {_mm256_and_si256(a.v, b.v)}; }
inline U32 operator|(U32 a, U32 b) { return {_mm256_or_si256(a.v, b.v)}; }
inline U64 operator|(U64 a, U64 b) { return {_mm256_or_si256(a.v, b.v)}; }
inline U32 operator^(U32 a, U32 b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline U64 operator^(U64 a, U64 b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline U32 and_or(U32 a, U32 b, U32 c) { return (a & b) | c; }
inline U64 and_or(U64 a, U64 b, U64 c) { return (a & b) | c; }
inline U32 lesser(U32 a, U32 b) { return {_mm256_min_epu32(a.v, b.v)}; }
inline U32 operator-(U32 a, U32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
inline U64 operator-(U64 a, U64 b) { return {_mm256_sub_epi64(a.v, b.v)}; }
inline U64 operator+(U64 a, U64 b) { return {_mm256_add_epi64(a.v, b.v)}; }
template <int n>
U32 shift_right(U32 a) {
  return {_mm256_srli_epi32(a.v, n)};
}
template <int n>
U64 shift_right(U64 a) {
  return {_mm256_srli_epi64(a.v, n)};
}
inline U32 tail_of(U32 a) { return splat(1u << 31) - U32{_mm256_abs_epi32(a.v)}; }
inline U64 tail_of(U64 a) {
  const __m256i sign = _mm256_cmpgt_epi64(_mm256_setzero_si256(), a.v);
  return splat(std::uint64_t(1) << 63) - U64{_mm256_sub_epi64(_mm256_xor_si256(a.v, sign), sign)};
}
inline U64 lower_halves(U64 a, U64 b) { return {_mm256_blend_epi32(a.v, _mm256_slli_epi64(b.v, 32), 0xAA)}; }
inline U64 upper_halves(U64 a, U64 b) { return {_mm256_blend_epi32(b.v, _mm256_srli_epi64(a.v, 32), 0x55)}; }
inline U64 multiply_low_halves(U64 a, U64 b) { return {_mm256_mul_epu32(a.v, b.v)}; }

// --- floating point
inline F32 splat(float x) { return {_mm256_set1_ps(x)}; }
inline F64 splat(double x) { return {_mm256_set1_pd(x)}; }
inline F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline F64 operator-(F64 a, F64 b) { return {_mm256_sub_pd(a.v, b.v)}; }
inline F64 operator+(F64 a, F64 b) { return {_mm256_add_pd(a.v, b.v)}; }
inline F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline F64 operator*(F64 a, F64 b) { return {_mm256_mul_pd(a.v, b.v)}; }
inline F64 operator/(F64 a, F64 b) { return {_mm256_div_pd(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline F64 fma(F64 a, F64 b, F64 c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
inline F32 smaller(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
inline F64 smaller(F64 a, F64 b) { return {_mm256_min_pd(a.v, b.v)}; }
inline F32 greater(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
inline F64 greater(F64 a, F64 b) { return {_mm256_max_pd(a.v, b.v)}; }
// max(a, b) is a > b ? a : b, and min likewise, so x stays where it equals a bound.
inline F32 keep_between(F32 bottom, F32 top, F32 x) {
  return {_mm256_min_ps(top.v, _mm256_max_ps(bottom.v, x.v))};
}
inline F64 keep_between(F64 bottom, F64 top, F64 x) {
  return {_mm256_min_pd(top.v, _mm256_max_pd(bottom.v, x.v))};
}

// --- the same bits as another type
inline U32 bits(F32 a) { return {_mm256_castps_si256(a.v)}; }
inline U64 bits(F64 a) { return {_mm256_castpd_si256(a.v)}; }
inline F32 float_of_bits(U32 a) { return {_mm256_castsi256_ps(a.v)}; }
inline F64 float_of_bits(U64 a) { return {_mm256_castsi256_pd(a.v)}; }
inline U64 pairs(U32 a) { return {a.v}; }

// --- conversions
inline F32 from_signed(U32 a) { return {_mm256_cvtepi32_ps(a.v)}; }
// Both halves are exact; the one rounding is that of the sum.
inline F32 from_unsigned(U32 a) {
  const __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(a.v, 16));
  const __m256 low = _mm256_cvtepi32_ps(_mm256_and_si256(a.v, _mm256_set1_epi32(0xFFFF)));
  return {_mm256_fmadd_ps(high, _mm256_set1_ps(65536.0f), low)};
}
// The low half becomes the last 32 bits of 2^52, the high half (its top bit turned, if signed) those of 2^84: two
// doubles that are exact. Taking off 2^84 + 2^52 (+ 2^63) is exact too; the one rounding is that of the sum.
inline F64 from_halves(__m256i a, long long high_magic, long long all_magic) {
  const __m256i low = _mm256_blend_epi32(_mm256_set1_epi64x(0x4330000000000000), a, 0x55);
  const __m256i high = _mm256_xor_si256(_mm256_srli_epi64(a, 32), _mm256_set1_epi64x(high_magic));
  const __m256d magic = _mm256_castsi256_pd(_mm256_set1_epi64x(all_magic));
  return {_mm256_add_pd(_mm256_sub_pd(_mm256_castsi256_pd(high), magic), _mm256_castsi256_pd(low))};
}
inline F64 from_signed(U64 a) { return from_halves(a.v, 0x4530000080000000, 0x4530000080100000); }
inline F64 from_unsigned(U64 a) { return from_halves(a.v, 0x4530000000000000, 0x4530000000100000); }
inline F32 from_tail(U32 a) { return {_mm256_cvtepi32_ps(_mm256_min_epu32(a.v, _mm256_set1_epi32(0x7FFFFF80)))}; }
inline F64 from_tail(U64 a) { return {_mm256_min_pd(from_unsigned(a).v, _mm256_set1_pd(0x1.fffffffffffffp62))}; }
struct WidePair {
  U64 low, high;
};
inline WidePair widen(U32 a) {
  return {{_mm256_cvtepu32_epi64(_mm256_castsi256_si128(a.v))},
          {_mm256_cvtepu32_epi64(_mm256_extracti128_si256(a.v, 1))}};
}
inline F32 narrow(F64 low, F64 high) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(high.v), _mm256_cvtpd_ps(low.v))};
}

// --- masks
inline Mask64 is_less(F64 a, F64 b) { return {_mm256_castpd_si256(_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ))}; }
// There is only a signed comparison: turn the top bits.
inline Mask32 is_less(U32 a, U32 b) {
  const __m256i top = _mm256_set1_epi32(int(0x80000000));
  return {_mm256_cmpgt_epi32(_mm256_xor_si256(b.v, top), _mm256_xor_si256(a.v, top))};
}
inline Mask64 is_less(U64 a, U64 b) {
  const __m256i top = _mm256_set1_epi64x((long long)0x8000000000000000);
  return {_mm256_cmpgt_epi64(_mm256_xor_si256(b.v, top), _mm256_xor_si256(a.v, top))};
}
inline U64 lesser(U64 a, U64 b) { return {_mm256_blendv_epi8(b.v, a.v, is_less(a, b).v)}; }
inline bool any(Mask32 m) { return !_mm256_testz_si256(m.v, m.v); }
inline bool any(Mask64 m) { return !_mm256_testz_si256(m.v, m.v); }
inline U32 select(Mask32 m, U32 yes, U32 no) { return {_mm256_blendv_epi8(no.v, yes.v, m.v)}; }
inline U64 select(Mask64 m, U64 yes, U64 no) { return {_mm256_blendv_epi8(no.v, yes.v, m.v)}; }
inline F32 select(Mask32 m, F32 yes, F32 no) { return {_mm256_blendv_ps(no.v, yes.v, _mm256_castsi256_ps(m.v))}; }
inline F64 select(Mask64 m, F64 yes, F64 no) { return {_mm256_blendv_pd(no.v, yes.v, _mm256_castsi256_pd(m.v))}; }

// --- lookups
constexpr int kPick32 = 8;
constexpr int kLevels32 = 2;
constexpr int kPick64 = 0;
struct Row32 {
  __m256 v;
};
using Place32 = U32;
inline Place32 place_of(U32 index) { return index; }
template <int own>
Row32 load_row(const double* row, double scale) {
  static_assert(own == 6);
  const __m256d low = _mm256_loadu_pd(row);
  const __m256d high = _mm256_set_m128d(_mm_loadu_pd(row - 2), _mm_loadu_pd(row + 4));
  const __m256d factor = _mm256_set1_pd(scale);
  return {_mm256_set_m128(_mm256_cvtpd_ps(_mm256_mul_pd(high, factor)), _mm256_cvtpd_ps(_mm256_mul_pd(low, factor)))};
}
inline F32 pick(const Row32& row, Place32 place) { return {_mm256_permutevar8x32_ps(row.v, place.v)}; }
inline F64 gather(const double* row, U64 index) { return {_mm256_i64gather_pd(row, index.v, 8)}; }
struct Pieces64 {
  const double* of[4];

  Pieces64() = default;
  Pieces64(const double* pieces, U64 piece) {
    std::uint64_t number[4];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(number), piece.v);
    for (int i = 0; i < 4; ++i) of[i] = pieces + 16 * number[i];
  }
  void two(int i, F64& first, F64& second) const {
    const __m256d even = _mm256_set_m128d(_mm_load_pd(of[2] + i), _mm_load_pd(of[0] + i));
    const __m256d odd = _mm256_set_m128d(_mm_load_pd(of[3] + i), _mm_load_pd(of[1] + i));
    first = {_mm256_unpacklo_pd(even, odd)};
    second = {_mm256_unpackhi_pd(even, odd)};
  }
};

// --- memory
inline void store(void* p, U32 a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a.v); }
inline void store(void* p, F32 a) { _mm256_storeu_ps(static_cast<float*>(p), a.v); }
inline void store(void* p, F64 a) { _mm256_storeu_pd(static_cast<double*>(p), a.v); }
constexpr bool kBypasses = true;
constexpr bool kMakesColumns = true;
inline void store_bypassing(void* p, U32 a) { _mm256_stream_si256(static_cast<__m256i*>(p), a.v); }
inline void store_bypassing(void* p, F32 a) { _mm256_stream_ps(static_cast<float*>(p), a.v); }
inline void store_bypassing(void* p, F64 a) { _mm256_stream_pd(static_cast<double*>(p), a.v); }
inline void finish_bypassing() { _mm_sfence(); }
inline U32 load(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
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
  const __m256i low = _mm256_unpacklo_epi64(v[0].v, v[1].v), high = _mm256_unpackhi_epi64(v[0].v, v[1].v);
  v[0] = {low}, v[1] = {high};
}
inline void transpose(U32 (&v)[4], std::uint32_t) {
  const __m256i low01 = _mm256_unpacklo_epi32(v[0].v, v[1].v), high01 = _mm256_unpackhi_epi32(v[0].v, v[1].v);
  const __m256i low23 = _mm256_unpacklo_epi32(v[2].v, v[3].v), high23 = _mm256_unpackhi_epi32(v[2].v, v[3].v);
  v[0] = {_mm256_unpacklo_epi64(low01, low23)};
  v[1] = {_mm256_unpackhi_epi64(low01, low23)};
  v[2] = {_mm256_unpacklo_epi64(high01, high23)};
  v[3] = {_mm256_unpackhi_epi64(high01, high23)};
}
inline void transpose(U32 (&v)[4], std::uint16_t) {
  // Four rows of four, from the lower halves and from the upper ones; then their columns together.
  const __m256i low01 = _mm256_unpacklo_epi16(v[0].v, v[1].v), high01 = _mm256_unpackhi_epi16(v[0].v, v[1].v);
  const __m256i low23 = _mm256_unpacklo_epi16(v[2].v, v[3].v), high23 = _mm256_unpackhi_epi16(v[2].v, v[3].v);
  const __m256i first01 = _mm256_unpacklo_epi32(low01, low23), first23 = _mm256_unpackhi_epi32(low01, low23);
  const __m256i last01 = _mm256_unpacklo_epi32(high01, high23), last23 = _mm256_unpackhi_epi32(high01, high23);
  v[0] = {_mm256_unpacklo_epi64(first01, last01)};
  v[1] = {_mm256_unpackhi_epi64(first01, last01)};
  v[2] = {_mm256_unpacklo_epi64(first23, last23)};
  v[3] = {_mm256_unpackhi_epi64(first23, last23)};
}
// 128 bits from each of rows 0 and step
inline __m256i load_halves(const unsigned char* row, std::size_t step) {
  return _mm256_loadu2_m128i(reinterpret_cast<const __m128i*>(row + step), reinterpret_cast<const __m128i*>(row));
}
inline void load_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  const __m256i r0 = load_halves(rows, 4 * pitch), r1 = load_halves(rows + pitch, 4 * pitch);
  const __m256i r2 = load_halves(rows + 2 * pitch, 4 * pitch), r3 = load_halves(rows + 3 * pitch, 4 * pitch);
  U32 v[4] = {{r0}, {r1}, {r2}, {r3}};
  transpose(v, std::uint32_t());
  for (int c = 0; c < 4; ++c) columns[c] = v[c];
}
inline void load_wide_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  const __m256i r0 = load_halves(rows, 2 * pitch), r1 = load_halves(rows + pitch, 2 * pitch);
  U32 v[2] = {{r0}, {r1}};
  transpose(v, std::uint64_t());
  columns[0] = v[0], columns[1] = v[1];
}
inline U32 load_pairs(const unsigned char* a, const unsigned char* b) {
  const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
  const __m256i high = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  return {_mm256_or_si256(low, _mm256_slli_epi32(high, 16))};
}
struct Slide {
  __m256i turn;
  __m256 later;
  Slide() = default;
  explicit Slide(int n) {
    const __m256i place = _mm256_set_epi32(3, 2, 1, 0, 3, 2, 1, 0);
    turn = _mm256_add_epi32(place, _mm256_set1_epi32(n));  // the low two bits count
    later = _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), place));
  }
  U32 operator()(U32 a, U32 b) const {
    const __m256 words = _mm256_blendv_ps(_mm256_castsi256_ps(a.v), _mm256_castsi256_ps(b.v), later);
    return {_mm256_castps_si256(_mm256_permutevar_ps(words, turn))};
  }
};

// --- 16-bit floating point
inline U32 pack_float16(F32 a, F32 b) {
  return {_mm256_set_m128i(_mm256_cvtps_ph(b.v, kNearest), _mm256_cvtps_ph(a.v, kNearest))};
}
// Half of the last place less one, and one more where the result would be odd: that one is there already if the lowest
// bit is set, and makes a difference only where all lower bits are those of one half.
inline __m256i rounded_to_bfloat16(F32 a) {
  const __m256i f = _mm256_castps_si256(a.v);
  const __m256i odd = _mm256_or_si256(f, _mm256_and_si256(_mm256_srli_epi32(f, 16), _mm256_set1_epi32(1)));
  return _mm256_srli_epi32(_mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)), 16);
}
inline U32 pack_bfloat16(F32 a, F32 b) {
  // The pack works within 128-bit halves; the permutation puts its four quarters in order.
  const __m256i packed = _mm256_packus_epi32(rounded_to_bfloat16(a), rounded_to_bfloat16(b));
  return {_mm256_permute4x64_epi64(packed, 0xD8)};
}

// --- spreading
constexpr int kSpread = 0;
struct Spread {
  Spread(int, int) {}
  void store(unsigned char*, U32) const {}
};

// --- blocks
inline U64 count_lanes(std::uint64_t block, std::uint64_t step) {
  const auto multiple = [step](std::uint64_t n) { return (long long)(n * step); };
  return {_mm256_add_epi64(_mm256_set1_epi64x((long long)block),
                           _mm256_set_epi64x(multiple(3), multiple(1), multiple(2), 0))};
}
struct WordPair {
  U32 first, second;
};
inline WordPair merge_words(U64 even, U64 odd) {
  return {{_mm256_unpacklo_epi32(even.v, odd.v)}, {_mm256_unpackhi_epi32(even.v, odd.v)}};
}

#if defined(__VAES__)  // target_avx2_vaes.cpp: two blocks in one register

struct Blocks {
  __m256i v;
};
inline Blocks repeat_block(std::uint64_t low, std::uint64_t high) {
  return {_mm256_set_epi64x((long long)high, (long long)low, (long long)high, (long long)low)};
}
inline Blocks later(Blocks a, std::uint64_t n) { return {_mm256_add_epi64(a.v, repeat_block(n, 0).v)}; }
inline Blocks count_blocks(std::uint64_t block, std::uint64_t step) {
  return {_mm256_set_epi64x(0, (long long)(block + step), 0, (long long)block)};
}
inline Blocks load_blocks(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
inline void store(void* p, Blocks a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a.v); }
inline Blocks operator^(Blocks a, Blocks b) { return {_mm256_xor_si256(a.v, b.v)}; }
inline Blocks aes_round(Blocks s, Blocks key) { return {_mm256_aesenc_epi128(s.v, key.v)}; }
inline Blocks last_aes_round(Blocks s, Blocks key) { return {_mm256_aesenclast_epi128(s.v, key.v)}; }

#else

struct Blocks {
  __m128i first, second;
};
inline Blocks repeat_block(std::uint64_t low, std::uint64_t high) {
  const __m128i block = _mm_set_epi64x((long long)high, (long long)low);
  return {block, block};
}
inline Blocks later(Blocks a, std::uint64_t n) {
  const __m128i step = _mm_set_epi64x(0, (long long)n);
  return {_mm_add_epi64(a.first, step), _mm_add_epi64(a.second, step)};
}
inline Blocks count_blocks(std::uint64_t block, std::uint64_t step) {
  const __m128i first = _mm_cvtsi64_si128((long long)block);
  return {first, _mm_add_epi64(first, _mm_cvtsi64_si128((long long)step))};
}
inline Blocks load_blocks(const void* p) {
  const auto* blocks = static_cast<const __m128i*>(p);
  return {_mm_loadu_si128(blocks), _mm_loadu_si128(blocks + 1)};
}
inline void store(void* p, Blocks a) {
  auto* blocks = static_cast<__m128i*>(p);
  _mm_storeu_si128(blocks, a.first);
  _mm_storeu_si128(blocks + 1, a.second);
}
inline Blocks operator^(Blocks a, Blocks b) {
  return {_mm_xor_si128(a.first, b.first), _mm_xor_si128(a.second, b.second)};
}
inline Blocks aes_round(Blocks s, Blocks key) {
  return {_mm_aesenc_si128(s.first, key.first), _mm_aesenc_si128(s.second, key.second)};
}
inline Blocks last_aes_round(Blocks s, Blocks key) {
  return {_mm_aesenclast_si128(s.first, key.first), _mm_aesenclast_si128(s.second, key.second)};
}

#endif

template <int n, std::size_t n_keys>
Blocks begin_rounds(Blocks input, const Blocks (&keys)[n_keys]) {
  Blocks s = input ^ keys[0];
  for (int r = 1; r <= n; ++r) s = aes_round(s, keys[r]);
  return s;
}
template <int done, int rounds, int n>
void finish_rounds(Blocks (&s)[n], const Blocks (&keys)[rounds + 1]) {
  for (int r = done + 1; r < rounds; ++r) {
    for (int i = 0; i < n; ++i) s[i] = aes_round(s[i], keys[r]);
  }
  for (int i = 0; i < n; ++i) s[i] = last_aes_round(s[i], keys[rounds]);
}

}  // namespace
}  // namespace fastinit
