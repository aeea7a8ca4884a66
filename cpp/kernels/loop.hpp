// The block loop: ties a generator, a transform and an element type together and lists every combination in the
// target's table. Included once by each target_*.cpp after its vector vocabulary; everything in it is private to that
// file, so that no instruction of one target can reach code which another one runs.
#pragma once

#include <cstring>

#include "kernels/generators.hpp"
#include "kernels/scatter.hpp"
#include "kernels/summary_loop.hpp"
#include "kernels/transforms.hpp"

// Before a loop that is not to be unrolled: measured to be faster in Loop::groups.
#if defined(__clang__)
#define FASTINIT_ROLLED _Pragma("clang loop unroll(disable)")
#elif defined(__GNUC__)
#define FASTINIT_ROLLED _Pragma("GCC unroll 1")
#else
#define FASTINIT_ROLLED
#endif

namespace fastinit {
namespace {

// Each element type: how many words it uses, how a group of values is stored.
struct Float32 {
  using Element = std::uint32_t;
  static constexpr int kBytes = 4, kWords = 1;
  template <bool bypass, class F>
  static void put_group(unsigned char* out, const F (&values)[kGroup]) {
    for (int i = 0; i < kGroup; ++i) put<bypass>(out + i * kVectorBytes, values[i]);
  }
};
struct Float64 : Float32 {
  using Element = std::uint64_t;
  static constexpr int kBytes = 8, kWords = 2;
};
struct Float16 {
  using Element = std::uint16_t;
  static constexpr int kBytes = 2, kWords = 1;
  template <bool bypass>
  static void put_group(unsigned char* out, const F32 (&values)[kGroup]) {
    for (int i = 0; i < kGroup; i += 2) {
      put<bypass>(out + i / 2 * kVectorBytes, pack_float16(values[i], values[i + 1]));
    }
  }
};
struct Bfloat16 {
  using Element = std::uint16_t;
  static constexpr int kBytes = 2, kWords = 1;
  template <bool bypass>
  static void put_group(unsigned char* out, const F32 (&values)[kGroup]) {
    for (int i = 0; i < kGroup; i += 2) {
      put<bypass>(out + i / 2 * kVectorBytes, pack_bfloat16(values[i], values[i + 1]));
    }
  }
};

// Words as they are.
struct Bits {
  struct Working {
    using U = U32;
    using F = U32;
  };
  explicit Bits(const Parameters&) {}
  FASTINIT_INLINE void operator()(const U32 (&words)[kGroup], U32 (&values)[kGroup]) const {
    for (int v = 0; v < kGroup; ++v) values[v] = words[v];
  }
};

inline U32 as_words(U32 words, const Narrow*) { return words; }
inline U32 as_words(U32 words, const Bits::Working*) { return words; }
inline U64 as_words(U32 words, const Wide*) { return pairs(words); }

template <class G, class T, class E>
class Loop {
  G generator_;
  T transform_;

  // Elements of a block and of a group.
  static constexpr int kBlock = 4 / E::kWords;
  static constexpr int kOfGroup = kGroupWords / E::kWords;

  // The words of a few groups are made first and then their values: measured to be faster than in turn, and than with
  // either loop unrolled.
  static constexpr int kGroups = 4;

  template <bool bypass>
  FASTINIT_NOINLINE void groups(std::uint64_t block, std::size_t n, unsigned char* out) const {
    using Working = typename T::Working;
    // Copies that no store to `out` can change, so that they stay in registers.
    const G generator = generator_;
    const T transform = transform_;
    while (n > 0) {
      const std::size_t here = n < kGroups ? n : kGroups;
      U32 blocks[kGroups][kGroup];
      FASTINIT_ROLLED
      for (std::size_t g = 0; g < here; ++g, block += kGroupBlocks) generator.group(block, 1, blocks[g]);
      FASTINIT_ROLLED
      for (std::size_t g = 0; g < here; ++g, out += kOfGroup * E::kBytes) {
        typename Working::U words[kGroup];
        for (int i = 0; i < kGroup; ++i) words[i] = as_words(blocks[g][i], static_cast<const Working*>(nullptr));
        typename Working::F values[kGroup];
        transform(words, values);
        E::template put_group<bypass>(out, values);
      }
      n -= here;
    }
  }

  // Any stretch, through a buffer: for the ends of a fill, where elements are not whole groups.
  FASTINIT_NOINLINE void part(std::uint64_t first, std::size_t n, unsigned char* out) const {
    constexpr std::size_t kRoom = kGroups * kOfGroup;
    alignas(64) unsigned char buffer[kRoom * E::kBytes];
    std::uint64_t block = first / kBlock;
    std::size_t skip = std::size_t(first % kBlock);
    while (n > 0) {
      const std::size_t here = n < kRoom - skip ? n : kRoom - skip;
      groups<false>(block, (skip + here + kOfGroup - 1) / kOfGroup, buffer);
      std::memcpy(out, buffer + skip * E::kBytes, here * E::kBytes);
      out += here * E::kBytes;
      n -= here;
      block += kRoom / kBlock;
      skip = 0;
    }
  }

  // kBlock groups that lie in a buffer one after another, transposed: column c goes to out + c * stride.
  template <bool bypass>
  static FASTINIT_INLINE void put_columns(const unsigned char* buffer, unsigned char* out, std::ptrdiff_t stride) {
    constexpr int kGroupBytes = kOfGroup * E::kBytes;
    for (int i = 0; i < kGroupBytes; i += kVectorBytes) {
      U32 columns[kBlock];
      for (int g = 0; g < kBlock; ++g) columns[g] = load(buffer + g * kGroupBytes + i);
      transpose(columns, typename E::Element());
      for (int c = 0; c < kBlock; ++c) put<bypass>(out + c * stride + i, columns[c]);
    }
  }

 public:
  // How many columns at once: a few groups have as many, whatever the elements.
  static constexpr int kColumns = kGroups;

  Loop(const Stream& stream, const Parameters& parameters) : generator_(stream), transform_(parameters) {}

  // kTileAcross bytes of each of some columns. A vector has a block of each of some rows, kBlock rows apart, so that
  // transposing 128 bits of kBlock vectors by themselves makes vectors of columns. Writing a few vectors after a few are
  // computed was measured to be nearly as fast as a contiguous fill; a buffer of rows and then its columns was not.
  FASTINIT_NOINLINE void columns(const Tile& tile, bool bypass) const {
    using Working = typename T::Working;
    const G generator = generator_;
    const T transform = transform_;
    constexpr int kUnitBytes = kGroupBlocks * kBlock * E::kBytes;  // of one column in kBlock groups
    static_assert(kTileAcross % kUnitBytes == 0 && kColumns % kBlock == 0);
    constexpr int kUnits = int(kTileAcross) / kUnitBytes;
    const std::uint64_t step = tile.row_index;  // blocks from a row to the kBlock-th after it
    const std::ptrdiff_t stride = tile.stride;
    std::uint64_t blocks[kBlock];  // of the first rows
    Slide slides[kBlock];          // to where each begins in its block
    for (int k = 0; k < kBlock; ++k) {
      const std::uint64_t index = tile.first + std::uint64_t(k) * step;
      blocks[k] = index / kBlock;
      slides[k] = Slide(int(index % kBlock) * E::kWords);
    }
    const bool slide = (tile.first | step) % kBlock != 0;
    U32 before[kUnits][kBlock][kGroup];  // the words of the block before
    if (slide) {
      for (int unit = 0; unit < kUnits; ++unit) {
        for (int k = 0; k < kBlock; ++k) {
          generator.group(blocks[k] + std::uint64_t(unit * kGroupBlocks) * step, step, before[unit][k]);
        }
      }
      for (std::uint64_t& block : blocks) ++block;
    }
    unsigned char* out = tile.out;
    for (std::size_t n = tile.n / kColumns; n > 0; --n, out += kColumns * stride) {
      std::uint64_t row = 0;
      for (int unit = 0; unit < kUnits; ++unit, row += kGroupBlocks * step) {
        U32 made[kGroups][kGroup];
        for (int c = 0; c < kColumns / kBlock; ++c) {
          FASTINIT_ROLLED
          for (int k = 0; k < kBlock; ++k) generator.group(blocks[k] + row + c, step, made[c * kBlock + k]);
        }
        if (slide) {
          FASTINIT_ROLLED
          for (int g = 0; g < kGroups; ++g) {
            for (int i = 0; i < kGroup; ++i) {
              const U32 words = made[g][i];
              made[g][i] = slides[g % kBlock](before[unit][g % kBlock][i], words);
              before[unit][g % kBlock][i] = words;
            }
          }
        }
        alignas(64) unsigned char buffer[kGroups * kOfGroup * E::kBytes];
        FASTINIT_ROLLED
        for (int g = 0; g < kGroups; ++g) {
          typename Working::U words[kGroup];
          for (int i = 0; i < kGroup; ++i) words[i] = as_words(made[g][i], static_cast<const Working*>(nullptr));
          typename Working::F values[kGroup];
          transform(words, values);
          E::template put_group<false>(buffer + g * kOfGroup * E::kBytes, values);
        }
        for (int c = 0; c < kColumns; c += kBlock) {
          const unsigned char* const from = buffer + c * kOfGroup * E::kBytes;
          unsigned char* const to = out + unit * kUnitBytes + c * stride;
          if (bypass) {
            put_columns<true>(from, to, stride);
          } else {
            put_columns<false>(from, to, stride);
          }
        }
      }
      for (std::uint64_t& block : blocks) block += kColumns / kBlock;
    }
  }

  // Whole groups go straight to `out`. They start at a block and, in long stretches, at a cache line where one element
  // is both (NumPy's arrays start at a multiple of 16 bytes, and a block is 8 or 16 bytes of elements).
  void operator()(std::uint64_t first, std::size_t n, unsigned char* out, bool bypass) const {
    std::size_t head = std::size_t((kBlock - first % kBlock) % kBlock);
    bool aligned = false;
    if (n >= 4 * std::size_t(kGroups * kOfGroup)) {
      for (std::size_t i = head; i < head + 64 && !aligned; i += kBlock) {
        if ((reinterpret_cast<std::uintptr_t>(out) + i * E::kBytes) % 64 == 0) head = i, aligned = true;
      }
    }
    if (head > n) head = n;
    part(first, head, out);
    first += head, n -= head, out += head * E::kBytes;
    const std::size_t whole = n / kOfGroup;
    if (bypass && aligned) {
      groups<true>(first / kBlock, whole, out);
      finish_bypassing();
    } else {
      groups<false>(first / kBlock, whole, out);
    }
    part(first + whole * kOfGroup, n - whole * kOfGroup, out + whole * kOfGroup * E::kBytes);
  }
};

template <class G, class T, class E>
void fill(const Stream& stream, const Parameters& parameters, const Tile& tile) {
  fill_tile<typename E::Element>(tile, Loop<G, T, E>(stream, parameters));
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
      vectors<true>(whole, out);
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
void known_answer_of(Generator generator, const std::uint32_t counter[4], const std::uint32_t key[4],
                     std::uint32_t block[4]) {
  const auto join = [](std::uint32_t low, std::uint32_t high) { return low | std::uint64_t(high) << 32; };
  U32 words;
  if (generator == Generator::kArs) {
    const Ars<rounds> ars({join(key[0], key[1]), join(key[2], key[3])});
    words = words_of(encrypt<rounds>(repeat_block(join(counter[0], counter[1]), join(counter[2], counter[3])), ars.keys));
  } else {
    const Philox<rounds> philox({join(key[0], key[1]), 0});
    words = philox
                .encrypt(splat(std::uint64_t(counter[0])), splat(std::uint64_t(counter[1])),
                         splat(std::uint64_t(counter[2])), splat(std::uint64_t(counter[3])))
                .first;
  }
  std::uint32_t lanes[kLanes32];
  store(lanes, words);
  std::memcpy(block, lanes, 16);
}

inline void known_answer(Generator generator, int rounds, const std::uint32_t counter[4], const std::uint32_t key[4],
                         std::uint32_t block[4]) {
  if (rounds == 7) known_answer_of<7>(generator, counter, key, block);
  if (rounds == 10) known_answer_of<10>(generator, counter, key, block);
}

template <class G>
constexpr void list_generator(KernelTable& table, Generator generator) {
  auto& row = table.fill[int(generator)];
  const auto list = [&row](Transform transform, Kernel f32, Kernel f64, Kernel f16, Kernel bf16) {
    Kernel(&types)[kElementTypes] = row[int(transform)];
    types[int(ElementType::kFloat32)] = f32;
    types[int(ElementType::kFloat64)] = f64;
    types[int(ElementType::kFloat16)] = f16;
    types[int(ElementType::kBfloat16)] = bf16;
  };
  list(Transform::kUniform, fill<G, Uniform<Narrow>, Float32>, fill<G, Uniform<Wide>, Float64>,
       fill<G, Uniform<Narrow>, Float16>, fill<G, Uniform<Narrow>, Bfloat16>);
  list(Transform::kNormal, fill<G, Symmetric<Narrow, false>, Float32>, fill<G, Symmetric<Wide, false>, Float64>,
       fill<G, Symmetric<Narrow, false>, Float16>, fill<G, Symmetric<Narrow, false>, Bfloat16>);
  list(Transform::kSymmetric, fill<G, Symmetric<Narrow, true>, Float32>, fill<G, Symmetric<Wide, true>, Float64>,
       fill<G, Symmetric<Narrow, true>, Float16>, fill<G, Symmetric<Narrow, true>, Bfloat16>);
  list(Transform::kNear, fill<G, Near<Narrow>, Float32>, fill<G, Near<Wide>, Float64>,
       fill<G, Near<Narrow>, Float16>, fill<G, Near<Narrow>, Bfloat16>);
  list(Transform::kFar, fill<G, Far<Narrow>, Float32>, fill<G, Far<Wide>, Float64>, fill<G, Far<Narrow>, Float16>,
       fill<G, Far<Narrow>, Bfloat16>);
  table.bits[int(generator)][0] = fill<G, Bits, Float32>;
  table.bits[int(generator)][1] = fill<G, Bits, Float64>;  // the same bytes: words are little-endian
}

constexpr KernelTable make_table(const char* target) {
  KernelTable table{};
  table.target = target;
  list_generator<Ars<7>>(table, Generator::kArs);
  list_generator<Philox<10>>(table, Generator::kPhilox);
  table.constant[0] = repeat<std::uint16_t>;
  table.constant[1] = repeat<std::uint32_t>;
  table.constant[2] = repeat<std::uint64_t>;
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
