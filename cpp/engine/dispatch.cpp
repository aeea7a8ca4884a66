#include "engine/dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <stdexcept>

#if defined(FASTINIT_X86_64)
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#elif defined(FASTINIT_AARCH64) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace fastinit {

extern const KernelTable kKernelsPortable;
#if defined(FASTINIT_X86_64)
extern const KernelTable kKernelsAvx2;
extern const KernelTable kKernelsAvx2Vaes;
extern const KernelTable kKernelsAvx512;
#elif defined(FASTINIT_AARCH64)
extern const KernelTable kKernelsNeon;
#endif

namespace {

#if defined(FASTINIT_X86_64)

struct Registers {
  unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
#if defined(_MSC_VER)
  int r[4];
  __cpuidex(r, int(leaf), int(subleaf));
  return {unsigned(r[0]), unsigned(r[1]), unsigned(r[2]), unsigned(r[3])};
#else
  Registers r{};
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
#endif
}

// Which registers the OS saves when it switches threads.
unsigned saved_registers() {
#if defined(_MSC_VER)
  return unsigned(_xgetbv(0));
#else
  unsigned a, d;
  __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return a;
#endif
}

constexpr bool has(unsigned word, int bit) { return word >> bit & 1; }

// Intel's Software Developer's Manual, volume 2A, CPUID, and volume 1, 13.3 (XCR0).
struct Cpu {
  bool avx2 = false, avx2_vaes = false, avx512 = false;

  Cpu() {
    const unsigned last_leaf = cpuid(0, 0).a;
    const Registers one = cpuid(1, 0);
    const bool os_saves = has(one.c, 27);  // OSXSAVE
    if (last_leaf < 7 || !os_saves) return;
    const Registers seven = cpuid(7, 0);
    const unsigned saved = saved_registers();
    const bool saves_ymm = (saved & 0x06) == 0x06;  // xmm, ymm
    const bool saves_zmm = (saved & 0xE6) == 0xE6;  // and the mask registers, upper halves, upper sixteen
    const bool fma = has(one.c, 12), aes = has(one.c, 25), avx = has(one.c, 28), f16c = has(one.c, 29);
    avx2 = saves_ymm && avx && fma && aes && f16c && has(seven.b, 5);
    const bool f = has(seven.b, 16), dq = has(seven.b, 17), bw = has(seven.b, 30), vl = has(seven.b, 31);
    const bool vaes = has(seven.c, 9);
    avx2_vaes = avx2 && vaes;
    avx512 = avx2_vaes && saves_zmm && f && dq && bw && vl;
  }
};

#endif

struct Target {
  const KernelTable* table;
  bool runs_here;
};

std::vector<Target> targets() {
#if defined(FASTINIT_X86_64)
  const Cpu cpu;
  return {{&kKernelsAvx512, cpu.avx512},
          {&kKernelsAvx2Vaes, cpu.avx2_vaes},
          {&kKernelsAvx2, cpu.avx2},
          {&kKernelsPortable, true}};
#elif defined(FASTINIT_AARCH64) && defined(__linux__)
  return {{&kKernelsNeon, (getauxval(AT_HWCAP) & HWCAP_AES) != 0}, {&kKernelsPortable, true}};
#elif defined(FASTINIT_AARCH64)
#if defined(__APPLE__) || defined(_WIN32)
  constexpr bool aes = true;  // every one of these machines has it
#else
  constexpr bool aes = false;  // no way to ask that is known here
#endif
  return {{&kKernelsNeon, aes}, {&kKernelsPortable, true}};
#else
  return {{&kKernelsPortable, true}};
#endif
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text.append(text.empty() ? "" : ", ").append(name);
  return text;
}

const KernelTable& choose() {
  const char* forced = std::getenv("FASTINIT_TARGET");
  if (forced != nullptr && *forced != '\0') {
    try {
      return kernels_of(forced);
    } catch (const std::invalid_argument& error) {
      throw std::invalid_argument(std::string("FASTINIT_TARGET: ") + error.what());
    }
  }
  return kernels_of(targets_found().front());
}

std::atomic<const KernelTable*> chosen{nullptr};

}  // namespace

std::vector<std::string> targets_built() {
  std::vector<std::string> names;
  for (const Target& target : targets()) names.emplace_back(target.table->target);
  return names;
}

std::vector<std::string> targets_found() {
  std::vector<std::string> names;
  for (const Target& target : targets()) {
    if (target.runs_here) names.emplace_back(target.table->target);
  }
  return names;
}

const KernelTable& kernels_of(const std::string& name) {
  for (const Target& target : targets()) {
    if (target.runs_here && name == target.table->target) return *target.table;
  }
  throw std::invalid_argument("the target '" + name + "' cannot run here; these can: " + list(targets_found()) +
                              " (built: " + list(targets_built()) + ")");
}

const KernelTable& kernels() {
  const KernelTable* table = chosen.load(std::memory_order_acquire);
  if (table == nullptr) chosen.store(table = &choose(), std::memory_order_release);
  return *table;
}

void set_target(const std::string& name) { chosen.store(name.empty() ? nullptr : &kernels_of(name)); }

}  // namespace fastinit
