// The counter-based generators: (seed, stream, block number) -> words, a few vectors at a time, in order, in the vector
// vocabulary of the target that it is compiled for.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
#pragma once

#include "kernels/contract.hpp"

namespace fastinit {
namespace {

constexpr int kGroupWords = kGroup * kLanes32;
constexpr int kGroupBlocks = kGroupWords / 4;

// The Weyl increments of both generators: the golden ratio and sqrt(3) - 1.
constexpr std::uint64_t kWeyl0 = 0x9E3779B97F4A7C15;
constexpr std::uint64_t kWeyl1 = 0xBB67AE8584CAA73B;

template <int rounds>
struct Ars {
  Blocks keys[rounds + 1];

  explicit Ars(const Stream& stream) {
    for (int r = 0; r <= rounds; ++r) {
      keys[r] = repeat_block(stream.seed + std::uint64_t(r) * kWeyl0, stream.stream + std::uint64_t(r) * kWeyl1);
    }
  }

  // The words of kGroupBlocks blocks: block, block + step, block + 2 step ..
  FASTINIT_INLINE void group(std::uint64_t block, std::uint64_t step, U32 (&words)[kGroup]) const {
    const Blocks counters = count_blocks(block, step);
    for (int i = 0; i < kGroup; ++i) {
      words[i] = words_of(encrypt<rounds>(later(counters, std::uint64_t(i * (kLanes32 / 4)) * step), keys));
    }
  }
};

template <int rounds>
struct Philox {
  U64 keys0[rounds], keys1[rounds];
  U64 stream_low, stream_high;

  explicit Philox(const Stream& stream)
      : stream_low(splat(stream.stream & 0xFFFFFFFF)), stream_high(splat(stream.stream >> 32)) {
    std::uint32_t k0 = std::uint32_t(stream.seed), k1 = std::uint32_t(stream.seed >> 32);
    for (int r = 0; r < rounds; ++r, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
      keys0[r] = splat(std::uint64_t(k0));
      keys1[r] = splat(std::uint64_t(k1));
    }
  }

  // Each counter word in the low half of a 64-bit lane. What the upper halves hold is never looked at.
  FASTINIT_INLINE WordPair encrypt(U64 c0, U64 c1, U64 c2, U64 c3) const {
    const U64 m0 = splat(std::uint64_t(0xD2511F53)), m1 = splat(std::uint64_t(0xCD9E8D57));
    for (int r = 0; r < rounds; ++r) {
      const U64 p0 = multiply_low_halves(m0, c0), p1 = multiply_low_halves(m1, c2);
      c0 = shift_right<32>(p1) ^ c1 ^ keys0[r];
      c1 = p1;
      c2 = shift_right<32>(p0) ^ c3 ^ keys1[r];
      c3 = p0;
    }
    return merge_halves(low_halves(c0, c1), low_halves(c2, c3));
  }

  // The words of kGroupBlocks blocks: block, block + step, block + 2 step ..
  FASTINIT_INLINE void group(std::uint64_t block, std::uint64_t step, U32 (&words)[kGroup]) const {
    static_assert(kGroup % 2 == 0);
    const U64 counters = count_lanes(block, step);
    for (int i = 0; i < kGroup; i += 2) {
      const U64 blocks = counters + splat(std::uint64_t(i * (kLanes32 / 4)) * step);
      const WordPair pair = encrypt(blocks, shift_right<32>(blocks), stream_low, stream_high);
      words[i] = pair.first;
      words[i + 1] = pair.second;
    }
  }

 private:
  // a's low half below b's low half
  static U64 low_halves(U64 a, U64 b) { return (a & splat(std::uint64_t(0xFFFFFFFF))) | shift_left_32(b); }
};

}  // namespace
}  // namespace fastinit
