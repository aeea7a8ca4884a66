// What words stand for (docs/stream-format.md), in long double: the law's own quantiles, probabilities and moments, by
// the C library's erfc, and errors in units of the element type's last place. It uses no kernels, none of the tables
// and none of the constants that parameters.cpp makes of a window.
#pragma once

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "engine/parameters.hpp"

namespace fastinit {
namespace {

using Long = long double;
static_assert(LDBL_MANT_DIG >= 64);
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// --- the normal distribution

template <class Real>
constexpr Real kSqrtHalf = Real(0.707106781186547524400844362104849039L);
template <class Real>
Real upper_tail(Real x) {
  return std::erfc(x * kSqrtHalf<Real>) / 2;
}
template <class Real>
Real centre(Real x) {  // 1/2 - Q(x)
  return std::erf(x * kSqrtHalf<Real>) / 2;
}
template <class Real>
Real density(Real x) {
  return std::exp(-x * x / 2) * Real(0.398942280401432677939946059934381868L);
}

// --- what a word stands for

// Q(x) = p and 1/2 - p = h of the value's distance x from the mean in units of std, on one side or the other. For the
// uniform h is the value.
struct Place {
  Long p, h;
  bool negative;
};

struct Limits {  // in ulp, and the word that is farthest off in float32
  double float32, float64;
  std::uint32_t farthest;
};

struct Law {
  const char* name;
  Distribution distribution;
  Arguments arguments;
  Transform transform;
  double a, b;  // the window; of the uniform its ends
  Limits limits;

  bool uniform() const { return distribution == Distribution::kUniform; }
  // The uniform has a form for each type.
  bool is(Transform form) const { return uniform() || form == transform; }
  bool symmetric() const { return transform == Transform::kNormal || transform == Transform::kSymmetric; }
  bool mirrored() const { return symmetric() || (uniform() && a == -b); }
  bool inside(double v) const { return a <= v && (uniform() ? v < b : v <= b); }
  bool straddles() const { return transform == Transform::kNear && a < 0; }
  // Errors are in ulp, but in 2^this where an ulp is less: what the format grants in absolute terms, where the median
  // lies between words and where the uniform's middle is not 0.
  int least_exponent(ElementType type) const {
    if (uniform() && a != -b) return type == ElementType::kFloat64 ? -53 : -24;
    return straddles() ? -52 : -1000;
  }

  // Of the bounds.
  Long q_a = 0, c_a = 0, q_b = 0, c_b = 0;
  Long width() const { return uniform() ? b - a : a < 0.6745 ? c_b - c_a : q_a - q_b; }
  void measure() {
    q_a = upper_tail(Long(a)), c_a = centre(Long(a));
    q_b = upper_tail(Long(b)), c_b = centre(Long(b));
  }

  template <class Word>
  Place place(Word w) const {
    constexpr int bits = 8 * sizeof(Word);
    constexpr Long cell = 1 / Long(Word(1) << (bits - 1)) / 2;
    constexpr Word top = Word(1) << (bits - 1);
    if (uniform()) {
      const Long v = Long(std::make_signed_t<Word>(w | 1)) * 2 * cell;
      return {0, Long(b) / 2 + Long(a) / 2 + (Long(b) / 2 - Long(a) / 2) * v, false};
    }
    if (symmetric()) {
      const Word n = w < top ? w : Word(0 - w), k = top - n;
      const Long p = std::max(q_b + c_b * (Long(k) * 2 * cell), cell / 2);
      return {p, n == top ? 0.5L - p : c_b * (Long(n) * 2 * cell), w >= top};
    }
    const Long from_a = width() * ((Long(w) + 0.5L) * cell), from_b = width() * ((Long(Word(~w)) + 0.5L) * cell);
    const Long h = c_a + from_a;
    if (h < 0) return {upper_tail(-Long(a)) + from_a, -h, true};
    return {q_b + from_b, h, false};
  }
  // How many words stand for less than w does.
  std::uint32_t rank(std::uint32_t w) const { return uniform() || symmetric() ? w ^ 0x80000000 : w; }
  std::uint32_t word_of_rank(std::uint32_t r) const { return rank(r); }
  // Of the symmetric forms' words 0 and the least one have no mirror image: each stands in for the other's.
  template <class Word>
  bool has_mirror(Word w) const {
    return mirrored() && !(symmetric() && Word(w << 1) == 0);
  }
  template <class Word>
  Word mirror(Word w) const {
    if (!symmetric()) return Word(~w);
    return Word(w << 1) == 0 ? Word(w ^ Word(1) << (8 * sizeof(Word) - 1)) : Word(0 - w);
  }
  // A 64-bit word near the upper tail probability p.
  std::uint64_t word_near(Long p) const {
    const Long share = symmetric() ? 0.5L - (p - q_b) / c_b / 2 : 1 - (p - q_b) / width();
    return share <= 0 ? 0 : share >= 1 ? ~std::uint64_t(0) : std::uint64_t(share * 0x1p64L);
  }

  // The share of the law between two values in the window.
  Long between(Long low, Long high) const {
    if (uniform()) return (high - low) / (Long(b) - a);
    const Long part = low > 0.6745L    ? upper_tail(low) - upper_tail(high)
                      : high < -0.6745L ? upper_tail(-high) - upper_tail(-low)
                                        : centre(high) - centre(low);
    return part / (symmetric() ? 2 * c_b : width());
  }
  Long density_at(Long x) const {
    return uniform() ? 1 / (Long(b) - a) : density(x) / (symmetric() ? 2 * c_b : width());
  }
};

// y minus the value at the place: the first two terms of the quantile's series from y. The third is some x^2 times the
// error's cube.
template <class Real>
Real error_of(const Law& law, Real y, const Place& at) {
  if (law.uniform()) return y - Real(at.h);
  const Real z = at.negative ? -y : y;
  const Real excess = at.h < 0.375L ? centre(z) - Real(at.h) : Real(at.p) - upper_tail(z);
  const Real first = excess / density(z), error = first - z / 2 * first * first;
  return at.negative ? -error : error;
}

// --- element types

struct Format {
  const char* name;
  int precision, least;  // bits of the significand, exponent of the least normal number
};
constexpr Format kFormats[kKernelTypes] = {
    {"float32", 24, -126}, {"float64", 53, -1022}, {"float16", 11, -14}, {"bfloat16", 8, -126}};

double value_of(std::uint16_t bits, ElementType type) {
  if (type == ElementType::kBfloat16) return std::bit_cast<float>(std::uint32_t(bits) << 16);
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = exponent == 31  ? (fraction ? std::nan("") : kInfinity)
                           : exponent == 0 ? std::ldexp(fraction, -24)
                                           : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

// The exponent of the unit that errors are in: of x's last place, or the one that the law grants.
int unit_exponent(const Law& law, ElementType type, double x) {
  const Format& format = kFormats[int(type)];
  int exponent;
  std::frexp(x, &exponent);
  return std::max(std::max(exponent - 1, format.least) - (format.precision - 1), law.least_exponent(type));
}

// --- moments

struct FourMoments {
  Long mean, variance, skewness, kurtosis;
};

FourMoments from_central(Long mean, Long m1, Long m2, Long m3, Long m4) {  // about `mean`
  const Long variance = m2 - m1 * m1, third = m3 - 3 * m1 * m2 + 2 * m1 * m1 * m1;
  const Long fourth = m4 - 4 * m1 * m3 + 6 * m1 * m1 * m2 - 3 * m1 * m1 * m1 * m1;
  return {mean + m1, variance, third / (variance * std::sqrt(variance)), fourth / (variance * variance)};
}

FourMoments analytical(const Law& law) {
  const Long a = law.a, b = law.b;
  if (law.uniform()) return {(a + b) / 2, (b - a) * (b - a) / 12, 0, 1.8L};
  if (law.transform == Transform::kNormal) return {0, 1, 0, 3};
  // Integrating x^(r-1) x phi(x) by parts: E x^r = (r - 1) E x^(r-2) - [x^(r-1) phi(x)] from a to b / D.
  Long raw[5] = {1, 0, 0, 0, 0};
  for (int r = 1; r <= 4; ++r) {
    const Long ends = std::pow(b, Long(r - 1)) * density(b) - std::pow(a, Long(r - 1)) * density(a);
    raw[r] = (r > 1 ? (r - 1) * raw[r - 2] : 0) - ends / (law.symmetric() ? 2 * law.c_b : law.width());
  }
  const Long m = raw[1];
  return from_central(m, 0, raw[2] - m * m, raw[3] - 3 * m * raw[2] + 2 * m * m * m,
                      raw[4] - 4 * m * raw[3] + 6 * m * m * raw[2] - 3 * m * m * m * m);
}

}  // namespace
}  // namespace fastinit
