#include "engine/huge_pages.hpp"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "engine/memory.hpp"

#if defined(__linux__)
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#endif

namespace fastinit {
namespace {

HugePages from_words(const std::string& wish) {
  if (wish == "0") return HugePages::kNever;
  if (wish == "1") return HugePages::kAlways;
  if (wish == "auto" || wish.empty()) return HugePages::kIfFaster;
  throw std::invalid_argument("FASTINIT_HUGE_PAGES must be 0, 1 or auto, got '" + wish + "'");
}

HugePages from_environment() {
  const char* variable = std::getenv("FASTINIT_HUGE_PAGES");
  return from_words(variable == nullptr ? "" : variable);
}

constexpr int kByEnvironment = -1;
std::atomic<int> set_by_bench{kByEnvironment};

#if defined(__linux__)

// The first line of a file, or "". It is read by the C library, because nothing here may throw.
struct Line {
  char text[128] = "";

  explicit Line(const char* path) {
    std::FILE* const file = std::fopen(path, "re");
    if (file == nullptr) return;
    if (std::fgets(text, sizeof(text), file) == nullptr) *text = '\0';
    std::fclose(file);
  }
};

struct Mapping {
  std::uintptr_t begin = 0, end = 0;
  bool is_private = false;  // this process's alone, and no file's
};

// Linux's struct procmap_query (include/uapi/linux/fs.h, since 6.11), which older headers lack.
struct ProcmapQuery {
  std::uint64_t size = sizeof(ProcmapQuery), query_flags = 0, query_addr = 0;
  std::uint64_t vma_start = 0, vma_end = 0, vma_flags = 0, vma_page_size = 0, vma_offset = 0, inode = 0;
  std::uint32_t dev_major = 0, dev_minor = 0, vma_name_size = 0, build_id_size = 0;
  std::uint64_t vma_name_addr = 0, build_id_addr = 0;
};
constexpr std::uint64_t kShared = 0x08;  // PROCMAP_QUERY_VMA_SHARED

bool ask_for_mapping(int maps, std::uintptr_t address, Mapping& mapping) {
  ProcmapQuery query;
  query.query_addr = address;
  if (ioctl(maps, _IOWR('f', 17, ProcmapQuery), &query) != 0) return false;
  mapping = {std::uintptr_t(query.vma_start), std::uintptr_t(query.vma_end),
             query.inode == 0 && query.dev_major == 0 && query.dev_minor == 0 && (query.vma_flags & kShared) == 0};
  return true;
}

// A line of /proc/self/maps: "begin-end rwxp offset major:minor inode path".
bool read_mapping(const char* line, Mapping& mapping) {
  char flags[5];
  unsigned major = 1, minor = 1;
  unsigned long long inode = 1;
  if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*x %x:%x %llu", &mapping.begin, &mapping.end, flags, &major,
                  &minor, &inode) != 6) {
    return false;
  }
  mapping.is_private = flags[3] == 'p' && inode == 0 && major == 0 && minor == 0;
  return true;
}

#endif

}  // namespace

HugePages wished_huge_pages() {
  static const HugePages by_environment = from_environment();
  const int wish = set_by_bench.load(std::memory_order_relaxed);
  return wish == kByEnvironment ? by_environment : HugePages(wish);
}

void set_wished_huge_pages(const std::string& wish) {
  set_by_bench.store(wish.empty() ? kByEnvironment : int(from_words(wish)), std::memory_order_relaxed);
}

bool huge_pages_on_request() noexcept {
#if defined(__linux__)
  static const bool on_request = [] {
    const Line enabled("/sys/kernel/mm/transparent_hugepage/enabled");  // always [madvise] never
    const Line bytes("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    return std::strstr(enabled.text, "[madvise]") != nullptr && std::strtoull(bytes.text, nullptr, 10) == kHugePage;
  }();
  return on_request;
#else
  return false;
#endif
}

std::uintptr_t end_of_private_memory(std::uintptr_t begin, std::uintptr_t end, bool by_text) noexcept {
  std::uintptr_t known = begin;
#if defined(__linux__)
  Mapping mapping;
  const auto reaches_on = [&] { return mapping.is_private && mapping.begin <= known && known < mapping.end; };
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  const bool answers = maps >= 0 && !by_text && ask_for_mapping(maps, begin, mapping);
  while (answers && known < end && reaches_on()) {
    known = mapping.end;
    if (!ask_for_mapping(maps, known, mapping)) break;
  }
  if (maps >= 0) close(maps);
  if (!answers) {
    std::FILE* const text = std::fopen("/proc/self/maps", "re");
    char line[8192];  // a path has at most 4096 bytes; what else is longer is no mapping of this kind
    while (text != nullptr && known < end && std::fgets(line, sizeof(line), text) != nullptr) {
      if (read_mapping(line, mapping) && reaches_on()) known = mapping.end;
    }
    if (text != nullptr) std::fclose(text);
  }
#else
  static_cast<void>(by_text);
#endif
  return std::min(known, end);
}

namespace {

constexpr std::int64_t kShare = 64;       // one of so many parts of the time of usual pages may be lost by trials
constexpr std::int64_t kCostOfTrial = 1;  // in times of usual pages: 128 MiB of them go before the first trial
// A page that takes very long was not slow itself: its thread lost the CPU. It counts as at most so many times of usual
// pages, and a fill leaves at most so many to the next one.
constexpr std::int64_t kMost = 16;
// While huge pages are faster, one page in so many comes by usual ones all the same: what these took may be long past.
constexpr unsigned kWatch = 128;

}  // namespace

void HugePageTrials::begin_fill() noexcept {
  const std::int64_t most = kMost * usual_.load(std::memory_order_relaxed);
  if (credit_.load(std::memory_order_relaxed) > most) credit_.store(most, std::memory_order_relaxed);
}

bool HugePageTrials::due() const noexcept {
  const std::int64_t usual = usual_.load(std::memory_order_relaxed);
  return faster_.load(std::memory_order_relaxed) ||
         (usual > 0 && credit_.load(std::memory_order_relaxed) >= kCostOfTrial * usual);
}

bool HugePageTrials::claim() noexcept {
  if (faster_.load(std::memory_order_relaxed)) {
    return claims_.fetch_add(1, std::memory_order_relaxed) % kWatch != kWatch - 1;
  }
  const std::int64_t cost = kCostOfTrial * usual_.load(std::memory_order_relaxed);
  if (credit_.fetch_sub(cost, std::memory_order_relaxed) >= cost) return true;
  credit_.fetch_add(cost, std::memory_order_relaxed);
  return false;
}

void HugePageTrials::huge_page_took(std::int64_t time) noexcept {
  const std::int64_t usual = usual_.load(std::memory_order_relaxed);
  const std::int64_t gain = std::max(usual - time, -kMost * usual);
  const std::int64_t credit = credit_.fetch_add(gain, std::memory_order_relaxed) + gain;
  if (gain > 0) {
    faster_.store(true, std::memory_order_relaxed);
  } else if (credit < 0) {
    faster_.store(false, std::memory_order_relaxed);
  }
}

void HugePageTrials::usual_pages_took(std::int64_t time, int parts) noexcept {
  const std::int64_t before = usual_.load(std::memory_order_relaxed), now = time * parts;
  const std::int64_t usual = before == 0 ? now : before + (std::min(now, 2 * before) - before) / 8;
  usual_.store(usual, std::memory_order_relaxed);
  credit_.fetch_add(time / kShare, std::memory_order_relaxed);
}

}  // namespace fastinit
