// Given words through the transforms of the target "avx512", with its instructions.
#include "kernels/vector_avx512.hpp"
#include "tests/walk_target.hpp"

namespace fastinit {
extern const WalkTable kWalkAvx512;
constexpr WalkTable kWalkAvx512 = make_walk_table("avx512");
}  // namespace fastinit
