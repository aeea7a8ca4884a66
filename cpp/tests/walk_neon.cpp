// Given words through the transforms of the target "neon", with its instructions.
#include "kernels/vector_neon.hpp"
#include "tests/walk_target.hpp"

namespace fastinit {
extern const WalkTable kWalkNeon;
constexpr WalkTable kWalkNeon = make_walk_table("neon");
}  // namespace fastinit
