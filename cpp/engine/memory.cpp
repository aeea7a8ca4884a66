#include "engine/memory.hpp"

#include <cstdint>
#include <limits>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fastinit {
namespace {

constexpr std::align_val_t kCacheLine{64};

#if defined(__linux__)
// Smaller arrays come from the ordinary allocator: half of their huge page would be waste.
constexpr std::size_t kLarge = 2 * kHugePage;

std::size_t whole_pages(std::size_t n_bytes) { return (n_bytes + kHugePage - 1) / kHugePage * kHugePage; }
#endif

}  // namespace

void* allocate(std::size_t n_bytes) {
#if defined(__linux__)
  if (n_bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  if (n_bytes >= kLarge) {
    // mmap knows no alignment: map one huge page more and give back both ends.
    const std::size_t wanted = whole_pages(n_bytes);
    void* mapped = mmap(nullptr, wanted + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* start = static_cast<unsigned char*>(mapped);
    const std::size_t before = (kHugePage - reinterpret_cast<std::uintptr_t>(start) % kHugePage) % kHugePage;
    if (before > 0) munmap(start, before);
    munmap(start + before + wanted, kHugePage - before);
    madvise(start + before, wanted, MADV_HUGEPAGE);  // a wish: without huge pages the memory is just as good
    return start + before;
  }
#endif
  return ::operator new(n_bytes, kCacheLine);
}

void release(void* memory, std::size_t n_bytes) noexcept {
#if defined(__linux__)
  if (n_bytes >= kLarge) {
    munmap(memory, whole_pages(n_bytes));
    return;
  }
#endif
  ::operator delete(memory, kCacheLine);
}

}  // namespace fastinit
