// The word-to-value transforms: a group of vectors of words to values in the working type, exactly as
// docs/stream-format.md writes them. Each has the same shape: constants at construction, then operator()(words, values).
#pragma once

#include "kernels/contract.hpp"
#include "tables/quantile_tables.hpp"

namespace fastinit {
namespace {

// The two working types.
struct Narrow {
  using Word = std::uint32_t;
  using Real = float;
  using U = U32;
  using F = F32;
  using Row = Row32;
  using Table = TableF32;
  static constexpr int kBits = 32, kSignificand = 23, kBias = 127, kPick = kPick32;
  static constexpr const Table& kTable = kNormalF32;
  static const Constants<Real, Word>& constants(const Parameters& p) { return p.narrow; }
};
struct Wide {
  using Word = std::uint64_t;
  using Real = double;
  using U = U64;
  using F = F64;
  using Row = Row64;
  using Table = TableF64;
  static constexpr int kBits = 64, kSignificand = 52, kBias = 1023, kPick = kPick64;
  static constexpr const Table& kTable = kNormalF64;
  static const Constants<Real, Word>& constants(const Parameters& p) { return p.wide; }
};

// The bits of 2^e.
template <class T>
constexpr typename T::Word power_bits(int e) {
  return typename T::Word(T::kBias + e) << T::kSignificand;
}
template <class T>
constexpr typename T::Word kTopBit = typename T::Word(1) << (T::kBits - 1);
template <class T>
constexpr typename T::Real power(int e) {  // 2^e for |e| < 64
  return e < 0 ? typename T::Real(1) / typename T::Real(1ull << -e) : typename T::Real(1ull << e);
}

// A piece is half an octave: the exponent of a positive f and the first bit of its mantissa m are the piece's number.
template <class T>
constexpr int kPieceShift = T::kSignificand - 1;

// f's place within its piece: m - 5/4 or m - 7/4.
template <class T>
typename T::F place_in_piece(typename T::U f) {
  constexpr typename T::Word below = (typename T::Word(1) << kPieceShift<T>) - 1;
  return float_of_bits(and_or(f, splat(below), splat(power_bits<T>(0)))) - splat(typename T::Real(1.25));
}

// P(t) of the piece that f's bits name, every coefficient from memory.
template <class T, class Table>
typename T::F gather_polynomial(const Table& table, typename T::U f, typename T::F t) {
  constexpr typename T::Word first = power_bits<T>(Table::kFirstOctave) >> kPieceShift<T>;
  const typename T::U piece = shift_right<kPieceShift<T>>(f) - splat(first);
  typename T::F sum = gather(table.rows[Table::kDegree], piece);
  for (int i = Table::kDegree - 1; i >= 0; --i) sum = fma(sum, t, gather(table.rows[i], piece));
  return sum;
}

// The ratio of the normal quantile's absolute value to h = 1/2 - p, a smooth function of f = 2^(B+2) p. Targets that can
// look up in registers keep the last pieces of the table there, which nearly all words fall into: the tables are laid out
// so that the low bits of the piece's number are the place.
template <class T>
class Quantile {
  using Table = typename T::Table;
  using U = typename T::U;
  using F = typename T::F;
  typename T::Row rows_[Table::kDegree + 1];

  static constexpr int kEnd = Table::kFirstOctave + Table::kPieces / 2;  // the octave after the last
  static_assert(T::kPick == 0 || (power_bits<T>(kEnd) >> kPieceShift<T>) % T::kPick == 0,
                "the low bits of a piece's number are its place among the last pieces");

 public:
  Quantile() {
    for (int i = 0; i <= Table::kDegree; ++i) rows_[i] = load_row(T::kTable.rows[i] + (Table::kPieces - T::kPick));
  }

  FASTINIT_INLINE void operator()(const U (&f)[kGroup], F (&ratio)[kGroup]) const {
    F t[kGroup];
    for (int v = 0; v < kGroup; ++v) t[v] = place_in_piece<T>(f[v]);
    if constexpr (T::kPick > 0) {
      U piece[kGroup];
      for (int v = 0; v < kGroup; ++v) piece[v] = shift_right<kPieceShift<T>>(f[v]);
      for (int v = 0; v < kGroup; ++v) ratio[v] = pick(rows_[Table::kDegree], piece[v]);
      for (int i = Table::kDegree - 1; i >= 0; --i) {
        for (int v = 0; v < kGroup; ++v) ratio[v] = fma(ratio[v], t[v], pick(rows_[i], piece[v]));
      }
      const U lowest = splat(power_bits<T>(kEnd - T::kPick / 2));
      U least = f[0];
      for (int v = 1; v < kGroup; ++v) least = lesser(least, f[v]);
      if (!any(is_less(least, lowest))) [[likely]] return;
      for (int v = 0; v < kGroup; ++v) {
        if (any(is_less(f[v], lowest))) ratio[v] = gather_polynomial<T>(T::kTable, f[v], t[v]);
      }
    } else {
      for (int v = 0; v < kGroup; ++v) ratio[v] = gather_polynomial<T>(T::kTable, f[v], t[v]);
    }
  }
};

template <class T>
class Uniform {
  using F = typename T::F;
  F half_, mid_, bottom_, top_;

 public:
  using Working = T;
  explicit Uniform(const Parameters& parameters) {
    const auto& c = T::constants(parameters);
    half_ = splat(c.scale), mid_ = splat(c.shift), bottom_ = splat(c.bottom), top_ = splat(c.top);
  }
  FASTINIT_INLINE void operator()(const typename T::U (&words)[kGroup], F (&values)[kGroup]) const {
    for (int v = 0; v < kGroup; ++v) {
      const F unit = from_signed(words[v] | splat(typename T::Word(1))) * splat(power<T>(1 - T::kBits));
      values[v] = keep_between(bottom_, top_, fma(unit, half_, mid_));
    }
  }
};

// The normal, and the truncated normal whose window is as wide on either side. The top bit of the word is the sign. The
// others count from the window's end (k) and, flipped, from the median (n), so that both the smallest tail
// probabilities and the smallest values keep their relative precision.
template <class T, bool bounded>
class Symmetric {
  using U = typename T::U;
  using F = typename T::F;
  Quantile<T> quantile_;
  F mean_, std_, bottom_, top_, start_, step_, median_, pace_;

 public:
  using Working = T;
  explicit Symmetric(const Parameters& parameters) {
    const auto& c = T::constants(parameters);
    mean_ = splat(c.shift), std_ = splat(c.scale), bottom_ = splat(c.bottom), top_ = splat(c.top);
    start_ = splat(c.start[0]), step_ = splat(c.step), median_ = splat(c.median[0]), pace_ = splat(c.pace);
  }
  FASTINIT_INLINE void operator()(const U (&words)[kGroup], F (&values)[kGroup]) const {
    const U below_top = splat(typename T::Word(kTopBit<T> - 1));
    U f[kGroup];
    F h[kGroup], std[kGroup];
    for (int v = 0; v < kGroup; ++v) {
      f[v] = bits(fma(from_signed(words[v] & below_top), step_, start_));
      h[v] = fma(from_signed(and_not(words[v], below_top)), pace_, median_);
      std[v] = float_of_bits(bits(std_) ^ (words[v] & splat(kTopBit<T>)));
    }
    quantile_(f, values);
    for (int v = 0; v < kGroup; ++v) {
      values[v] = fma(values[v] * h[v], std[v], mean_);
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
  F mean_, std_, bottom_, top_, start_[2], median_[2], step_, pace_;
  U flip_, flip_sign_, lower_words_;

 public:
  using Working = T;
  explicit Near(const Parameters& parameters) {
    const auto& c = T::constants(parameters);
    mean_ = splat(c.shift), std_ = splat(c.scale), bottom_ = splat(c.bottom), top_ = splat(c.top);
    for (int side = 0; side < 2; ++side) start_[side] = splat(c.start[side]), median_[side] = splat(c.median[side]);
    step_ = splat(c.step), pace_ = splat(c.pace);
    flip_ = splat(c.flip), flip_sign_ = flip_ & splat(kTopBit<T>), lower_words_ = splat(c.lower_words);
  }
  FASTINIT_INLINE void operator()(const U (&words)[kGroup], F (&values)[kGroup]) const {
    const U ones = splat(typename T::Word(~typename T::Word(0)));
    const U top = splat(typename T::Word(power_bits<T>(T::kBits + 1) - 1));  // the last f of the table
    U f[kGroup];
    F h[kGroup], std[kGroup];
    for (int v = 0; v < kGroup; ++v) {
      const U w = words[v] ^ flip_;
      const auto lower = is_less(w, lower_words_);
      const U n = select(lower, w, w ^ ones);
      const U beyond = w - lower_words_;
      const U d = select(lower, beyond ^ ones, beyond);  // ~(w - w0) = w0 - 1 - w
      f[v] = lesser(bits(fma(from_unsigned(n), step_, select(lower, start_[0], start_[1]))), top);
      h[v] = fma(from_unsigned(d), pace_, select(lower, median_[0], median_[1]));
      const U sign = select(lower, flip_sign_ ^ splat(kTopBit<T>), flip_sign_);
      std[v] = float_of_bits(bits(std_) ^ sign);
    }
    quantile_(f, values);
    for (int v = 0; v < kGroup; ++v) {
      values[v] = keep_between(bottom_, top_, fma(values[v] * h[v], std[v], mean_));
    }
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
  return gather_polynomial<Wide>(kFar, bits(tail), place_in_piece<Wide>(bits(tail)));
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
  explicit Far(const Parameters& parameters) {
    const auto& c = T::constants(parameters);
    bottom_ = splat(c.bottom), top_ = splat(c.top), flip_ = splat(c.flip);
    flip_sign_ = splat(c.flip == 0 ? std::uint64_t(0) : kTopBit<Wide>);
    const FarConstants& far = parameters.far;
    mean_ = splat(far.shift), std_ = splat(far.scale);
    log_near_ = splat(far.log_near), share_ = splat(far.share), complement_ = splat(far.complement);
  }
  FASTINIT_INLINE void operator()(const U (&words)[kGroup], F (&values)[kGroup]) const {
    for (int v = 0; v < kGroup; ++v) {
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
