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

// Summarises a box in one pass, on at most so many threads. The result is the same on every machine and number of
// threads. The last bits of the moments may depend on the order of the elements in memory; the rest does not.
Summary summarise(const KernelTable& kernels, ElementType type, const Box& box, int threads);

}  // namespace fastinit
