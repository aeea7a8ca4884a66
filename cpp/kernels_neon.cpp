// The kernels for the target "neon". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "vector_neon.hpp"
#include "kernel_loop.hpp"

namespace fastinit {
extern const KernelTable kKernels_neon;
constexpr KernelTable kKernels_neon = make_table("neon");
}  // namespace fastinit
