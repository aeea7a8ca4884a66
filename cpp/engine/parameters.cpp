#include "engine/parameters.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

#include "engine/environment.hpp"
#include "kernels/vector_portable.hpp"
// after its vocabulary
#include "kernels/transforms.hpp"

namespace fastinit {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// --- the element types as grids of numbers

struct Format {
  const char* name;
  int precision;     // bits of the significand
  int last_exponent; // of the smallest subnormal
  double largest;
};
constexpr Format kFormats[kElementTypes] = {{"float32", 24, -149, 0x1.fffffep127},
                                            {"float64", 53, -1074, std::numeric_limits<double>::max()},
                                            {"float16", 11, -24, 65504},
                                            {"bfloat16", 8, -133, 0x1.fep127},
                                            {"float8_e4m3fn", 4, -9, 448},
                                            {"float8_e5m2", 3, -16, 57344}};

const Format& format_of(ElementType type) { return kFormats[int(type)]; }
// The largest finite value of the working type.
double working_largest(ElementType type) {
  return type == ElementType::kFloat64 ? kFormats[1].largest : kFormats[0].largest;
}

// x in units of its last place in that format, rounded by `round`, back again.
template <class Round>
double on_grid(double x, const Format& format, Round round) {
  if (x == 0) return 0.0;
  int exponent;
  std::frexp(x, &exponent);
  const int unit = std::max(exponent - format.precision, format.last_exponent);
  return std::ldexp(round(std::ldexp(x, -unit)), unit);
}

// The largest value of the format that is <= x; -infinity where there is none. Never -0.
double round_down(double x, const Format& format) {
  if (x >= format.largest) return format.largest;
  if (x < -format.largest) return -kInfinity;
  return on_grid(x, format, [](double units) { return std::floor(units); }) + 0.0;
}
double round_up(double x, const Format& format) { return 0.0 - round_down(-x, format); }
double round_nearest(double x, const Format& format) {
  if (!std::isfinite(x)) return x;
  const double y = on_grid(x, format, [](double units) { return std::nearbyint(units); });
  return std::fabs(y) > format.largest ? std::copysign(kInfinity, x) : std::copysign(y, x);
}

// The bits of a value that the element type has.
std::uint64_t element_bits(double value, ElementType type) {
  const std::uint32_t narrow = std::bit_cast<std::uint32_t>(float(value));
  switch (type) {
    case ElementType::kFloat32: return narrow;
    case ElementType::kFloat64: return std::bit_cast<std::uint64_t>(value);
    case ElementType::kFloat16: return to_float16(narrow);
    case ElementType::kBfloat16: return to_bfloat16(narrow);
    case ElementType::kFloat8E4m3fn:
    case ElementType::kFloat8E5m2: return to_float8(narrow, float8_of(type));
  }
  return 0;
}

// --- refusals

std::string text(double x) {
  char buffer[32];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof(buffer), x).ptr);
}
[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

void need_finite(const char* name, double x) {
  if (!std::isfinite(x)) refuse(std::string(name) + " must be a finite number, got " + text(x));
}
void need_std(double std) {
  if (!(std >= 0) || !std::isfinite(std)) refuse("std must be a finite number >= 0, got " + text(std));
}
[[noreturn]] void refuse_beyond(const char* name, double x, double largest, ElementType type) {
  refuse(std::string(name) + " is beyond the range of " + format_of(type).name + ", which ends at " + text(largest) +
         ": got " + text(x));
}
void need_in_range(const char* name, double x, double largest, ElementType type) {
  need_finite(name, x);
  if (std::fabs(x) > largest) refuse_beyond(name, x, largest, type);
}

// --- the normal's probabilities, read backwards from the tables of its quantile

constexpr double kQuarter = 0x1.5956b87528a49p-1;  // the quantile at p = 1/4

// The transforms' own functions, one number at a time: the ratio of quantile and h, the quantile at p = f 2^-64, and at
// p = 1/2 - c.
double ratio_at(double f) {
  return Quantile<Wide>::any_piece(bits(splat(f))).lane[0];
}
double tail_quantile(double f) { return ratio_at(f) * std::fma(f, -0x1p-64, 0.5); }
double central_quantile(double c) { return ratio_at(std::fma(c, -0x1p64, 0x1.fffffffffffffp62)) * c; }
double far_quantile(double tail) { return far_quantile(splat(tail)).lane[0]; }
double minus_log(double r, double y) { return minus_log(splat(r), splat(y)).lane[0]; }

// Halves the interval of encodings between two positive numbers until they are neighbours: below(x) holds for the
// first, not for the second.
struct Bracket {
  double low, high;
};
template <class Below>
Bracket halve(double low, double high, Below below) {
  auto lo = std::bit_cast<std::uint64_t>(low), hi = std::bit_cast<std::uint64_t>(high);
  while (hi - lo > 1) {
    const std::uint64_t mid = (lo + hi) / 2;
    (below(std::bit_cast<double>(mid)) ? lo : hi) = mid;
  }
  return {std::bit_cast<double>(lo), std::bit_cast<double>(hi)};
}

struct Probability {
  double q, c;  // Q(x) and 1/2 - Q(x)
};
Probability probability_beyond(double x) {
  if (x == 0) return {0.5, 0};
  if (x < kQuarter) {
    const double c = halve(0.0, 0.25, [x](double h) { return central_quantile(h) < x; }).high;
    return {0.5 - c, c};
  }
  constexpr double kLowest = 0x1p-72;
  if (x > tail_quantile(kLowest)) return {0, 0.5};
  const double q = halve(kLowest, 0x1p62, [x](double f) { return tail_quantile(f) > x; }).high * 0x1p-64;
  return {q, 0.5 - q};
}

// --- the truncated normal's window, in units of std

// The window, reflected, if need be, to the side where b > 0.
struct Window {
  double a, b;
  bool flip;
};

template <class Word>
constexpr double kWords = sizeof(Word) == 4 ? 0x1p32 : 0x1p64;

// The greatest number below 2^(B-1), where the table ends: p = 1/2.
template <class Word>
constexpr double kTop = sizeof(Word) == 4 ? 0x1.fffffep30 : 0x1.fffffffffffffp62;

// Of the normal and of the symmetric form: `width` is std times the probability of the window. Where the coefficients
// would come near to subnormal numbers, they are multiplied by a power of two, and the word is divided.
template <class Real, class Word>
void set_scale(Constants<Real, Word>& constants, double width) {
  constexpr bool narrow = sizeof(Word) == 4;
  const bool small = width < (narrow ? 0x1p-60 : 0x1p-900);
  constants.unit = small ? Real(narrow ? 0x1p-64 : 0x1p-256) : Real(1);
  constants.scale = width * (1 / double(constants.unit) / kWords<Word>);
}

// Each side of the window has p = q .. 1/2. f may not pass the top; start and step keep it within. (That moves f by its
// last place or so, where the ratio hardly changes with f.)
template <class Real, class Word>
void set_symmetric(Constants<Real, Word>& constants, double std, const Probability& beyond) {
  constexpr Real top = Real(kTop<Word>);
  const Real start = std::min(Real(beyond.q * kWords<Word>), top);
  Real step = std::min(Real(2 * beyond.c), (top - start) / top);
  while (std::fma(top, step, start) > top) step = std::nextafter(step, Real(0));
  constants.start[0] = start;
  constants.step = step;
  set_scale(constants, std * (2 * beyond.c));
}

// Windows as narrow as this many probabilities have h times 2^64 and the ratio by 2^64, or pace would be subnormal.
constexpr double kNarrow = 0x1p-60;

template <class Real, class Word>
void set_near(Constants<Real, Word>& constants, double std, const Window& window) {
  constexpr double n = kWords<Word>;
  constexpr double last_word = sizeof(Word) == 4 ? 0x1p32 - 1 : 0x1p64 - 2048;
  const auto [qa, ca] = probability_beyond(std::fabs(window.a));
  const auto [qb, cb] = probability_beyond(window.b);
  const bool straddles = window.a < 0;
  const double d = straddles ? ca + cb : window.a < kQuarter ? cb - ca : qa - qb;
  const double w0 = straddles && d > 0 ? std::fmin(std::nearbyint(ca / d * n), last_word) : 0;
  const double g = d / (2 * n), unit = d < kNarrow ? 0x1p64 : 1;
  // h is divided by m and std multiplied by it, so that pace is a power of two and no product with it is rounded.
  int exponent;
  const double m = d > 0 ? std::frexp(d, &exponent) : 1;
  constants.flip = window.flip ? Word(~Word(0)) : 0;
  constants.lower_words = Word(w0);
  constants.start[0] = Real(qa * n + d / 2);
  constants.start[1] = Real(qb * n + d / 2);
  constants.step = Real(d);
  constants.median[0] = Real((std::fma(-d, w0 / n, ca) + g) / m * unit);
  constants.median[1] = Real((straddles ? std::fma(d, w0 / n, -ca) + g : ca + g) / m * unit);
  constants.pace = Real(d / m / n * unit);
  constants.scale = std * (m / unit);
}

double log_beyond(double x) {
  if (x == kInfinity) return kInfinity;
  return halve(8.0, 0x1p60, [x](double tail) { return far_quantile(tail) < x; }).high;
}

void set_far(Parameters& parameters, const Window& window) {
  FarConstants& far = parameters.far;
  far.log_near = log_beyond(window.a);
  const double t = log_beyond(window.b) - far.log_near;
  if (t > 700) {
    far.share = 0;
    far.complement = 1;
  } else if (t > 1.5) {
    far.share = halve(0x1p-1020, 0.25, [t](double r) { return minus_log(r, 1 - r) >= t; }).low;
    far.complement = 1 - far.share;
  } else {
    far.complement = halve(0.0, 1.0, [t](double y) { return minus_log(1 - y, y) < t; }).high;
    far.share = 1 - far.complement;
  }
  parameters.narrow.flip = window.flip ? ~std::uint32_t(0) : 0;
  parameters.wide.flip = window.flip ? ~std::uint64_t(0) : 0;
}

// --- one plan for each distribution

void set_bounds(Plan& plan, double bottom, double top) {
  plan.parameters.narrow.bottom = float(bottom), plan.parameters.narrow.top = float(top);
  plan.parameters.wide.bottom = bottom, plan.parameters.wide.top = top;
}
void set_shift(Plan& plan, double shift) {
  plan.parameters.narrow.shift = float(shift);
  plan.parameters.wide.shift = plan.parameters.far.shift = shift;
}

bool is_small(const Plan& plan, ElementType type) {
  return type == ElementType::kFloat64 ? plan.parameters.wide.unit != 1 : plan.parameters.narrow.unit != 1;
}

void set_constant(Plan& plan, double value, ElementType type) {
  plan.constant = true;
  plan.parameters.constant_bits = element_bits(round_nearest(value, format_of(type)), type);
}

void plan_constant(Plan& plan, double value, ElementType type) {
  const bool has_infinity = type != ElementType::kFloat8E4m3fn;
  if (std::isinf(round_nearest(value, format_of(type))) && !(std::isinf(value) && has_infinity)) {
    refuse_beyond("value", value, format_of(type).largest, type);
  }
  set_constant(plan, value, type);
}

// Slope, unit, and the form. Words are odd numbers up to 2^(B-1): their factor 2^-(B-1) belongs to the slope, where
// that is exact. Values rise with the word, so that the first and the last one tell whether any is beyond the bounds.
template <class Real, class Word>
Transform set_uniform(Constants<Real, Word>& constants, double half) {
  constexpr Real end = Real(kWords<Word> / 2);  // the last word, rounded
  const Real slope = Real(half) / end;
  if (slope * end != Real(half)) {
    constants.slope = Real(half);
    constants.unit = 1 / end;
    return Transform::kSmallUniform;
  }
  constants.slope = slope;
  if (std::fma(-end, slope, constants.shift) < constants.bottom) return Transform::kUniform;
  return std::fma(end, slope, constants.shift) > constants.top ? Transform::kOpenUniform : Transform::kFreeUniform;
}

void plan_uniform(Plan& plan, double low, double high, ElementType type) {
  const Format& format = format_of(type);
  need_in_range("low", low, format.largest, type);
  need_in_range("high", high, format.largest, type);
  if (low > high) refuse("low must not be above high, got low=" + text(low) + ", high=" + text(high));
  if (low == high) return set_constant(plan, low + 0.0, type);  // a zero is +0
  const double bottom = round_up(low, format), top = round_down(std::nextafter(high, -kInfinity), format);
  if (bottom > top) {
    refuse(std::string("no ") + format.name + " lies in [low, high): got low=" + text(low) + ", high=" + text(high));
  }
  set_shift(plan, high / 2 + low / 2);
  set_bounds(plan, bottom, top);
  const double half = high / 2 - low / 2;
  plan.transform = type == ElementType::kFloat64 ? set_uniform(plan.parameters.wide, half)
                                                 : set_uniform(plan.parameters.narrow, half);
  if (format.precision < 24 && plan.transform != Transform::kSmallUniform) plan.transform = Transform::kUniform;
}

// The quantile ends at 6.34 for 32-bit words and at 9.16 for 64-bit words.
double normal_reach(ElementType type) { return type == ElementType::kFloat64 ? 9.25 : 6.5; }

void plan_normal(Plan& plan, double mean, double std, ElementType type) {
  const Format& format = format_of(type);
  need_in_range("mean", mean, format.largest, type);
  need_std(std);
  if (std == 0) return set_constant(plan, mean, type);
  if (!(std::fabs(mean) + normal_reach(type) * std <= format.largest)) {
    refuse(std::string("std is too large for ") + format.name + ", which ends at " + text(format.largest) +
           ": got mean=" + text(mean) + ", std=" + text(std));
  }
  set_shift(plan, mean);
  set_bounds(plan, -kInfinity, kInfinity);
  set_scale(plan.parameters.narrow, std);
  set_scale(plan.parameters.wide, std);
  // Without bounds the symmetric form is the same.
  plan.transform = is_small(plan, type) ? Transform::kSmallSymmetric : Transform::kNormal;
}

void plan_truncated(Plan& plan, const Arguments& arguments, bool in_units_of_std, ElementType type) {
  const double mean = arguments[0], std = arguments[1], low = arguments[2], high = arguments[3];
  const Format& format = format_of(type);
  need_in_range("mean", mean, format.largest, type);
  need_std(std);
  need_in_range("std", std, working_largest(type), type);
  if (std::isnan(low)) refuse("low must be a number, got nan");
  if (std::isnan(high)) refuse("high must be a number, got nan");
  if (low >= high) refuse("low must be below high, got low=" + text(low) + ", high=" + text(high));
  if (low == kInfinity || high == -kInfinity) {
    refuse("the window from low to high is empty: got low=" + text(low) + ", high=" + text(high));
  }
  // (An infinite bound times a std of 0 is no bound.)
  const auto absolute = [&](double bound) {
    return !in_units_of_std || std::isinf(bound) ? bound : mean + bound * std;
  };
  const double bottom = round_up(absolute(low), format), top = round_down(absolute(high), format);
  if (!(bottom <= top)) {
    refuse(std::string("no ") + format.name + " lies between the bounds " + text(absolute(low)) + " and " +
           text(absolute(high)) + ": got low=" + text(low) + ", high=" + text(high));
  }
  if (std == 0) {
    const double value = round_nearest(mean, format);
    return set_constant(plan, value < bottom ? bottom : value > top ? top : value, type);
  }
  const double alpha = in_units_of_std ? low : (low - mean) / std;
  const double beta = in_units_of_std ? high : (high - mean) / std;
  const Window window = beta <= 0 ? Window{-beta, -alpha, true} : Window{alpha, beta, false};
  set_shift(plan, mean);
  set_bounds(plan, bottom, top);
  if (window.a >= 4) {
    plan.transform = Transform::kFar;
    plan.parameters.far.scale = std;
    set_far(plan.parameters, window);
  } else if (window.a == -window.b) {
    const Probability beyond = probability_beyond(window.b);
    set_symmetric(plan.parameters.narrow, std, beyond);
    set_symmetric(plan.parameters.wide, std, beyond);
    plan.transform = is_small(plan, type) ? Transform::kSmallSymmetric : Transform::kSymmetric;
  } else {
    plan.transform = Transform::kNear;
    if (type == ElementType::kFloat64) {
      set_near(plan.parameters.wide, std, window);
    } else {
      set_near(plan.parameters.narrow, std, window);
    }
  }
}

// The bounds are integers, and exact as float64 wherever they are not refused.
Plan integers_plan_of(const Arguments& arguments, std::size_t element_bytes, bool is_signed) {
  const auto [low, high, endpoint, none] = arguments;
  const double words = std::ldexp(1.0, int(8 * element_bytes));
  const double first = is_signed ? -words / 2 : 0, last = first + words - 1;
  const std::string got = ": got low=" + text(low) + ", high=" + text(high);
  if (low > high || (low == high && endpoint == 0)) {
    refuse(std::string("no integer lies in [low, high") + (endpoint != 0 ? "]" : ")") + got);
  }
  const double top = endpoint != 0 ? high : high - 1;
  if (low < first || top > last) {
    refuse("the integers from low to high must be within " + std::string(is_signed ? "int" : "uint") +
           std::to_string(8 * element_bytes) + ", " + text(first) + " to " + text(last) + got +
           (endpoint != 0 ? ", endpoint=True" : ""));
  }
  const auto n = std::uint64_t(top - low + 1);
  Plan plan;
  plan.parameters.integers = {std::uint32_t(std::int64_t(low)), std::uint32_t(n), n >> 32 != 0 ? ~0U : 0U};
  return plan;
}

Plan plan_of(Distribution distribution, ElementType type, const Arguments& arguments) {
  Plan plan;
  if (is_float8(type)) plan.parameters.float8 = float8_of(type);
  switch (distribution) {
    case Distribution::kUniform: plan_uniform(plan, arguments[0], arguments[1], type); break;
    case Distribution::kNormal: plan_normal(plan, arguments[0], arguments[1], type); break;
    case Distribution::kTruncated: plan_truncated(plan, arguments, false, type); break;
    case Distribution::kTruncatedStd: plan_truncated(plan, arguments, true, type); break;
    case Distribution::kConstant: plan_constant(plan, arguments[0], type); break;
    case Distribution::kBits:
    case Distribution::kIntegers: break;
  }
  return plan;
}

Arguments scaled(Distribution distribution, ElementType type, double gain, double scale, double n) {
  const auto need_positive = [](const char* name, double x) {
    if (!(x > 0) || !std::isfinite(x)) refuse(std::string(name) + " must be a finite number > 0, got " + text(x));
  };
  if (!(gain >= 0) || !std::isfinite(gain)) refuse("gain must be a finite number >= 0, got " + text(gain));
  need_positive("scale", scale);
  need_positive("the mean of the fans", n);
  const double std = gain * std::sqrt(scale / n);
  const double high = gain * std::sqrt(3 * (scale / n));
  const double cut_std = std / 0.87962566103423978;  // by the standard deviation of N(0, 1) cut at -2 and +2
  const double largest = distribution == Distribution::kUniform  ? high
                         : distribution == Distribution::kNormal ? normal_reach(type) * std
                                                                 : 2 * cut_std;
  if (!(largest <= format_of(type).largest)) {
    const std::string name = gain != 1 ? "gain" : "scale";  // no initialiser takes both
    refuse(name + " is too large for " + format_of(type).name + ", which ends at " + text(format_of(type).largest) +
           ": got " + name + "=" + text(gain != 1 ? gain : scale) + " with a mean of the fans of " + text(n));
  }
  if (distribution == Distribution::kUniform) return {-high, high, 0, 0};
  if (distribution == Distribution::kNormal) return {0, std, 0, 0};
  return {0, cut_std, -2, 2};
}
Plan scaled_plan_of(Distribution distribution, ElementType type, double gain, double scale, double n) {
  return plan_of(distribution, type, scaled(distribution, type, gain, scale, n));
}

double arithmetic_mean_of(double a, double b) { return (a + b) / 2; }
double geometric_mean_of(double a, double b) { return std::sqrt(a * b); }
double slope_scale_of(double a) { return 2 / (1 + a * a); }
double square_root_of(double a) { return std::sqrt(a); }

}  // namespace

ArgumentNames argument_names(Distribution distribution) {
  switch (distribution) {
    case Distribution::kUniform: return {2, {"low", "high", "", ""}};
    case Distribution::kNormal: return {2, {"mean", "std", "", ""}};
    case Distribution::kTruncated:
    case Distribution::kTruncatedStd: return {4, {"mean", "std", "low", "high"}};
    case Distribution::kConstant: return {1, {"value", "", "", ""}};
    case Distribution::kIntegers: return {3, {"low", "high", "endpoint", ""}};
    case Distribution::kBits: break;
  }
  return {0, {"", "", "", ""}};
}

Plan make_plan(Distribution distribution, ElementType type, const Arguments& arguments) {
  return in_default_environment(plan_of, distribution, type, arguments);
}
Plan make_integers_plan(const Arguments& arguments, std::size_t element_bytes, bool is_signed) {
  return in_default_environment(integers_plan_of, arguments, element_bytes, is_signed);
}
Plan make_scaled_plan(Distribution distribution, ElementType type, double gain, double scale, double n) {
  return in_default_environment(scaled_plan_of, distribution, type, gain, scale, n);
}
double arithmetic_mean(double a, double b) { return in_default_environment(arithmetic_mean_of, a, b); }
double geometric_mean(double a, double b) { return in_default_environment(geometric_mean_of, a, b); }
double slope_scale(double a) { return in_default_environment(slope_scale_of, a); }
double square_root(double a) { return in_default_environment(square_root_of, a); }

}  // namespace fastinit
