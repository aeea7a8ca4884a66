// The portable fma for float32 against std::fma: random numbers, sums at and beside a midpoint of two floats, subnormal
// results, cancellation, zeros of either sign, overflow.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "kernels/vector_portable.hpp"

using namespace fastinit;

namespace {

std::uint64_t state = 1;
std::uint32_t random_bits() {
  state = state * 6364136223846793005 + 1442695040888963407;
  return std::uint32_t(state >> 32);
}
float of_bits(std::uint32_t x) {
  float result;
  std::memcpy(&result, &x, sizeof(result));
  return result;
}
std::uint32_t bits_of(float x) {
  std::uint32_t result;
  std::memcpy(&result, &x, sizeof(result));
  return result;
}
// Any finite number; one with an exponent between two.
float any_float() {
  float result;
  do result = of_bits(random_bits());
  while (!std::isfinite(result));
  return result;
}
float float_between(int lowest, int highest) {
  const int exponent = lowest + int(random_bits() % std::uint32_t(highest - lowest + 1));
  const float fraction = of_bits((random_bits() & 0x807FFFFF) | 0x3F800000);
  return std::ldexp(fraction, exponent);
}
// With few bits, so that sums are often exactly at a midpoint.
float short_float(int exponent) { return std::ldexp(float(int(random_bits() % 8191) - 4095), exponent); }

int failures = 0;

template <class Make>
void compare(const char* name, int n, Make make) {
  int wrong = 0;
  for (int k = 0; k < n; ++k) {
    F32 a, b, c;
    for (int i = 0; i < kLanes32; ++i) make(a.lane[i], b.lane[i], c.lane[i]);
    const F32 sum = fma(a, b, c);
    for (int i = 0; i < kLanes32; ++i) {
      const float expected = std::fma(a.lane[i], b.lane[i], c.lane[i]);
      if (bits_of(sum.lane[i]) == bits_of(expected)) continue;
      if (wrong++ == 0) {
        std::printf("FAILED: %s: fma(%a, %a, %a) = %a, not %a\n", name, double(a.lane[i]), double(b.lane[i]),
                    double(c.lane[i]), double(sum.lane[i]), double(expected));
      }
    }
  }
  std::printf("%s: %d of %d wrong\n", name, wrong, n * kLanes32);
  failures += wrong > 0;
}

}  // namespace

int main() {
  constexpr int kMany = 1000000;
  compare("any numbers", kMany, [](float& a, float& b, float& c) {
    a = any_float(), b = any_float(), c = any_float();
  });
  compare("alike", kMany, [](float& a, float& b, float& c) {
    a = float_between(-3, 3), b = float_between(-3, 3), c = float_between(-6, 6);
  });
  compare("exact midpoints", kMany, [](float& a, float& b, float& c) {
    a = short_float(-12), b = short_float(-12), c = float_between(0, 1);
  });
  // a b is half of c's last place and 2^-46 of that more or less: too little for the sum in double.
  compare("beside a midpoint", kMany, [](float& a, float& b, float& c) {
    const bool more = random_bits() & 1;  // 2^46 + 1 or 2^46 - 1
    a = std::ldexp(more ? 8392705.0f : 8388609.0f, -70), b = more ? 8384513.0f : 8388607.0f;
    if (random_bits() & 1) a = -a;
    c = float_between(0, 0);
  });
  compare("subnormal", kMany, [](float& a, float& b, float& c) {
    a = float_between(-80, -60), b = float_between(-80, -50), c = std::ldexp(float_between(0, 20), -148);
  });
  compare("subnormal midpoints", kMany, [](float& a, float& b, float& c) {
    a = short_float(-80), b = short_float(-80), c = std::ldexp(float(random_bits() % 4096), -149);
  });
  compare("beside the least normal", kMany, [](float& a, float& b, float& c) {
    a = of_bits(0x3F800000 - random_bits() % 4), b = of_bits(0x00800000 + random_bits() % 4);
    c = std::ldexp(float(int(random_bits() % 5) - 2), -149);
  });
  compare("cancellation", kMany, [](float& a, float& b, float& c) {
    a = float_between(-40, 40), b = float_between(-40, 40), c = -(a * b);
  });
  compare("zeros", 1000, [](float& a, float& b, float& c) {
    float* const numbers[] = {&a, &b, &c};
    for (float* x : numbers) *x = random_bits() & 1 ? float_between(-2, 2) : of_bits(random_bits() & 0x80000000);
  });
  compare("beside overflow", kMany, [](float& a, float& b, float& c) {
    a = of_bits(0x7F7FFFFF - random_bits() % 4), b = of_bits(0x3F800000 + random_bits() % 2);
    c = float_between(90, 110);
  });
  return failures > 0;
}
