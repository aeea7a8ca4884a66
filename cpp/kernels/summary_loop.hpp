// Sums over elements that lie side by side in memory, written so that compilers make vectors of it: compiled once for
// each target, like the kernels, with the same bits. Shapes and threads are the matter of summary.cpp.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/contract.hpp"

namespace fastinit {
namespace {

template <class To, class From>
FASTINIT_INLINE To same_bits(From from) {
  To to;
  std::memcpy(&to, &from, sizeof(To));
  return to;
}

template <ElementType>
struct Of;

template <>
struct Of<ElementType::kFloat32> {
  using Bits = std::uint32_t;
  using Value = float;
  static FASTINIT_INLINE float value(Bits bits) { return same_bits<float>(bits); }
};

template <>
struct Of<ElementType::kFloat64> {
  using Bits = std::uint64_t;
  using Value = double;
  static FASTINIT_INLINE double value(Bits bits) { return same_bits<double>(bits); }
};

template <>
struct Of<ElementType::kBfloat16> {
  using Bits = std::uint16_t;
  using Value = float;
  static FASTINIT_INLINE float value(Bits bits) { return same_bits<float>(std::uint32_t(bits) << 16); }
};

template <>
struct Of<ElementType::kFloat16> {
  using Bits = std::uint16_t;
  using Value = float;
  static FASTINIT_INLINE float value(Bits bits) {
    const std::uint32_t sign = std::uint32_t(bits & 0x8000) << 16, f = std::uint32_t(bits & 0x7FFF) << 13;
    // Rebias the exponent from 15 to 127, that of infinity and NaN twice. A subnormal gets the exponent of the least
    // normal number, 2^-14, which is then taken away: exact, and without a subnormal float, which would be slow.
    const float small = same_bits<float>(f | 0x38800000) - same_bits<float>(std::uint32_t(0x38800000));
    const std::uint32_t normal = f + 0x38000000 + (f >= 0x0F800000 ? 0x38000000 : 0);
    return same_bits<float>(sign | (f < 0x00800000 ? same_bits<std::uint32_t>(small) : normal));
  }
};

// The output function of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
FASTINIT_INLINE std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

template <class Bits>
std::uint64_t digest(const unsigned char* data, std::size_t n, std::uint64_t key, std::uint64_t step) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i, key += step) {
    Bits bits;
    std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
    sum += mixed(key + bits);
  }
  return sum;
}

// So many strands of sums, whatever the target's vectors. Compilers make vectors of loops over arrays; of 32 elements
// both gcc 12 and clang 14 do, and with 8 gcc did not.
constexpr int kStrands = 32;

template <ElementType type>
Moments moments(const unsigned char* data, std::size_t n) {
  using Bits = typename Of<type>::Bits;
  using Value = typename Of<type>::Value;
  const auto value = [data](std::size_t i) {
    Bits bits;
    std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
    return Of<type>::value(bits);
  };
  const Value first = value(0);
  const double shift = double(first);
  double sums[kStrands] = {}, squares[kStrands] = {};
  Value minima[kStrands], maxima[kStrands];
  for (int k = 0; k < kStrands; ++k) minima[k] = maxima[k] = first;
  const auto take = [&](const Value* values) {
    for (int k = 0; k < kStrands; ++k) {
      const Value x = values[k];
      minima[k] = x < minima[k] ? x : minima[k];
      maxima[k] = x > maxima[k] ? x : maxima[k];
      const double deviation = double(x) - shift;
      sums[k] += deviation;
      squares[k] += deviation * deviation;
    }
  };
  std::size_t i = 0;
  Value values[kStrands];
  for (; i + kStrands <= n; i += kStrands) {
    for (int k = 0; k < kStrands; ++k) values[k] = value(i + std::size_t(k));
    take(values);
  }
  for (int k = 0; k < kStrands; ++k) values[k] = i + std::size_t(k) < n ? value(i + std::size_t(k)) : first;
  take(values);  // the first element's deviation is 0: it may be counted again
  for (int half = kStrands / 2; half > 0; half /= 2) {
    for (int k = 0; k < half; ++k) {
      sums[k] += sums[k + half];
      squares[k] += squares[k + half];
      minima[k] = minima[k + half] < minima[k] ? minima[k + half] : minima[k];
      maxima[k] = maxima[k + half] > maxima[k] ? maxima[k + half] : maxima[k];
    }
  }
  Moments moments{shift, sums[0], squares[0], double(minima[0]), double(maxima[0]), false};
  if (sums[0] - sums[0] != 0) {  // some element is infinite or NaN, or the sum overflows
    for (i = 0; i < n; ++i) moments.has_nan = moments.has_nan || value(i) != value(i);
  }
  return moments;
}

}  // namespace
}  // namespace fastinit
