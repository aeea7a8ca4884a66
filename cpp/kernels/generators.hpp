// The counter-based generators: (seed, stream, block number) -> words, whole vectors at a time, in the vector
// vocabulary of the target that they are compiled for.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
#pragma once

#include "kernels/contract.hpp"

namespace fastinit {
namespace {

constexpr int kVectorBlocks = kLanes32 / 4;

// Vectors that ARS, and pairs of vectors that Philox works on at once: an AES round or a product waits several cycles
// for the one before. Chosen by measurement.
constexpr int kAtOnce = 4;
constexpr int kPairsAtOnce = 8;

// The Weyl increments of both generators: the golden ratio and sqrt(3) - 1.
constexpr std::uint64_t kWeyl0 = 0x9E3779B97F4A7C15;
constexpr std::uint64_t kWeyl1 = 0xBB67AE8584CAA73B;

// ARS. Blocks whose numbers differ in byte 0 alone share two rounds. ShiftRows brings the state's bytes 0, 5, 10 and 15
// into one column, so round 1 changes that column alone, and round 2 takes it to an exclusive or:
//   state(block) = state(block with byte 0 cleared) ^ difference[byte 0],
// where the differences depend on byte 5 too, bits 40 to 47 of the block number. Making all 256 of them costs as much
// as the rounds of as many blocks.
template <int rounds>
class Ars {
  static constexpr int kShared = 2;
  static constexpr std::uint64_t kNeighbours = 256;
  static constexpr std::uint64_t kBlocksToShare = 2 * kNeighbours;
  static constexpr std::uint64_t kNone = ~std::uint64_t(0);

  Blocks keys_[rounds + 1];
  alignas(64) unsigned char differences_[16 * kNeighbours];
  std::uint64_t made_for_ = kNone;  // block >> 40
  bool shares_;

  FASTINIT_NOINLINE void make_differences(std::uint64_t cleared) {
    const Blocks first = begin_rounds<kShared>(repeat_block(cleared, 0), keys_);
    Blocks input = count_blocks(cleared, 1);
    for (std::uint64_t i = 0; i < kNeighbours; i += kVectorBlocks) {
      store(differences_ + 16 * i, begin_rounds<kShared>(input, keys_) ^ first);
      input = later(input, kVectorBlocks);
    }
    made_for_ = cleared >> 40;
  }

  // n vectors of blocks that share their rounds, `differences` theirs.
  template <int at_once>
  static FASTINIT_INLINE void from_shared(Blocks first, const Blocks (&keys)[rounds + 1],
                                          const unsigned char* differences, std::size_t n, unsigned char* out) {
    for (; n >= at_once; n -= at_once) {
      Blocks s[at_once];
      for (int i = 0; i < at_once; ++i, differences += kVectorBytes) s[i] = first ^ load_blocks(differences);
      finish_rounds<kShared, rounds>(s, keys);
      for (int i = 0; i < at_once; ++i, out += kVectorBytes) store(out, s[i]);
    }
  }

  // `count` states from `next()`.
  template <int count, class Next>
  FASTINIT_INLINE void from_scratch(const Next& next, unsigned char* out) const {
    Blocks s[count];
    for (int i = 0; i < count; ++i) s[i] = begin_rounds<0>(next(), keys_);
    finish_rounds<0, rounds>(s, keys_);
    for (int i = 0; i < count; ++i, out += kVectorBytes) store(out, s[i]);
  }
  template <class Next>
  FASTINIT_INLINE void all_from_scratch(std::size_t n, const Next& next, unsigned char* out) const {
    for (; n >= kAtOnce; n -= kAtOnce, out += kAtOnce * kVectorBytes) from_scratch<kAtOnce>(next, out);
    for (; n > 0; --n, out += kVectorBytes) from_scratch<1>(next, out);
  }

 public:
  // n_blocks: how many are to be made, more or less.
  Ars(const Stream& stream, std::uint64_t n_blocks) : shares_(n_blocks >= kBlocksToShare) {
    for (int r = 0; r <= rounds; ++r) {
      keys_[r] = repeat_block(stream.seed + std::uint64_t(r) * kWeyl0, stream.stream + std::uint64_t(r) * kWeyl1);
    }
  }

  // n vectors from `block` on, a multiple of kVectorBlocks.
  FASTINIT_NOINLINE void neighbours(std::uint64_t block, std::size_t n, unsigned char* out) {
    if (!shares_) {
      Blocks input = count_blocks(block, 1);
      const auto next = [&] {
        const Blocks now = input;
        input = later(input, kVectorBlocks);
        return now;
      };
      return all_from_scratch(n, next, out);
    }
    while (n > 0) {
      const std::uint64_t at = block % kNeighbours, cleared = block - at;
      if (cleared >> 40 != made_for_) make_differences(cleared);
      std::size_t here = std::size_t(kNeighbours - at) / kVectorBlocks;
      if (here > n) here = n;
      const Blocks first = begin_rounds<kShared>(repeat_block(cleared, 0), keys_);
      const unsigned char* const differences = differences_ + 16 * at;
      const std::size_t most = here - here % kAtOnce;
      from_shared<kAtOnce>(first, keys_, differences, here, out);
      from_shared<1>(first, keys_, differences + most * kVectorBytes, here - most, out + most * kVectorBytes);
      n -= here, block += here * kVectorBlocks, out += here * kVectorBytes;
    }
  }

  // n vectors of the blocks start, start + step, start + 2 step .. of each start.
  FASTINIT_NOINLINE void spaced(const std::uint64_t* starts, int n_starts, std::uint64_t step, std::size_t n,
                                unsigned char* out) const {
    const Blocks spacing = count_blocks(0, step);
    Blocks input = later(spacing, starts[0]);
    std::size_t left = n;
    const auto next = [&] {
      if (left == 0) input = later(spacing, *++starts), left = n;
      const Blocks now = input;
      --left, input = later(input, kVectorBlocks * step);
      return now;
    };
    all_from_scratch(std::size_t(n_starts) * n, next, out);
  }

  // One block, for the published known answers.
  Blocks block(std::uint64_t low, std::uint64_t high) const {
    Blocks s[1] = {begin_rounds<0>(repeat_block(low, high), keys_)};
    finish_rounds<0, rounds>(s, keys_);
    return s[0];
  }
};

// Philox. A 64-bit lane holds the counter's words 0 and 2 of a block, another one its words 1 and 3.
template <int rounds>
class Philox {
  static constexpr std::uint64_t kFactor0 = 0xD2511F53, kFactor1 = 0xCD9E8D57;
  U64 keys_[rounds];
  std::uint64_t seed_low_;
  std::uint64_t first_product_;  // of the second factor in round 1, where word 2 is the stream's
  U64 stream_high_;              // in the upper halves

  static FASTINIT_INLINE void finish_round(U64 p0, U64 p1, U64 key, U64& even, U64& odd) {
    even = upper_halves(p1, p0) ^ odd ^ key;
    odd = lower_halves(p1, p0);
  }

  // Round 1 leaves in word 0 what the upper half of the block number and constants make. So if that half is the same
  // for all blocks, the product of the first factor in round 2 is `second_product`.
  template <bool same_half, int pairs>
  FASTINIT_INLINE void encrypt(const U64 (&blocks)[pairs], U64 second_product, U64 (&even)[pairs],
                               U64 (&odd)[pairs]) const {
    const U64 m0 = splat(kFactor0), m1 = splat(kFactor1), first_product = splat(first_product_);
    for (int i = 0; i < pairs; ++i) {
      odd[i] = shift_right<32>(blocks[i]) | stream_high_;
      finish_round(multiply_low_halves(m0, blocks[i]), first_product, keys_[0], even[i], odd[i]);
    }
    for (int r = 1; r < rounds; ++r) {
      for (int i = 0; i < pairs; ++i) {
        const U64 p0 = same_half && r == 1 ? second_product : multiply_low_halves(m0, even[i]);
        const U64 p1 = multiply_low_halves(m1, shift_right<32>(even[i]));
        finish_round(p0, p1, keys_[r], even[i], odd[i]);
      }
    }
  }

  template <bool same_half, int pairs>
  FASTINIT_INLINE void some(U64& blocks, U64 second_product, std::uint64_t step, std::size_t n,
                            unsigned char* out) const {
    const U64 further = splat(2 * kVectorBlocks * step);
    for (; n >= 2 * pairs; n -= 2 * pairs) {
      U64 now[pairs], even[pairs], odd[pairs];
      for (int i = 0; i < pairs; ++i) now[i] = blocks, blocks = blocks + further;
      encrypt<same_half>(now, second_product, even, odd);
      for (int i = 0; i < pairs; ++i, out += 2 * kVectorBytes) {
        const WordPair pair = merge_words(even[i], odd[i]);
        store(out, pair.first);
        store(out + kVectorBytes, pair.second);
      }
    }
  }

  template <bool same_half>
  FASTINIT_INLINE void one_start(std::uint64_t start, std::uint64_t step, std::size_t n, unsigned char* out) const {
    const std::uint64_t word0 = first_product_ >> 32 ^ start >> 32 ^ seed_low_;
    const U64 second_product = splat(kFactor0 * word0);
    const std::size_t most = n - n % (2 * kPairsAtOnce), paired = n - n % 2;
    U64 blocks = count_lanes(start, step);
    some<same_half, kPairsAtOnce>(blocks, second_product, step, n, out);
    some<same_half, 1>(blocks, second_product, step, paired - most, out + most * kVectorBytes);
    if (n > paired) {
      unsigned char last[2 * kVectorBytes];
      some<same_half, 1>(blocks, second_product, step, 2, last);
      store(out + paired * kVectorBytes, load(last));
    }
  }

 public:
  Philox(const Stream& stream, std::uint64_t)
      : seed_low_(stream.seed & 0xFFFFFFFF),
        first_product_(kFactor1 * (stream.stream & 0xFFFFFFFF)),
        stream_high_(splat(stream.stream >> 32 << 32)) {
    std::uint32_t k0 = std::uint32_t(stream.seed), k1 = std::uint32_t(stream.seed >> 32);
    for (int r = 0; r < rounds; ++r, k0 += std::uint32_t(kWeyl0 >> 32), k1 += std::uint32_t(kWeyl1 >> 32)) {
      keys_[r] = splat(k0 | std::uint64_t(k1) << 32);
    }
  }

  FASTINIT_NOINLINE void neighbours(std::uint64_t block, std::size_t n, unsigned char* out) const {
    spaced(&block, 1, 1, n, out);
  }

  FASTINIT_NOINLINE void spaced(const std::uint64_t* starts, int n_starts, std::uint64_t step, std::size_t n,
                                unsigned char* out) const {
    const std::uint64_t span = n * kVectorBlocks * step;  // below 2^63: no tensor is larger
    for (int i = 0; i < n_starts; ++i, out += n * kVectorBytes) {
      if (starts[i] >> 32 == (starts[i] + span) >> 32) {
        one_start<true>(starts[i], step, n, out);
      } else {
        one_start<false>(starts[i], step, n, out);
      }
    }
  }

  Blocks block(std::uint64_t number) const {
    const U64 blocks[1] = {splat(number)};
    U64 even[1], odd[1];
    encrypt<false>(blocks, blocks[0], even, odd);
    unsigned char words[kVectorBytes];
    store(words, merge_words(even[0], odd[0]).first);
    return load_blocks(words);
  }
};

// A generator, whichever it is: the code around it is compiled once for both.
struct Words {
  void* generator;
  // n vectors of the blocks from `block` on, a multiple of kVectorBlocks.
  void (*neighbours)(void* generator, std::uint64_t block, std::size_t n, unsigned char* out);
  // n vectors of the blocks start, start + step, start + 2 step .. of each start.
  void (*spaced)(void* generator, const std::uint64_t* starts, int n_starts, std::uint64_t step, std::size_t n,
                 unsigned char* out);
};
template <class G>
Words words_of(G& generator) {
  return {&generator,
          [](void* g, std::uint64_t block, std::size_t n, unsigned char* out) {
            static_cast<G*>(g)->neighbours(block, n, out);
          },
          [](void* g, const std::uint64_t* starts, int n_starts, std::uint64_t step, std::size_t n,
             unsigned char* out) { static_cast<G*>(g)->spaced(starts, n_starts, step, n, out); }};
}

}  // namespace
}  // namespace fastinit
