// Fills a box of a tensor in memory: walks any strides and splits the work over threads, in any way, since element i is
// a function of i alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/box.hpp"
#include "engine/parameters.hpp"
#include "engine/tile.hpp"
#include "kernels/contract.hpp"

namespace fastinit {

// What writes a plan's values, which are not all the same.
Task task_of(const KernelTable& kernels, const Plan& plan, ElementType type, const Stream& stream);
Task integers_task(const KernelTable& kernels, const Plan& plan, std::size_t element_bytes, const Stream& stream);

// Writes every element of the box, on at most so many threads; on fewer, if fewer pay or no more can be started.
void fill(const Task& task, const Box& box, int threads);

// Writes the same bits into every element.
void fill_constant(const KernelTable& kernels, std::uint64_t element_bits, const Box& box, int threads);

// For the tests: a thread for so many elements each, whether it pays or not; 0: as many threads as pay.
void set_grain(std::size_t elements_per_thread);

}  // namespace fastinit
