// The contract between the kernels and the rest: which generators, transforms and element types there are, the
// constants a transform takes, and the table of functions that every target exports. It knows no SIMD, no arrays, no
// Python. docs/stream-format.md defines the bits.
#pragma once

#include <cstddef>
#include <cstdint>

// The hot loop is one function: compilers, left to themselves, called the transform for every group, which cost a quarter
// of the speed of the float32 normal (gcc 12).
#if defined(_MSC_VER)
#define FASTINIT_INLINE __forceinline
#define FASTINIT_NOINLINE __declspec(noinline)
#else
#define FASTINIT_INLINE __attribute__((always_inline)) inline
#define FASTINIT_NOINLINE __attribute__((noinline))
#endif

namespace fastinit {

enum class Generator { kArs, kPhilox };
constexpr int kGenerators = 2;

// kSymmetric, kNear and kFar are the forms of the truncated normal.
enum class Transform { kUniform, kNormal, kSymmetric, kNear, kFar };
constexpr int kTransforms = 5;

enum class ElementType { kFloat32, kFloat64, kFloat16, kBfloat16 };
constexpr int kElementTypes = 4;

// Vectors that a generator and a transform work on at once. An AES round and a step of a polynomial wait several cycles
// for the one before; the other vector can fill them. The number is a choice by measurement (docs/performance.md).
constexpr int kGroup = 2;

struct Stream {
  std::uint64_t seed;
  std::uint64_t stream;
};

// Names as in docs/stream-format.md. Real and Word are float and uint32_t, or double and uint64_t.
template <class Real, class Word>
struct Constants {
  Real scale = 1;  // half, or std
  Real shift = 0;  // mid, or mean
  Real bottom = 0, top = 0;
  // Near form; [0] is the lower side, [1] the upper one.
  Word flip = 0;
  Word lower_words = 0;
  Real start[2] = {0, 0};
  Real median[2] = {0, 0};
  Real step = 0;
  Real pace = 0;
};

// Far form: computed in double for every element type.
struct FarConstants {
  double scale = 1, shift = 0;
  double log_near = 0;    // La
  double share = 0;       // rho, the share of the tail that lies beyond the window
  double complement = 0;  // delta = 1 - rho
};

struct Parameters {
  Constants<float, std::uint32_t> narrow;  // float32, float16, bfloat16
  Constants<double, std::uint64_t> wide;   // float64
  FarConstants far;
  std::uint64_t constant_bits = 0;  // of an element, where all are the same
};

// Writes elements first .. first + n - 1 of the tensor to out, side by side. With `bypass`, full cache lines are
// written past the caches where out's alignment allows it.
using Kernel = void (*)(const Stream& stream, const Parameters& parameters, std::uint64_t first, std::size_t n,
                        void* out, bool bypass);

// One block with 7 or 10 rounds, for the published known answers.
using KnownAnswer = void (*)(Generator generator, int rounds, const std::uint32_t counter[4],
                             const std::uint32_t key[4], std::uint32_t block[4]);

struct KernelTable {
  const char* target;
  Kernel fill[kGenerators][kTransforms][kElementTypes];
  Kernel bits[kGenerators][2];  // 32-bit words, 64-bit words
  KnownAnswer known_answer;
};

}  // namespace fastinit
