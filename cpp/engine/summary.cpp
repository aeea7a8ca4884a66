#include "engine/summary.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "engine/environment.hpp"
#include "engine/pool.hpp"

namespace fastinit {
namespace {

// The sums of a part are made from its chunks, the result from the parts: always in this order, whichever thread makes
// a part. A chunk is read twice, the second time from the cache. A part is some 50 microseconds' work, which is more
// than it costs to wake a thread.
constexpr std::size_t kChunk = 4096;
constexpr std::size_t kPart = 32 * kChunk;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// --- a walk through a box, dimension by dimension

struct Run {
  const unsigned char* data;
  std::ptrdiff_t stride;  // bytes
  std::uint64_t index, index_stride;
  std::size_t n;
};

class Walk {
  const Box& box_;  // of at least one dimension
  std::size_t at_[kMaxDimensions];
  const unsigned char* data_;
  std::uint64_t index_;

 public:
  Walk(const Box& box, std::size_t from) : box_(box), data_(box.data), index_(box.first) {
    for (int i = box.n_dimensions - 1; i >= 0; --i) {
      at_[i] = 0;
      move(i, from % box.dimensions[i].n);
      from /= box.dimensions[i].n;
    }
  }

  // The next elements of the last dimension, at most so many.
  Run next(std::size_t most) {
    int i = box_.n_dimensions - 1;
    const Dimension& last = box_.dimensions[i];
    const std::size_t n = std::min(last.n - at_[i], most);
    const Run run{data_, last.memory_stride, index_, last.index_stride, n};
    move(i, n);
    while (i > 0 && at_[i] == box_.dimensions[i].n) {
      move(i, std::size_t(0) - at_[i]);
      move(--i, 1);
    }
    return run;
  }

 private:
  void move(int i, std::size_t by) {
    at_[i] += by;
    data_ += box_.dimensions[i].memory_stride * std::ptrdiff_t(by);
    index_ += box_.dimensions[i].index_stride * by;
  }
};

// --- sums of sums

struct Partial {
  double n = 0, mean = 0, squares = 0;  // squares: of the deviations from the mean
  double minimum = 0, maximum = 0;
  std::uint64_t digest = 0;
};

// Infinite elements of one sign make the mean infinite, those of both signs make it NaN; a NaN makes everything NaN.
void respect_specials(Partial& partial) {
  const bool has_nan = std::isnan(partial.minimum);
  const bool above = partial.maximum == kInfinity, below = partial.minimum == -kInfinity;
  if (!has_nan && !above && !below) return;  // an overflow
  partial.mean = has_nan || (above && below) ? kNan : above ? kInfinity : -kInfinity;
  partial.squares = kNan;
}

Partial partial_of(const Moments& moments, std::size_t n_elements) {
  const double n = double(n_elements), mean = moments.sum / n;
  Partial partial{n, moments.first + mean, std::max(moments.squares - moments.sum * mean, 0.0), moments.minimum,
                  moments.maximum};
  if (moments.has_nan) partial.minimum = partial.maximum = kNan;
  if (!std::isfinite(moments.sum)) respect_specials(partial);
  return partial;
}

// Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
Partial together(const Partial& a, const Partial& b) {
  if (a.n == 0) return b;
  Partial both{a.n + b.n, 0, 0, std::min(a.minimum, b.minimum), std::max(a.maximum, b.maximum), a.digest + b.digest};
  const double distance = b.mean - a.mean, share = b.n / both.n;
  both.mean = a.mean + distance * share;
  both.squares = a.squares + b.squares + distance * distance * (a.n * share);
  if (std::isnan(a.minimum) || std::isnan(b.minimum)) both.minimum = both.maximum = kNan;
  if (!std::isfinite(distance)) respect_specials(both);
  return both;
}

// The value of a float8's code, as a float32: exact in any floating-point environment.
float value_of(int code, const Float8& format) {
  const int fraction_bits = 23 - format.cut, magnitude = code & 0x7F;
  const int exponent = magnitude >> fraction_bits, fraction = magnitude & ((1 << fraction_bits) - 1);
  const int unit = (format.first >> 23) - 127 - fraction_bits;  // the last place of subnormals
  float value = exponent == 0 ? std::ldexp(float(fraction), unit)
                              : std::ldexp(float(fraction + (1 << fraction_bits)), unit + exponent - 1);
  if (magnitude >= format.beyond) value = float(kInfinity);
  if (magnitude > format.beyond || magnitude == format.nan) value = float(kNan);
  return code & 0x80 ? -value : value;
}

class Summing {
  const Box& box_;
  const bool is_coded_;     // of a float8 there are its codes as 32-bit integers, and then their values
  const std::size_t wide_;  // bytes of an element in a chunk
  const SumUp moments_;
  const Digest digest_;
  float values_[256];

 public:
  Summing(const KernelTable& kernels, ElementType type, const Box& box)
      : box_(box),
        is_coded_(is_float8(type)),
        wide_(is_coded_ ? 4 : box.element_bytes),
        moments_(kernels.moments[int(is_coded_ ? ElementType::kFloat32 : type)]),
        digest_(kernels.digest[wide_ == 2 ? 0 : wide_ == 4 ? 1 : 2]) {
    for (int code = 0; is_coded_ && code < 256; ++code) values_[code] = value_of(code, float8_of(type));
  }

  Partial part(std::size_t from, std::size_t to) const {
    constexpr std::uint64_t kGamma = 0x9E3779B97F4A7C15;  // SplitMix64's increment: 2^64 over the golden ratio
    alignas(kCacheLine) unsigned char gathered[kChunk * 8];
    Partial sum;
    Walk walk(box_, from);
    for (std::size_t n; from < to; from += n) {
      n = std::min(to - from, kChunk);
      std::uint64_t digest = 0;
      const unsigned char* chunk = gathered;
      for (std::size_t done = 0; done < n;) {
        const Run run = walk.next(n - done);
        if (run.stride == std::ptrdiff_t(wide_) && run.n == n && !is_coded_) {
          chunk = run.data;
        } else {
          gather(run, box_.element_bytes, gathered + done * wide_);
        }
        digest += digest_(chunk + done * wide_, run.n, (run.index + 1) * kGamma, run.index_stride * kGamma);
        done += run.n;
      }
      if (is_coded_) {
        for (std::size_t i = 0; i < n; ++i) std::memcpy(gathered + 4 * i, &values_[gathered[4 * i]], 4);
      }
      Partial partial = partial_of(moments_(chunk, n), n);
      partial.digest = digest;
      sum = together(sum, partial);
    }
    return sum;
  }

 private:
  static void gather(const Run& run, std::size_t size, unsigned char* to) {
    switch (size) {
      case 1: return gather_of<1, 4>(run, to);
      case 2: return gather_of<2>(run, to);
      case 4: return gather_of<4>(run, to);
      default: return gather_of<8>(run, to);
    }
  }

  template <std::size_t size, std::size_t wide = size>
  static void gather_of(const Run& run, unsigned char* to) {
    const unsigned char* from = run.data;
    for (std::size_t i = 0; i < run.n; ++i, from += run.stride, to += wide) {
      if constexpr (wide > size) std::memset(to, 0, wide);
      std::memcpy(to, from, size);
    }
  }
};

Summary all_together(const std::vector<Partial>& parts, std::size_t n) {
  Partial sum;
  for (const Partial& part : parts) sum = together(sum, part);
  return {n, sum.mean, std::sqrt(sum.squares / sum.n), sum.minimum, sum.maximum, sum.digest};
}

}  // namespace

Summary summarise(const KernelTable& kernels, ElementType type, const Box& given, int threads) {
  const std::size_t n = elements_of(given);
  if (n == 0) return {0, kNan, kNan, kNan, kNan, 0};
  Box box = simplify(in_order_of_memory(given));
  if (box.n_dimensions == 0) box.dimensions[box.n_dimensions++] = {1, std::ptrdiff_t(box.element_bytes), 1};
  const Summing summing(kernels, type, box);
  std::vector<Partial> parts((n + kPart - 1) / kPart);
  const auto part = [&](std::size_t k) {
    const DefaultEnvironment environment;
    parts[k] = summing.part(k * kPart, std::min(n, (k + 1) * kPart));
  };
  in_parallel(parts.size(), threads, std::cref(part));
  return in_default_environment(all_together, parts, n);
}

}  // namespace fastinit
