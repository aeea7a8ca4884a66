// The kernels for the target "avx2_vaes": AVX2's, with VAES for the words. CMakeLists.txt gives this file, and no
// other, the target's instructions.
#include "kernels/vector_avx2.hpp"
#include "kernels/loop.hpp"

namespace fastinit {
extern const KernelTable kKernelsAvx2Vaes;
constexpr KernelTable kKernelsAvx2Vaes = make_table("avx2_vaes");
}  // namespace fastinit
