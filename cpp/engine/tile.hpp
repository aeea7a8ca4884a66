// Writes one tile, by a kernel, or by one that makes float32 values or words in a cache and a conversion of these.
#pragma once

#include <cstddef>

#include "kernels/contract.hpp"

namespace fastinit {

struct Task {
  Kernel kernel;  // of the elements, or of the values that are converted; of constants that are converted: none
  Stream stream;
  Parameters parameters;
  Convert convert = nullptr;
  std::size_t element_bytes = 0;  // of what a conversion makes: 1, 2 or 4
};

void write_tile(const Task& task, const Tile& tile);

}  // namespace fastinit
