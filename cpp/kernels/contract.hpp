// The contract between the kernels and the rest: which generators, transforms and element types there are, the
// constants a transform takes, what sums there are, and the table of functions that every target exports.
// docs/stream-format.md defines the bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/platform.hpp"

// The hot loop is one function: gcc 12, left to itself, called the transform for every group, which cost the float32
// normal 4 to 15 % of its speed.
#if defined(_MSC_VER)
#define FASTINIT_INLINE __forceinline
#define FASTINIT_NOINLINE __declspec(noinline)
#else
#define FASTINIT_INLINE __attribute__((always_inline)) inline
#define FASTINIT_NOINLINE __attribute__((noinline))
#endif

// Before a loop that is not to be unrolled: measured to be faster in Loop::groups, and elsewhere as fast in less code.
#if defined(__clang__)
#define FASTINIT_ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define FASTINIT_ROLLED _Pragma("GCC unroll 1")
#else
#define FASTINIT_ROLLED
#endif

namespace fastinit {

enum class Generator { kArs, kPhilox };
constexpr int kGenerators = 2;

// kUniform keeps its values between the bounds; kOpenUniform needs the upper one alone, kFreeUniform none. kSymmetric,
// kNear and kFar are the forms of the truncated normal. The small forms multiply the words by a power of two first
// (Constants::unit), because the slope or the coefficients would be subnormal.
enum class Transform {
  kUniform,
  kOpenUniform,
  kFreeUniform,
  kSmallUniform,
  kNormal,
  kSymmetric,
  kSmallSymmetric,
  kNear,
  kFar
};
constexpr int kTransforms = 9;

// The first four have kernels of their own. A float8 is a float32 that is converted.
enum class ElementType { kFloat32, kFloat64, kFloat16, kBfloat16, kFloat8E4m3fn, kFloat8E5m2 };
constexpr int kElementTypes = 6;
constexpr int kKernelTypes = 4;

struct Stream {
  std::uint64_t seed;
  std::uint64_t stream;
  Generator generator = Generator::kArs;
};

// Names as in docs/stream-format.md. Real and Word are float and uint32_t, or double and uint64_t.
template <class Real, class Word>
struct Constants {
  double scale = 1;         // of the ratio R
  Real unit = 1;            // small forms: of a word, a power of two
  Real slope = 1;           // of a uniform's word
  Real shift = 0;           // mid, or mean
  Real bottom = 0, top = 0; // bounds
  Real start[2] = {0, 0};   // f of the window's end; [0] is the lower side, [1] the upper one
  Real step = 1;            // f from a word to the next
  Real median[2] = {0, 0};  // near form: h of the word next to the median, for either side
  Real pace = 0;            // near form: h from a word to the next
  Word lower_words = 0;     // near form: how many words are on the lower side
  Word flip = 0;            // near and far form: all ones where the window is reflected
};

// Far form: computed in double for every element type.
struct FarConstants {
  double scale = 1, shift = 0;
  double log_near = 0;    // La
  double share = 0;       // rho, the share of the tail that lies beyond the window
  double complement = 0;  // delta = 1 - rho
};

// A float8 in terms of float32.
struct Float8 {
  std::int32_t first;        // the least normal number, as float32's bits
  std::int32_t cut;          // bits of the fraction that it has less than float32
  std::int32_t beyond, nan;  // codes: of what is beyond the finite numbers, and of NaN
};
// e4m3fn: 3 bits of fraction, and no infinity, so that what is beyond 448 is NaN. e5m2: as the upper half of a float16.
constexpr Float8 kFloat8[kElementTypes - kKernelTypes] = {{(127 - 6) << 23, 20, 0x7F, 0x7F},
                                                          {(127 - 14) << 23, 21, 0x7C, 0x7E}};
constexpr bool is_float8(ElementType type) { return int(type) >= kKernelTypes; }
constexpr const Float8& float8_of(ElementType type) { return kFloat8[int(type) - kKernelTypes]; }

// low + the upper half of word * n, modulo 2^32; where n is 2^32, `all` has all bits set instead, and n is 0.
struct Integers {
  std::uint32_t low, n, all;
};

struct Parameters {
  Constants<float, std::uint32_t> narrow;  // float32 and the smaller floats
  Constants<double, std::uint64_t> wide;   // float64
  FarConstants far;
  Float8 float8{};
  Integers integers{};
  std::uint64_t constant_bits = 0;  // of an element, where all are the same
};

constexpr std::size_t kCacheLine = 64;
// Unless its elements lie side by side in memory, a tile is made some columns at a time: 256, or 128 of 64-bit
// elements. What each row has of them is at most two cache lines: tiles of one or of four were measured to be slower.
// Where it is two, and the rows lie side by side, a kernel makes columns, eight at a time (Loop::columns); all else
// goes through a buffer of rows.
constexpr std::size_t kTileAlong = 256;
constexpr std::size_t kTileAcross = 2 * kCacheLine;
constexpr std::size_t kTileBuffer = kTileAlong * kTileAcross;
constexpr std::size_t kShortRow = 64;  // elements: at most so many in rows that are made in one go

// Rows of elements. Unless the elements of each lie side by side, there are at most kTileAcross / element_bytes rows.
// Of short rows (kShortRow) that follow each other in index there are as many as fill the buffer with elements of 8
// bytes.
struct Tile {
  std::uint64_t first;  // logical index of the first element
  std::size_t n;        // elements of a row, which follow each other in index
  unsigned char* out;
  std::ptrdiff_t stride;  // bytes from one element of a row to the next
  bool bypass = false;    // write whole cache lines past the caches where the alignment allows it
  std::size_t rows = 1;
  std::uint64_t row_index = 0;    // logical indices from a row to the next
  std::ptrdiff_t row_stride = 0;  // bytes
};

// Writes every element of a tile.
using Kernel = void (*)(const Stream& stream, const Parameters& parameters, const Tile& tile);

// From float32 values or 32-bit words, side by side, to elements of another type, in blocks of so many.
constexpr std::size_t kConverted = 64;
using Convert = void (*)(const Parameters& parameters, const unsigned char* values, std::size_t n_blocks,
                         unsigned char* out);

// One block with 7 or 10 rounds, for the published known answers.
using KnownAnswer = void (*)(Generator generator, int rounds, const std::uint32_t counter[4],
                             const std::uint32_t key[4], std::uint32_t block[4]);

// Of elements side by side in memory, at least one: their deviations from the first of them (so that what cancels in
// the squares is small beside what stays), summed in a fixed order, and extremes, which mean nothing if there is a NaN.
struct Moments {
  double first, sum, squares;
  double minimum, maximum;
  bool has_nan;
};
using SumUp = Moments (*)(const unsigned char* data, std::size_t n);

// The sum of mix(key + i step + bits of element i), modulo 2^64.
using Digest = std::uint64_t (*)(const unsigned char* data, std::size_t n, std::uint64_t key, std::uint64_t step);

struct KernelTable {
  const char* target;
  Kernel fill[kTransforms][kKernelTypes];
  Kernel bits[2];      // 32-bit words, 64-bit words
  Kernel constant[3];  // elements of 2, 4, 8 bytes
  Convert float8;
  Convert integers[3];  // elements of 1, 2, 4 bytes
  KnownAnswer known_answer;
  SumUp moments[kKernelTypes];
  Digest digest[3];  // elements of 2, 4, 8 bytes
};

}  // namespace fastinit
