// Tests of the core without Python, so that they run wherever a compiler (and an emulator) does:
//   core_test FILE       checks every target that runs here, also against the frozen digests in FILE
//   core_test --print    prints the digests; a change of any would be another version of the stream format
#include <algorithm>
#include <bit>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "engine/dispatch.hpp"
#include "engine/environment.hpp"
#include "engine/fill.hpp"
#include "engine/fresh.hpp"
#include "engine/huge_pages.hpp"
#include "engine/memory.hpp"
#include "engine/parameters.hpp"
#include "engine/summary.hpp"
#include "engine/threads.hpp"
#include "kernels/rounding.hpp"

using namespace fastinit;

namespace {

int failures = 0;
int checks = 0;

void check(bool good, const std::string& what) {
  ++checks;
  if (good) return;
  ++failures;
  std::printf("FAILED: %s\n", what.c_str());
}

using Bytes = std::vector<unsigned char>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Case {
  const char* name;
  Distribution distribution;
  Arguments arguments;
};
// One for each form of each transform, and subnormal values. tests/test_bits.py has the same list.
const Case kCases[] = {
    {"uniform", Distribution::kUniform, {-0.5, 0.25, 0, 0}},
    {"normal", Distribution::kNormal, {0.125, 0.02, 0, 0}},
    {"truncated", Distribution::kTruncatedStd, {0, 0.02, -2, 2}},
    {"one_sided", Distribution::kTruncated, {0, 1, 2, 3}},
    {"asymmetric", Distribution::kTruncated, {0.1, 0.5, -0.3, 1.2}},
    {"narrow", Distribution::kTruncated, {0, 1, -0.001, 0.001}},
    {"far", Distribution::kTruncated, {0, 1, 5, 6}},
    {"far_below", Distribution::kTruncated, {0, 1, -kInfinity, -7}},
    {"tiny", Distribution::kNormal, {0, 1e-39, 0, 0}},
    {"tinier", Distribution::kNormal, {0, 1e-310, 0, 0}},
    {"small_uniform", Distribution::kUniform, {-1e-38, 1e-38, 0, 0}},
    {"free_uniform", Distribution::kUniform, {-0.05123, 0.05123, 0, 0}},
};
const char* const kTypeNames[kElementTypes] = {"float32",  "float64",       "float16",
                                               "bfloat16", "float8_e4m3fn", "float8_e5m2"};
const std::size_t kTypeBytes[kElementTypes] = {4, 8, 2, 2, 1, 1};
const char* const kGeneratorNames[kGenerators] = {"ars", "philox"};
constexpr Stream stream_of(int generator) {
  return {0x0123456789ABCDEF, 0xFEDCBA9876543210, Generator(generator)};
}
constexpr Stream kStream = stream_of(0);

Bytes values(const KernelTable& table, int generator, const Case& one, int type, std::uint64_t first, std::size_t n,
             std::size_t shift = 0) {
  const Plan plan = make_plan(one.distribution, ElementType(type), one.arguments);
  Bytes out(n * kTypeBytes[type] + shift);
  const DefaultEnvironment environment;
  write_tile(task_of(table, plan, ElementType(type), stream_of(generator)),
             {first, n, out.data() + shift, std::ptrdiff_t(kTypeBytes[type])});
  return Bytes(out.begin() + std::ptrdiff_t(shift), out.end());
}

// The caller's floating-point environment as a number: rounding mode, what is flushed, flags.
#if defined(FASTINIT_X86_64)
std::uint64_t environment_now() { return _mm_getcsr(); }
void set_environment(std::uint64_t mxcsr) { _mm_setcsr(unsigned(mxcsr)); }
constexpr std::uint64_t kNoFlags = 0x1F80;
constexpr int kRoundingBit = 13;
constexpr std::uint64_t kFlushes[] = {0, 0x8000, 0x0040, 0x8040};  // results, operands, both
#elif defined(FASTINIT_AARCH64)
std::uint64_t environment_now() {
  std::uint64_t control, status;
  __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(control), "=r"(status) : : "memory");
  return control | status << 32;
}
void set_environment(std::uint64_t both) {
  __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(both & 0xFFFFFFFF), "r"(both >> 32) : "memory");
}
constexpr std::uint64_t kNoFlags = 0;
constexpr int kRoundingBit = 22;
// Flush to zero, default NaN, float16 without infinities, all.
constexpr std::uint64_t kFlushes[] = {0, 1 << 24, 1 << 25, 1 << 26, 7 << 24};
#else
std::uint64_t environment_now() { return std::uint64_t(std::fegetround()); }
void set_environment(std::uint64_t mode) { std::fesetround(int(mode)); }
constexpr std::uint64_t kNoFlags = FE_TONEAREST;
constexpr int kRoundingBit = 0;
constexpr std::uint64_t kFlushes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
#endif

// CRC-32 as in zlib, in pieces.
std::uint32_t crc32(std::uint32_t crc, const Bytes& bytes) {
  static const auto table = [] {
    std::vector<std::uint32_t> of(256);
    for (std::uint32_t i = 0; i < 256; ++i) {
      of[i] = i;
      for (int bit = 0; bit < 8; ++bit) of[i] = of[i] >> 1 ^ (of[i] & 1 ? 0xEDB88320 : 0);
    }
    return of;
  }();
  crc = ~crc;
  for (const unsigned char byte : bytes) crc = crc >> 8 ^ table[(crc ^ byte) & 255];
  return ~crc;
}

// A row for each generator, transform and type, a digest in it for each first index: from the beginning, from within a
// block, across index 2^33 (64-bit words: block 2^32), across 2^42 (32-bit words: block 2^40), up to the last index.
// Each is over fills of several lengths.
constexpr std::uint64_t kDigestFirsts[] = {0, 3, (std::uint64_t(1) << 33) - 500, (std::uint64_t(1) << 42) - 500,
                                           (std::uint64_t(1) << 63) - 3001};
constexpr std::size_t kDigestLengths[] = {1, 7, 64, 1021, 3001};
constexpr int kDigestThreads[] = {1, 2, 7};

std::string digests(const KernelTable& table, int threads) {
  std::string lines =
      "# CRC-32 of fills of 1, 7, 64, 1021, 3001 elements, one after the other, from 0, 3, 2^33 - 500, 2^42 - 500, "
      "2^63 - 3001\n";
  set_grain(300);  // so that all threads have a part in the longest
  const auto add = [&](int generator, const char* name, const char* type, std::size_t bytes, const auto& task_of) {
    const std::string row = std::string(kGeneratorNames[generator]) + " " + name + " " + type;
    lines += row;
    for (const std::uint64_t first : kDigestFirsts) {
      std::uint32_t crc = 0;
      for (const std::size_t n : kDigestLengths) {
        Bytes out(n * bytes);
        const std::uint64_t before = environment_now();
        fill(task_of(), {out.data(), bytes, first, 1, {{n, std::ptrdiff_t(bytes), 1}}}, threads);
        check(environment_now() == before, table.target + (" " + row) + ": the caller's environment is kept");
        crc = crc32(crc, out);
      }
      char digest[16];
      std::snprintf(digest, sizeof(digest), " %08x", unsigned(crc));
      lines += digest;
    }
    lines += "\n";
  };
  for (int g = 0; g < kGenerators; ++g) {
    for (const Case& one : kCases) {
      for (int type = 0; type < kElementTypes; ++type) {
        add(g, one.name, kTypeNames[type], kTypeBytes[type], [&] {
          const Plan plan = make_plan(one.distribution, ElementType(type), one.arguments);
          return task_of(table, plan, ElementType(type), stream_of(g));
        });
      }
    }
    add(g, "bits", "uint32", 4, [&] { return Task{table.bits[0], stream_of(g), Parameters{}}; });
    add(g, "bits", "uint64", 8, [&] { return Task{table.bits[1], stream_of(g), Parameters{}}; });
    for (const std::size_t bytes : {1, 2, 4}) {
      for (const bool is_signed : {true, false}) {
        const std::string type = (is_signed ? "int" : "uint") + std::to_string(8 * bytes);
        add(g, "integers", type.c_str(), bytes, [&] {
          const Plan plan = make_integers_plan({is_signed ? -100.0 : 3, is_signed ? 101.0 : 201}, bytes, is_signed);
          return integers_task(table, plan, bytes, stream_of(g));
        });
      }
    }
  }
  set_grain(0);
  return lines;
}

// The frozen digests on any number of threads, and whatever rounding mode and flushing of subnormals the caller set.
void frozen(const KernelTable& table, const std::string& expected) {
  for (const int n : kDigestThreads) {
    check(digests(table, n) == expected, table.target + (": digests on " + std::to_string(n)) + " threads");
  }
  const std::uint64_t usual = environment_now();
  for (const std::uint64_t flush : kFlushes) {
    for (std::uint64_t rounding = 0; rounding < (kRoundingBit > 0 ? 4 : 1); ++rounding) {
      const std::uint64_t foreign = kNoFlags | rounding << kRoundingBit | flush;
      set_environment(foreign);
      const std::string got = digests(table, 2);
      set_environment(usual);
      char text[64];
      std::snprintf(text, sizeof(text), ": digests in the environment %llx", (unsigned long long)foreign);
      check(got == expected, std::string(table.target) + text);
    }
  }
}

// Random123 1.14: tests/kat_vectors with 10 rounds, tests/old_kat_vectors with 7. tests/test_reference.py has more.
void known_answers(const KernelTable& table) {
  struct Known {
    Generator generator;
    std::uint32_t counter[4], key[4], block[4];
    int rounds = 10;
  };
  constexpr std::uint32_t f = 0xFFFFFFFF;
  const Known known[] = {
      {Generator::kPhilox, {0, 0, 0, 0}, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {Generator::kPhilox, {f, f, f, f}, {f, f, 0, 0}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {Generator::kPhilox,
       {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0, 0, 0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
      {Generator::kArs, {0, 0, 0, 0}, {0, 0, 0, 0}, {0x8d73ee19, 0x506401ef, 0x13c2dbe4, 0x0cbe9c0d}},
      {Generator::kArs, {f, f, f, f}, {f, f, 0, 0}, {0xbb3743b1, 0x9f635551, 0xecbc87fc, 0xa19478a9}},
      {Generator::kArs,
       {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0, 0x082efa98, 0xec4e6c89},
       {0xa516e7d6, 0x8357ad74, 0x5b59b3ec, 0x8763fff3}},
      {Generator::kPhilox, {0, 0, 0, 0}, {0, 0, 0, 0}, {0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}, 7},
      {Generator::kArs,
       {0xe6212845, 0x7713d038, 0xcf6654be, 0x6c0ce934},
       {0, 0, 0, 0x80000000},
       {0x394a7bc3, 0x4d049c56, 0xb0e3d5a5, 0xdcb070b5},
       7},
  };
  for (const Known& one : known) {
    std::uint32_t block[4];
    table.known_answer(one.generator, one.rounds, one.counter, one.key, block);
    check(std::memcmp(block, one.block, 16) == 0, std::string(table.target) + ": Random123's known answers");
  }
}

// Blocks are the same whether they share rounds, as those of long fills do, or not: in the first ones, where byte 0 of
// the block number runs over, and where byte 5 does.
void shared_rounds(const KernelTable& table) {
  constexpr std::size_t n = 12000;
  for (int g = 0; g < kGenerators; ++g) {
    for (const std::uint64_t block : {std::uint64_t(0), std::uint64_t(251), (std::uint64_t(1) << 40) - 300,
                                      (std::uint64_t(3) << 40) - 2000}) {
      const std::uint64_t first = 4 * block + 1;
      std::vector<std::uint32_t> at_once(n), by_pieces(n);
      const DefaultEnvironment environment;
      const auto words = [&](std::uint64_t from, std::size_t length, std::uint32_t* out) {
        table.bits[0](stream_of(g), Parameters{}, {from, length, reinterpret_cast<unsigned char*>(out), 4});
      };
      words(first, n, at_once.data());
      for (std::size_t i = 0; i < n; i += 100) words(first + i, 100, by_pieces.data() + i);
      check(at_once == by_pieces, std::string(table.target) + " " + kGeneratorNames[g] + ": shared rounds from block " +
                                      std::to_string(block));
    }
  }
}

// A std that is a power of two moves the exponent alone, however small it is, as long as the values are normal numbers.
template <class Real>
void scales(const KernelTable& table, ElementType type, std::initializer_list<int> exponents) {
  constexpr std::size_t n = 5000;
  const Bytes ones = values(table, 0, {"", Distribution::kNormal, {0, 1, 0, 0}}, int(type), 0, n);
  for (const int e : exponents) {
    const Bytes small = values(table, 0, {"", Distribution::kNormal, {0, std::ldexp(1.0, e), 0, 0}}, int(type), 0, n);
    bool same = true;
    for (std::size_t i = 0; i < n; ++i) {
      Real x, y;
      std::memcpy(&x, ones.data() + i * sizeof(Real), sizeof(Real));
      std::memcpy(&y, small.data() + i * sizeof(Real), sizeof(Real));
      same = same && y == std::ldexp(x, e);
    }
    check(same, std::string(table.target) + ": normal of std 2^" + std::to_string(e));
  }
}

// The element is a function of its index: any start, length and address give pieces of one sequence, and no byte
// beside them changes.
void slices(const KernelTable& table) {
  const std::size_t lengths[] = {0,  1,  2,  3,  4,  5,  7,   8,   9,   15,  16,   17,
                                 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 3000, 3001};
  const KernelTable& portable = kernels_of("portable");
  for (int g = 0; g < kGenerators; ++g) {
    for (const Case& one : kCases) {
      for (int type = 0; type < kElementTypes; ++type) {
        const std::size_t bytes = kTypeBytes[type];
        const Bytes whole = values(portable, g, one, type, 0, 3100);
        for (const std::uint64_t first : {0, 1, 2, 3, 5, 6, 63, 64}) {
          for (const std::size_t n : lengths) {
            const Plan plan = make_plan(one.distribution, ElementType(type), one.arguments);
            // From anywhere in a cache line, and from such a place that blocks and lines meet: what goes past the
            // caches begins at a line, with a block or within one.
            const bool meets = n % 2 == 0;
            Bytes out(n * bytes + 256, 0xA5);
            std::size_t shift = 128 - reinterpret_cast<std::uintptr_t>(out.data()) % 64;
            shift = meets ? shift + first * bytes % 64 : shift + (first * 7 + n) % 64;
            const DefaultEnvironment environment;
            write_tile(task_of(table, plan, ElementType(type), stream_of(g)),
                       {first, n, out.data() + shift, std::ptrdiff_t(bytes), true});
            const bool same = n == 0 || std::memcmp(out.data() + shift, whole.data() + first * bytes, n * bytes) == 0;
            bool outside = true;
            for (std::size_t i = 0; i < shift; ++i) outside = outside && out[i] == 0xA5;
            for (std::size_t i = shift + n * bytes; i < out.size(); ++i) outside = outside && out[i] == 0xA5;
            check(same && outside,
                  std::string(table.target) + " " + kGeneratorNames[g] + " " + one.name + " " + kTypeNames[type] +
                      " first " + std::to_string(first) + " n " + std::to_string(n));
          }
        }
      }
    }
  }
}

// Writes a tile or box by `write` into memory full of 0xA5 and compares all of that memory with what should be there:
// element i of row r at `at` + i * stride + r * row_stride is element first + r * row_index + i of `whole`.
struct Placed {
  std::size_t n, rows, bytes;
  std::ptrdiff_t stride, row_stride;
  std::uint64_t first, row_index;
};
template <class Write>
void check_placed(const Placed& p, std::size_t shift, const Bytes& whole, const std::string& what, const Write& write) {
  const std::ptrdiff_t along = p.stride * std::ptrdiff_t(p.n - 1), across = p.row_stride * std::ptrdiff_t(p.rows - 1);
  const std::ptrdiff_t below = std::min<std::ptrdiff_t>(along, 0) + std::min<std::ptrdiff_t>(across, 0);
  const std::size_t extent = std::size_t(std::abs(along) + std::abs(across)) + p.bytes;
  Bytes memory(extent + 512 + shift, 0xA5);
  const std::size_t to_line = 64 - reinterpret_cast<std::uintptr_t>(memory.data() + 128 - below) % 64;
  const std::ptrdiff_t at = std::ptrdiff_t(128 + to_line + shift) - below;
  Bytes expected = memory;
  for (std::size_t r = 0; r < p.rows; ++r) {
    for (std::size_t i = 0; i < p.n; ++i) {
      std::memcpy(expected.data() + at + std::ptrdiff_t(i) * p.stride + std::ptrdiff_t(r) * p.row_stride,
                  whole.data() + (p.first + r * p.row_index + i) * p.bytes, p.bytes);
    }
  }
  write(memory.data() + at);
  check(memory == expected, what + ": " + std::to_string(p.rows) + " rows of " + std::to_string(p.n) + ", strides " +
                                std::to_string(p.row_stride) + " and " + std::to_string(p.stride) + ", shift " +
                                std::to_string(shift) + ", first " + std::to_string(p.first));
}

// Tiles of every size of element, all their edges, from all kinds of addresses: the elements are in their places and
// nothing else is written.
void tiles(const KernelTable& table) {
  const Case& one = kCases[1];
  for (const int type : {0, 1, 3, 5}) {
    const std::size_t bytes = kTypeBytes[type];
    const auto size = std::ptrdiff_t(bytes);
    const Plan plan = make_plan(one.distribution, ElementType(type), one.arguments);
    const Bytes whole = values(kernels_of("portable"), 0, one, type, 0, 70000);
    const auto test = [&](const Placed& p, std::size_t shift) {
      const std::string what = std::string(table.target) + " " + kTypeNames[type] + " tile";
      check_placed(p, shift, whole, what, [&](unsigned char* out) {
        const DefaultEnvironment environment;
        write_tile(task_of(table, plan, ElementType(type), kStream),
                   {p.first, p.n, out, p.stride, true, p.rows, p.row_index, p.row_stride});
      });
    };
    std::size_t some = 0;
    for (const std::size_t n : {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 700}) {
      for (const std::size_t rows : {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64}) {
        if (rows > kTileAcross / bytes) continue;
        for (const std::size_t row_index : {n, n + 1, std::size_t(1024)}) {
          const std::uint64_t first = ++some % 7;
          // Rows side by side: the columns in whole cache lines, and not.
          const std::ptrdiff_t lines = std::ptrdiff_t((rows * bytes + 63) / 64 * 64);
          test({n, rows, bytes, lines, size, first, row_index}, 0);
          test({n, rows, bytes, lines, size, first, row_index}, 16);
          test({n, rows, bytes, -lines - 64, size, first, row_index}, 0);
          test({n, rows, bytes, std::ptrdiff_t(rows) * size + 1, size, first, row_index}, some % 64);
          // Along the rows the denser, the elements a few apart; rows in memory order and against it.
          const std::ptrdiff_t apart = std::ptrdiff_t(some % 6) * size;
          const std::ptrdiff_t length = std::ptrdiff_t(n) * std::max(apart, size) + size;
          test({n, rows, bytes, std::max(apart, size), length, first, row_index}, some % 64);
          test({n, rows, bytes, -std::max(apart, size), -length, first, row_index}, some % 64);
          const std::ptrdiff_t spaced = length + std::ptrdiff_t(n) * (size + 1);
          test({n, rows, bytes, apart + size + 1, spaced, first, row_index}, some % 64);
          // Across them.
          test({n, rows, bytes, std::ptrdiff_t(2 * rows) * size, 2 * size, first, row_index}, some % 64);
          test({n, rows, bytes, std::ptrdiff_t(rows) * size, -size, first, row_index}, some % 64);
        }
      }
    }
    for (const std::size_t n : {1000, 5000}) {  // one long row
      for (std::ptrdiff_t apart = 1; apart < 7; ++apart) {
        for (const std::size_t shift : {0, 2, 16, 63}) {
          test({n, 1, bytes, apart * size, 0, shift % 5, 0}, shift);
          test({n, 1, bytes, -apart * size, 0, shift % 5, 0}, shift);
        }
      }
    }
  }
}

// Tiles that go from registers to columns: every place of a row's first element in its block, rows up and down in
// index and across index 2^34, columns left over, with either kind of stores.
void columns(const KernelTable& table) {
  const Case& one = kCases[1];
  const auto base = std::uint64_t(1) << 34;
  for (int g = 0; g < kGenerators; ++g) {
    for (int type = 0; type < kElementTypes; ++type) {
      const std::size_t bytes = kTypeBytes[type], rows = kTileAcross / bytes;
      const Plan plan = make_plan(one.distribution, ElementType(type), one.arguments);
      for (const std::uint64_t first : {base - 8, base - 7, base - 6, base - 5}) {
        for (const std::int64_t row_index : {1000, 1001, 1002, 1003, -1000, -1001, -1002, -1003}) {
          for (const std::size_t n : {3, 4, 9, 262}) {
            Bytes whole;
            for (std::size_t r = 0; r < rows; ++r) {
              const Bytes row = values(kernels_of("portable"), g, one, type, first + r * std::uint64_t(row_index), n);
              whole.insert(whole.end(), row.begin(), row.end());
            }
            const Placed p{n, rows, bytes, std::ptrdiff_t(kTileAcross) + 64, std::ptrdiff_t(bytes), 0, n};
            const std::string what = std::string(table.target) + " " + kGeneratorNames[g] + " " + kTypeNames[type] +
                                     " columns, row " + std::to_string(row_index) + " after row, from " +
                                     std::to_string(first);
            for (const std::size_t shift : {std::size_t(0), bytes}) {
              check_placed(p, shift, whole, what, [&](unsigned char* out) {
                const DefaultEnvironment environment;
                write_tile(task_of(table, plan, ElementType(type), stream_of(g)),
                           {first, n, out, p.stride, true, rows, std::uint64_t(row_index), p.row_stride});
              });
            }
          }
        }
      }
    }
  }
}

// Matrices in Fortran order, their tiles cut at cache lines and shared by threads.
void matrices() {
  set_grain(300);
  const Case& one = kCases[1];
  for (const int type : {0, 1, 3, 5}) {
    const std::size_t bytes = kTypeBytes[type];
    const auto size = std::ptrdiff_t(bytes);
    const Plan plan = make_plan(one.distribution, ElementType(type), one.arguments);
    const Task task = task_of(kernels(), plan, ElementType(type), kStream);
    const Bytes whole = values(kernels_of("portable"), 0, one, type, 0, 260 * 1500);
    std::size_t some = 0;
    for (const std::size_t rows : {1, 15, 17, 31, 33, 64, 127, 129, 257}) {
      for (const std::size_t n : {1, 5, 16, 33, 64, 65, 255, 257, 1300}) {
        for (const std::size_t row_index : {n, n + 3}) {
          for (const bool backwards : {false, true}) {
            const std::size_t shift = ++some * 4 % 64;
            const std::ptrdiff_t lead = std::ptrdiff_t(rows + some % 3) * size, step = backwards ? -size : size;
            const Placed p{n, rows, bytes, lead, step, some % 6, row_index};
            check_placed(p, shift, whole, std::string(kTypeNames[type]) + " matrix", [&](unsigned char* out) {
              fill(task, {out, bytes, p.first, 2, {{rows, step, row_index}, {n, lead, 1}}}, int(some % 7 + 1));
            });
          }
        }
      }
    }
  }
  set_grain(0);
}

// One tensor of 37 x 41 x 70, walked through many strides, boxes and threads.
void boxes() {
  set_grain(1000);
  const std::size_t shape[3] = {37, 41, 70};
  const std::size_t n = shape[0] * shape[1] * shape[2];
  const Plan plan = make_plan(Distribution::kNormal, ElementType::kFloat32, {0, 1, 0, 0});
  const Task task{kernels().fill[int(plan.transform)][0], kStream, plan.parameters};
  std::vector<float> whole(n);
  fill(task, {reinterpret_cast<unsigned char*>(whole.data()), 4, 0, 1, {{n, 4, 1}}}, 1);
  const std::size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    for (const bool reversed : {false, true}) {
      for (const std::size_t gap : {1, 2}) {
        for (const std::size_t from : {0, 5}) {
          std::vector<float> memory(n * gap, -1.0f);
          Box box{reinterpret_cast<unsigned char*>(memory.data()), 4, 0, 3, {}};
          std::ptrdiff_t stride = std::ptrdiff_t(4 * gap);
          for (int i = 2; i >= 0; --i) {
            box.dimensions[order[i]].memory_stride = stride;
            stride *= std::ptrdiff_t(shape[order[i]]);
          }
          std::uint64_t index_stride = 1;
          for (int i = 2; i >= 0; --i) {
            Dimension& dimension = box.dimensions[i];
            dimension.n = shape[i] - from;
            dimension.index_stride = index_stride;
            box.first += from * index_stride;
            box.data += std::ptrdiff_t(from) * dimension.memory_stride;
            index_stride *= shape[i];
          }
          const Box forward = box;
          if (reversed) {  // memory backwards, index forwards
            for (int i = 0; i < 3; ++i) {
              box.data += box.dimensions[i].memory_stride * std::ptrdiff_t(box.dimensions[i].n - 1);
              box.dimensions[i].memory_stride = -box.dimensions[i].memory_stride;
            }
          }
          fill(task, box, 2);
          std::size_t wrong = 0, written = 0;
          for (const float x : memory) written += x != -1.0f;
          for (std::size_t i = from; i < shape[0]; ++i) {
            for (std::size_t j = from; j < shape[1]; ++j) {
              for (std::size_t k = from; k < shape[2]; ++k) {
                const std::size_t at[3] = {i - from, j - from, k - from};
                const unsigned char* p = box.data;
                for (int d = 0; d < 3; ++d) p += box.dimensions[d].memory_stride * std::ptrdiff_t(at[d]);
                float value;
                std::memcpy(&value, p, 4);
                wrong += value != whole[(i * shape[1] + j) * shape[2] + k];
              }
            }
          }
          check(wrong == 0, "a strided box equals its part of the whole");
          check(written == forward.dimensions[0].n * forward.dimensions[1].n * forward.dimensions[2].n,
                "nothing outside of a strided box is written");
          fill_constant(kernels(), 0x40400000, box, 2);  // 3.0f
          std::size_t threes = 0, others = 0;
          for (const float x : memory) threes += x == 3.0f, others += x != 3.0f && x != -1.0f;
          check(threes == written && others == 0, "a constant in a strided box");
        }
      }
    }
  }
  set_grain(0);
}

// What decides whether stores may go past the caches.
void residence() {
#if defined(__linux__)
  constexpr std::size_t n_bytes = 4 * kHugePage;
  auto* const memory = static_cast<unsigned char*>(allocate(n_bytes));
  check(!is_resident(memory) && !is_resident(memory + kHugePage), "fresh memory is not resident");
  memory[5] = 1;
  check(is_resident(memory) && !is_resident(memory + 2 * kHugePage), "a touched page is resident, others are not");
  release(memory, n_bytes);
  // A fill of fresh memory asks for its own pages and for no others.
  const std::size_t page = std::size_t(sysconf(_SC_PAGESIZE)), n = std::size_t(1) << 19;
  void* const mapped = mmap(nullptr, 4 * n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* const middle = static_cast<unsigned char*>(mapped) + n + 12;
  const Plan plan = make_plan(Distribution::kNormal, ElementType::kFloat32, {0, 1, 0, 0});
  const Task task{kernels().fill[int(plan.transform)][0], kStream, plan.parameters};
  fill(task, {middle, 4, 7, 1, {{n / 4, 4, 1}}}, 1);
  check(is_resident(middle) && is_resident(middle + n - 1), "a filled page is resident");
  check(!is_resident(middle - 12 - page) && !is_resident(middle + n - 12 + page), "a page outside is not");
  Bytes expected(n);
  fill(task, {expected.data(), 4, 7, 1, {{n / 4, 4, 1}}}, 1);
  check(std::memcmp(middle, expected.data(), n) == 0, "fresh memory has the same values");
  munmap(mapped, 4 * n);
  populate(nullptr, page);  // what cannot be had is no error
  check(is_resident(nullptr), "what is no memory counts as resident");
#endif
}

// Which memory is nobody else's: asked for one mapping, and read from the list of all, which older kernels need.
void private_memory() {
#if defined(__linux__)
  constexpr std::size_t n = std::size_t(1) << 20;
  const auto at = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  const auto map = [](void* where, std::size_t n_bytes, int flags) {
    const int place = where == nullptr ? 0 : MAP_FIXED;
    return mmap(where, n_bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | place, -1, 0);
  };
  auto* const memory = static_cast<unsigned char*>(map(nullptr, 8 * n, MAP_PRIVATE));
  map(memory + 4 * n, n, MAP_SHARED);
  munmap(memory + 7 * n, n);
  madvise(memory + n, n, MADV_HUGEPAGE);  // a mapping of its own, between two others
  for (const bool by_text : {false, true}) {
    const auto reach = [&](std::size_t from, std::size_t to) {
      return end_of_private_memory(at(memory) + from, at(memory) + to, by_text) - at(memory);
    };
    check(reach(5, 3 * n) == 3 * n, "private memory reaches over several mappings to the end asked for");
    check(reach(n + 5, 5 * n) == 4 * n, "private memory ends at shared memory");
    check(reach(4 * n, 5 * n) == 4 * n, "shared memory is not private");
    check(reach(5 * n, 8 * n) == 7 * n, "private memory ends where there is none");
    check(reach(7 * n, 8 * n) == 7 * n, "no memory is not private");
    check(end_of_private_memory(at(kTypeBytes), at(kTypeBytes) + 8, by_text) == at(kTypeBytes),
          "a program's constants are a file's");
  }
  munmap(memory, 7 * n);
#endif
}

// Times are given, so that all of it can be foreseen.
void huge_page_trials() {
  constexpr int kParts = 8;
  constexpr std::int64_t kUsual = 800'000, kFast = 100'000, kSlow = 8'000'000;
  const auto usual_pages = [](HugePageTrials& trials, int n) {
    for (int i = 0; i < n * kParts; ++i) trials.usual_pages_took(kUsual / kParts, kParts);
  };
  // Returns how many pages of usual time go by before the next trial is due.
  const auto until_due = [&](HugePageTrials& trials) {
    int n = 0;
    for (; !trials.due() && n < 100000; ++n) usual_pages(trials, 1);
    return n;
  };
  HugePageTrials trials;
  check(!trials.due(), "no trial before anything is known");
  const int first = until_due(trials);
  check(first >= 63 && first <= 66, "a first trial after 128 MiB");
  check(trials.claim() && !trials.claim() && !trials.due(), "one thread alone does a trial");
  trials.huge_page_took(kSlow);
  check(!trials.due(), "a lost trial ends it");
  const int second = until_due(trials);
  check(second * kUsual >= 64 * (kSlow - kUsual), "the next trial waits until the loss is little");
  check(second * kUsual <= 80 * (kSlow - kUsual), "and no longer");
  check(trials.claim(), "the second trial");
  trials.huge_page_took(kFast);
  check(trials.due() && trials.claim() && trials.claim(), "after a trial that is won every thread goes on");
  for (int i = 0; i < 1000; ++i) trials.huge_page_took(kFast);
  trials.huge_page_took(1000 * kUsual);
  check(trials.due(), "one interruption does not end it");
  trials.begin_fill();  // what was won before is forgotten, but for a little
  int slow = 0;
  for (; trials.due() && slow < 100; ++slow) trials.huge_page_took(kSlow);
  check(slow >= 1 && slow <= 3, "slow pages end it soon");
  check(until_due(trials) > 0, "and then usual pages are taken again");

  // Usual pages were slow at first and are fast now, and huge ones lie between.
  HugePageTrials stale;
  constexpr std::int64_t kBetween = 8 * kUsual, kOnce = 12 * kUsual;
  for (int i = 0; i < 100 * kParts; ++i) stale.usual_pages_took(kOnce / kParts, kParts);
  int huge = 0;
  for (int i = 0; i < 10000; ++i) {
    if (stale.due() && stale.claim()) {
      stale.huge_page_took(kBetween);
      ++huge;
    } else {
      usual_pages(stale, 1);
    }
  }
  check(huge > 10 && huge < 1000, "huge pages are given up when usual ones have become faster");
}

void threads() {
  constexpr std::size_t n = 50021;
  set_grain(700);  // so that 64 threads start
  for (int type = 0; type < kElementTypes; ++type) {
    const Plan plan = make_plan(Distribution::kNormal, ElementType(type), {0, 1, 0, 0});
    const Task task = task_of(kernels(), plan, ElementType(type), kStream);
    Bytes one(n * kTypeBytes[type]);
    const auto box = [&](Bytes& out) {
      return Box{out.data(), kTypeBytes[type], 3, 1, {{n, std::ptrdiff_t(kTypeBytes[type]), 1}}};
    };
    fill(task, box(one), 1);
    for (const int count : {2, 7, 64}) {
      Bytes many(one.size());
      fill(task, box(many), count);
      check(one == many, "the same bits on " + std::to_string(count) + " threads");
    }
    // Nor does what chooses the number of threads raise a flag, in lines and in tiles.
    set_grain(0);
    constexpr std::size_t rows = 64, columns = n / rows;
    const auto bytes = std::ptrdiff_t(kTypeBytes[type]);
    const std::uint64_t usual = environment_now();
    set_environment(kNoFlags);
    fill(task, box(one), available_cpus() + 1);
    const auto across = std::ptrdiff_t(rows) * bytes;
    fill(task, {one.data(), kTypeBytes[type], 0, 2, {{rows, bytes, columns}, {columns, across, 1}}},
         available_cpus() + 1);
    const std::uint64_t after = environment_now();
    set_environment(usual);
    check(after == kNoFlags, "no flags from the choice of threads");
    set_grain(700);
  }
  set_grain(0);
}

// CRC-32 of what the summaries below say, for each type: the same on every machine.
constexpr std::uint32_t kSummaries[kElementTypes] = {345566638,  3530829600, 961456327,
                                                     3519377657, 2389124383, 2301180100};

std::uint32_t crc32(const Summary& summary) {
  Bytes bytes;
  const auto add = [&bytes](const auto& number) {
    unsigned char of[8];  // little-endian
    static_assert(sizeof(number) == 8);
    std::memcpy(of, &number, 8);
    bytes.insert(bytes.end(), of, of + 8);
  };
  add(summary.n), add(summary.mean), add(summary.std), add(summary.minimum), add(summary.maximum), add(summary.digest);
  return crc32(0, bytes);
}

// What a summary says is right (tests/test_summary.py has the numbers), and the same on every machine, target, number
// of threads, in every environment, which it keeps.
void summaries(const KernelTable& table) {
  const std::size_t rows = 501, columns = 700;  // in columns: some parts for threads, each with pieces of many rows
  const std::uint64_t usual = environment_now();
  for (int type = 0; type < kElementTypes; ++type) {
    const std::size_t bytes = kTypeBytes[type];
    Bytes values(rows * columns * bytes);
    const Plan plan = make_plan(Distribution::kNormal, ElementType(type), {1, 0.5, 0, 0});
    const auto width = std::ptrdiff_t(bytes), height = std::ptrdiff_t(rows * bytes);
    const Box box{values.data(), bytes, 5, 2, {{rows, width, columns}, {columns, height, 1}}};
    fill(task_of(table, plan, ElementType(type), kStream), box, 1);
    const Summary want = summarise(kernels_of("portable"), ElementType(type), box, 1);
    const auto same = [&](const Summary& got) {
      return got.n == want.n && got.mean == want.mean && got.std == want.std && got.minimum == want.minimum &&
             got.maximum == want.maximum && got.digest == want.digest;
    };
    const std::string what = std::string(table.target) + ": summary of " + kTypeNames[type];
    const double off = is_float8(ElementType(type)) ? 0.02 : 0.005;  // 1/8 apart, or 1/4
    check(want.n == rows * columns && std::fabs(want.mean - 1) < off && std::fabs(want.std - 0.5) < off, what);
    check(crc32(want) == kSummaries[type], what + ": CRC-32 " + std::to_string(crc32(want)));
    // Backwards, and in two boxes.
    Box other = box;
    other.data += width * std::ptrdiff_t(rows - 1);
    other.first += columns * (rows - 1);
    other.dimensions[0] = {rows, -width, 0 - std::uint64_t(columns)};
    check(same(summarise(table, ElementType(type), other, 2)), what + ", backwards");
    Box left = box, right = box;
    left.dimensions[1].n = 99;
    right.dimensions[1].n = columns - 99;
    right.data += 99 * height;
    right.first += 99;
    check(summarise(table, ElementType(type), left, 1).digest + summarise(table, ElementType(type), right, 1).digest ==
              want.digest, what + ", of two boxes");
    for (const int n_threads : {1, 2, 7, 1000}) {
      check(same(summarise(table, ElementType(type), box, n_threads)), what + " on threads");
    }
    for (const std::uint64_t flush : kFlushes) {
      for (std::uint64_t rounding = 0; rounding < (kRoundingBit > 0 ? 4 : 1); ++rounding) {
        const std::uint64_t foreign = kNoFlags | rounding << kRoundingBit | flush;
        set_environment(foreign);
        const Summary got = summarise(table, ElementType(type), box, 2);
        const std::uint64_t after = environment_now();
        set_environment(usual);
        check(same(got) && after == foreign, what + " in a foreign environment");
      }
    }
  }
}

void refusals() {
  const auto refused = [](Distribution distribution, ElementType type, const Arguments& arguments, const char* name) {
    try {
      make_plan(distribution, type, arguments);
    } catch (const std::invalid_argument& error) {
      check(std::string(error.what()).find(name) != std::string::npos, std::string("the message names ") + name);
      return;
    }
    check(false, std::string("refused: ") + name);
  };
  const double nan = std::nan("");
  refused(Distribution::kNormal, ElementType::kFloat32, {0, -1, 0, 0}, "std");
  refused(Distribution::kNormal, ElementType::kFloat32, {nan, 1, 0, 0}, "mean");
  refused(Distribution::kNormal, ElementType::kFloat16, {0, 20000, 0, 0}, "std");
  refused(Distribution::kUniform, ElementType::kFloat32, {1, 0, 0, 0}, "low");
  refused(Distribution::kUniform, ElementType::kFloat16, {0, 1e6, 0, 0}, "high");
  refused(Distribution::kTruncated, ElementType::kFloat32, {0, 1, 1, 1}, "low");
  refused(Distribution::kTruncated, ElementType::kFloat16, {0, 1, 1.0001, 1.0002}, "low");
  refused(Distribution::kConstant, ElementType::kFloat16, {1e9, 0, 0, 0}, "value");
  refused(Distribution::kConstant, ElementType::kFloat8E4m3fn, {464.1, 0, 0, 0}, "value");
  refused(Distribution::kConstant, ElementType::kFloat8E4m3fn, {-kInfinity, 0, 0, 0}, "value");
  refused(Distribution::kConstant, ElementType::kFloat8E5m2, {61440, 0, 0, 0}, "value");
  refused(Distribution::kNormal, ElementType::kFloat8E4m3fn, {0, 69, 0, 0}, "std");
  refused(Distribution::kUniform, ElementType::kFloat8E4m3fn, {0, 449, 0, 0}, "high");
  refused(Distribution::kUniform, ElementType::kFloat8E4m3fn, {1.01, 1.1, 0, 0}, "low");
  const auto no_integers = [](const Arguments& arguments) {
    try {
      make_integers_plan(arguments, 1, true);
    } catch (const std::invalid_argument&) {
      return true;
    }
    return false;
  };
  check(no_integers({3, 3, 0}) && no_integers({4, 3, 1}), "no integers between the bounds");
  check(no_integers({-129, 3, 0}) && no_integers({0, 129, 0}) && no_integers({0, 128, 1}), "integers beyond the type");
  check(!no_integers({-128, 128, 0}) && !no_integers({127, 127, 1}), "all integers of the type, and the last one");
}

// low + floor(word n / 2^32): at the words where the value changes, for n from 1 to 2^32.
void integers(const KernelTable& table) {
  const auto test = [&table](const auto element, double first, double last) {
    using Element = std::remove_const_t<decltype(element)>;
    constexpr std::size_t bytes = sizeof(Element);
    const Plan plan = make_integers_plan({first, last, 1}, bytes, std::is_signed_v<Element>);
    const auto n = std::uint64_t(last - first + 1);
    std::uint32_t words[kConverted];
    Element got[kConverted];
    for (std::size_t i = 0; i < kConverted; ++i) {
      const std::uint64_t value = n / kConverted * i + std::min<std::uint64_t>(i, n - 1);
      words[i] = std::uint32_t(((std::min(value, n - 1) << 32) + n - 1) / n - (i % 2));  // or the word before
    }
    table.integers[bytes == 4 ? 2 : bytes - 1](plan.parameters, reinterpret_cast<const unsigned char*>(words), 1,
                                               reinterpret_cast<unsigned char*>(got));
    bool same = true;
    for (std::size_t i = 0; i < kConverted; ++i) {
      // In two parts, as word n may have 64 bits and one.
      const std::uint64_t high = n >> 32 != 0 ? words[i] : words[i] * n >> 32;
      same = same && std::int64_t(got[i]) == std::int64_t(first) + std::int64_t(high);
    }
    check(same, std::string(table.target) + ": integers from " + std::to_string(first) + " to " + std::to_string(last));
  };
  for (const double n : {1.0, 2.0, 3.0, 100.0, 255.0, 256.0}) {
    test(std::int8_t(), -128, n - 129), test(std::uint8_t(), 256 - n, 255);
    test(std::int16_t(), -7, n - 8), test(std::uint16_t(), 65535 - 257 * (n - 1), 65535);
    test(std::int32_t(), -0x1p31, n * 0x1p24 - 1 - 0x1p31), test(std::uint32_t(), 0x1p32 - n * 0x1p24, 0x1p32 - 1);
  }
}

double value_of_float8(int code, int fraction_bits, int bias) {  // of the finite ones, from the definition
  const int exponent = code >> fraction_bits & (0x7F >> fraction_bits), fraction = code & ((1 << fraction_bits) - 1);
  const double magnitude = exponent == 0
                               ? std::ldexp(fraction, 1 - bias - fraction_bits)
                               : std::ldexp((1 << fraction_bits) + fraction, exponent - bias - fraction_bits);
  return code & 0x80 ? -magnitude : magnitude;
}

// Every float8 comes back from its float32; halves between neighbours go to the even one, and what is beside a half to
// the nearer one. The target's own code, in which all float32 values on the way have a place, does the same.
void eight_bits(const KernelTable& table) {
  for (const ElementType type : {ElementType::kFloat8E4m3fn, ElementType::kFloat8E5m2}) {
    const bool e4m3 = type == ElementType::kFloat8E4m3fn;
    const int last = e4m3 ? 0x7E : 0x7B;
    const auto value = [e4m3](int code) { return value_of_float8(code, e4m3 ? 3 : 2, e4m3 ? 7 : 15); };
    const auto bits_of = [](double x) { return std::bit_cast<std::uint32_t>(float(x)); };
    Parameters parameters;
    parameters.float8 = float8_of(type);
    std::uint64_t wrong = 0;
    std::uint32_t inputs[kConverted];
    unsigned char codes[kConverted];
    std::size_t n = 0;
    int expected[kConverted];
    const auto convert = [&] {
      table.float8(parameters, reinterpret_cast<const unsigned char*>(inputs), 1, codes);
      for (std::size_t i = 0; i < n; ++i) wrong += codes[i] != expected[i];
      n = 0;
    };
    const auto test = [&](std::uint32_t f, int code) {
      for (const std::uint32_t sign : {0u, 1u}) {
        inputs[n] = f | sign << 31, expected[n] = code | int(sign << 7);
        wrong += to_float8(inputs[n], parameters.float8) != expected[n];
        if (++n == kConverted) convert();
      }
    };
    for (int code = 0; code <= last; ++code) {
      // From the tie with the code below to the tie with the one above, of which the even code gets both.
      std::uint32_t from = code == 0 ? 0 : bits_of((value(code - 1) + value(code)) / 2) + (code & 1);
      const double above = code < last ? value(code + 1) : 2 * value(last) - value(last - 1);
      const std::uint32_t to = bits_of((value(code) + above) / 2) - (code & 1);
      for (std::uint32_t f = from; f <= to; f += f - from < 500 || to - f < 500 ? 1 : std::min(to - f - 499, 997u)) {
        test(f, code);
      }
    }
    convert();
    const std::uint32_t end = bits_of(e4m3 ? 464 : 61440) + e4m3;
    const int beyond = e4m3 ? 0x7F : 0x7C, nan = e4m3 ? 0x7F : 0x7E;
    for (const std::uint32_t f : {end, end + 1, bits_of(1e6), 0x7F7FFFFFu, 0x7F800000u, 0x7F800001u, 0x7FFFFFFFu}) {
      const int code = f > 0x7F800000 ? nan : beyond;
      wrong += to_float8(f, parameters.float8) != code || to_float8(f | 0x80000000, parameters.float8) != (code | 0x80);
    }
    // A block is converted whole. Behind the last value may be anything, which sanitizers are to find harmless.
    for (std::size_t i = 0; i < kConverted; ++i) inputs[i] = std::uint32_t(i) << 26 | 0x3FFFFFF;
    table.float8(parameters, reinterpret_cast<const unsigned char*>(inputs), 1, codes);
    check(wrong == 0, table.target + (std::string(": rounding to ") + kTypeNames[int(type)]) + ", " +
                          std::to_string(wrong) + " wrong");
  }
}

void sixteen_bits() {
  // Every float16 and bfloat16 comes back from its float32; halves between neighbours go to the even one.
  const auto as_float = [](std::uint16_t h) {  // float16 to float32, from the definition
    const int exponent = h >> 10 & 31, fraction = h & 1023;
    const float magnitude = exponent == 0 ? std::ldexp(float(fraction), -24)
                                          : std::ldexp(float(1024 + fraction), exponent - 25);
    return h >> 15 ? -magnitude : magnitude;
  };
  const auto bits_of = [](float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits;
  };
  int wrong = 0;
  for (std::uint32_t h = 0; h < 0x7C00; ++h) {
    const float x = as_float(std::uint16_t(h));
    wrong += to_float16(bits_of(x)) != h || to_float16(bits_of(-x)) != (h | 0x8000);
    if (h + 1 == 0x7C00) break;
    const float middle = (x + as_float(std::uint16_t(h + 1))) / 2;
    wrong += to_float16(bits_of(middle)) != h + (h & 1);
    wrong += to_float16(bits_of(std::nextafterf(middle, 0))) != h;
    wrong += to_float16(bits_of(std::nextafterf(middle, 1e9f))) != h + 1;
  }
  for (std::uint32_t b = 0; b < 0x7F7F; ++b) {
    wrong += to_bfloat16(b << 16) != b || to_bfloat16((b << 16) + 0x8000) != b + (b & 1) ||
             to_bfloat16((b << 16) + 0x7FFF) != b || to_bfloat16((b << 16) + 0x8001) != b + 1;
  }
  check(wrong == 0, "16-bit rounding");
  for (std::uint32_t nan = 0x7F800001; nan < 0x80000000 && nan > 0x7F800000; nan += 4093) {
    wrong += (to_bfloat16(nan) & 0x7FFF) <= 0x7F80 || (to_float16(nan) & 0x7FFF) <= 0x7C00;
  }
  wrong += (to_bfloat16(0xFFFFFFFF) & 0x7FFF) <= 0x7F80;
  check(wrong == 0, "NaN stays NaN");
}

// Control groups as the kernel shows them, in files of our own.
void quotas() {
  const std::string top = "quota_test";
  const auto write = [](const std::filesystem::path& path, const std::string& text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  };
  const auto quota = [&top](const std::string& groups) {
    std::ofstream(top + "/groups") << groups;
    return cgroup_cpus(top + "/groups", top);
  };
  std::filesystem::remove_all(top);
  write(top + "/a/b/cpu.max", "max 100000\n");
  write(top + "/a/cpu.max", "150000 100000\n");
  write(top + "/c/cpu.max", "50000 100000\n");
  write(top + "/cpu/d/cpu.cfs_quota_us", "-1\n");
  write(top + "/cpu/d/cpu.cfs_period_us", "100000\n");
  write(top + "/cpu,cpuacct/e/cpu.cfs_quota_us", "250000\n");
  write(top + "/cpu,cpuacct/e/cpu.cfs_period_us", "100000\n");
  check(quota("0::/a/b\n") == 2, "the parent's quota counts");
  check(quota("0::/c\n") == 1, "less than one CPU");
  check(quota("0::/\n") == INT_MAX, "no quota at the root");
  check(quota("0::/elsewhere\n") == INT_MAX, "a group that is not visible");
  check(quota("4:cpu,cpuacct:/d\n") == INT_MAX, "version 1 without a quota");
  check(quota("3:memory:/c\n4:cpu,cpuacct:/e\n0::/\n") == 3, "version 1");
  check(quota("nonsense\n\n::\n") == INT_MAX, "nonsense");
  check(cgroup_cpus(top + "/none", top) == INT_MAX, "no list of groups");
  std::filesystem::remove_all(top);
  check(available_cpus() >= 1, "at least one CPU");
}

void memory() {
  for (const std::size_t n : {std::size_t(0), std::size_t(1), std::size_t(100), std::size_t(5) << 20}) {
    void* p = allocate(n);
    check(reinterpret_cast<std::uintptr_t>(p) % 64 == 0, "allocated memory is aligned");
    std::memset(p, 1, n);
    release(p, n);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--print") == 0) {
    std::fputs(digests(kernels_of("portable"), 1).c_str(), stdout);
    return 0;
  }
  if (argc != 2) {
    std::fputs("usage: core_test DIGESTS | --print\n", stderr);
    return 2;
  }
  std::ifstream file(argv[1]);
  std::stringstream expected;
  expected << file.rdbuf();
  sixteen_bits();
  refusals();
  memory();
  quotas();
  for (const std::string& name : targets_found()) {
    const KernelTable& table = kernels_of(name);
    const int before = failures;
    known_answers(table);
    shared_rounds(table);
    eight_bits(table);
    integers(table);
    scales<float>(table, ElementType::kFloat32, {-1, -59, -60, -61, -64, -92, -96, -100, 30, 120});
    scales<double>(table, ElementType::kFloat64, {-1, -61, -899, -900, -901, -956, -960, -1000, 900, 1000});
    frozen(table, expected.str());
    summaries(table);
    slices(table);
    tiles(table);
    columns(table);
    set_target(name);
    boxes();
    matrices();
    threads();
    residence();
    private_memory();
    huge_page_trials();
    std::printf("target %s: %s\n", name.c_str(), failures == before ? "good" : "FAILED");
  }
  std::printf("%d passed, %d failed\n", checks - failures, failures);
  return failures > 0;
}
