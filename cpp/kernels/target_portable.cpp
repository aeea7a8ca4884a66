// The kernels for the target "portable". CMakeLists.txt gives this file, and no other, the target's instructions.
#include "kernels/vector_portable.hpp"
#include "kernels/loop.hpp"

namespace fastinit {
extern const KernelTable kKernelsPortable;
constexpr KernelTable kKernelsPortable = make_table("portable");
}  // namespace fastinit
