// Walks words through the 32-bit transforms of the portable target and compares each value with the quantile in double:
//   walk [STRIDE]        every STRIDE-th of the 2^32 words (1: all of them, minutes), and the neighbours of the word that
//                        is farthest off
// The reference is the float64 table's polynomial at the exact probability, whose own error is below 2^-51.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "parameters.hpp"
#include "vector_portable.hpp"
#include "transforms.hpp"

using namespace fastinit;

namespace {

double reference(std::uint32_t word) {
  const double k = (word & 0x7FFFFFFF) + 0.5;  // p = k / 2^32
  int exponent;
  const double m = 2 * std::frexp(k * 0x1p34, &exponent);  // f = p 2^66
  const int half = m >= 1.5, piece = 2 * (exponent - 1 - TableF64::kFirstOctave) + half;
  const double t = m - (half ? 1.75 : 1.25);
  double ratio = kNormalF64.rows[TableF64::kDegree][piece];
  for (int i = TableF64::kDegree - 1; i >= 0; --i) ratio = std::fma(ratio, t, kNormalF64.rows[i][piece]);
  return (word >> 31 ? -1 : 1) * ratio * ((0x1p31 - k) * 0x1p-32);
}

// Over all words the largest error is 3.7253 ulp, at this one. A larger error is a fault.
constexpr std::uint32_t kFarthest = 0x05da38bb;
constexpr double kLimit = 3.73;

struct Worst {
  double ulp = 0, relative = 0;
  std::uint32_t word = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t stride = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  if (stride < 1) return 2;
  const Plan plan = make_plan(Distribution::kNormal, ElementType::kFloat32, {0, 1, 0, 0});
  const Symmetric<Narrow, false> normal(plan.parameters);
  const unsigned n_threads = std::max(1u, std::thread::hardware_concurrency());
  std::vector<Worst> worst(n_threads);
  std::vector<std::thread> threads;
  for (unsigned k = 0; k < n_threads; ++k) {
    threads.emplace_back([&, k] {
      Worst mine;
      const auto look_at = [&](std::uint32_t word) {
        const double z = reference(word);
        const U32 words[kGroup] = {splat(word)};
        F32 values[kGroup];
        normal(words, values);
        const double error = std::fabs(double(values[0].lane[0]) - z);
        int exponent;
        std::frexp(z, &exponent);
        const double ulp = error / std::ldexp(1.0, exponent - 24);
        mine.relative = std::max(mine.relative, error / std::fabs(z));
        if (ulp > mine.ulp) mine.ulp = ulp, mine.word = word;
      };
      for (std::uint64_t w = k * stride; w < (std::uint64_t(1) << 32); w += n_threads * stride) {
        look_at(std::uint32_t(w));
      }
      for (std::uint32_t w = kFarthest - 4096; w < kFarthest + 4096; ++w) look_at(w);
      worst[k] = mine;
    });
  }
  for (std::thread& thread : threads) thread.join();
  Worst most;
  for (const Worst& one : worst) {
    most.relative = std::max(most.relative, one.relative);
    if (one.ulp > most.ulp) most.ulp = one.ulp, most.word = one.word;
  }
  std::printf("normal float32: largest error %.4f ulp (word 0x%08x), %.3f x 2^-24 relative\n", most.ulp, most.word,
              most.relative * 0x1p24);
  return most.ulp > kLimit;
}
