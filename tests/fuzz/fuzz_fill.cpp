// A coverage-guided fuzzer of the core: bytes to a distribution with its parameters, a target, a box of a tensor and
// its place in memory. Whatever comes, the core refuses it with std::invalid_argument, or writes exactly the box:
//   - each element has the bits that the plain C++ kernel gives its index, is finite, and lies within the bounds;
//   - no other byte changes. A page without access is before its first byte or after its last one,
//     next to it or at most 255 bytes away.
// It needs clang (libFuzzer); tests/fuzz/README.md has the commands.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/dispatch.hpp"
#include "engine/environment.hpp"
#include "engine/fill.hpp"
#include "engine/parameters.hpp"

using namespace fastinit;

namespace {

constexpr std::size_t kTypeBytes[kElementTypes] = {4, 8, 2, 2, 1, 1};
constexpr std::size_t kMostElements = 6000;  // some tiles
constexpr unsigned char kUntouched = 0xA5;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string what_came;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "FAILED: %s: %s\n", what, what_came.c_str());
  std::abort();
}

// Memory between two pages without access.
class Arena {
  unsigned char* begin_;

 public:
  static constexpr std::size_t kBytes = std::size_t(4) << 20;

  Arena() {
    const auto page = std::size_t(sysconf(_SC_PAGESIZE));
    void* all = mmap(nullptr, kBytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) fail("no memory");
    begin_ = static_cast<unsigned char*>(all) + page;
    if (mprotect(begin_, kBytes, PROT_READ | PROT_WRITE) != 0) fail("no memory");
  }
  unsigned char* begin() const { return begin_; }
  unsigned char* end() const { return begin_ + kBytes; }
};

double any_number(FuzzedDataProvider& data) {
  constexpr double kNumbers[] = {
      0, -0.0, 1, -1, 2, -2, 3, -3, 0.02, 0.5, 5, 6.3, 9.1, 38, 39, 65504, 65520, 3.4e38, 1e308, -1e308,
      1e-45, 5e-324, 1e-8, 6e-8, 1e-38, 0x1p-24, 1e-300, kInfinity, -kInfinity, std::numeric_limits<double>::quiet_NaN()};
  switch (data.ConsumeIntegralInRange(0, 2)) {
    case 0: return data.PickValueInArray(kNumbers);
    case 1: return std::bit_cast<double>(data.ConsumeIntegral<std::uint64_t>());
    default: return data.ConsumeIntegral<std::int16_t>() / 4096.0;
  }
}

double value_of(const unsigned char* p, ElementType type) {
  if (is_float8(type)) {
    const int bits = type == ElementType::kFloat8E4m3fn ? 3 : 2, bias = bits == 3 ? 7 : 15, code = *p & 0x7F;
    if (code > (bits == 3 ? 0x7E : 0x7B)) return std::nan("");
    const int exponent = code >> bits, fraction = code & ((1 << bits) - 1);
    const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - bias - bits)
                                           : std::ldexp((1 << bits) + fraction, exponent - bias - bits);
    return *p & 0x80 ? -magnitude : magnitude;
  }
  std::uint16_t half;
  std::memcpy(&half, p, 2);
  switch (type) {
    case ElementType::kFloat32: {
      float x;
      std::memcpy(&x, p, 4);
      return x;
    }
    case ElementType::kFloat64: {
      double x;
      std::memcpy(&x, p, 8);
      return x;
    }
    case ElementType::kBfloat16: return std::bit_cast<float>(std::uint32_t(half) << 16);
    default: break;
  }
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  if (exponent == 31) return fraction == 0 ? kInfinity : std::nan("");
  const double magnitude = exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return half >> 15 ? -magnitude : magnitude;
}

// A box somewhere in a tensor, its dimensions in any order in memory, spaced and reversed at will, without overlap. Its
// bytes are 0 .. extent - 1 of `data`, which is yet to be placed.
Box any_box(FuzzedDataProvider& data, std::size_t bytes, std::size_t& n_elements, std::size_t& extent) {
  Box box{};
  box.element_bytes = bytes;
  box.n_dimensions = data.ConsumeIntegralInRange(0, 4);
  int order[4] = {0, 1, 2, 3};
  n_elements = 1;
  std::uint64_t index_stride = 1;
  for (int i = box.n_dimensions - 1; i >= 0; --i) {
    Dimension& dimension = box.dimensions[i];
    // The whole tensor is a little or much longer, with at most 2^63 elements.
    const std::uint64_t longest = (std::uint64_t(1) << 63) / index_stride;
    const std::size_t room = std::max<std::size_t>(kMostElements / std::max<std::size_t>(n_elements, 1), 1);
    const std::size_t most = std::min({room, std::size_t(longest), std::size_t(data.ConsumeBool() ? kMostElements : 70)});
    dimension.n = data.ConsumeIntegralInRange<std::size_t>(0, most);
    dimension.index_stride = index_stride;
    n_elements *= dimension.n;
    const std::uint64_t rest = longest - dimension.n;
    const bool much = data.ConsumeBool();
    const std::uint64_t wished = much ? data.ConsumeIntegral<std::uint64_t>() : data.ConsumeIntegral<std::uint8_t>();
    const std::uint64_t more = std::min(wished, rest);
    if (dimension.n == 0) continue;
    box.first += index_stride * data.ConsumeIntegralInRange<std::uint64_t>(0, more);
    index_stride *= dimension.n + more;
    std::swap(order[i], order[data.ConsumeIntegralInRange(i, box.n_dimensions - 1)]);
  }
  extent = bytes;
  std::ptrdiff_t stride = std::ptrdiff_t(bytes);
  for (int k = box.n_dimensions - 1; k >= 0; --k) {
    Dimension& dimension = box.dimensions[order[k]];
    if (dimension.n == 0) continue;
    const std::size_t room = Arena::kBytes - extent;
    // Packed, or every so many-th place, or with some bytes between that need not be whole elements.
    std::ptrdiff_t spaced = stride * data.ConsumeIntegralInRange(1, 5);
    if (data.ConsumeBool()) spaced = stride + data.ConsumeIntegralInRange(0, 200);
    if (std::size_t(spaced) * (dimension.n - 1) > room) spaced = stride;
    if (std::size_t(spaced) * (dimension.n - 1) > room) dimension.n = 1;
    extent += std::size_t(spaced) * (dimension.n - 1);
    stride = std::ptrdiff_t(extent);
    dimension.memory_stride = spaced;
  }
  n_elements = 1;
  for (int i = 0; i < box.n_dimensions; ++i) n_elements *= box.dimensions[i].n;
  return box;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t n_bytes) {
  static const Arena arena;
  static const std::vector<std::string> targets = targets_found();
  FuzzedDataProvider data(bytes, n_bytes);

  const auto distribution = Distribution(data.ConsumeIntegralInRange(0, int(Distribution::kConstant)));
  const auto type = ElementType(data.ConsumeIntegralInRange(0, kElementTypes - 1));
  const int generator = data.ConsumeIntegralInRange(0, kGenerators - 1);
  const bool bits = distribution == Distribution::kBits, scaled = !bits && data.ConsumeIntegralInRange(0, 7) == 0;
  const std::size_t size = bits ? data.ConsumeBool() ? 8 : 4 : kTypeBytes[int(type)];
  set_target(targets[data.ConsumeIntegralInRange<std::size_t>(0, targets.size() - 1)]);
  const KernelTable& table = kernels();
  const KernelTable& portable = kernels_of("portable");

  Arguments arguments{};
  for (double& argument : arguments) argument = any_number(data);
  char text[256];
  std::snprintf(text, sizeof(text), "target %s, generator %d, distribution %d, scaled %d, type %d, arguments %a %a %a %a",
                table.target, generator, int(distribution), scaled, int(type), arguments[0], arguments[1], arguments[2],
                arguments[3]);
  what_came = text;
  Plan plan;
  try {
    const bool can_be_scaled = distribution == Distribution::kUniform || distribution == Distribution::kNormal ||
                               distribution == Distribution::kTruncatedStd;
    if (scaled && can_be_scaled) {
      plan = make_scaled_plan(distribution, type, arguments[0], arguments[1], arguments[2]);
    } else if (!bits) {
      plan = make_plan(distribution, type, arguments);
    }
  } catch (const std::invalid_argument& error) {
    if (std::strlen(error.what()) < 10) fail("a refusal without a reason");
    return 0;
  }

  std::size_t n_elements, extent;
  Box box = any_box(data, size, n_elements, extent);
  const bool at_end = data.ConsumeBool();
  const std::size_t away = data.ConsumeBool() ? data.ConsumeIntegral<std::uint8_t>() : 0;
  const std::size_t from = std::min(away, Arena::kBytes - extent);
  unsigned char* const lowest = at_end ? arena.end() - extent - from : arena.begin() + from;
  box.data = lowest;
  for (int i = 0; i < box.n_dimensions; ++i) {
    Dimension& dimension = box.dimensions[i];
    if (dimension.n == 0 || data.ConsumeBool()) continue;
    box.data += dimension.memory_stride * std::ptrdiff_t(dimension.n - 1);
    dimension.memory_stride = -dimension.memory_stride;
  }

  const std::uint64_t seed = data.ConsumeIntegral<std::uint64_t>();
  const Stream stream{seed, data.ConsumeIntegral<std::uint64_t>(), Generator(generator)};
  const auto task_on = [&](const KernelTable& kernels) {
    return bits ? Task{kernels.bits[size == 8], stream, {}} : task_of(kernels, plan, type, stream);
  };
  const Task task = task_on(table), reference = task_on(portable);
  const int threads = data.ConsumeIntegralInRange(1, 4);
  set_grain(data.ConsumeIntegralInRange<std::size_t>(1, 2000));

  // What this memory and some around it should hold afterwards.
  unsigned char* const begin = lowest - std::min<std::size_t>(1024, std::size_t(lowest - arena.begin()));
  unsigned char* const end = lowest + extent + std::min<std::size_t>(1024, std::size_t(arena.end() - lowest) - extent);
  std::memset(begin, kUntouched, std::size_t(end - begin));
  std::vector<unsigned char> expected(begin, end);
  const Dimension none{1, 0, 1};
  const int last = box.n_dimensions - 1;
  const Dimension& along = last >= 0 ? box.dimensions[last] : none;
  std::vector<unsigned char> row(along.n * size);
  for (std::size_t k = 0; along.n > 0 && k < n_elements / along.n; ++k) {
    const unsigned char* at = box.data;
    std::uint64_t first = box.first;
    std::size_t number = k;
    for (int i = last - 1; i >= 0; --i) {
      const std::size_t here = number % box.dimensions[i].n;
      number /= box.dimensions[i].n;
      at += box.dimensions[i].memory_stride * std::ptrdiff_t(here);
      first += box.dimensions[i].index_stride * here;
    }
    if (plan.constant) {
      const std::uint64_t element = plan.parameters.constant_bits;
      for (std::size_t i = 0; i < along.n; ++i) std::memcpy(row.data() + i * size, &element, size);
    } else {
      const DefaultEnvironment environment;
      write_tile(reference, {first, along.n, row.data(), std::ptrdiff_t(size)});
    }
    for (std::size_t i = 0; i < along.n; ++i) {
      const unsigned char* const element = row.data() + i * size;
      std::memcpy(expected.data() + (at - begin) + std::ptrdiff_t(i) * along.memory_stride, element, size);
      if (bits || distribution == Distribution::kConstant) continue;
      const double x = value_of(element, type);
      if (!std::isfinite(x)) fail("a value that is not finite");
      const bool uniform = distribution == Distribution::kUniform && !scaled;
      if (!uniform && distribution != Distribution::kTruncated) continue;
      const double low = arguments[uniform ? 0 : 2], high = arguments[uniform ? 1 : 3];
      if ((low <= x && x <= high) || (uniform && low == high)) continue;  // low, rounded
      fail("a value beyond the bounds");
    }
  }
  if (plan.constant) {
    fill_constant(table, plan.parameters.constant_bits, box, threads);
  } else {
    fill(task, box, threads);
  }
  if (std::memcmp(begin, expected.data(), expected.size()) == 0) return 0;
  what_came += ", box at " + std::to_string(box.first);
  for (int i = 0; i < box.n_dimensions; ++i) {
    const Dimension& d = box.dimensions[i];
    what_came += ", (" + std::to_string(d.n) + " elements, " + std::to_string(d.memory_stride) + " bytes, " +
                 std::to_string(d.index_stride) + " indices apart)";
  }
  fail("wrong bits, or a write outside of the box");
}
