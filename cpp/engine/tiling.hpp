// The tiles of a box of any strides: rows of elements that follow each other in index, several rows side by side.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "engine/box.hpp"
#include "kernels/contract.hpp"

namespace fastinit {

// How many steps take one through n elements, if the first step is shorter by `skipped`.
constexpr std::size_t steps(std::size_t n, std::size_t skipped, std::size_t step) {
  return (skipped + n + step - 1) / step;
}

class Tiling {
 public:
  explicit Tiling(const Box& box);  // a simplified one

  std::size_t size() const { return n_tiles_; }
  Tile tile(std::size_t number) const;

 private:
  unsigned char* data_;
  std::uint64_t first_;
  std::size_t element_bytes_;
  Dimension along_{1, 0, 1};   // the rows' own dimension
  Dimension across_{1, 0, 0};  // the dimension of a tile's rows
  Dimension outer_[kMaxDimensions];
  int n_outer_ = 0;
  std::size_t row_ = 1, rows_ = 1;  // extents of a tile
  std::size_t skipped_ = 0;         // rows that the first tile lacks, so that the others begin at a cache line
  std::size_t n_along_ = 1, n_across_ = 1, n_tiles_ = 1;

  bool side_by_side(const Dimension& dimension) const;
  bool short_rows_follow() const;
  bool take_next_in_index();
  void take_densest();
  void choose_across();
  void go_upwards_across();
  void cut_short_rows();
  void cut_rows();
  void cut_columns();

  // Moves the first of the outer dimensions that is wanted to `taken`.
  template <class Wanted>
  bool take(Dimension& taken, const Wanted& wanted) {
    Dimension* const end = outer_ + n_outer_;
    Dimension* const found = std::find_if(outer_, end, wanted);
    if (found == end) return false;
    taken = *found;
    std::copy(found + 1, end, found);
    --n_outer_;
    return true;
  }
};

}  // namespace fastinit
