#include "engine/fill.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>

#include "engine/environment.hpp"
#include "engine/fresh.hpp"
#include "engine/memory.hpp"
#include "engine/pool.hpp"
#include "engine/tiling.hpp"

namespace fastinit {
namespace {

// Threads take the parts of a fill one by one, so that one which comes late or shares its CPU takes fewer.
constexpr std::size_t kPartsPerThread = 8;
constexpr std::size_t kMostBytesOfPart = 4 * kHugePage;
// A fill on several threads begins with a trial on one, which tells how long the rest would take there. For every so
// many nanoseconds of that, one helper is woken: it costs a fraction of them to wake one (docs/performance.md).
constexpr std::size_t kTrialElements = std::size_t(1) << 14;
constexpr std::uint64_t kNanosecondsPerHelper = 80'000;
// Stores go past the caches from this size on. A smaller buffer is likely to be in a cache, from before or for whoever
// reads the values next, and then these stores are slower than ordinary ones (docs/performance.md). So they are in
// fresh memory, too: the OS clears a page when it is first touched, and the page is then in a cache.
constexpr std::size_t kBypassBytes = std::size_t(32) << 20;

std::atomic<std::size_t> grain{0};  // elements that pay for a thread; 0: the trial tells

// Does the trial, which fills n of the elements, and returns how many threads pay off for the rest. (It computes in
// integers, which leaves the caller's floating-point flags as they are.)
template <class Trial>
int threads_that_pay(int threads, std::size_t n, std::size_t rest, const Trial& trial) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  {
    const DefaultEnvironment environment;
    trial();
  }
  const auto taken = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
  if (grain.load(std::memory_order_relaxed) > 0) return threads;
  const std::uint64_t elements_per_helper = n * kNanosecondsPerHelper / std::max<std::uint64_t>(taken, 1);
  return 1 + int(std::min<std::uint64_t>(threads - 1, rest / std::max<std::uint64_t>(elements_per_helper, 1)));
}

// Calls part(0) .. part(n - 1), each in the default environment.
template <class Part>
void do_parts(std::size_t n, int threads, const Part& part) {
  const auto protect = [&part](std::size_t k) {
    const DefaultEnvironment environment;
    part(k);
  };
  in_parallel(n, threads, std::cref(protect));
}

// --- a contiguous line

void fill_line(const Task& task, const Box& box, std::size_t n, int threads) {
  const std::size_t size = box.element_bytes;
  if (threads == 1 && n * size < kFreshBytes) {  // nothing to share, and nothing to ask the OS for
    const DefaultEnvironment environment;
    write_tile(task, {box.first, n, box.data, std::ptrdiff_t(size)});
    return;
  }
  const bool large = n * size >= kBypassBytes;
  FreshMemory memory(box.data, n * size);
  const auto fill_stretch = [&](std::size_t from, std::size_t to) {
    // (Its first page does not tell: what was filled before may have ended there.)
    const bool fresh = (to - from) * size >= kFreshBytes && !is_resident(box.data + from * size + kFreshBytes - 1);
    for (std::size_t begin = from, n_now; begin < to; begin += n_now) {
      unsigned char* const now = box.data + begin * size;
      n_now = fresh ? std::max(memory.next(now, (to - begin) * size) / size, std::size_t(1)) : to - begin;
      write_tile(task, {box.first + begin, n_now, now, std::ptrdiff_t(size), large && !fresh});
    }
  };
  std::size_t done = 0;
  if (threads > 1) {
    done = std::min(kTrialElements, n / 2);
    threads = threads_that_pay(threads, done, n - done, [&] { fill_stretch(0, done); });
  }
  // Parts begin at a cache line, in a large buffer at a huge page, so that no two threads write to one.
  const std::size_t bytes = (n - done) * size;
  std::size_t part_bytes = bytes, skipped = 0;
  if (threads > 1 || large) {
    part_bytes = std::min(bytes / (std::size_t(threads) * kPartsPerThread), kMostBytesOfPart);
    if (bytes >= 2 * kHugePage * std::size_t(threads) && memory.likes_whole_pages()) {
      part_bytes = std::max(part_bytes, kHugePage);
    }
    const std::size_t alignment = part_bytes >= kHugePage ? kHugePage : kCacheLine;
    part_bytes = std::max(part_bytes / alignment, std::size_t(1)) * alignment;
    skipped = reinterpret_cast<std::uintptr_t>(box.data + done * size) % alignment;
  }
  const std::size_t parts = steps(bytes, skipped, part_bytes);
  const auto begin = [&](std::size_t k) {
    return k == 0 ? done : k == parts ? n : done + (k * part_bytes - skipped) / size;
  };
  do_parts(parts, threads, [&](std::size_t k) { fill_stretch(begin(k), begin(k + 1)); });
}

// --- any strides

// The same box with its elements counted as they lie in memory, for values that do not depend on the index.
Box counted_in_memory(const Box& given) {
  Box box = in_order_of_memory(given);
  box.first = 0;
  std::uint64_t index_stride = 1;
  for (int i = box.n_dimensions - 1; i >= 0; --i) {
    box.dimensions[i].index_stride = index_stride;
    index_stride *= box.dimensions[i].n;
  }
  return box;
}

void fill_tiles(const Task& task, const Box& box, std::size_t n, int threads) {
  const Tiling tiling(box);
  const bool large = n * box.element_bytes >= kBypassBytes;
  const auto fill_some = [&](std::size_t from, std::size_t to) {
    const bool bypass = large && is_resident(tiling.tile(from).out);
    for (std::size_t i = from; i < to; ++i) {
      Tile tile = tiling.tile(i);
      tile.bypass = bypass;
      write_tile(task, tile);
    }
  };
  std::size_t done = 0;
  if (threads > 1) {
    done = 1;
    const Tile first = tiling.tile(0);
    const std::size_t of_first = first.n * first.rows;
    threads = threads_that_pay(threads, of_first, n - of_first, [&] { fill_some(0, 1); });
  }
  const std::size_t tiles = tiling.size() - done;
  const std::size_t parts = std::min(tiles, threads > 1 ? std::size_t(threads) * kPartsPerThread : 1);
  const auto begin = [&](std::size_t k) {  // (tiles * k) / parts, without overflow
    return done + tiles / parts * k + std::min(k, tiles % parts);
  };
  do_parts(parts, threads, [&](std::size_t k) { fill_some(begin(k), begin(k + 1)); });
}

void fill_simple(const Task& task, const Box& box, std::size_t n, int threads) {
  const std::size_t least = grain.load(std::memory_order_relaxed);
  const std::size_t most = n / (least > 0 ? least : kTrialElements);  // no thread has less to do than this
  const auto wished = std::size_t(std::max(threads, 1));
  threads = int(std::min({wished, std::size_t(kMostThreads), std::max<std::size_t>(most, 1)}));
  const bool line = box.n_dimensions == 0 ||
                    (box.n_dimensions == 1 && box.dimensions[0].index_stride == 1 &&
                     box.dimensions[0].memory_stride == std::ptrdiff_t(box.element_bytes));
  (line ? fill_line : fill_tiles)(task, box, n, threads);
}

void repeat_byte(const Parameters& parameters, const unsigned char*, std::size_t n_blocks, unsigned char* out) {
  std::memset(out, int(parameters.constant_bits), n_blocks * kConverted);
}

}  // namespace

Task task_of(const KernelTable& kernels, const Plan& plan, ElementType type, const Stream& stream) {
  const ElementType made = is_float8(type) ? ElementType::kFloat32 : type;
  Task task{kernels.fill[int(plan.transform)][int(made)], stream, plan.parameters};
  if (is_float8(type)) task.convert = kernels.float8, task.element_bytes = 1;
  return task;
}

Task integers_task(const KernelTable& kernels, const Plan& plan, std::size_t element_bytes, const Stream& stream) {
  const Convert convert = kernels.integers[element_bytes == 1 ? 0 : element_bytes == 2 ? 1 : 2];
  return {kernels.bits[0], stream, plan.parameters, convert, element_bytes};
}

void fill(const Task& task, const Box& box, int threads) {
  const std::size_t n = elements_of(box);
  if (n > 0) fill_simple(task, simplify(box), n, threads);
}

void fill_constant(const KernelTable& kernels, std::uint64_t element_bits, const Box& box, int threads) {
  const std::size_t n = elements_of(box);
  if (n == 0) return;
  Task task{};
  task.parameters.constant_bits = element_bits;
  if (box.element_bytes == 1) {
    task.convert = repeat_byte, task.element_bytes = 1;
  } else {
    task.kernel = kernels.constant[box.element_bytes == 2 ? 0 : box.element_bytes == 4 ? 1 : 2];
  }
  fill_simple(task, simplify(counted_in_memory(box)), n, threads);
}

void set_grain(std::size_t elements_per_thread) { grain.store(elements_per_thread); }

}  // namespace fastinit
