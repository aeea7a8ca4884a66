// Huge pages for memory that somebody else has allocated: what the user wishes, which memory may have them, and whether
// they are faster here and now.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fastinit {

enum class HugePages { kNever, kAlways, kIfFaster };

// By FASTINIT_HUGE_PAGES as it was when first asked: "0", "1", or "auto", which is also what none means. Throws
// std::invalid_argument if the variable is anything else.
HugePages wished_huge_pages();
// For the bench: these words instead of the variable; "" for the variable again.
void set_wished_huge_pages(const std::string& wish);

// Whether the OS gives huge pages of kHugePage to whom asks for them. One that gives them to everybody need not be
// asked.
bool huge_pages_on_request() noexcept;

// How far the memory from `begin` on belongs to this process alone and to no file, up to `end`; `begin` where it does
// not or where the OS does not say. `by_text` is for the tests: the way of older kernels, which takes longer.
std::uintptr_t end_of_private_memory(std::uintptr_t begin, std::uintptr_t end, bool by_text = false) noexcept;

// Whether huge pages are faster than the usual ones, from what both have taken so far. That changes: a virtual machine
// may have given its free memory back to the host, and then a huge page can take ten times as long as the small ones
// that it replaces; a minute later it takes a tenth. So a trial is one huge page, it is due when what it may lose is
// little beside what usual pages have taken since the last loss. While huge pages win, each is timed, and now and then
// usual pages are.
//
// Many threads may call it at once; an update that is lost to another does no harm. Times are in nanoseconds and
// for as many bytes as a huge page has.
class HugePageTrials {
 public:
  void begin_fill() noexcept;
  // Whether the next huge page should be asked for, because they are faster or because a trial is due. Then `claim`
  // says whether it is for the caller to do it: one thread alone does a trial, and some pages are left to usual ones.
  bool due() const noexcept;
  bool claim() noexcept;
  void huge_page_took(std::int64_t time) noexcept;
  void usual_pages_took(std::int64_t time, int parts) noexcept;  // time: of one of so many parts

 private:
  std::atomic<bool> faster_{false};
  std::atomic<std::int64_t> usual_{0};   // what usual pages take, smoothed; 0: nobody knows
  std::atomic<unsigned> claims_{0};      // while huge pages are faster
  std::atomic<std::int64_t> credit_{0};  // what huge pages may lose before they are given up
};

}  // namespace fastinit
