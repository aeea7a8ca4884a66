#include "engine/fresh.hpp"

#include <algorithm>
#include <chrono>

#include "engine/memory.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fastinit {
namespace {

#if defined(__linux__)
std::uintptr_t page_bytes() noexcept {
  static const auto bytes = std::uintptr_t(sysconf(_SC_PAGESIZE));
  return bytes;
}
#endif

std::uintptr_t address(const void* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

// Whether no page of these kHugePage bytes, which begin at a page, has memory.
bool nothing_resident(const unsigned char* memory) noexcept {
#if defined(__linux__)
  unsigned char resident[kHugePage / 4096];  // there are no smaller pages
  const std::size_t pages = kHugePage / page_bytes();
  if (mincore(const_cast<unsigned char*>(memory), kHugePage, resident) != 0) return false;
  return std::none_of(resident, resident + pages, [](unsigned char page) { return page & 1; });
#else
  static_cast<void>(memory);
  return false;
#endif
}

// Once asked for, huge pages stay allowed until the memory is unmapped: no call takes the wish back. (MADV_NOHUGEPAGE
// forbids huge pages for good.) So pages are asked for one by one, when they are about to be filled.
bool ask_for_huge_page(unsigned char* page) noexcept {
#if defined(__linux__)
  return madvise(page, kHugePage, MADV_HUGEPAGE) == 0;
#else
  static_cast<void>(page);
  return false;
#endif
}

HugePageTrials trials;  // one for the whole process

// How many nanoseconds a call takes; -1 if the call returns false.
template <class Call>
std::int64_t time_of(const Call& call) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  if (!call()) return -1;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

}  // namespace

bool is_resident(const void* p) noexcept {
#if defined(__linux__)
  const std::uintptr_t page = page_bytes();
  unsigned char resident = 1;
  if (mincore(reinterpret_cast<void*>(address(p) / page * page), 1, &resident) != 0) return true;
  return resident & 1;
#else
  return p != nullptr;
#endif
}

bool populate(void* memory, std::size_t n_bytes) noexcept {
#if defined(__linux__)
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, since Linux 5.14: older headers lack it
  const std::uintptr_t start = address(memory) / page_bytes() * page_bytes();
  return madvise(reinterpret_cast<void*>(start), address(memory) + n_bytes - start, kPopulateWrite) == 0;
#else
  static_cast<void>(memory), static_cast<void>(n_bytes);
  return false;
#endif
}

FreshMemory::FreshMemory(const unsigned char* out, std::size_t n_bytes)
    : out_(out), n_bytes_(n_bytes), wish_(wished_huge_pages()) {
  trials.begin_fill();
}

bool FreshMemory::likes_whole_pages() const noexcept {
  if (wish_ == HugePages::kNever || !huge_pages_on_request() || (wish_ == HugePages::kIfFaster && !trials.due())) {
    return false;
  }
  return !is_resident(out_ + n_bytes_ / 2);  // not by the first page, which may have been filled by now
}

// Memory of other processes and of files is not to be changed, and pages that have memory cannot become huge ones.
bool FreshMemory::may_be_huge(const unsigned char* page) noexcept {
  std::call_once(looked_, [this] { private_until_ = end_of_private_memory(address(out_), address(out_) + n_bytes_); });
  return address(page) + kHugePage <= private_until_ && nothing_resident(page);
}

std::size_t FreshMemory::next(unsigned char* start, std::size_t n_bytes) noexcept {
  const bool whole_page = address(start) % kHugePage == 0 && n_bytes >= kHugePage;
  if (whole_page && wish_ != HugePages::kNever && huge_pages_on_request()) {
    const bool measure = wish_ == HugePages::kIfFaster;
    if ((!measure || trials.due()) && may_be_huge(start) && (!measure || trials.claim())) {
      const auto time = time_of([=] { return ask_for_huge_page(start) && populate(start, kHugePage); });
      if (measure && time >= 0) trials.huge_page_took(time);
      return kHugePage;
    }
  }
  const std::size_t n = std::min(n_bytes, kFreshBytes - address(start) % kFreshBytes);
  const bool whole_piece = n == kFreshBytes && !is_resident(start + n - 1);
  const auto time = time_of([=] { return populate(start, n); });
  if (n == n_bytes) return n;
  if (is_resident(start + n)) {  // the memory is on huge pages, and the rest of this one came as well
    const std::size_t all = std::min(n_bytes, kHugePage - address(start) % kHugePage);
    populate(start, all);
    return all;
  }
  if (whole_piece && time >= 0) trials.usual_pages_took(time, kHugePage / kFreshBytes);
  return n;
}

}  // namespace fastinit
