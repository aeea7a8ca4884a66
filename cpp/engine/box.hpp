// Where the elements of a tensor, or of a box of it, are: in memory and in index.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastinit {

struct Dimension {
  std::size_t n;
  std::ptrdiff_t memory_stride;  // bytes to the next element
  std::uint64_t index_stride;    // logical indices to the next element, modulo 2^64
};

constexpr int kMaxDimensions = 64;  // as in NumPy

struct Box {
  unsigned char* data;
  std::size_t element_bytes;
  std::uint64_t first;  // logical index of the element at data
  int n_dimensions;
  Dimension dimensions[kMaxDimensions];
};

inline std::size_t size_of(std::ptrdiff_t stride) {
  return stride < 0 ? std::size_t(0) - std::size_t(stride) : std::size_t(stride);
}

std::size_t elements_of(const Box& box);

// The same elements. Drops dimensions of one element and joins neighbours that are one dimension in memory and in index
// alike.
Box simplify(const Box& box);

// The same elements, the last dimension the densest in memory, no memory stride of two elements or more negative.
Box in_order_of_memory(Box box);

}  // namespace fastinit
