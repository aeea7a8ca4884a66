// Rounding to the 16-bit floating-point types, to nearest even, on the bits of a float32. Plain integers and one
// addition: every target's own instructions are compared with these.
#pragma once

#include <cstdint>
#include <cstring>

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

}  // namespace
}  // namespace fastinit
