// The counter-based generators: (seed, stream, block number) -> words, whole vectors at a time, in the vector vocabulary
// of the target that they are compiled for.
// Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11.
#pragma once

#include "kernels/contract.hpp"

namespace fastinit {
namespace {

constexpr int kVectorBlocks = kLanes32 / 4;

// Vectors that a generator works on at once: an AES round or a product waits several cycles for the one before.
constexpr int kAtOnce = 4;

// The Weyl increments of both generators: the golden ratio and sqrt(3) - 1.
constexpr std::uint64_t kWeyl0 = 0x9E3779B97F4A7C15;
constexpr std::uint64_t kWeyl1 = 0xBB67AE8584CAA73B;

// ARS. Blocks whose numbers differ in byte 0 alone share two rounds. ShiftRows brings the state's bytes 0, 5, 10 and 15
// into one column, so round 1 changes that column alone, and round 2 takes it to an exclusive or:
//   state(block) = state(block with byte 0 cleared) ^ difference[byte 0],
// where the differences depend on byte 5 too, bits 40 to 47 of the block number. Making all 256 of them costs as much as
// the rounds of as many blocks.
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

 public:
  // n_blocks: how many are to be made, more or less.
  Ars(const Stream& stream, std::uint64_t n_blocks) : shares_(n_blocks >= kBlocksToShare) {
    for (int r = 0; r <= rounds; ++r) {
      keys_[r] = repeat_block(stream.seed + std::uint64_t(r) * kWeyl0, stream.stream + std::uint64_t(r) * kWeyl1);
    }
  }

  // n vectors from `block` on, a multiple of kVectorBlocks.
  FASTINIT_NOINLINE void neighbours(std::uint64_t block, std::size_t n, unsigned char* out) {
    if (!shares_) return spaced(&block, 1, 1, n, out);
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
    std::size_t all = std::size_t(n_starts) * n;
    for (; all >= kAtOnce; all -= kAtOnce, out += kAtOnce * kVectorBytes) from_scratch<kAtOnce>(next, out);
    for (; all > 0; --all, out += kVectorBytes) from_scratch<1>(next, out);
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
  U64 keys_[rounds];
  U64 stream_low_, stream_high_;  // the former in the lower halves, the latter in the upper ones

  template <int pairs>
  FASTINIT_INLINE void encrypt(U64 (&even)[pairs], U64 (&odd)[pairs]) const {
    const U64 m0 = splat(std::uint64_t(0xD2511F53)), m1 = splat(std::uint64_t(0xCD9E8D57));
    for (int r = 0; r < rounds; ++r) {
      for (int i = 0; i < pairs; ++i) {
        const U64 p0 = multiply_low_halves(m0, even[i]), p1 = multiply_low_halves(m1, shift_right<32>(even[i]));
        even[i] = upper_halves(p1, p0) ^ odd[i] ^ keys_[r];
        odd[i] = lower_halves(p1, p0);
      }
    }
  }

  template <int pairs>
  FASTINIT_INLINE void some(U64& blocks, std::uint64_t step, std::size_t n, unsigned char* out) const {
    const U64 further = splat(2 * kVectorBlocks * step);
    for (; n >= 2 * pairs; n -= 2 * pairs) {
      U64 even[pairs], odd[pairs];
      for (int i = 0; i < pairs; ++i) {
        even[i] = lower_halves(blocks, stream_low_);
        odd[i] = shift_right<32>(blocks) | stream_high_;
        blocks = blocks + further;
      }
      encrypt(even, odd);
      for (int i = 0; i < pairs; ++i, out += 2 * kVectorBytes) {
        const WordPair pair = merge_words(even[i], odd[i]);
        store(out, pair.first);
        store(out + kVectorBytes, pair.second);
      }
    }
  }

 public:
  Philox(const Stream& stream, std::uint64_t)
      : stream_low_(splat(stream.stream)), stream_high_(splat(stream.stream >> 32 << 32)) {
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
    const std::size_t most = n - n % (2 * kAtOnce), even = n - n % 2;
    for (int i = 0; i < n_starts; ++i, out += n * kVectorBytes) {
      U64 blocks = count_lanes(starts[i], step);
      some<kAtOnce>(blocks, step, n, out);
      some<1>(blocks, step, even - most, out + most * kVectorBytes);
      if (n > even) {
        unsigned char last[2 * kVectorBytes];
        some<1>(blocks, step, 2, last);
        store(out + even * kVectorBytes, load(last));
      }
    }
  }

  Blocks block(std::uint64_t low, std::uint64_t high) const {
    U64 even[1] = {splat((low & 0xFFFFFFFF) | high << 32)}, odd[1] = {splat(low >> 32 | (high >> 32 << 32))};
    encrypt(even, odd);
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
