// The floating-point environment: while a DefaultEnvironment lives, this thread rounds to nearest and keeps subnormals,
// whatever the caller set; afterwards the caller's settings and flags are as they were. Compilers do not know that
// arithmetic depends on these settings and move it across them, so what is to be protected must be a call that they
// cannot see through: by a pointer that they do not know.
#pragma once

#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#elif !defined(__aarch64__)
#include <cfenv>
#endif

#include <cstdint>

namespace fastinit {

#if defined(__SSE2__) || defined(_M_X64)

class DefaultEnvironment {
  unsigned saved_ = _mm_getcsr();

 public:
  DefaultEnvironment() { _mm_setcsr(0x1F80); }  // the MXCSR of a new process: all exceptions masked, no flags
  ~DefaultEnvironment() { _mm_setcsr(saved_); }
  DefaultEnvironment(const DefaultEnvironment&) = delete;
  DefaultEnvironment& operator=(const DefaultEnvironment&) = delete;
};

#elif defined(__aarch64__)

class DefaultEnvironment {
  std::uint64_t control_, status_;

 public:
  DefaultEnvironment() {
    __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr\n\tmsr fpcr, xzr" : "=r"(control_), "=r"(status_) : : "memory");
  }
  ~DefaultEnvironment() {
    __asm__ volatile("msr fpcr, %0\n\tmsr fpsr, %1" : : "r"(control_), "r"(status_) : "memory");
  }
  DefaultEnvironment(const DefaultEnvironment&) = delete;
  DefaultEnvironment& operator=(const DefaultEnvironment&) = delete;
};

#else

class DefaultEnvironment {
  std::fenv_t saved_;

 public:
  DefaultEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultEnvironment() { std::fesetenv(&saved_); }
  DefaultEnvironment(const DefaultEnvironment&) = delete;
  DefaultEnvironment& operator=(const DefaultEnvironment&) = delete;
};

#endif

// function(arguments...) in the default environment.
template <class Result, class... Parameters, class... Arguments>
Result in_default_environment(Result (*function)(Parameters...), Arguments&&... arguments) {
  Result (*volatile unknown)(Parameters...) = function;
  const DefaultEnvironment environment;
  return unknown(arguments...);
}

}  // namespace fastinit
