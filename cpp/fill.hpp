// Fills a box of a tensor in memory: walks any strides, splits the work over threads. It knows shapes, strides and
// threads; no SIMD, no Python, and of the kernels only that element i is a function of i.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel.hpp"

namespace fastinit {

struct Dimension {
  std::size_t n;
  std::ptrdiff_t memory_stride;  // bytes to the next element
  std::uint64_t index_stride;    // logical indices to the next element
};

constexpr int kMaxDimensions = 64;  // as in NumPy

struct Box {
  unsigned char* data;
  std::size_t element_bytes;
  std::uint64_t first;  // logical index of the element at data
  int n_dimensions;
  Dimension dimensions[kMaxDimensions];
};

struct Task {
  Kernel kernel;
  Stream stream;
  Parameters parameters;
};

// Writes every element of the box, on at most so many threads; on fewer, if fewer pay or no more can be started.
void fill(const Task& task, const Box& box, int threads);

// Writes the same bits into every element.
void fill_constant(const KernelTable& kernels, std::uint64_t element_bits, const Box& box, int threads);

// For the tests: a thread for so many elements each, whether it pays or not; 0: as many threads as pay.
void set_grain(std::size_t elements_per_thread);

}  // namespace fastinit
