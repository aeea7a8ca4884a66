// Rounding to the floating-point types of 16 and 8 bits, to nearest even, on the bits of a float32. Plain integers and
// one addition: every target's own instructions are compared with these.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/contract.hpp"

namespace fastinit {
namespace {

// float16: 5 bits of exponent, 10 of fraction.
inline std::uint16_t to_float16(std::uint32_t f) {
  const std::uint32_t sign = f >> 16 & 0x8000;
  f &= 0x7FFFFFFF;
  if (f > 0x7F800000) return std::uint16_t(sign | 0x7E00);   // NaN
  if (f >= 0x47800000) return std::uint16_t(sign | 0x7C00);  // 2^16 and above
  if (f < 0x38800000) {  // below 2^-14: subnormal. Adding 1/2 puts the float16's last bit at the float32's.
    float value;
    std::memcpy(&value, &f, sizeof(value));
    value += 0.5f;
    std::memcpy(&f, &value, sizeof(f));
    return std::uint16_t(sign | (f - 0x3F000000));
  }
  // Rebias the exponent from 127 to 15, add half of the last place (less one where it is even), cut 13 bits.
  return std::uint16_t(sign | (f - 0x38000000 + 0xFFF + (f >> 13 & 1)) >> 13);
}

// bfloat16: the upper half of a float32.
inline std::uint16_t to_bfloat16(std::uint32_t f) {
  // A NaN is made quiet: rounding might carry it away.
  if ((f & 0x7FFFFFFF) > 0x7F800000) return std::uint16_t(f >> 16 | 0x40);
  return std::uint16_t((f + 0x7FFF + (f >> 16 & 1)) >> 16);
}

// Of a value that is rounded to a finite one. Without branches, so that compilers make vectors of it; compared as
// signed numbers, because not all vectors compare unsigned ones. Of any other float32 it makes some byte.
FASTINIT_INLINE std::uint8_t to_finite_float8(std::uint32_t f, const Float8& format) {
  const std::uint32_t a = f & 0x7FFFFFFF;
  // Added to 2^cut times the power of two below it, a number is rounded to the float8's last place, and the sum counts
  // these places. Those of subnormals are those of the first normal number.
  const std::int32_t above = std::int32_t(a & 0x7F800000) - format.first;
  const auto power = std::uint32_t(above > 0 ? above : 0);
  const std::uint32_t large = power + std::uint32_t(format.first + (format.cut << 23));
  float x, y;
  std::memcpy(&x, &a, sizeof(x));
  std::memcpy(&y, &large, sizeof(y));
  x += y;
  std::uint32_t sum;
  std::memcpy(&sum, &x, sizeof(sum));
  return std::uint8_t((f >> 24 & 0x80) | (sum - large + (power >> format.cut)));
}

inline std::uint8_t to_float8(std::uint32_t f, const Float8& format) {
  const std::uint32_t sign = f >> 24 & 0x80, a = f & 0x7FFFFFFF;
  if (a > 0x7F800000) return std::uint8_t(sign | format.nan);
  const std::uint32_t end = std::uint32_t(format.first - (1 << 23) + (format.beyond << format.cut));
  return to_finite_float8(sign << 24 | (a < end ? a : end), format);
}

}  // namespace
}  // namespace fastinit
