// Memory that is ready to be filled fast: aligned to a cache line, and on huge pages where it is large and the OS has
// them, which makes the first touch of a buffer several times cheaper.
#pragma once

#include <cstddef>

namespace fastinit {

constexpr std::size_t kHugePage = std::size_t(2) << 20;  // of x86-64, and of AArch64 with pages of 4 KiB

// New memory, whose content is undefined. Throws std::bad_alloc.
void* allocate(std::size_t n_bytes);
void release(void* memory, std::size_t n_bytes) noexcept;

}  // namespace fastinit
