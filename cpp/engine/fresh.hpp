// Fresh memory: pages that the OS has promised and not given yet, because nobody has touched them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

#include "engine/huge_pages.hpp"

namespace fastinit {

// Of fresh memory so much is asked for at a time, and filled while it is in a cache.
constexpr std::size_t kFreshBytes = std::size_t(256) << 10;

// Whether the OS has given memory to the page at p already. True where it does not say.
bool is_resident(const void* p) noexcept;

// Has the OS give memory to all pages of this range at once, which takes less than to meet them one by one. A wish:
// returns whether it was granted.
bool populate(void* memory, std::size_t n_bytes) noexcept;

// The memory of one contiguous fill, some or all of which may be fresh.
class FreshMemory {
 public:
  // Throws std::invalid_argument if FASTINIT_HUGE_PAGES is not understood.
  FreshMemory(const unsigned char* out, std::size_t n_bytes);

  // Whether parts of the fill should begin at huge pages.
  bool likes_whole_pages() const noexcept;

  // Has the OS give memory to the first of these bytes, and returns to how many: they are to be filled before the next
  // call. Several threads may call it, each for bytes of its own.
  std::size_t next(unsigned char* start, std::size_t n_bytes) noexcept;

 private:
  const unsigned char* const out_;
  const std::size_t n_bytes_;
  const HugePages wish_;
  std::once_flag looked_;
  std::uintptr_t private_until_ = 0;

  bool may_be_huge(const unsigned char* page) noexcept;
};

}  // namespace fastinit
