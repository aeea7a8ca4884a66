// Given words through the transforms of the target "portable", with its instructions.
#include "kernels/vector_portable.hpp"
#include "tests/walk_target.hpp"

namespace fastinit {
extern const WalkTable kWalkPortable;
constexpr WalkTable kWalkPortable = make_walk_table("portable");
}  // namespace fastinit
