// What the bits need of a target: each assertion stops the build with a sentence where it does not hold. CMake compiles
// this file when it configures, and shows the same sentence.
#pragma once

#include <bit>
#include <cfloat>

static_assert(sizeof(void*) == 8,
              "fastinit needs a 64-bit target: sizes and indices of its arrays do not fit into 32 bits");
static_assert(std::endian::native == std::endian::little,
              "fastinit needs a little-endian target: its words and digests are defined byte by byte in that order");
// 16 is 0 for these types: _Float16, too, is computed in its own precision.
static_assert(FLT_EVAL_METHOD == 0 || FLT_EVAL_METHOD == 16,
              "fastinit needs a target that computes float in float and double in double: with excess precision "
              "(FLT_EVAL_METHOD), as on the x87, the values differ in their last bits");
