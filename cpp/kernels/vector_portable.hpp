// The vector vocabulary in plain C++: four 32-bit lanes, two 64-bit lanes, AES by table lookups. It runs anywhere and
// is the twin that every other vector_*.hpp is compared with; it also says what each word means.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/contract.hpp"
#include "kernels/rounding.hpp"

namespace fastinit {
namespace {

constexpr int kLanes32 = 4;
constexpr int kLanes64 = 2;
constexpr int kVectorBytes = 4 * kLanes32;

struct U32 {
  std::uint32_t lane[kLanes32];
};
struct F32 {
  float lane[kLanes32];
};
struct Mask32 {
  std::uint32_t lane[kLanes32];  // all ones, or 0
};
struct U64 {
  std::uint64_t lane[kLanes64];
};
struct F64 {
  double lane[kLanes64];
};
struct Mask64 {
  bool lane[kLanes64];
};

// Lane by lane: `value` may use the lane number i.
#define FASTINIT_EACH(Type, value)                                        \
  Type result;                                                            \
  for (int i = 0; i < int(sizeof(result.lane) / sizeof(result.lane[0])); ++i) \
    result.lane[i] = value;                                               \
  return result

// --- integers
inline U32 splat(std::uint32_t x) { FASTINIT_EACH(U32, x); }
inline U64 splat(std::uint64_t x) { FASTINIT_EACH(U64, x); }
inline U32 operator&(U32 a, U32 b) { FASTINIT_EACH(U32, a.lane[i] & b.lane[i]); }
inline U64 operator&(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] & b.lane[i]); }
inline U32 operator|(U32 a, U32 b) { FASTINIT_EACH(U32, a.lane[i] | b.lane[i]); }
inline U64 operator|(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] | b.lane[i]); }
inline U32 operator^(U32 a, U32 b) { FASTINIT_EACH(U32, a.lane[i] ^ b.lane[i]); }
inline U64 operator^(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] ^ b.lane[i]); }
inline U32 and_or(U32 a, U32 b, U32 c) { FASTINIT_EACH(U32, (a.lane[i] & b.lane[i]) | c.lane[i]); }
inline U64 and_or(U64 a, U64 b, U64 c) { FASTINIT_EACH(U64, (a.lane[i] & b.lane[i]) | c.lane[i]); }
// unsigned
inline U32 lesser(U32 a, U32 b) { FASTINIT_EACH(U32, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline U64 lesser(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline U32 operator-(U32 a, U32 b) { FASTINIT_EACH(U32, a.lane[i] - b.lane[i]); }
inline U64 operator-(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] - b.lane[i]); }
inline U64 operator+(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] + b.lane[i]); }
template <int n>
U32 shift_right(U32 a) {
  FASTINIT_EACH(U32, a.lane[i] >> n);
}
template <int n>
U64 shift_right(U64 a) {
  FASTINIT_EACH(U64, a.lane[i] >> n);
}
inline U32 magnitude(U32 a) { FASTINIT_EACH(U32, a.lane[i] >> 31 ? 0 - a.lane[i] : a.lane[i]); }
inline U64 magnitude(U64 a) { FASTINIT_EACH(U64, a.lane[i] >> 63 ? 0 - a.lane[i] : a.lane[i]); }
// 2^(B-1) less the magnitude of a signed number. (In one expression gcc 12's code for the normal is 5 % slower.)
inline U32 tail_of(U32 a) { return splat(1u << 31) - magnitude(a); }
inline U64 tail_of(U64 a) { return splat(std::uint64_t(1) << 63) - magnitude(a); }
// a's half below b's
inline U64 lower_halves(U64 a, U64 b) { FASTINIT_EACH(U64, (a.lane[i] & 0xFFFFFFFF) | b.lane[i] << 32); }
inline U64 upper_halves(U64 a, U64 b) { FASTINIT_EACH(U64, a.lane[i] >> 32 | (b.lane[i] >> 32 << 32)); }
// The product of the low halves of each 64-bit lane.
inline U64 multiply_low_halves(U64 a, U64 b) {
  FASTINIT_EACH(U64, (a.lane[i] & 0xFFFFFFFF) * (b.lane[i] & 0xFFFFFFFF));
}

// --- floating point: every operation rounds to nearest even, once
inline F32 splat(float x) { FASTINIT_EACH(F32, x); }
inline F64 splat(double x) { FASTINIT_EACH(F64, x); }
inline F32 operator-(F32 a, F32 b) { FASTINIT_EACH(F32, a.lane[i] - b.lane[i]); }
inline F64 operator-(F64 a, F64 b) { FASTINIT_EACH(F64, a.lane[i] - b.lane[i]); }
inline F64 operator+(F64 a, F64 b) { FASTINIT_EACH(F64, a.lane[i] + b.lane[i]); }
inline F32 operator*(F32 a, F32 b) { FASTINIT_EACH(F32, a.lane[i] * b.lane[i]); }
inline F64 operator*(F64 a, F64 b) { FASTINIT_EACH(F64, a.lane[i] * b.lane[i]); }
inline F64 operator/(F64 a, F64 b) { FASTINIT_EACH(F64, a.lane[i] / b.lane[i]); }
inline bool any(Mask32 m) {
  std::uint64_t halves[2];
  std::memcpy(halves, &m, sizeof(halves));
  return (halves[0] | halves[1]) != 0;
}
// fma rounds a b + c once. Without an instruction for it std::fma is a call of libm for each lane, and a slow one.
inline FASTINIT_NOINLINE F32 fma_of_libm(F32 a, F32 b, F32 c) {
  FASTINIT_EACH(F32, std::fma(a.lane[i], b.lane[i], c.lane[i]));
}
#if defined(__FP_FAST_FMAF)  // an instruction
FASTINIT_INLINE F32 fma(F32 a, F32 b, F32 c) { FASTINIT_EACH(F32, std::fma(a.lane[i], b.lane[i], c.lane[i])); }
#else
// In double the product is exact, and the sum is off by half of its last place at most. If all within a place of it, on
// either side, rounds to the same float, that one is right; else, some once in 2^27, a midpoint of two floats is near.
FASTINIT_INLINE F32 fma(F32 a, F32 b, F32 c) {
  double sum[kLanes32];
  F32 low, high;
  Mask32 differ;
  for (int i = 0; i < kLanes32; ++i) sum[i] = double(a.lane[i]) * double(b.lane[i]) + double(c.lane[i]);
  for (int i = 0; i < kLanes32; ++i) low.lane[i] = float(sum[i] * (1 - 0x1p-52));
  for (int i = 0; i < kLanes32; ++i) high.lane[i] = float(sum[i] * (1 + 0x1p-52));
  for (int i = 0; i < kLanes32; ++i) differ.lane[i] = low.lane[i] != high.lane[i] ? 0xFFFFFFFF : 0;
  if (any(differ)) [[unlikely]] return fma_of_libm(a, b, c);
  return low;
}
#endif
inline F64 fma(F64 a, F64 b, F64 c) { FASTINIT_EACH(F64, std::fma(a.lane[i], b.lane[i], c.lane[i])); }
// of numbers that are neither NaN nor zeros of different signs
inline F32 smaller(F32 a, F32 b) { FASTINIT_EACH(F32, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F64 smaller(F64 a, F64 b) { FASTINIT_EACH(F64, a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F32 greater(F32 a, F32 b) { FASTINIT_EACH(F32, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
inline F64 greater(F64 a, F64 b) { FASTINIT_EACH(F64, a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
// x, but bottom where x < bottom, top where x > top
inline F32 keep_between(F32 bottom, F32 top, F32 x) {
  FASTINIT_EACH(F32, x.lane[i] < bottom.lane[i] ? bottom.lane[i] : x.lane[i] > top.lane[i] ? top.lane[i] : x.lane[i]);
}
inline F64 keep_between(F64 bottom, F64 top, F64 x) {
  FASTINIT_EACH(F64, x.lane[i] < bottom.lane[i] ? bottom.lane[i] : x.lane[i] > top.lane[i] ? top.lane[i] : x.lane[i]);
}

// --- the same bits as another type
inline U32 bits(F32 a) {
  U32 result;
  std::memcpy(&result, &a, sizeof(result));
  return result;
}
inline U64 bits(F64 a) {
  U64 result;
  std::memcpy(&result, &a, sizeof(result));
  return result;
}
inline F32 float_of_bits(U32 a) {
  F32 result;
  std::memcpy(&result, &a, sizeof(result));
  return result;
}
inline F64 float_of_bits(U64 a) {
  F64 result;
  std::memcpy(&result, &a, sizeof(result));
  return result;
}
// 64-bit word j is 32-bit word 2j (low half) with 32-bit word 2j + 1.
inline U64 pairs(U32 a) { FASTINIT_EACH(U64, a.lane[2 * i] | std::uint64_t(a.lane[2 * i + 1]) << 32); }

// --- conversions, rounded to nearest even
inline F32 from_signed(U32 a) { FASTINIT_EACH(F32, float(std::int32_t(a.lane[i]))); }
inline F64 from_signed(U64 a) { FASTINIT_EACH(F64, double(std::int64_t(a.lane[i]))); }
inline F32 from_unsigned(U32 a) { FASTINIT_EACH(F32, float(a.lane[i])); }
inline F64 from_unsigned(U64 a) { FASTINIT_EACH(F64, double(a.lane[i])); }
// What tail_of makes, rounded and kept below 2^(B-1).
inline F32 from_tail(U32 a) { return from_signed(lesser(a, splat(std::uint32_t(0x7FFFFF80)))); }
inline F64 from_tail(U64 a) { return smaller(from_unsigned(a), splat(0x1.fffffffffffffp62)); }
struct WidePair {
  U64 low, high;
};
// The first half of the lanes, then the second.
inline WidePair widen(U32 a) { return {{{a.lane[0], a.lane[1]}}, {{a.lane[2], a.lane[3]}}}; }
inline F32 narrow(F64 low, F64 high) {
  return {{float(low.lane[0]), float(low.lane[1]), float(high.lane[0]), float(high.lane[1])}};
}

// --- masks
inline Mask64 is_less(F64 a, F64 b) { FASTINIT_EACH(Mask64, a.lane[i] < b.lane[i]); }
// unsigned
inline Mask32 is_less(U32 a, U32 b) { FASTINIT_EACH(Mask32, a.lane[i] < b.lane[i] ? 0xFFFFFFFF : 0); }
inline Mask64 is_less(U64 a, U64 b) { FASTINIT_EACH(Mask64, a.lane[i] < b.lane[i]); }
inline bool any(Mask64 m) { return m.lane[0] || m.lane[1]; }
inline U32 select(Mask32 m, U32 yes, U32 no) { FASTINIT_EACH(U32, m.lane[i] ? yes.lane[i] : no.lane[i]); }
inline U64 select(Mask64 m, U64 yes, U64 no) { FASTINIT_EACH(U64, m.lane[i] ? yes.lane[i] : no.lane[i]); }
inline F32 select(Mask32 m, F32 yes, F32 no) { FASTINIT_EACH(F32, m.lane[i] ? yes.lane[i] : no.lane[i]); }
inline F64 select(Mask64 m, F64 yes, F64 no) { FASTINIT_EACH(F64, m.lane[i] ? yes.lane[i] : no.lane[i]); }

// --- lookups
// How many entries a row has, which `pick` reaches by the low bits of an index; and how many such rows of a coefficient
// are kept, of the last pieces and of those before. kPick64 is 0 where rows of 64 bits do not pay.
constexpr int kPick32 = 16;
constexpr int kLevels32 = 1;
constexpr int kPick64 = 0;
struct Row32 {
  float entry[kPick32];
};
// An index, as `pick` wants it.
using Place32 = U32;
inline Place32 place_of(U32 index) { return index; }
// The first `own` entries are row[0], row[1] .., scaled and then rounded; the others those kPick32 before.
template <int own>
Row32 load_row(const double* row, double scale) {
  Row32 result;
  for (int i = 0; i < kPick32; ++i) result.entry[i] = float(row[i < own ? i : i - kPick32] * scale);
  return result;
}
inline F32 pick(const Row32& row, Place32 place) { FASTINIT_EACH(F32, row.entry[place.lane[i] % kPick32]); }
inline F64 gather(const double* row, U64 index) { FASTINIT_EACH(F64, row[index.lane[i]]); }
// A row of sixteen numbers for each lane, of which `two` loads two that lie side by side.
struct Pieces64 {
  const double* of[kLanes64];

  Pieces64() = default;
  Pieces64(const double* pieces, U64 piece) {
    for (int i = 0; i < kLanes64; ++i) of[i] = pieces + 16 * piece.lane[i];
  }
  void two(int n, F64& first, F64& second) const {
    for (int i = 0; i < kLanes64; ++i) first.lane[i] = of[i][n], second.lane[i] = of[i][n + 1];
  }
};

// --- memory: any alignment. Where kBypasses, store_bypassing goes past the caches, and wants 64 bytes. Where
// kMakesColumns, columns of memory are made while their values are; else from rows in a buffer, which is less code.
inline void store(void* p, U32 a) { std::memcpy(p, &a, sizeof(a)); }
inline void store(void* p, F32 a) { std::memcpy(p, &a, sizeof(a)); }
inline void store(void* p, F64 a) { std::memcpy(p, &a, sizeof(a)); }
constexpr bool kBypasses = false;
constexpr bool kMakesColumns = false;
inline void finish_bypassing() {}
inline U32 load(const void* p) {
  U32 result;
  std::memcpy(&result, p, sizeof(result));
  return result;
}
// Asks for the cache line of p, which is written soon, where the target can; into the second-level cache, which was
// measured to be better than the first.
inline void prefetch(unsigned char*) {}

// --- transposition: 16 bytes from each of some rows, which lie `pitch` bytes apart, to vectors of one column each,
// first row in the lowest lane
// four columns of kLanes32 rows of 32-bit elements
inline void load_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  for (int r = 0; r < kLanes32; ++r, rows += pitch) {
    for (int c = 0; c < 4; ++c) std::memcpy(&columns[c].lane[r], rows + 4 * c, 4);
  }
}
// two columns of kLanes64 rows of 64-bit elements
inline void load_wide_columns(const unsigned char* rows, std::size_t pitch, U32* columns) {
  for (int r = 0; r < kLanes64; ++r, rows += pitch) {
    for (int c = 0; c < 2; ++c) std::memcpy(&columns[c].lane[2 * r], rows + 8 * c, 8);
  }
}
// The same from and to registers, in each 128 bits by themselves. Vector k holds row k, and becomes column k.
template <class T, int n>
void transpose_lanes(U32 (&v)[n]) {
  constexpr int kRows = 16 / int(sizeof(T));
  T from[n][kRows], to[n][kRows];
  std::memcpy(from, v, sizeof(from));
  for (int k = 0; k < n; ++k) {
    for (int row = 0; row < kRows; ++row) to[k][row] = from[row % n][row / n * n + k];
  }
  std::memcpy(v, to, sizeof(to));
}
inline void transpose(U32 (&v)[4], std::uint32_t) { transpose_lanes<std::uint32_t>(v); }
inline void transpose(U32 (&v)[2], std::uint64_t) { transpose_lanes<std::uint64_t>(v); }
// Vector k holds four elements of row k and four of row 4 + k.
inline void transpose(U32 (&v)[4], std::uint16_t) { transpose_lanes<std::uint16_t>(v); }
// Lane i: the i-th 16 bits of a below those of b.
inline U32 load_pairs(const unsigned char* a, const unsigned char* b) {
  std::uint16_t low[kLanes32], high[kLanes32];
  std::memcpy(low, a, sizeof(low));
  std::memcpy(high, b, sizeof(high));
  FASTINIT_EACH(U32, low[i] | std::uint32_t(high[i]) << 16);
}

// In each 128 bits by themselves: from a's n-th word on, 0 <= n < 4, and then b's first n.
struct Slide {
  int n = 0;
  Slide() = default;
  explicit Slide(int words) : n(words) {}
  U32 operator()(U32 a, U32 b) const { FASTINIT_EACH(U32, i + n < 4 ? a.lane[i + n] : b.lane[i + n - 4]); }
};

// --- 16-bit floating point, rounded to nearest even: a's lanes, then b's, packed into one vector
inline U32 pack_float16(F32 a, F32 b) {
  const U32 x = bits(a), y = bits(b);
  return {{to_float16(x.lane[0]) | std::uint32_t(to_float16(x.lane[1])) << 16,
           to_float16(x.lane[2]) | std::uint32_t(to_float16(x.lane[3])) << 16,
           to_float16(y.lane[0]) | std::uint32_t(to_float16(y.lane[1])) << 16,
           to_float16(y.lane[2]) | std::uint32_t(to_float16(y.lane[3])) << 16}};
}
inline U32 pack_bfloat16(F32 a, F32 b) {
  const U32 x = bits(a), y = bits(b);
  return {{to_bfloat16(x.lane[0]) | std::uint32_t(to_bfloat16(x.lane[1])) << 16,
           to_bfloat16(x.lane[2]) | std::uint32_t(to_bfloat16(x.lane[3])) << 16,
           to_bfloat16(y.lane[0]) | std::uint32_t(to_bfloat16(y.lane[1])) << 16,
           to_bfloat16(y.lane[2]) | std::uint32_t(to_bfloat16(y.lane[3])) << 16}};
}

// --- spreading
// How many elements apart at most Spread's are; 0: this target has none.
constexpr int kSpread = 0;
struct Spread {
  // Elements of so many bytes, `distance` elements from one to the next.
  Spread(int, int) {}
  // A vector of elements, the first to p. Does not write what is between.
  void store(unsigned char*, U32) const {}
};

// --- blocks: as many 128-bit AES states as fill a U32, first block in the lowest lanes
struct Blocks {
  U32 state;
};
inline Blocks repeat_block(std::uint64_t low, std::uint64_t high) {
  return {{{std::uint32_t(low), std::uint32_t(low >> 32), std::uint32_t(high), std::uint32_t(high >> 32)}}};
}
// (block, 0), (block + step, 0), (block + 2 step, 0) ..
inline Blocks count_blocks(std::uint64_t block, std::uint64_t) { return repeat_block(block, 0); }
// n added to each block number
inline Blocks later(Blocks a, std::uint64_t n) {
  const std::uint64_t block = (a.state.lane[0] | std::uint64_t(a.state.lane[1]) << 32) + n;
  return repeat_block(block, a.state.lane[2] | std::uint64_t(a.state.lane[3]) << 32);
}
// The numbers of kLanes64 such blocks in the lanes where `merge_words` wants them.
inline U64 count_lanes(std::uint64_t block, std::uint64_t step) { return {{block, block + step}}; }
struct WordPair {
  U32 first, second;
};
// The words 0 and 2 of the blocks of count_lanes in one lane, 1 and 3 in another, to whole blocks in order.
inline WordPair merge_words(U64 even, U64 odd) {
  const auto block = [&](int i) {
    return U32{{std::uint32_t(even.lane[i]), std::uint32_t(odd.lane[i]), std::uint32_t(even.lane[i] >> 32),
                std::uint32_t(odd.lane[i] >> 32)}};
  };
  return {block(0), block(1)};
}
inline Blocks load_blocks(const void* p) { return {load(p)}; }
inline void store(void* p, Blocks a) { store(p, a.state); }
inline Blocks operator^(Blocks a, Blocks b) { return {a.state ^ b.state}; }

struct SubstitutionBox {
  std::uint8_t of[256];
};
// FIPS-197, section 5.1.1: the inverse in GF(2^8), then an affine map. 3 generates the field's nonzero elements.
constexpr SubstitutionBox make_substitution_box() {
  SubstitutionBox box{};
  std::uint8_t p = 1, q = 1;  // q is always the inverse of p
  do {
    p = std::uint8_t(p ^ (p << 1) ^ (p & 0x80 ? 0x11B : 0));
    q = std::uint8_t(q ^ (q << 1));  // division by 3 is multiplication by 0xF6
    q = std::uint8_t(q ^ (q << 2));
    q = std::uint8_t(q ^ (q << 4));
    if (q & 0x80) q = std::uint8_t(q ^ 0x09);
    const unsigned twice = q * 0x101u;
    box.of[p] = std::uint8_t(q ^ (twice >> 7) ^ (twice >> 6) ^ (twice >> 5) ^ (twice >> 4) ^ 0x63);
  } while (p != 1);
  box.of[0] = 0x63;
  return box;
}
struct RoundTables {
  std::uint32_t of_row[4][256];  // what a byte of each row of the state contributes to its new column
};
constexpr std::uint32_t to_row(std::uint32_t x, int row) { return row > 0 ? x << 8 * row | x >> (32 - 8 * row) : x; }
// SubBytes and MixColumns: column (2, 1, 1, 3) times the substitute, moved down by the byte's row.
constexpr RoundTables make_round_tables() {
  RoundTables tables{};
  const SubstitutionBox box = make_substitution_box();
  for (int i = 0; i < 256; ++i) {
    const std::uint32_t s = box.of[i];
    const std::uint32_t s2 = (s << 1 ^ (s & 0x80 ? 0x1B : 0)) & 0xFF;
    for (int row = 0; row < 4; ++row) tables.of_row[row][i] = to_row(s2 | s << 8 | s << 16 | (s2 ^ s) << 24, row);
  }
  return tables;
}
// SubBytes alone.
constexpr RoundTables make_last_round_tables() {
  RoundTables tables{};
  const SubstitutionBox box = make_substitution_box();
  for (int i = 0; i < 256; ++i) {
    for (int row = 0; row < 4; ++row) tables.of_row[row][i] = to_row(box.of[i], row);
  }
  return tables;
}
constexpr RoundTables kRoundTables = make_round_tables();
constexpr RoundTables kLastRoundTables = make_last_round_tables();

// ShiftRows: row r of column c comes from column c + r.
FASTINIT_INLINE U32 aes_round(const RoundTables& tables, U32 s, U32 key) {
  U32 result;
  for (int c = 0; c < 4; ++c) {
    result.lane[c] = tables.of_row[0][s.lane[c] & 0xFF] ^ tables.of_row[1][s.lane[(c + 1) & 3] >> 8 & 0xFF] ^
                     tables.of_row[2][s.lane[(c + 2) & 3] >> 16 & 0xFF] ^ tables.of_row[3][s.lane[(c + 3) & 3] >> 24] ^
                     key.lane[c];
  }
  return result;
}
// Input xor keys[0] and n AES rounds with keys[1] ..: a state that finish_rounds takes on. (What it looks like is the
// target's own matter, but the exclusive or of two of them is that of the states.)
template <int n, std::size_t n_keys>
Blocks begin_rounds(Blocks input, const Blocks (&keys)[n_keys]) {
  U32 s = input.state ^ keys[0].state;
  for (int r = 1; r <= n; ++r) s = aes_round(kRoundTables, s, keys[r].state);
  return {s};
}
// The other rounds, the last one without MixColumns, of several states at once: here two by two, since a round waits
// for the one before. (Four by four, the registers do not suffice.)
template <int done, int rounds, int n>
FASTINIT_INLINE void finish_rounds(Blocks (&s)[n], const Blocks (&keys)[rounds + 1]) {
  constexpr int kTogether = n % 2 == 0 ? 2 : 1;
  for (int i = 0; i < n; i += kTogether) {
    for (int r = done + 1; r <= rounds; ++r) {
      const RoundTables& tables = r < rounds ? kRoundTables : kLastRoundTables;
      for (int k = i; k < i + kTogether; ++k) s[k].state = aes_round(tables, s[k].state, keys[r].state);
    }
  }
}

#undef FASTINIT_EACH

}  // namespace
}  // namespace fastinit
