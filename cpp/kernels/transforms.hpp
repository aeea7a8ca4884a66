// The word-to-value transforms: vectors of words to values in the working type, exactly as docs/stream-format.md writes
// them. Each has the same shape: constants at construction, then operator()(words, values) on a group of vectors.
#pragma once

#include "kernels/quantile.hpp"

namespace fastinit {
namespace {

// Words as they are.
struct Bits {
  using Working = Narrow;
  using Value = U32;
  explicit Bits(const Parameters&) {}
  template <int group>
  FASTINIT_INLINE void operator()(const U32 (&words)[group], U32 (&values)[group]) const {
    for (int v = 0; v < group; ++v) values[v] = words[v];
  }
};

enum class UniformForm { kKept, kOpen, kFree, kSmall };
template <class T, UniformForm form>
class Uniform {
  using F = typename T::F;
  F unit_, slope_, mid_, bottom_, top_;

 public:
  using Working = T;
  using Value = F;
  explicit Uniform(const Parameters& parameters) {
    const auto& c = T::constants(parameters);
    unit_ = splat(c.unit), slope_ = splat(c.slope), mid_ = splat(c.shift);
    bottom_ = splat(c.bottom), top_ = splat(c.top);
  }
  template <int group>
  FASTINIT_INLINE void operator()(const typename T::U (&words)[group], F (&values)[group]) const {
    for (int v = 0; v < group; ++v) {
      F x = from_signed(words[v] | splat(typename T::Word(1)));
      if constexpr (form == UniformForm::kSmall) x = x * unit_;
      values[v] = fma(x, slope_, mid_);
      if constexpr (form == UniformForm::kOpen) {
        values[v] = smaller(top_, values[v]);
      } else if constexpr (form != UniformForm::kFree) {
        values[v] = keep_between(bottom_, top_, values[v]);
      }
    }
  }
};

// The normal, and the truncated normal whose window is as wide on either side. The word is a signed number, from the
// median; what it lacks of the greatest one counts from the window's end. So both the smallest tail probabilities and
// the smallest values keep their relative precision.
template <class T, bool bounded, bool small>
class Symmetric {
  using U = typename T::U;
  using F = typename T::F;
  Quantile<T> quantile_;
  F mean_, bottom_, top_, start_, step_, unit_;

 public:
  using Working = T;
  using Value = F;
  explicit Symmetric(const Parameters& parameters) : quantile_(T::constants(parameters).scale, 0.5) {
    const auto& c = T::constants(parameters);
    mean_ = splat(c.shift), bottom_ = splat(c.bottom), top_ = splat(c.top);
    start_ = splat(c.start[0]), step_ = splat(c.step), unit_ = splat(c.unit);
  }
  template <int group>
  FASTINIT_INLINE void operator()(const U (&words)[group], F (&values)[group]) const {
    U f[group];
    for (int v = 0; v < group; ++v) {
      F k = from_tail(tail_of(words[v]));
      if constexpr (bounded) k = fma(k, step_, start_);
      f[v] = bits(k);
    }
    quantile_(f, values);
    for (int v = 0; v < group; ++v) {
      F s = from_signed(words[v]);
      if constexpr (small) s = s * unit_;
      values[v] = fma(values[v], s, mean_);
      if constexpr (bounded) values[v] = keep_between(bottom_, top_, values[v]);
    }
  }
};

// The truncated normal with any other window that begins below 4 standard deviations.
template <class T>
class Near {
  using U = typename T::U;
  using F = typename T::F;
  Quantile<T> quantile_;
  F mean_, bottom_, top_, start_[2], median_[2], step_, pace_;
  U flip_, flip_sign_, lower_words_;

 public:
  using Working = T;
  using Value = F;
  explicit Near(const Parameters& parameters) : quantile_(T::constants(parameters).scale, 0) {
    const auto& c = T::constants(parameters);
    mean_ = splat(c.shift), bottom_ = splat(c.bottom), top_ = splat(c.top);
    for (int side = 0; side < 2; ++side) start_[side] = splat(c.start[side]), median_[side] = splat(c.median[side]);
    step_ = splat(c.step), pace_ = splat(c.pace);
    flip_ = splat(c.flip), flip_sign_ = flip_ & splat(kTopBit<T>), lower_words_ = splat(c.lower_words);
  }
  template <int group>
  FASTINIT_INLINE void operator()(const U (&words)[group], F (&values)[group]) const {
    const U ones = splat(typename T::Word(~typename T::Word(0)));
    const F top = float_of_bits(splat(typename T::Word(power_bits<T>(T::kBits - 1) - 1)));  // the last f of the table
    U f[group];
    F h[group];
    for (int v = 0; v < group; ++v) {
      const U w = words[v] ^ flip_;
      const auto lower = is_less(w, lower_words_);
      const U n = select(lower, w, w ^ ones);
      const U beyond = w - lower_words_;
      const U d = select(lower, beyond ^ ones, beyond);  // ~(w - w0) = w0 - 1 - w
      f[v] = bits(smaller(fma(from_unsigned(n), step_, select(lower, start_[0], start_[1])), top));
      const U sign = select(lower, flip_sign_ ^ splat(kTopBit<T>), flip_sign_);
      h[v] = float_of_bits(bits(fma(from_unsigned(d), pace_, select(lower, median_[0], median_[1]))) ^ sign);
    }
    quantile_(f, values);
    for (int v = 0; v < group; ++v) values[v] = keep_between(bottom_, top_, fma(values[v], h[v], mean_));
  }
};

// -ln(r), where r = 1 - y and y is the more precise of the two when it is small.
inline F64 minus_log(F64 r, F64 y) {
  const auto near_one = is_less(y, splat(0.25));
  // r = 2^-k m, 3/4 <= m < 3/2: taking off the bits of 3/4 brings the exponent to that choice of m.
  const U64 offset = bits(r) - splat(std::uint64_t(0x3FE8000000000000));
  const U64 exponent = offset & splat(std::uint64_t(0xFFF0000000000000));
  const F64 m = float_of_bits(bits(r) - exponent);
  const F64 k = from_signed(splat(std::uint64_t(0)) - exponent) * splat(power<Wide>(-52));
  const F64 one = splat(1.0);
  const F64 s = select(near_one, y, one - m) / select(near_one, splat(2.0) - y, one + m);
  const F64 q = s * s;
  F64 sum = splat(kLog[kLogDegree]);
  for (int i = kLogDegree - 1; i >= 0; --i) sum = fma(sum, q, splat(kLog[i]));
  const F64 odd = s * sum;
  return select(near_one, odd, fma(k, splat(0x1.62e42fefa39efp-1), odd));  // ln 2
}

// x with -ln Q(x) = tail
inline F64 far_quantile(F64 tail) {
  constexpr std::uint64_t first = power_bits<Wide>(TableFar::kFirstOctave) >> Wide::kPieceShift;
  const U64 piece = shift_right<Wide::kPieceShift>(bits(tail)) - splat(first);
  const F64 t = place_in_piece(bits(tail));
  F64 sum = gather(kFar.rows[TableFar::kDegree], piece);
  for (int i = TableFar::kDegree - 1; i >= 0; --i) sum = fma(sum, t, gather(kFar.rows[i], piece));
  return sum;
}

template <class T>
class Far {
  using U = typename T::U;
  using F = typename T::F;
  F bottom_, top_;
  U flip_;
  U64 flip_sign_;
  F64 mean_, std_, log_near_, share_, complement_;

  // n counts from the bound that is nearer to the mean, n_end from the other one.
  F64 value(U64 n, U64 n_end) const {
    const F64 cell = splat(power<Wide>(1 - T::kBits) / 2), half_cell = splat(power<Wide>(1 - T::kBits) / 4);
    const F64 u = fma(from_unsigned(n), cell, half_cell);
    const F64 u_end = fma(from_unsigned(n_end), cell, half_cell);
    const F64 y = complement_ * u;
    const F64 r = fma(complement_, u_end, share_);
    const F64 end = splat(0x1.fffffffffffffp+59);
    const F64 tail = log_near_ + minus_log(r, y);
    const F64 z = far_quantile(select(is_less(tail, end), tail, end));
    return fma(z, float_of_bits(bits(std_) ^ flip_sign_), mean_);
  }

 public:
  using Working = T;
  using Value = F;
  explicit Far(const Parameters& parameters) {
    const auto& c = T::constants(parameters);
    bottom_ = splat(c.bottom), top_ = splat(c.top), flip_ = splat(c.flip);
    flip_sign_ = splat(c.flip == 0 ? std::uint64_t(0) : kTopBit<Wide>);
    const FarConstants& far = parameters.far;
    mean_ = splat(far.shift), std_ = splat(far.scale);
    log_near_ = splat(far.log_near), share_ = splat(far.share), complement_ = splat(far.complement);
  }
  template <int group>
  FASTINIT_INLINE void operator()(const U (&words)[group], F (&values)[group]) const {
    for (int v = 0; v < group; ++v) {
      const U w = words[v] ^ flip_;
      const U n_end = w ^ splat(typename T::Word(~typename T::Word(0)));
      if constexpr (T::kBits == 64) {
        values[v] = keep_between(bottom_, top_, value(w, n_end));
      } else {
        const WidePair n = widen(w), end = widen(n_end);
        values[v] = keep_between(bottom_, top_, narrow(value(n.low, end.low), value(n.high, end.high)));
      }
    }
  }
};

}  // namespace
}  // namespace fastinit
