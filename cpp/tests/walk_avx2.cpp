// Given words through the transforms of the target "avx2", with its instructions.
#include "kernels/vector_avx2.hpp"
#include "tests/walk_target.hpp"

namespace fastinit {
extern const WalkTable kWalkAvx2;
constexpr WalkTable kWalkAvx2 = make_walk_table("avx2");
}  // namespace fastinit
