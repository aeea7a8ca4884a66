// The kernels for the target "portable". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "vector_portable.hpp"
#include "kernel_loop.hpp"

namespace fastinit {
extern const KernelTable kKernels_portable;
constexpr KernelTable kKernels_portable = make_table("portable");
}  // namespace fastinit
