#include "engine/tile.hpp"

#include <algorithm>
#include <cstring>

#include "engine/box.hpp"

namespace fastinit {
namespace {

// Values and elements stay in the first cache. (Fewer values than this and what a kernel does once for a call counts.)
constexpr std::size_t kValues = 4096;
// Where elements do not lie side by side, as many columns at a time: long enough rows for a kernel, few enough lines of
// memory.
constexpr std::size_t kColumns = 128;

// From rows of `pitch` elements to their places, along the side that is denser in memory.
template <std::size_t bytes>
void place(const Tile& tile, const unsigned char* elements, std::size_t pitch) {
  const auto copy = [](const unsigned char* from, std::size_t from_step, unsigned char* to, std::ptrdiff_t to_step,
                       std::size_t n) {
    for (; n > 0; --n, from += from_step, to += to_step) std::memcpy(to, from, bytes);
  };
  if (tile.n == 1 || (tile.rows > 1 && size_of(tile.row_stride) < size_of(tile.stride))) {
    for (std::size_t i = 0; i < tile.n; ++i) {
      copy(elements + i * bytes, pitch * bytes, tile.out + std::ptrdiff_t(i) * tile.stride, tile.row_stride, tile.rows);
    }
  } else {
    for (std::size_t r = 0; r < tile.rows; ++r) {
      unsigned char* const row = tile.out + std::ptrdiff_t(r) * tile.row_stride;
      if (tile.stride == std::ptrdiff_t(bytes)) {
        std::memcpy(row, elements + r * pitch * bytes, tile.n * bytes);
      } else {
        copy(elements + r * pitch * bytes, bytes, row, tile.stride, tile.n);
      }
    }
  }
}

// A part of a tile: at most kValues elements.
void convert_part(const Task& task, const Tile& part) {
  alignas(kCacheLine) unsigned char values[kValues * sizeof(float)], elements[kValues * sizeof(float)];
  const std::size_t n = part.n * part.rows;
  constexpr auto kBytes = std::ptrdiff_t(sizeof(float));
  Tile inner{part.first, part.n, values, kBytes, false, part.rows, part.row_index, kBytes * std::ptrdiff_t(part.n)};
  if (part.row_index == part.n) inner.n = n, inner.rows = 1;  // each row goes on where the one before ends
  if (task.kernel != nullptr) task.kernel(task.stream, task.parameters, inner);
  task.convert(task.parameters, values, (n + kConverted - 1) / kConverted, elements);
  (task.element_bytes == 1   ? place<1>
   : task.element_bytes == 2 ? place<2>
                             : place<4>)(part, elements, part.n);
}

}  // namespace

void write_tile(const Task& task, const Tile& tile) {
  if (task.convert == nullptr) return task.kernel(task.stream, task.parameters, tile);
  const bool dense = tile.stride == std::ptrdiff_t(task.element_bytes);
  const std::size_t columns = std::min(tile.n, dense || tile.rows == 1 ? kValues : kColumns);
  const std::size_t rows = std::min(tile.rows, kValues / std::max<std::size_t>(columns, 1));
  Tile part = tile;
  for (std::size_t row = 0; row < tile.rows; row += rows) {
    part.rows = std::min(rows, tile.rows - row);
    for (std::size_t column = 0; column < tile.n; column += columns) {
      part.n = std::min(columns, tile.n - column);
      part.first = tile.first + row * tile.row_index + column;
      part.out = tile.out + std::ptrdiff_t(row) * tile.row_stride + std::ptrdiff_t(column) * tile.stride;
      convert_part(task, part);
    }
  }
}

}  // namespace fastinit
