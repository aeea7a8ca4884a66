// Given words through the transforms of the target "avx2_vaes", with its instructions.
#include "kernels/vector_avx2.hpp"
#include "tests/walk_target.hpp"

namespace fastinit {
extern const WalkTable kWalkAvx2Vaes;
constexpr WalkTable kWalkAvx2Vaes = make_walk_table("avx2_vaes");
}  // namespace fastinit
