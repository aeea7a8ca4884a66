#include "fill.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

#include "environment.hpp"

namespace fastinit {
namespace {

// Starting a thread costs 10 to 100 microseconds; a core needs about 140 to write so many elements.
constexpr std::size_t kElementsPerThread = std::size_t(1) << 18;
constexpr int kMostThreads = 512;
// Stores go past the caches from this size on: smaller buffers are likely to be read while they are still in a cache.
constexpr std::size_t kBypassBytes = std::size_t(32) << 20;
// Threads' shares of a large buffer begin at this alignment, a huge page, so that no page is shared.
constexpr std::size_t kHugePage = std::size_t(2) << 20;

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
  const std::size_t grain = bytes / std::size_t(threads) >= 4 * kHugePage ? kHugePage : 64;
  // Where part k begins: an address that is a multiple of the grain, as an element number.
  const auto begin = [&](int k) -> std::size_t {
    if (k == 0) return 0;
    if (k == threads) return n;
    const std::size_t target = n / std::size_t(threads) * std::size_t(k) * element_bytes;
    const std::size_t past = (reinterpret_cast<std::uintptr_t>(data) + target) % grain;
    return (target - std::min(past, target)) / element_bytes;
  };
  in_parallel(threads, [&](int k) {
    const std::size_t from = begin(k), to = begin(k + 1);
    task.kernel(task.stream, task.parameters, first + from, to - from, data + from * element_bytes, bypass);
  });
}

// --- any strides: tiles of rows

// Rows run along the logical index, and each is written by one kernel call. Where a row's elements do not lie side by
// side in memory, it goes through a small buffer; and where another dimension is the dense one in memory, a tile is
// several rows, scattered column by column, so that writes to one cache line come together.
constexpr std::size_t kTileRows = 64;
constexpr std::size_t kTileRow = 64;
constexpr std::size_t kLongRow = 4096;      // through the buffer, where there is nothing to collect
constexpr std::size_t kDenseRow = 1 << 16;  // straight into memory

template <class Element>
void scatter(const unsigned char* tile, std::size_t row_stride, std::size_t rows, std::size_t columns,
             unsigned char* out, std::ptrdiff_t across, std::ptrdiff_t along) {
  for (std::size_t c = 0; c < columns; ++c) {
    for (std::size_t r = 0; r < rows; ++r) {
      std::memcpy(out + std::ptrdiff_t(c) * along + std::ptrdiff_t(r) * across, tile + (r * row_stride + c) * sizeof(Element),
                  sizeof(Element));
    }
  }
}

struct Tiling {
  std::size_t element_bytes;
  Dimension along{1, 0, 1};   // the rows' own dimension
  Dimension across{1, 0, 0};  // the dimension of a tile's rows
  Dimension outer[kMaxDimensions];
  int n_outer = 0;
  bool dense = false;  // a row is side by side in memory
  std::size_t row = 1, rows = 1;  // extents of a tile
  std::size_t n_along = 1, n_across = 1, n_tiles = 1;

  explicit Tiling(const Box& box) : element_bytes(box.element_bytes) {
    for (int i = 0; i < box.n_dimensions; ++i) outer[n_outer++] = box.dimensions[i];
    for (int i = 0; i < n_outer; ++i) {
      if (outer[i].index_stride == 1) {
        along = take(i);
        break;
      }
    }
    dense = along.n == 1 || along.memory_stride == std::ptrdiff_t(element_bytes);
    if (!dense) {
      int densest = -1;
      for (int i = 0; i < n_outer; ++i) {
        const auto stride = std::abs(outer[i].memory_stride);
        if (stride < std::abs(densest < 0 ? along.memory_stride : outer[densest].memory_stride)) densest = i;
      }
      if (densest >= 0) across = take(densest);
    }
    rows = std::min(across.n, kTileRows);
    row = std::min(along.n, across.n > 1 ? kTileRow : dense ? kDenseRow : kLongRow);
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
    const std::size_t columns = std::min(row, along.n - first_column);
    const std::size_t here = std::min(rows, across.n - first_row);
    if (dense) {
      task.kernel(task.stream, task.parameters, index, columns, out, false);
      return;
    }
    alignas(64) unsigned char buffer[std::max(kTileRows * kTileRow, kLongRow) * 8];
    for (std::size_t r = 0; r < here; ++r) {
      task.kernel(task.stream, task.parameters, index + r * across.index_stride, columns,
                  buffer + r * row * element_bytes, false);
    }
    if (element_bytes == 2) scatter<std::uint16_t>(buffer, row, here, columns, out, across.memory_stride, along.memory_stride);
    if (element_bytes == 4) scatter<std::uint32_t>(buffer, row, here, columns, out, across.memory_stride, along.memory_stride);
    if (element_bytes == 8) scatter<std::uint64_t>(buffer, row, here, columns, out, across.memory_stride, along.memory_stride);
  }

 private:
  Dimension take(int i) {
    const Dimension taken = outer[i];
    std::copy(outer + i + 1, outer + n_outer, outer + i);
    --n_outer;
    return taken;
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

template <class Element>
void write_constant(const Stream&, const Parameters& parameters, std::uint64_t, std::size_t n, void* out, bool) {
  const Element element = Element(parameters.constant_bits);
  auto* bytes = static_cast<unsigned char*>(out);
  for (std::size_t i = 0; i < n; ++i) std::memcpy(bytes + i * sizeof(Element), &element, sizeof(Element));
}

}  // namespace

Kernel constant_kernel(std::size_t element_bytes) {
  return element_bytes == 2   ? write_constant<std::uint16_t>
         : element_bytes == 4 ? write_constant<std::uint32_t>
                              : write_constant<std::uint64_t>;
}

void fill(const Task& task, const Box& box, int threads) {
  const Box simple = simplify(box);
  std::size_t n = 1;
  for (int i = 0; i < simple.n_dimensions; ++i) n *= simple.dimensions[i].n;
  if (n == 0) return;
  const std::size_t paying = std::max<std::size_t>(1, n / kElementsPerThread);
  threads = int(std::min({std::size_t(std::max(threads, 1)), std::size_t(kMostThreads), paying}));
  const bool line = simple.n_dimensions == 0 ||
                    (simple.n_dimensions == 1 && simple.dimensions[0].index_stride == 1 &&
                     simple.dimensions[0].memory_stride == std::ptrdiff_t(simple.element_bytes));
  if (line) {
    fill_line(task, simple.data, simple.element_bytes, simple.first, n, threads);
    return;
  }
  const Tiling tiling(simple);
  threads = int(std::min(std::size_t(threads), tiling.n_tiles));
  in_parallel(threads, [&](int k) {
    const auto begin = [&](int part) {  // (n_tiles * part) / threads, without overflow
      const std::size_t each = tiling.n_tiles / std::size_t(threads), rest = tiling.n_tiles % std::size_t(threads);
      return each * std::size_t(part) + std::min(std::size_t(part), rest);
    };
    for (std::size_t tile = begin(k); tile < begin(k + 1); ++tile) tiling.fill_tile(task, simple, tile);
  });
}

}  // namespace fastinit
