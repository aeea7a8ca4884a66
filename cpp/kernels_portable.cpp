// The kernels for the target "portable". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "vector_portable.hpp"
#include "kernel_loop.hpp"

namespace fastinit {
extern const KernelTable kKernelsPortable;
constexpr KernelTable kKernelsPortable = make_table("portable");
}  // namespace fastinit
