// What walk wants of a target: the values of given words, by the very transforms and stores of its kernels, and the
// quantile's ratio in float64. A KernelTable will not do: kernels make their own words.
#pragma once

#include "kernels/contract.hpp"

namespace fastinit {

constexpr std::size_t kWalkChunk = 4096;  // words of a call: a multiple of every target's group

struct WalkTable {
  const char* target;
  // Words of the element type's width, to elements.
  void (*values[kTransforms][kKernelTypes])(const Parameters& parameters, const void* words, void* out);
  // R(f, 1) of docs/stream-format.md, in float64: the quantile over h = 1/2 - p, at p = 2^-64 f.
  void (*ratios)(const double* f, double* ratio);
};

}  // namespace fastinit
