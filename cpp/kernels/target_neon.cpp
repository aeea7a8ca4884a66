// The kernels for the target "neon". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "kernels/vector_neon.hpp"
#include "kernels/loop.hpp"

namespace fastinit {
extern const KernelTable kKernelsNeon;
constexpr KernelTable kKernelsNeon = make_table("neon");
}  // namespace fastinit
