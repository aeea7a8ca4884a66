// The block loop: ties words, a transform and an element type together and lists every combination in the target's
// table. Included once by each target_*.cpp after its vector vocabulary; everything in it is private to that file, so
// that no instruction of one target can reach code which another one runs.
//
//   word     32 bits; float64 takes two
//   block    four words: what a generator makes of a number
//   vector   kLanes32 words, the values made of them, or as many bytes
//   group    kGroup vectors: a transform works on them at once
//   batch    the words of kBatch vectors are made first, and then their values
//   tile     rows of elements: what a kernel is asked for (contract.hpp)
#pragma once

#include <cstring>
#include <type_traits>

#include "kernels/conversions.hpp"
#include "kernels/generators.hpp"
#include "kernels/scatter.hpp"
#include "kernels/summary_loop.hpp"
#include "kernels/transforms.hpp"

namespace fastinit {
namespace {

// A step of a polynomial waits several cycles for the one before; the other vectors of a group fill them.
constexpr int kGroup = 4;
constexpr int kBatch = 128;

// Each element type: how many words it uses, how a group of values is stored.
struct Float32 {
  using Element = std::uint32_t;
  static constexpr int kBytes = 4, kWords = 1;
  template <bool bypass, class V, int group>
  static FASTINIT_INLINE void put_group(unsigned char* out, const V (&values)[group]) {
    for (int i = 0; i < group; ++i) put<bypass>(out + i * kVectorBytes, values[i]);
  }
};
struct Float64 : Float32 {
  using Element = std::uint64_t;
  static constexpr int kBytes = 8, kWords = 2;
};
struct Float16 {
  using Element = std::uint16_t;
  static constexpr int kBytes = 2, kWords = 1;
  template <bool bypass, int group>
  static FASTINIT_INLINE void put_group(unsigned char* out, const F32 (&values)[group]) {
    for (int i = 0; i < group; i += 2) {
      put<bypass>(out + i / 2 * kVectorBytes, pack_float16(values[i], values[i + 1]));
    }
  }
};
struct Bfloat16 {
  using Element = std::uint16_t;
  static constexpr int kBytes = 2, kWords = 1;
  template <bool bypass, int group>
  static FASTINIT_INLINE void put_group(unsigned char* out, const F32 (&values)[group]) {
    for (int i = 0; i < group; i += 2) {
      put<bypass>(out + i / 2 * kVectorBytes, pack_bfloat16(values[i], values[i + 1]));
    }
  }
};

// A group of vectors of words from a buffer to `out`.
template <class T, class E, bool bypass, int group>
FASTINIT_INLINE void transform_group(const T& transform, const unsigned char* from, unsigned char* out) {
  typename T::Working::U words[group];
  for (int i = 0; i < group; ++i) {
    const U32 loaded = load(from + i * kVectorBytes);
    if constexpr (T::Working::kBits == 64) {
      words[i] = pairs(loaded);
    } else {
      words[i] = loaded;
    }
  }
  typename T::Value values[group];
  transform(words, values);
  E::template put_group<bypass>(out, values);
}

template <class T, class E>
class Loop {
  Words words_;
  T transform_;

  // Elements of a block and of a group.
  static constexpr int kOfBlock = 4 / E::kWords;
  static constexpr int kOfGroup = kGroup * kLanes32 / E::kWords;
  static constexpr int kGroupBytes = kOfGroup * E::kBytes;
  static constexpr std::size_t kOfBatch = std::size_t(kBatch / kGroup) * kOfGroup;

  // n elements from `first` on, in groups. A generator makes whole vectors of words. So the first one may begin before,
  // and then the last one of a batch is the first one of the next. The last group may be longer than what is left, and
  // then goes through a buffer.
  template <bool bypass>
  FASTINIT_NOINLINE void groups(std::uint64_t first, std::size_t n, unsigned char* out) const {
    if constexpr (std::is_same_v<T, Bits> && !bypass) {  // the words themselves, from a vector on: no buffer is needed
      if (first / kOfBlock % kVectorBlocks == 0 && first % kOfBlock == 0) {
        const std::size_t whole = n / kOfGroup;
        words_.neighbours(words_.generator, first / kOfBlock, whole * kGroup, out);
        first += whole * kOfGroup, n -= whole * kOfGroup, out += whole * kGroupBytes;
      }
    }
    // A copy that no store to `out` can change, so that it stays in registers.
    const T transform = transform_;
    alignas(64) unsigned char words[(kBatch + 1) * kVectorBytes];
    alignas(64) unsigned char last[kGroupBytes];
    std::size_t kept = 0;  // vectors of words that are there from the batch before
    while (n > 0) {
      const std::size_t here = n < kOfBatch ? n : kOfBatch;
      const std::size_t whole = here / kOfGroup, n_groups = (here + kOfGroup - 1) / kOfGroup;
      const std::uint64_t block = first / kOfBlock;
      const std::size_t before = 4 * (block % kVectorBlocks) + first % kOfBlock * E::kWords;
      const std::size_t n_vectors = n_groups * kGroup + (before > 0);
      words_.neighbours(words_.generator, block - block % kVectorBlocks + kept * kVectorBlocks, n_vectors - kept,
                        words + kept * kVectorBytes);
      const unsigned char* from = words + 4 * before;
      std::size_t end = whole;
      unsigned char* to = out;
      FASTINIT_ROLLED
      for (std::size_t g = 0; g < n_groups; end = n_groups, to = last) {
        FASTINIT_ROLLED
        for (; g < end; ++g, from += kGroup * kVectorBytes, to += kGroupBytes) {
          transform_group<T, E, bypass, kGroup>(transform, from, to);
        }
      }
      if (n_groups > whole) {
        if (bypass) finish_bypassing();
        std::memcpy(out + whole * kGroupBytes, last, here % kOfGroup * E::kBytes);
      }
      kept = before > 0;
      if (kept > 0) store(words, load(words + (n_vectors - 1) * kVectorBytes));
      first += here, n -= here, out += here * E::kBytes;
    }
  }

 public:
  Loop(const Words& words, const Parameters& parameters) : words_(words), transform_(parameters) {}

  // What goes past the caches goes in whole cache lines, if they begin with an element. (Through the caches, stores
  // across two lines were measured to cost no more than a group for the elements before the first line.)
  void operator()(std::uint64_t first, std::size_t n, unsigned char* out, bool bypass) const {
    const std::size_t past = reinterpret_cast<std::uintptr_t>(out) % kCacheLine;
    const bool past_caches = kBypasses && bypass && n >= 4 * std::size_t(kOfGroup) && past % E::kBytes == 0;
    if (!past_caches) return groups<false>(first, n, out);
    const std::size_t head = (kCacheLine - past) % kCacheLine / E::kBytes;
    if (head > 0) groups<false>(first, head, out);
    groups<kBypasses>(first + head, n - head, out + head * E::kBytes);
    finish_bypassing();
  }

  // --- columns: kTileAcross bytes of each, kAtOnce at a time, where the rows of a tile lie side by side
  //
  // A vector of words has a block of each of kVectorBlocks rows, kOfBlock rows apart:
  //     vector k:  row k, row k + kOfBlock, row k + 2 kOfBlock ..
  // Its values are a few elements of each of these rows. Transposing each 128 bits of kOfBlock such vectors makes
  // vectors of columns:
  //     vector c:  column c of the rows 0, 1, 2 ..
  // Writing a few vectors after a few are computed was measured to be nearly as fast as a contiguous fill; a buffer of
  // rows and then its columns was not: but in portable code, whose values take longer than memory does.
  static constexpr int kAtOnce = 8, kColumns = kMakesColumns ? kAtOnce : 0;

 private:
  static constexpr int kSteps = kAtOnce / kOfBlock;  // blocks of a row
  // of words, of the rows k, k + kOfBlock ..
  static constexpr int kVectors = int(kTileAcross) / E::kBytes * E::kWords / kLanes32;
  static_assert(kAtOnce % kOfBlock == 0 && kOfBlock * kVectors % kGroup == 0);
  using Rows = U32[kOfBlock][kVectors];

  // Where the rows k, k + kOfBlock, k + 2 kOfBlock .. begin: in a block of row k, some words into it. (The others begin
  // as many words into theirs, and tile.row_index blocks on.)
  struct Beginnings {
    std::uint64_t block[kOfBlock];
    Slide slide[kOfBlock];
    bool slides;

    explicit Beginnings(const Tile& tile) : slides((tile.first | tile.row_index) % kOfBlock != 0) {
      for (int k = 0; k < kOfBlock; ++k) {
        const std::uint64_t index = tile.first + std::uint64_t(k) * tile.row_index;
        block[k] = index / kOfBlock;
        slide[k] = Slide(int(index % kOfBlock) * E::kWords);
      }
    }
  };

  // The words of the next `steps` blocks of all rows.
  template <int steps>
  void next_blocks(Beginnings& at, std::uint64_t step, Rows (&words)[steps]) const {
    std::uint64_t starts[steps * kOfBlock];
    for (int i = 0; i < steps * kOfBlock; ++i) starts[i] = at.block[i % kOfBlock] + std::uint64_t(i / kOfBlock);
    words_.spaced(words_.generator, starts, steps * kOfBlock, step, kVectors,
                  reinterpret_cast<unsigned char*>(words));
    for (std::uint64_t& block : at.block) block += steps;
  }

  // Rows that do not begin with a block take the end of the block before and the beginning of this one.
  static void slide(const Beginnings& at, Rows& before, Rows& words) {
    for (int k = 0; k < kOfBlock; ++k) {
      FASTINIT_ROLLED
      for (int v = 0; v < kVectors; ++v) {
        const U32 now = words[k][v];
        words[k][v] = at.slide[k](before[k][v], now);
        before[k][v] = now;
      }
    }
  }

  // kOfBlock columns of each row.
  template <bool bypass>
  static FASTINIT_INLINE void put_columns(const unsigned char* values, unsigned char* out, std::ptrdiff_t stride) {
    for (int i = 0; i < int(kTileAcross); i += kVectorBytes) {
      U32 columns[kOfBlock];
      for (int k = 0; k < kOfBlock; ++k) columns[k] = load(values + k * int(kTileAcross) + i);
      transpose(columns, typename E::Element());
      for (int c = 0; c < kOfBlock; ++c) put<bypass>(out + c * stride + i, columns[c]);
    }
  }

 public:
  FASTINIT_NOINLINE void columns(const Tile& tile, bool bypass) const {
    const T transform = transform_;
    Beginnings at(tile);
    // Arrays that live as long as the function: GCC 12 with -O1 and -Os takes those of an inner scope for dead while it
    // keeps their address for the next round, and gives their memory to others.
    Rows before[1], words[kSteps];
    alignas(64) unsigned char values[kOfBlock * kTileAcross];
    if (at.slides) next_blocks(at, tile.row_index, before);
    unsigned char* out = tile.out;
    for (std::size_t n = tile.n / kAtOnce; n > 0; --n) {
      next_blocks(at, tile.row_index, words);
      for (int c = 0; c < kSteps; ++c, out += kOfBlock * tile.stride) {
        if (at.slides) slide(at, before[0], words[c]);
        const auto* from = reinterpret_cast<const unsigned char*>(words[c]);
        unsigned char* to = values;
        FASTINIT_ROLLED
        for (int v = 0; v < kOfBlock * kVectors; v += kGroup, from += kGroup * kVectorBytes, to += kGroupBytes) {
          transform_group<T, E, false, kGroup>(transform, from, to);
        }
        if (bypass) {
          put_columns<kBypasses>(values, out, tile.stride);
        } else {
          put_columns<false>(values, out, tile.stride);
        }
      }
    }
  }
};

template <class T, class E>
FASTINIT_NOINLINE void fill_from(const Words& words, const Parameters& parameters, const Tile& tile) {
  fill_tile<typename E::Element>(tile, Loop<T, E>(words, parameters));
}

template <class T, class E>
void fill(const Stream& stream, const Parameters& parameters, const Tile& tile) {
  const std::uint64_t n_blocks = std::uint64_t(tile.n) * tile.rows * E::kWords / 4;
  if (stream.generator == Generator::kArs) {
    Ars<7> ars(stream, n_blocks);
    fill_from<T, E>(words_of(ars), parameters, tile);
  } else {
    Philox<10> philox(stream, n_blocks);
    fill_from<T, E>(words_of(philox), parameters, tile);
  }
}

// Every element the same: the pattern of the element, eight bytes long.
template <class Element>
struct Repeat {
  static constexpr int kColumns = 0;  // it makes rows alone
  std::uint64_t pattern;

  template <bool bypass>
  void vectors(std::size_t n, unsigned char* out) const {
    const F64 vector = float_of_bits(splat(pattern));
    for (; n > 0; --n, out += kVectorBytes) put<bypass>(out, vector);
  }

  void operator()(std::uint64_t, std::size_t n, unsigned char* out, bool bypass) const {
    const auto some = [&](std::size_t n_elements) {
      for (; n_elements > 0; --n_elements, --n, out += sizeof(Element)) std::memcpy(out, &pattern, sizeof(Element));
    };
    // Past the caches only where a cache line begins with an element.
    const std::size_t past = reinterpret_cast<std::uintptr_t>(out) % kCacheLine;
    const std::size_t head = past > 0 ? (kCacheLine - past) / sizeof(Element) : 0;
    bypass = bypass && past % sizeof(Element) == 0 && n > head;
    if (bypass) some(head);
    const std::size_t whole = n * sizeof(Element) / kVectorBytes;
    if (bypass) {
      vectors<kBypasses>(whole, out);
      finish_bypassing();
    } else {
      vectors<false>(whole, out);
    }
    out += whole * kVectorBytes, n -= whole * kVectorBytes / sizeof(Element);
    some(n);
  }
};

template <class Element>
void repeat(const Stream&, const Parameters& parameters, const Tile& tile) {
  std::uint64_t pattern = parameters.constant_bits;  // the first element of the pattern: words are little-endian
  for (std::size_t bits = 8 * sizeof(Element); bits < 64; bits *= 2) pattern |= pattern << bits;
  fill_tile<Element>(tile, Repeat<Element>{pattern});
}

template <int rounds>
void one_block(Generator generator, const std::uint32_t counter[4], const std::uint32_t key[4],
               std::uint32_t block[4]) {
  const auto join = [](const std::uint32_t* words) { return words[0] | std::uint64_t(words[1]) << 32; };
  unsigned char words[kVectorBytes];
  if (generator == Generator::kArs) {
    store(words, Ars<rounds>({join(key), join(key + 2)}, 1).block(join(counter), join(counter + 2)));
  } else {
    store(words, Philox<rounds>({join(key), join(counter + 2)}, 1).block(join(counter)));
  }
  std::memcpy(block, words, 16);
}

inline void known_answer(Generator generator, int rounds, const std::uint32_t counter[4], const std::uint32_t key[4],
                         std::uint32_t block[4]) {
  if (rounds == 7) one_block<7>(generator, counter, key, block);
  if (rounds == 10) one_block<10>(generator, counter, key, block);
}

template <template <class> class Form>
constexpr void list(KernelTable& table, Transform transform) {
  auto& types = table.fill[int(transform)];
  types[int(ElementType::kFloat32)] = fill<Form<Narrow>, Float32>;
  types[int(ElementType::kFloat64)] = fill<Form<Wide>, Float64>;
  types[int(ElementType::kFloat16)] = fill<Form<Narrow>, Float16>;
  types[int(ElementType::kBfloat16)] = fill<Form<Narrow>, Bfloat16>;
}
template <class T>
using KeptUniform = Uniform<T, UniformForm::kKept>;
template <class T>
using SmallUniform = Uniform<T, UniformForm::kSmall>;
template <class T>
using Normal = Symmetric<T, false, false>;
template <class T>
using Bounded = Symmetric<T, true, false>;
template <class T>
using SmallBounded = Symmetric<T, true, true>;

constexpr KernelTable make_table(const char* target) {
  KernelTable table{};
  table.target = target;
  list<KeptUniform>(table, Transform::kUniform);
  list<SmallUniform>(table, Transform::kSmallUniform);
  list<Normal>(table, Transform::kNormal);
  list<Bounded>(table, Transform::kSymmetric);
  list<SmallBounded>(table, Transform::kSmallSymmetric);
  list<Near>(table, Transform::kNear);
  list<Far>(table, Transform::kFar);
  // Values of 16 bits are always kept: their bounds are coarser than the ones of float32.
  auto& open = table.fill[int(Transform::kOpenUniform)];
  open[int(ElementType::kFloat32)] = fill<Uniform<Narrow, UniformForm::kOpen>, Float32>;
  open[int(ElementType::kFloat64)] = fill<Uniform<Wide, UniformForm::kOpen>, Float64>;
  auto& free = table.fill[int(Transform::kFreeUniform)];
  free[int(ElementType::kFloat32)] = fill<Uniform<Narrow, UniformForm::kFree>, Float32>;
  free[int(ElementType::kFloat64)] = fill<Uniform<Wide, UniformForm::kFree>, Float64>;
  table.bits[0] = fill<Bits, Float32>;
  table.bits[1] = fill<Bits, Float64>;  // the same bytes: words are little-endian
  table.constant[0] = repeat<std::uint16_t>;
  table.constant[1] = repeat<std::uint32_t>;
  table.constant[2] = repeat<std::uint64_t>;
  table.float8 = to_float8s;
  table.integers[0] = to_integers<std::uint8_t>;
  table.integers[1] = to_integers<std::uint16_t>;
  table.integers[2] = to_integers<std::uint32_t>;
  table.known_answer = known_answer;
  table.moments[int(ElementType::kFloat32)] = moments<ElementType::kFloat32>;
  table.moments[int(ElementType::kFloat64)] = moments<ElementType::kFloat64>;
  table.moments[int(ElementType::kFloat16)] = moments<ElementType::kFloat16>;
  table.moments[int(ElementType::kBfloat16)] = moments<ElementType::kBfloat16>;
  table.digest[0] = digest<std::uint16_t>;
  table.digest[1] = digest<std::uint32_t>;
  table.digest[2] = digest<std::uint64_t>;
  return table;
}

}  // namespace
}  // namespace fastinit
