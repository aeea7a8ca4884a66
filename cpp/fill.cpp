#include "fill.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "environment.hpp"
#include "memory.hpp"

namespace fastinit {
namespace {

// Starting a thread costs 10 to 100 microseconds; a core needs about 140 to write so many elements.
constexpr std::size_t kElementsPerThread = std::size_t(1) << 18;
constexpr int kMostThreads = 512;  // more are a slip of the keyboard
// Stores go past the caches from this size on: smaller buffers are likely to be read while they are still in a cache.
constexpr std::size_t kBypassBytes = std::size_t(32) << 20;

// Calls part(0) .. part(parts - 1), all at once if threads can be had, and returns when all are done.
template <class Part>
void in_parallel(int parts, const Part& part) {
  const auto protect = [&part](int k) {
    const DefaultEnvironment environment;
    part(k);
  };
  std::vector<std::thread> threads;
  int started = 1;
  if (parts > 1) {
    try {
      threads.reserve(std::size_t(parts) - 1);
      for (; started < parts; ++started) threads.emplace_back(protect, started);
    } catch (const std::exception&) {
      // No more threads, or no memory for one: this one does the rest.
    }
  }
  protect(0);
  for (int k = started; k < parts; ++k) protect(k);
  for (std::thread& thread : threads) thread.join();
}

// --- a contiguous line

void fill_line(const Task& task, unsigned char* data, std::size_t element_bytes, std::uint64_t first, std::size_t n,
               int threads) {
  const std::size_t bytes = n * element_bytes;
  const bool bypass = bytes >= kBypassBytes;
  // Where part k begins, as an element number: at a cache line, in a large buffer at a huge page, so that none is shared.
  const std::size_t alignment = bytes / std::size_t(threads) >= 4 * kHugePage ? kHugePage : 64;
  const auto begin = [&](int k) -> std::size_t {
    if (k == 0) return 0;
    if (k == threads) return n;
    const std::size_t target = n / std::size_t(threads) * std::size_t(k) * element_bytes;
    const std::size_t past = (reinterpret_cast<std::uintptr_t>(data) + target) % alignment;
    return (target - std::min(past, target)) / element_bytes;
  };
  in_parallel(threads, [&](int k) {
    const std::size_t from = begin(k), to = begin(k + 1);
    task.kernel(task.stream, task.parameters, first + from, to - from, data + from * element_bytes, bypass);
  });
}

// --- any strides: tiles of rows

// A tile is some rows along the logical index, written into a small buffer by the kernel and from there to their places.
// Where another dimension than the rows' own is the denser one in memory, the tile is a square, so that writes to one
// cache line come together. Where rows are short and follow each other in index, one kernel call makes all of a tile.
// Long rows whose elements lie side by side need no buffer.
constexpr std::size_t kTile = 4096;
constexpr std::size_t kSide = 64;
constexpr std::size_t kDenseRow = 1 << 16;

std::size_t size_of(std::ptrdiff_t stride) { return stride < 0 ? std::size_t(0) - std::size_t(stride) : std::size_t(stride); }

struct Side {
  std::size_t n, in_tile;  // elements, and elements from one to the next in the buffer
  std::ptrdiff_t in_memory;
};

template <class Element>
void scatter(const unsigned char* tile, const Side& outer, const Side& inner, unsigned char* out) {
  for (std::size_t i = 0; i < outer.n; ++i) {
    for (std::size_t j = 0; j < inner.n; ++j) {
      std::memcpy(out + std::ptrdiff_t(i) * outer.in_memory + std::ptrdiff_t(j) * inner.in_memory,
                  tile + (i * outer.in_tile + j * inner.in_tile) * sizeof(Element), sizeof(Element));
    }
  }
}

struct Tiling {
  std::size_t element_bytes;
  Dimension along{1, 0, 1};   // the rows' own dimension
  Dimension across{1, 0, 0};  // the dimension of a tile's rows
  Dimension outer[kMaxDimensions];
  int n_outer = 0;
  bool dense = false;             // rows go straight into memory
  bool consecutive = false;       // a tile's rows follow each other in index
  std::size_t row = 1, rows = 1;  // extents of a tile
  std::size_t n_along = 1, n_across = 1, n_tiles = 1;

  explicit Tiling(const Box& box) : element_bytes(box.element_bytes) {
    for (int i = 0; i < box.n_dimensions; ++i) outer[n_outer++] = box.dimensions[i];
    take(along, [](const Dimension& d) { return d.index_stride == 1; });
    dense = along.memory_stride == std::ptrdiff_t(element_bytes) && along.n >= kSide;
    if (!dense) {
      std::size_t densest = along.n > 1 ? size_of(along.memory_stride) : ~std::size_t(0);
      for (int i = 0; i < n_outer; ++i) densest = std::min(densest, size_of(outer[i].memory_stride));
      if (!take(across, [=](const Dimension& d) { return size_of(d.memory_stride) == densest; }) && along.n < kSide) {
        take(across, [this](const Dimension& d) { return d.index_stride == along.n; });
      }
      consecutive = across.index_stride == along.n && along.n <= kSide;
    }
    row = std::min(along.n, dense ? kDenseRow : across.n > 1 ? kSide : kTile);
    rows = std::min(across.n, consecutive ? kTile / along.n : kSide);
    n_along = (along.n + row - 1) / row;
    n_across = (across.n + rows - 1) / rows;
    n_tiles = n_along * n_across;
    for (int i = 0; i < n_outer; ++i) n_tiles *= outer[i].n;
  }

  void fill_tile(const Task& task, const Box& box, std::size_t tile) const {
    // Tiles are numbered across first: neighbours in memory follow each other.
    const std::size_t first_row = tile % n_across * rows;
    tile /= n_across;
    const std::size_t first_column = tile % n_along * row;
    tile /= n_along;
    unsigned char* out = box.data;
    std::uint64_t index = box.first;
    const auto move = [&](const Dimension& dimension, std::size_t by) {
      out += dimension.memory_stride * std::ptrdiff_t(by);
      index += dimension.index_stride * by;
    };
    move(across, first_row);
    move(along, first_column);
    for (int i = n_outer - 1; i >= 0; --i) {
      move(outer[i], tile % outer[i].n);
      tile /= outer[i].n;
    }
    const Side columns{std::min(row, along.n - first_column), 1, along.memory_stride};
    const Side lines{std::min(rows, across.n - first_row), row, across.memory_stride};
    if (dense) {
      task.kernel(task.stream, task.parameters, index, columns.n, out, false);
      return;
    }
    alignas(64) unsigned char buffer[kTile * 8];
    if (consecutive) {
      task.kernel(task.stream, task.parameters, index, lines.n * row, buffer, false);
    } else {
      for (std::size_t i = 0; i < lines.n; ++i) {
        task.kernel(task.stream, task.parameters, index + i * across.index_stride, columns.n,
                    buffer + i * row * element_bytes, false);
      }
    }
    const bool columns_inside = size_of(columns.in_memory) < size_of(lines.in_memory);
    const Side& inner = columns_inside ? columns : lines;
    const Side& outside = columns_inside ? lines : columns;
    if (element_bytes == 2) scatter<std::uint16_t>(buffer, outside, inner, out);
    if (element_bytes == 4) scatter<std::uint32_t>(buffer, outside, inner, out);
    if (element_bytes == 8) scatter<std::uint64_t>(buffer, outside, inner, out);
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

// Drops dimensions of one element and joins neighbours that are one dimension in memory and in index alike.
Box simplify(const Box& box) {
  Box simple{box.data, box.element_bytes, box.first, 0, {}};
  for (int i = 0; i < box.n_dimensions; ++i) {
    const Dimension& inner = box.dimensions[i];
    if (inner.n == 1) continue;
    if (simple.n_dimensions > 0) {
      Dimension& last = simple.dimensions[simple.n_dimensions - 1];
      if (last.memory_stride == inner.memory_stride * std::ptrdiff_t(inner.n) &&
          last.index_stride == inner.index_stride * inner.n) {
        last = {last.n * inner.n, inner.memory_stride, inner.index_stride};
        continue;
      }
    }
    simple.dimensions[simple.n_dimensions++] = inner;
  }
  return simple;
}

// The same places, counted in the order of memory: for values that do not depend on the index.
Box in_order_of_memory(Box box) {
  for (int i = 0; i < box.n_dimensions; ++i) {
    Dimension& dimension = box.dimensions[i];
    if (dimension.memory_stride < 0) {
      box.data += dimension.memory_stride * std::ptrdiff_t(dimension.n - 1);
      dimension.memory_stride = -dimension.memory_stride;
    }
  }
  std::sort(box.dimensions, box.dimensions + box.n_dimensions,
            [](const Dimension& x, const Dimension& y) { return x.memory_stride > y.memory_stride; });
  box.first = 0;
  std::uint64_t index_stride = 1;
  for (int i = box.n_dimensions - 1; i >= 0; --i) {
    box.dimensions[i].index_stride = index_stride;
    index_stride *= box.dimensions[i].n;
  }
  return box;
}

template <class Element>
void write_constant(const Stream&, const Parameters& parameters, std::uint64_t, std::size_t n, void* out, bool) {
  const Element element = Element(parameters.constant_bits);
  auto* bytes = static_cast<unsigned char*>(out);
  for (std::size_t i = 0; i < n; ++i) std::memcpy(bytes + i * sizeof(Element), &element, sizeof(Element));
}

std::atomic<std::size_t> grain{kElementsPerThread};

void fill_simple(const Task& task, const Box& box, std::size_t n, int threads) {
  const std::size_t paying = std::max<std::size_t>(1, n / grain.load(std::memory_order_relaxed));
  threads = int(std::min({std::size_t(std::max(threads, 1)), std::size_t(kMostThreads), paying}));
  const bool line = box.n_dimensions == 0 ||
                    (box.n_dimensions == 1 && box.dimensions[0].index_stride == 1 &&
                     box.dimensions[0].memory_stride == std::ptrdiff_t(box.element_bytes));
  if (line) {
    fill_line(task, box.data, box.element_bytes, box.first, n, threads);
    return;
  }
  const Tiling tiling(box);
  threads = int(std::min(std::size_t(threads), tiling.n_tiles));
  in_parallel(threads, [&](int k) {
    const auto begin = [&](int part) {  // (n_tiles * part) / threads, without overflow
      const std::size_t each = tiling.n_tiles / std::size_t(threads), rest = tiling.n_tiles % std::size_t(threads);
      return each * std::size_t(part) + std::min(std::size_t(part), rest);
    };
    for (std::size_t tile = begin(k); tile < begin(k + 1); ++tile) tiling.fill_tile(task, box, tile);
  });
}

std::size_t elements_of(const Box& box) {
  std::size_t n = 1;
  for (int i = 0; i < box.n_dimensions; ++i) n *= box.dimensions[i].n;
  return n;
}

}  // namespace

void fill(const Task& task, const Box& box, int threads) {
  const std::size_t n = elements_of(box);
  if (n > 0) fill_simple(task, simplify(box), n, threads);
}

void fill_constant(std::uint64_t element_bits, const Box& box, int threads) {
  const std::size_t n = elements_of(box);
  if (n == 0) return;
  Task task{};
  task.parameters.constant_bits = element_bits;
  task.kernel = box.element_bytes == 2   ? write_constant<std::uint16_t>
                : box.element_bytes == 4 ? write_constant<std::uint32_t>
                                         : write_constant<std::uint64_t>;
  fill_simple(task, simplify(in_order_of_memory(box)), n, threads);
}

void set_grain(std::size_t elements_per_thread) {
  grain.store(elements_per_thread > 0 ? elements_per_thread : kElementsPerThread);
}

}  // namespace fastinit
