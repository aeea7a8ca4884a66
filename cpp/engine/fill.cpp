#include "engine/fill.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>

#include "engine/environment.hpp"
#include "engine/memory.hpp"
#include "engine/pool.hpp"

namespace fastinit {
namespace {

// Threads take the parts of a fill one by one, so that one which comes late or shares its CPU takes fewer.
constexpr std::size_t kPartsPerThread = 8;
constexpr std::size_t kMostBytesOfPart = 4 * kHugePage;
// A fill on several threads begins with a trial on one, which tells how long the rest would take there. For every so many
// nanoseconds of that, one helper is woken: some times of what it costs to wake one, as measured (docs/performance.md).
constexpr std::size_t kTrialElements = std::size_t(1) << 14;
constexpr std::uint64_t kNanosecondsPerHelper = 80'000;
// Stores go past the caches from this size on. A smaller buffer is likely to be in a cache, from before or for whoever
// reads the values next, and then these stores are slower than ordinary ones (docs/performance.md).
// (Nor from memory that the OS has not given yet: it is cleared when first touched, and is then in a cache.)
constexpr std::size_t kBypassBytes = std::size_t(32) << 20;
// Of such fresh memory so much is asked for at a time, and filled while it is in a cache.
constexpr std::size_t kFreshBytes = std::size_t(256) << 10;

std::atomic<std::size_t> grain{0};  // 0: by time

// Does the trial, which fills n of the elements, and returns how many of the threads pay for the rest. (In integers: the
// caller's floating-point flags are kept.)
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

// How many steps take one through n elements, if the first step is shorter by `skipped`.
std::size_t steps(std::size_t n, std::size_t skipped, std::size_t step) { return (skipped + n + step - 1) / step; }

// --- a contiguous line

void fill_line(const Task& task, const Box& box, std::size_t n, int threads) {
  const std::size_t size = box.element_bytes;
  const bool large = n * size >= kBypassBytes;
  const auto fill_stretch = [&](std::size_t from, std::size_t to) {
    unsigned char* const out = box.data + from * size;
    const bool fresh = (to - from) * size >= kFreshBytes && !is_resident(out);
    const std::size_t step = fresh ? kFreshBytes / size : to - from;
    for (std::size_t begin = from; begin < to; begin += step) {
      const std::size_t n_now = std::min(step, to - begin);
      unsigned char* const now = box.data + begin * size;
      if (fresh) populate(now, n_now * size);
      task.kernel(task.stream, task.parameters,
                  {box.first + begin, n_now, now, std::ptrdiff_t(size), large && !fresh});
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

// --- any strides: tiles of rows

// Elements of a tile of long rows: some ten microseconds' work, so that what a kernel does once for a tile does not
// count. A tile of several rows that go through the kernel's buffer is a few buffers long, for the same reason.
constexpr std::size_t kElementsPerTile = std::size_t(1) << 16;
constexpr std::size_t kLongRow = 4 * kTileAlong;

struct Tiling {
  unsigned char* data;
  std::uint64_t first;
  Dimension along{1, 0, 1};   // the rows' own dimension
  Dimension across{1, 0, 0};  // the dimension of a tile's rows
  Dimension outer[kMaxDimensions];
  int n_outer = 0;
  std::size_t row = 1, rows = 1;  // extents of a tile
  std::size_t skipped = 0;        // rows that the first tile lacks, so that the others begin at a cache line
  std::size_t n_along = 1, n_across = 1, n_tiles = 1;

  explicit Tiling(const Box& box) : data(box.data), first(box.first) {
    for (int i = 0; i < box.n_dimensions; ++i) outer[n_outer++] = box.dimensions[i];
    take(along, [](const Dimension& d) { return d.index_stride == 1; });
    const auto is = [&box](std::ptrdiff_t stride) { return stride == std::ptrdiff_t(box.element_bytes); };
    std::size_t densest = ~std::size_t(0);
    for (int i = 0; i < n_outer; ++i) densest = std::min(densest, size_of(outer[i].memory_stride));
    const auto is_densest = [=](const Dimension& d) { return size_of(d.memory_stride) == densest; };
    // A tile has several rows if they are denser in memory across than along; if they are short, best such that follow
    // each other in index; if the elements of each lie side by side. A long row of spaced elements is a tile by itself.
    if (along.n == 1 || densest < size_of(along.memory_stride)) {
      take(across, is_densest);
    } else if (along.n > kShortRow) {
      if (is(along.memory_stride)) take(across, is_densest);
    } else if (!take(across, [this](const Dimension& d) { return d.index_stride == along.n; })) {
      take(across, is_densest);
    }
    const bool consecutive = across.index_stride == along.n && along.n <= kShortRow;
    if (across.memory_stride < 0 && !consecutive) {  // the other way round
      data += across.memory_stride * std::ptrdiff_t(across.n - 1);
      first += across.index_stride * (across.n - 1);
      across = {across.n, -across.memory_stride, 0 - across.index_stride};
    }
    if (consecutive) {
      row = along.n;
      rows = kTileBuffer / 8 / along.n / kShortRow * kShortRow;
    } else if (is(along.memory_stride) || across.n == 1) {
      row = std::min(along.n, kElementsPerTile);
      rows = kElementsPerTile / row;
    } else {
      row = std::min(along.n, kLongRow);
      rows = kTileAcross / box.element_bytes;
    }
    if (is(across.memory_stride)) skipped = reinterpret_cast<std::uintptr_t>(data) % kTileAcross / box.element_bytes;
    n_along = steps(along.n, 0, row);
    n_across = steps(across.n, skipped, rows);
    n_tiles = n_along * n_across;
    for (int i = 0; i < n_outer; ++i) n_tiles *= outer[i].n;
  }

  Tile tile(std::size_t number) const {
    // Tiles are numbered across first: neighbours in memory follow each other.
    const std::size_t across_step = number % n_across * rows;
    number /= n_across;
    const std::size_t begin = across_step - std::min(skipped, across_step), end = across_step + rows - skipped;
    const std::size_t first_column = number % n_along * row;
    number /= n_along;
    Tile tile{first, std::min(row, along.n - first_column), data, along.memory_stride, false,
              std::min(end, across.n) - begin, across.index_stride, across.memory_stride};
    const auto move = [&](const Dimension& dimension, std::size_t by) {
      tile.out += dimension.memory_stride * std::ptrdiff_t(by);
      tile.first += dimension.index_stride * by;
    };
    move(across, begin);
    move(along, first_column);
    for (int i = n_outer - 1; i >= 0; --i) {
      move(outer[i], number % outer[i].n);
      number /= outer[i].n;
    }
    return tile;
  }

 private:
  // Moves the first of the outer dimensions that is wanted to `taken`.
  template <class Wanted>
  bool take(Dimension& taken, const Wanted& wanted) {
    Dimension* const end = outer + n_outer;
    Dimension* const found = std::find_if(outer, end, wanted);
    if (found == end) return false;
    taken = *found;
    std::copy(found + 1, end, found);
    --n_outer;
    return true;
  }
};

// The same places, counted as they lie in memory: for values that do not depend on the index.
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
      task.kernel(task.stream, task.parameters, tile);
    }
  };
  std::size_t done = 0;
  if (threads > 1) {
    done = 1;
    const Tile first = tiling.tile(0);
    const std::size_t of_first = first.n * first.rows;
    threads = threads_that_pay(threads, of_first, n - of_first, [&] { fill_some(0, 1); });
  }
  const std::size_t tiles = tiling.n_tiles - done;
  const std::size_t parts = std::min(tiles, threads > 1 ? std::size_t(threads) * kPartsPerThread : 1);
  const auto begin = [&](std::size_t k) {  // (tiles * k) / parts, without overflow
    return done + tiles / parts * k + std::min(k, tiles % parts);
  };
  do_parts(parts, threads, [&](std::size_t k) { fill_some(begin(k), begin(k + 1)); });
}

void fill_simple(const Task& task, const Box& box, std::size_t n, int threads) {
  const std::size_t least = grain.load(std::memory_order_relaxed);
  const std::size_t most = n / (least > 0 ? least : kTrialElements);  // no thread has less to do than this
  threads = int(std::min({std::size_t(std::max(threads, 1)), std::size_t(kMostThreads), std::max<std::size_t>(most, 1)}));
  const bool line = box.n_dimensions == 0 ||
                    (box.n_dimensions == 1 && box.dimensions[0].index_stride == 1 &&
                     box.dimensions[0].memory_stride == std::ptrdiff_t(box.element_bytes));
  (line ? fill_line : fill_tiles)(task, box, n, threads);
}

}  // namespace

void fill(const Task& task, const Box& box, int threads) {
  const std::size_t n = elements_of(box);
  if (n > 0) fill_simple(task, simplify(box), n, threads);
}

void fill_constant(const KernelTable& kernels, std::uint64_t element_bits, const Box& box, int threads) {
  const std::size_t n = elements_of(box);
  if (n == 0) return;
  Task task{};
  task.parameters.constant_bits = element_bits;
  task.kernel = kernels.constant[box.element_bytes == 2 ? 0 : box.element_bytes == 4 ? 1 : 2];
  fill_simple(task, simplify(counted_in_memory(box)), n, threads);
}

void set_grain(std::size_t elements_per_thread) { grain.store(elements_per_thread); }

}  // namespace fastinit
