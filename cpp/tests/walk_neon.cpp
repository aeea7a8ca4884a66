// Given words through the transforms of the target "neon", with its instructions.
#include "vector_neon.hpp"
#include "walk_target.hpp"

namespace fastinit {
extern const WalkTable kWalkNeon;
constexpr WalkTable kWalkNeon = make_walk_table("neon");
}  // namespace fastinit
