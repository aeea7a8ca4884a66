// The kernels for the target "avx512". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "kernels/vector_avx512.hpp"
#include "kernels/loop.hpp"

namespace fastinit {
extern const KernelTable kKernelsAvx512;
constexpr KernelTable kKernelsAvx512 = make_table("avx512");
}  // namespace fastinit
