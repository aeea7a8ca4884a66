// From 32-bit values, side by side, to elements of types that have no kernels of their own: written so that compilers
// make vectors of it, and compiled once for each target, like the kernels, with the same bits.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/contract.hpp"
#include "kernels/rounding.hpp"

namespace fastinit {
namespace {

inline void to_float8s(const Parameters& parameters, const unsigned char* __restrict values, std::size_t n_blocks,
                       unsigned char* __restrict out) {
  const Float8 format = parameters.float8;
  for (; n_blocks > 0; --n_blocks, values += 4 * kConverted, out += kConverted) {
    FASTINIT_ROLLED
    for (std::size_t i = 0; i < kConverted; ++i) {
      std::uint32_t value;
      std::memcpy(&value, values + 4 * i, sizeof(value));
      out[i] = to_finite_float8(value, format);
    }
  }
}

template <class Element>
void to_integers(const Parameters& parameters, const unsigned char* __restrict words, std::size_t n_blocks,
                 unsigned char* __restrict out) {
  const auto [low, n, all] = parameters.integers;
  for (; n_blocks > 0; --n_blocks, words += 4 * kConverted, out += sizeof(Element) * kConverted) {
    FASTINIT_ROLLED
    for (std::size_t i = 0; i < kConverted; ++i) {
      std::uint32_t word;
      std::memcpy(&word, words + 4 * i, sizeof(word));
      const auto element = Element(low + std::uint32_t(std::uint64_t(word) * n >> 32) + (word & all));
      std::memcpy(out + sizeof(Element) * i, &element, sizeof(Element));
    }
  }
}

}  // namespace
}  // namespace fastinit
