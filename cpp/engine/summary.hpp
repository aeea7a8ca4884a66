// What a tensor in memory holds, in a few numbers: moments, extremes, and a digest that tells two tensors apart.
#pragma once

#include <cstdint>

#include "engine/box.hpp"
#include "kernels/contract.hpp"

namespace fastinit {

struct Summary {
  std::uint64_t n = 0;
  double mean = 0, std = 0;         // sqrt of the mean square deviation from the mean
  double minimum = 0, maximum = 0;  // a NaN if there is one, or no element
  std::uint64_t digest = 0;         // docs/stream-format.md, "Digests": digests of a tensor's boxes add up to its own
};

// On at most so many threads. One pass; the same result on every machine and number of threads. Of the order of
// elements in memory the moments may depend in their last bits, the rest does not.
Summary summarise(const KernelTable& kernels, ElementType type, const Box& box, int threads);

}  // namespace fastinit
