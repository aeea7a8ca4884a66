// The kernels for the target "avx2". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "vector_avx2.hpp"
#include "kernel_loop.hpp"

namespace fastinit {
extern const KernelTable kKernels_avx2;
constexpr KernelTable kKernels_avx2 = make_table("avx2");
}  // namespace fastinit
