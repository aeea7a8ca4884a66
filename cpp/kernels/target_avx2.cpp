// The kernels for the target "avx2". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "kernels/vector_avx2.hpp"
#include "kernels/loop.hpp"

namespace fastinit {
extern const KernelTable kKernelsAvx2;
constexpr KernelTable kKernelsAvx2 = make_table("avx2");
}  // namespace fastinit
