// Fresh memory: pages that the OS has promised and not given yet, because nobody has touched them.
#pragma once

#include <cstddef>

namespace fastinit {

// Of fresh memory so much is asked for at a time, and filled while it is in a cache.
constexpr std::size_t kFreshBytes = std::size_t(256) << 10;

// Whether the OS has given memory to the page at p already. True where it does not say.
bool is_resident(const void* p) noexcept;

// Has the OS give memory to all pages of this range at once, which takes less than to meet them one by one. A wish.
void populate(void* memory, std::size_t n_bytes) noexcept;

}  // namespace fastinit
