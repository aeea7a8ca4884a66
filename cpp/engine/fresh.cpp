#include "engine/fresh.hpp"

#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fastinit {

#if defined(__linux__)

namespace {

std::uintptr_t page_bytes() noexcept {
  static const auto bytes = std::uintptr_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

#endif

bool is_resident(const void* p) noexcept {
#if defined(__linux__)
  const std::uintptr_t page = page_bytes();
  unsigned char resident = 1;
  if (mincore(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p) / page * page), 1, &resident) != 0) return true;
  return resident & 1;
#else
  return p != nullptr;
#endif
}

void populate(void* memory, std::size_t n_bytes) noexcept {
#if defined(__linux__)
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, since Linux 5.14; older headers lack it, older kernels refuse
  const auto start = reinterpret_cast<std::uintptr_t>(memory) / page_bytes() * page_bytes();
  madvise(reinterpret_cast<void*>(start), reinterpret_cast<std::uintptr_t>(memory) + n_bytes - start, kPopulateWrite);
#else
  static_cast<void>(memory), static_cast<void>(n_bytes);
#endif
}

}  // namespace fastinit
