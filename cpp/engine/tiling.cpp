#include "engine/tiling.hpp"

namespace fastinit {
namespace {

// Elements of a tile of long rows: some ten microseconds' work, so that what a kernel does once for a tile does not
// count. A tile of several rows that go through the kernel's buffer is a few buffers long, for the same reason.
constexpr std::size_t kElementsPerTile = std::size_t(1) << 16;
constexpr std::size_t kLongRow = 4 * kTileAlong;

}  // namespace

Tiling::Tiling(const Box& box) : data_(box.data), first_(box.first), element_bytes_(box.element_bytes) {
  for (int i = 0; i < box.n_dimensions; ++i) outer_[n_outer_++] = box.dimensions[i];
  take(along_, [](const Dimension& d) { return d.index_stride == 1; });
  choose_across();
  if (short_rows_follow()) {
    cut_short_rows();
  } else {
    if (across_.memory_stride < 0) go_upwards_across();
    if (side_by_side(along_) || across_.n == 1) {
      cut_rows();
    } else {
      cut_columns();
    }
  }
  if (side_by_side(across_)) skipped_ = reinterpret_cast<std::uintptr_t>(data_) % kTileAcross / element_bytes_;
  n_along_ = steps(along_.n, 0, row_);
  n_across_ = steps(across_.n, skipped_, rows_);
  n_tiles_ = n_along_ * n_across_;
  for (int i = 0; i < n_outer_; ++i) n_tiles_ *= outer_[i].n;
}

bool Tiling::side_by_side(const Dimension& dimension) const {
  return dimension.memory_stride == std::ptrdiff_t(element_bytes_);
}

// Whether the tile's rows are short, and each goes on in index where the one before ends.
bool Tiling::short_rows_follow() const { return across_.index_stride == along_.n && along_.n <= kShortRow; }

void Tiling::take_densest() {
  std::size_t densest = ~std::size_t(0);
  for (int i = 0; i < n_outer_; ++i) densest = std::min(densest, size_of(outer_[i].memory_stride));
  take(across_, [=](const Dimension& d) { return size_of(d.memory_stride) == densest; });
}

bool Tiling::take_next_in_index() {
  return take(across_, [this](const Dimension& d) { return d.index_stride == along_.n; });
}

// Which rows make a tile together.
void Tiling::choose_across() {
  const auto denser_than_along = [this](const Dimension& d) {
    return size_of(d.memory_stride) < size_of(along_.memory_stride);
  };
  if (along_.n == 1 || std::any_of(outer_, outer_ + n_outer_, denser_than_along)) {
    take_densest();  // Fortran order, or a column: neighbours in memory lie in different rows
  } else if (along_.n <= kShortRow) {
    if (!take_next_in_index()) take_densest();  // short rows, best such that follow each other in index
  } else if (side_by_side(along_)) {
    take_densest();  // C order
  }  // every second column: a long row of spaced elements is a tile by itself
}

// Counts the rows the other way round, so that they come as they lie in memory.
void Tiling::go_upwards_across() {
  data_ += across_.memory_stride * std::ptrdiff_t(across_.n - 1);
  first_ += across_.index_stride * (across_.n - 1);
  across_ = {across_.n, -across_.memory_stride, 0 - across_.index_stride};
}

// Short rows that follow each other in index, in any order of memory: whole rows, as many as the kernel's buffer holds.
void Tiling::cut_short_rows() {
  row_ = along_.n;
  rows_ = kTileBuffer / 8 / along_.n / kShortRow * kShortRow;
}

// C order, or one row of spaced elements: a stretch of a long row, or several rows that are not as long.
void Tiling::cut_rows() {
  row_ = std::min(along_.n, kElementsPerTile);
  rows_ = kElementsPerTile / row_;
}

// Fortran order, and columns: a stretch of so many rows as lie in one or two cache lines side by side.
void Tiling::cut_columns() {
  row_ = std::min(along_.n, kLongRow);
  rows_ = kTileAcross / element_bytes_;
}

Tile Tiling::tile(std::size_t number) const {
  // Tiles are numbered across first: neighbours in memory follow each other.
  const std::size_t across_step = number % n_across_ * rows_;
  number /= n_across_;
  const std::size_t begin = across_step - std::min(skipped_, across_step), end = across_step + rows_ - skipped_;
  const std::size_t first_column = number % n_along_ * row_;
  number /= n_along_;
  Tile tile{first_, std::min(row_, along_.n - first_column), data_, along_.memory_stride, false,
            std::min(end, across_.n) - begin, across_.index_stride, across_.memory_stride};
  const auto move = [&](const Dimension& dimension, std::size_t by) {
    tile.out += dimension.memory_stride * std::ptrdiff_t(by);
    tile.first += dimension.index_stride * by;
  };
  move(across_, begin);
  move(along_, first_column);
  for (int i = n_outer_ - 1; i >= 0; --i) {
    move(outer_[i], number % outer_[i].n);
    number /= outer_[i].n;
  }
  return tile;
}

}  // namespace fastinit
