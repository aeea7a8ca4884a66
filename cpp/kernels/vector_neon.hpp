// The vector vocabulary for AArch64 with the AES instructions: four 32-bit lanes, one AES block.
// vector_portable.hpp says what each word means.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace fastinit {
namespace {

constexpr int kLanes32 = 4;
constexpr int kLanes64 = 2;
constexpr int kVectorBytes = 4 * kLanes32;

struct U32 {
  uint32x4_t v;
};
struct F32 {
  float32x4_t v;
};
struct U64 {
  uint64x2_t v;
};
struct F64 {
  float64x2_t v;
};
// All bits of a lane set, or none.
struct Mask32 {
  uint32x4_t v;
};
struct Mask64 {
  uint64x2_t v;
};

// --- integers
inline U32 splat(std::uint32_t x) { return {vdupq_n_u32(x)}; }
inline U64 splat(std::uint64_t x) { return {vdupq_n_u64(x)}; }
inline U32 operator&(U32 a, U32 b) { return {vandq_u32(a.v, b.v)}; }
inline U64 operator&(U64 a, U64 b) { return {vandq_u64(a.v, b.v)}; }
inline U32 operator|(U32 a, U32 b) { return {vorrq_u32(a.v, b.v)}; }
inline U64 operator|(U64 a, U64 b) { return {vorrq_u64(a.v, b.v)}; }
inline U32 operator^(U32 a, U32 b) { return {veorq_u32(a.v, b.v)}; }
inline U64 operator^(U64 a, U64 b) { return {veorq_u64(a.v, b.v)}; }
inline U32 and_or(U32 a, U32 b, U32 c) { return (a & b) | c; }
inline U64 and_or(U64 a, U64 b, U64 c) { return (a & b) | c; }
inline U64 lesser(U64 a, U64 b) { return {vbslq_u64(vcltq_u64(a.v, b.v), a.v, b.v)}; }
inline U32 lesser(U32 a, U32 b) { return {vminq_u32(a.v, b.v)}; }
inline U32 operator-(U32 a, U32 b) { return {vsubq_u32(a.v, b.v)}; }
inline U64 operator-(U64 a, U64 b) { return {vsubq_u64(a.v, b.v)}; }
inline U64 operator+(U64 a, U64 b) { return {vaddq_u64(a.v, b.v)}; }
template <int n>
U32 shift_right(U32 a) {
  return {vshrq_n_u32(a.v, n)};
}
template <int n>
U64 shift_right(U64 a) {
  return {vshrq_n_u64(a.v, n)};
}
// Read as unsigned numbers, a and 2^(B-1) differ by that.
inline U32 tail_of(U32 a) { return {vabdq_u32(a.v, vdupq_n_u32(1u << 31))}; }
inline U64 tail_of(U64 a) {
  return splat(std::uint64_t(1) << 63) - U64{vreinterpretq_u64_s64(vabsq_s64(vreinterpretq_s64_u64(a.v)))};
}
inline U64 lower_halves(U64 a, U64 b) { return {vsliq_n_u64(a.v, b.v, 32)}; }
inline U64 upper_halves(U64 a, U64 b) { return {vsriq_n_u64(b.v, a.v, 32)}; }
inline U64 multiply_low_halves(U64 a, U64 b) { return {vmull_u32(vmovn_u64(a.v), vmovn_u64(b.v))}; }

// --- floating point
inline F32 splat(float x) { return {vdupq_n_f32(x)}; }
inline F64 splat(double x) { return {vdupq_n_f64(x)}; }
inline F32 operator-(F32 a, F32 b) { return {vsubq_f32(a.v, b.v)}; }
inline F64 operator-(F64 a, F64 b) { return {vsubq_f64(a.v, b.v)}; }
inline F64 operator+(F64 a, F64 b) { return {vaddq_f64(a.v, b.v)}; }
inline F32 operator*(F32 a, F32 b) { return {vmulq_f32(a.v, b.v)}; }
inline F64 operator*(F64 a, F64 b) { return {vmulq_f64(a.v, b.v)}; }
inline F64 operator/(F64 a, F64 b) { return {vdivq_f64(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
inline F64 fma(F64 a, F64 b, F64 c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
inline F32 smaller(F32 a, F32 b) { return {vminq_f32(a.v, b.v)}; }
inline F64 smaller(F64 a, F64 b) { return {vminq_f64(a.v, b.v)}; }
inline F32 greater(F32 a, F32 b) { return {vmaxq_f32(a.v, b.v)}; }
inline F64 greater(F64 a, F64 b) { return {vmaxq_f64(a.v, b.v)}; }
// Not fmax and fmin, which order -0 below +0.
inline F32 keep_between(F32 bottom, F32 top, F32 x) {
  const float32x4_t above = vbslq_f32(vcltq_f32(x.v, bottom.v), bottom.v, x.v);
  return {vbslq_f32(vcgtq_f32(above, top.v), top.v, above)};
}
inline F64 keep_between(F64 bottom, F64 top, F64 x) {
  const float64x2_t above = vbslq_f64(vcltq_f64(x.v, bottom.v), bottom.v, x.v);
  return {vbslq_f64(vcgtq_f64(above, top.v), top.v, above)};
}

// --- the same bits as another type
inline U32 bits(F32 a) { return {vreinterpretq_u32_f32(a.v)}; }
inline U64 bits(F64 a) { return {vreinterpretq_u64_f64(a.v)}; }
inline F32 float_of_bits(U32 a) { return {vreinterpretq_f32_u32(a.v)}; }
inline F64 float_of_bits(U64 a) { return {vreinterpretq_f64_u64(a.v)}; }
inline U64 pairs(U32 a) { return {vreinterpretq_u64_u32(a.v)}; }

// --- conversions
inline F32 from_signed(U32 a) { return {vcvtq_f32_s32(vreinterpretq_s32_u32(a.v))}; }
inline F64 from_signed(U64 a) { return {vcvtq_f64_s64(vreinterpretq_s64_u64(a.v))}; }
inline F32 from_unsigned(U32 a) { return {vcvtq_f32_u32(a.v)}; }
inline F64 from_unsigned(U64 a) { return {vcvtq_f64_u64(a.v)}; }
inline F32 from_tail(U32 a) { return smaller(from_unsigned(a), splat(0x1.fffffep30f)); }
inline F64 from_tail(U64 a) { return smaller(from_unsigned(a), splat(0x1.fffffffffffffp62)); }
struct WidePair {
  U64 low, high;
};
inline WidePair widen(U32 a) { return {{vmovl_u32(vget_low_u32(a.v))}, {vmovl_high_u32(a.v)}}; }
inline F32 narrow(F64 low, F64 high) { return {vcvt_high_f32_f64(vcvt_f32_f64(low.v), high.v)}; }

// --- masks
inline Mask64 is_less(F64 a, F64 b) { return {vcltq_f64(a.v, b.v)}; }
inline Mask32 is_less(U32 a, U32 b) { return {vcltq_u32(a.v, b.v)}; }
inline Mask64 is_less(U64 a, U64 b) { return {vcltq_u64(a.v, b.v)}; }
inline bool any(Mask32 m) { return vmaxvq_u32(m.v) != 0; }
inline bool any(Mask64 m) { return vmaxvq_u32(vreinterpretq_u32_u64(m.v)) != 0; }
inline U32 select(Mask32 m, U32 yes, U32 no) { return {vbslq_u32(m.v, yes.v, no.v)}; }
inline U64 select(Mask64 m, U64 yes, U64 no) { return {vbslq_u64(m.v, yes.v, no.v)}; }
inline F32 select(Mask32 m, F32 yes, F32 no) { return {vbslq_f32(m.v, yes.v, no.v)}; }
inline F64 select(Mask64 m, F64 yes, F64 no) { return {vbslq_f64(m.v, yes.v, no.v)}; }

// --- lookups. Tables of 16 entries, four registers each, would take up to four times as long by the models of Arm's
// cores, and seven of them leave four registers for all else.
constexpr int kPick32 = 8;
constexpr int kLevels32 = 2;
constexpr int kPick64 = 0;
struct Row32 {
  uint8x16x2_t v;
};
// The four bytes of entry i of a row: 4 i, 4 i + 1, 4 i + 2, 4 i + 3.
struct Place32 {
  uint8x16_t v;
};
inline Place32 place_of(U32 index) {
  const uint32x4_t entry = vandq_u32(index.v, vdupq_n_u32(kPick32 - 1));
  return {vreinterpretq_u8_u32(vmlaq_u32(vdupq_n_u32(0x03020100), entry, vdupq_n_u32(0x04040404)))};
}
template <int own>
Row32 load_row(const double* row, double scale) {
  float entries[kPick32];
  for (int i = 0; i < kPick32; ++i) entries[i] = float(row[i < own ? i : i - kPick32] * scale);
  return {vld1q_u8_x2(reinterpret_cast<const std::uint8_t*>(entries))};
}
inline F32 pick(const Row32& row, Place32 place) { return {vreinterpretq_f32_u8(vqtbl2q_u8(row.v, place.v))}; }
inline F64 gather(const double* row, U64 index) {
  const double lanes[2] = {row[vgetq_lane_u64(index.v, 0)], row[vgetq_lane_u64(index.v, 1)]};
  return {vld1q_f64(lanes)};
}

struct Pieces64 {
  const double* of[2];

  Pieces64() = default;
  Pieces64(const double* pieces, U64 piece)
      : of{pieces + 16 * vgetq_lane_u64(piece.v, 0), pieces + 16 * vgetq_lane_u64(piece.v, 1)} {}
  void two(int i, F64& first, F64& second) const {
    const float64x2_t even = vld1q_f64(of[0] + i), odd = vld1q_f64(of[1] + i);
    first = {vzip1q_f64(even, odd)};
    second = {vzip2q_f64(even, odd)};
  }
};

// --- memory. AArch64's pair store with a non-temporal hint has no intrinsic in every compiler; plain stores it is.
inline void store(void* p, U32 a) { vst1q_u8(static_cast<std::uint8_t*>(p), vreinterpretq_u8_u32(a.v)); }
inline void store(void* p, F32 a) { vst1q_u8(static_cast<std::uint8_t*>(p), vreinterpretq_u8_f32(a.v)); }
inline void store(void* p, F64 a) { vst1q_u8(static_cast<std::uint8_t*>(p), vreinterpretq_u8_f64(a.v)); }
constexpr bool kBypasses = false;
constexpr bool kMakesColumns = true;
inline void finish_bypassing() {}
inline U32 load(const void* p) { return {vreinterpretq_u32_u8(vld1q_u8(static_cast<const std::uint8_t*>(p)))}; }
inline void prefetch(unsigned char* p) {
#if defined(__GNUC__)
  // GCC 12 takes a function that only prefetches for one that does nothing, and drops it.
  __asm__ volatile("prfm pstl2keep, %0" : : "Q"(*p));
#else
  __prefetch(p);
#endif
}

// --- transposition
inline void transpose(U32 (&v)[2], std::uint64_t) {
  const uint64x2_t low = vzip1q_u64(pairs(v[0]).v, pairs(v[1]).v), high = vzip2q_u64(pairs(v[0]).v, pairs(v[1]).v);
  v[0] = {vreinterpretq_u32_u64(low)}, v[1] = {vreinterpretq_u32_u64(high)};
}
inline void transpose(U32 (&v)[4], std::uint32_t) {
  U32 low[2] = {{vzip1q_u32(v[0].v, v[1].v)}, {vzip1q_u32(v[2].v, v[3].v)}};
  U32 high[2] = {{vzip2q_u32(v[0].v, v[1].v)}, {vzip2q_u32(v[2].v, v[3].v)}};
  transpose(low, std::uint64_t());
  transpose(high, std::uint64_t());
  v[0] = low[0], v[1] = low[1], v[2] = high[0], v[3] = high[1];
}
inline void transpose(U32 (&v)[4], std::uint16_t) {
  const auto halves = [](U32 a) { return vreinterpretq_u16_u32(a.v); };
  const auto words = [](uint16x8_t a) { return vreinterpretq_u32_u16(a); };
  // Pairs of rows; then four rows of two columns each; then eight rows of each column.
  const uint32x4_t low01 = words(vzip1q_u16(halves(v[0]), halves(v[1])));
  const uint32x4_t high01 = words(vzip2q_u16(halves(v[0]), halves(v[1])));
  const uint32x4_t low23 = words(vzip1q_u16(halves(v[2]), halves(v[3])));
  const uint32x4_t high23 = words(vzip2q_u16(halves(v[2]), halves(v[3])));
  U32 columns01[2] = {{vzip1q_u32(low01, low23)}, {vzip1q_u32(high01, high23)}};
  U32 columns23[2] = {{vzip2q_u32(low01, low23)}, {vzip2q_u32(high01, high23)}};
  transpose(columns01, std::uint64_t());
  transpose(columns23, std::uint64_t());
  v[0] = columns01[0], v[1] = columns01[1], v[2] = columns23[0], v[3] = columns23[1];
}
inline void load_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  U32 v[4] = {load(rows), load(rows + pitch), load(rows + 2 * pitch), load(rows + 3 * pitch)};
  transpose(v, std::uint32_t());
  for (int c = 0; c < 4; ++c) columns[c] = v[c];
}
inline void load_wide_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  U32 v[2] = {load(rows), load(rows + pitch)};
  transpose(v, std::uint64_t());
  columns[0] = v[0], columns[1] = v[1];
}
inline U32 load_pairs(const unsigned char* a, const unsigned char* b) {
  const uint16x4_t low = vreinterpret_u16_u8(vld1_u8(a)), high = vreinterpret_u16_u8(vld1_u8(b));
  return {vreinterpretq_u32_u16(vcombine_u16(vzip1_u16(low, high), vzip2_u16(low, high)))};
}
struct Slide {
  uint8x16_t from;
  Slide() = default;
  explicit Slide(int n) {
    std::uint8_t places[16];
    for (int i = 0; i < 16; ++i) places[i] = std::uint8_t(4 * n + i);
    from = vld1q_u8(places);
  }
  U32 operator()(U32 a, U32 b) const {
    const uint8x16x2_t both = {{vreinterpretq_u8_u32(a.v), vreinterpretq_u8_u32(b.v)}};
    return {vreinterpretq_u32_u8(vqtbl2q_u8(both, from))};
  }
};

// --- 16-bit floating point
inline U32 pack_float16(F32 a, F32 b) {
  return {vreinterpretq_u32_f16(vcvt_high_f16_f32(vcvt_f16_f32(a.v), b.v))};
}
// Half of the last place less one, and one more where the result would be odd: that one is there already if the lowest
// bit is set, and makes a difference only where all lower bits are those of one half.
inline uint32x4_t rounded_to_high_half(F32 a) {
  const uint32x4_t f = vreinterpretq_u32_f32(a.v);
  const uint32x4_t odd = vorrq_u32(f, vandq_u32(vshrq_n_u32(f, 16), vdupq_n_u32(1)));
  return vaddq_u32(odd, vdupq_n_u32(0x7FFF));
}
inline U32 pack_bfloat16(F32 a, F32 b) {
  const uint16x4_t low = vshrn_n_u32(rounded_to_high_half(a), 16);
  return {vreinterpretq_u32_u16(vshrn_high_n_u32(low, rounded_to_high_half(b), 16))};
}

// --- spreading
constexpr int kSpread = 0;
struct Spread {
  Spread(int, int) {}
  void store(unsigned char*, U32) const {}
};

// --- blocks
struct Blocks {
  uint8x16_t v;
};
inline Blocks repeat_block(std::uint64_t low, std::uint64_t high) {
  return {vreinterpretq_u8_u64(vcombine_u64(vcreate_u64(low), vcreate_u64(high)))};
}
inline Blocks later(Blocks a, std::uint64_t n) {
  return {vreinterpretq_u8_u64(vaddq_u64(vreinterpretq_u64_u8(a.v), vcombine_u64(vcreate_u64(n), vcreate_u64(0))))};
}
inline Blocks count_blocks(std::uint64_t block, std::uint64_t) { return repeat_block(block, 0); }
inline U64 count_lanes(std::uint64_t block, std::uint64_t step) {
  return {vcombine_u64(vcreate_u64(block), vcreate_u64(block + step))};
}
struct WordPair {
  U32 first, second;
};
inline WordPair merge_words(U64 even, U64 odd) {
  const uint32x4_t e = vreinterpretq_u32_u64(even.v), o = vreinterpretq_u32_u64(odd.v);
  return {{vzip1q_u32(e, o)}, {vzip2q_u32(e, o)}};
}
inline Blocks load_blocks(const void* p) { return {vld1q_u8(static_cast<const std::uint8_t*>(p))}; }
inline void store(void* p, Blocks a) { vst1q_u8(static_cast<std::uint8_t*>(p), a.v); }
inline Blocks operator^(Blocks a, Blocks b) { return {veorq_u8(a.v, b.v)}; }
// AESE xors its key first and then does SubBytes and ShiftRows; AESMC is MixColumns. So each key moves to the next
// instruction: a state that has begun lacks the key of its last round.
template <int n, std::size_t n_keys>
Blocks begin_rounds(Blocks input, const Blocks (&keys)[n_keys]) {
  uint8x16_t s = input.v;
  for (int r = 0; r < n; ++r) s = vaesmcq_u8(vaeseq_u8(s, keys[r].v));
  return {s};
}
template <int done, int rounds, int n>
void finish_rounds(Blocks (&s)[n], const Blocks (&keys)[rounds + 1]) {
  for (int r = done; r < rounds - 1; ++r) {
    for (int i = 0; i < n; ++i) s[i].v = vaesmcq_u8(vaeseq_u8(s[i].v, keys[r].v));
  }
  for (int i = 0; i < n; ++i) s[i].v = veorq_u8(vaeseq_u8(s[i].v, keys[rounds - 1].v), keys[rounds].v);
}

}  // namespace
}  // namespace fastinit
