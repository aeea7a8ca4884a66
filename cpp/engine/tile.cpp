#include "engine/tile.hpp"

#include <algorithm>
#include <cstring>

#include "engine/box.hpp"

namespace fastinit {
namespace {

// Values and elements stay in the first cache. (Fewer values than this and what a kernel does once for a call counts.)
constexpr std::size_t kValues = 4096;
// Where elements do not lie side by side, as many columns at a time, of as many rows as a kernel makes columns of.
constexpr std::size_t kColumns = 128;
constexpr std::size_t kRows = kTileAcross / sizeof(float);
static_assert(kRows * kColumns <= kValues);

// Whether neighbours in memory lie in different rows.
bool lies_across(const Tile& tile) {
  return tile.n > 1 && tile.rows > 1 && size_of(tile.row_stride) < size_of(tile.stride);
}
// Whether each row goes on in index where the one before ends.
bool rows_follow(const Tile& tile) { return tile.row_index == tile.n; }

// From rows, or from columns if `transposed`, to their places, along the side that is denser in memory.
template <std::size_t bytes>
void place(const Tile& tile, const unsigned char* elements, bool transposed) {
  const bool across = lies_across(tile);
  const std::size_t lines = across ? tile.n : tile.rows, n = across ? tile.rows : tile.n;
  const std::ptrdiff_t line_step = across ? tile.stride : tile.row_stride;
  const std::ptrdiff_t step = across ? tile.row_stride : tile.stride;
  const bool in_lines = across == transposed;
  for (std::size_t k = 0; k < lines; ++k) {
    unsigned char* to = tile.out + std::ptrdiff_t(k) * line_step;
    const unsigned char* from = elements + k * bytes * (in_lines ? n : 1);
    if (!in_lines) {
      for (std::size_t i = n; i > 0; --i, from += bytes * lines, to += step) std::memcpy(to, from, bytes);
    } else if (step != std::ptrdiff_t(bytes)) {
      for (std::size_t i = n; i > 0; --i, from += bytes, to += step) std::memcpy(to, from, bytes);
    } else {
      std::memcpy(to, from, n * bytes);
    }
  }
}

// A part of a tile: at most kValues elements.
void convert_part(const Task& task, const Tile& part) {
  alignas(kCacheLine) unsigned char values[kValues * sizeof(float)], elements[kValues * sizeof(float)];
  const std::size_t n = part.n * part.rows;
  constexpr auto kBytes = std::ptrdiff_t(sizeof(float));
  Tile inner{part.first, part.n, values, kBytes, false, part.rows, part.row_index, kBytes * std::ptrdiff_t(part.n)};
  const bool transposed = lies_across(part) && part.rows == kRows && !rows_follow(part);
  if (transposed) inner.stride = kBytes * std::ptrdiff_t(kRows), inner.row_stride = kBytes;
  if (rows_follow(part)) inner.n = n, inner.rows = 1;
  if (task.kernel != nullptr) task.kernel(task.stream, task.parameters, inner);
  task.convert(task.parameters, values, (n + kConverted - 1) / kConverted, elements);
  (task.element_bytes == 1   ? place<1>
   : task.element_bytes == 2 ? place<2>
                             : place<4>)(part, elements, transposed);
}

}  // namespace

void write_tile(const Task& task, const Tile& tile) {
  if (task.convert == nullptr) return task.kernel(task.stream, task.parameters, tile);
  const bool in_rows = tile.stride == std::ptrdiff_t(task.element_bytes) || tile.rows == 1;
  const std::size_t columns = std::min(tile.n, in_rows ? kValues : kColumns);
  const std::size_t most_rows = in_rows || rows_follow(tile) ? kValues / std::max<std::size_t>(columns, 1) : kRows;
  const std::size_t rows = std::min(tile.rows, most_rows);
  Tile part = tile;
  for (std::size_t column = 0; column < tile.n; column += columns) {
    part.n = std::min(columns, tile.n - column);
    for (std::size_t row = 0; row < tile.rows; row += rows) {
      part.rows = std::min(rows, tile.rows - row);
      part.first = tile.first + row * tile.row_index + column;
      part.out = tile.out + std::ptrdiff_t(row) * tile.row_stride + std::ptrdiff_t(column) * tile.stride;
      convert_part(task, part);
    }
  }
}

}  // namespace fastinit
