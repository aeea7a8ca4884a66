// The normal quantile: R, the ratio of its absolute value to h = 1/2 - p, a smooth function of f = 2^B p. A piece of f,
// which its exponent and the first bits of its mantissa name, has a polynomial (docs/stream-format.md).
#pragma once

#include "kernels/contract.hpp"
#include "tables/quantile_tables.hpp"

// Before a loop over a group that is rarely run, which compilers leave rolled: a group whose vectors a variable picks
// lies in memory.
#if defined(__clang__)
#define FASTINIT_UNROLLED _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define FASTINIT_UNROLLED _Pragma("GCC unroll 16")
#else
#define FASTINIT_UNROLLED
#endif

namespace fastinit {
namespace {

// The two working types.
struct Narrow {
  using Word = std::uint32_t;
  using Real = float;
  using U = U32;
  using F = F32;
  static constexpr int kBits = 32, kSignificand = 23, kBias = 127;
  static constexpr int kPieceShift = 23;  // whole octaves
  static const Constants<Real, Word>& constants(const Parameters& p) { return p.narrow; }
};
struct Wide {
  using Word = std::uint64_t;
  using Real = double;
  using U = U64;
  using F = F64;
  static constexpr int kBits = 64, kSignificand = 52, kBias = 1023;
  static constexpr int kPieceShift = 51;  // half octaves
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

// f's place within its piece. float32: the piece's middle less the mantissa, both halved, so that the last two
// coefficients can be one number (the quantile's derivatives grow as those of 1 / f, by about one for each such step).
FASTINIT_INLINE F32 place_in_piece(U32 f) {
  return splat(0.75f) - float_of_bits(and_or(f, splat(std::uint32_t(0x007FFFFF)), splat(power_bits<Narrow>(-1))));
}
// float64: the mantissa less 5/4 or 7/4.
FASTINIT_INLINE F64 place_in_piece(U64 f) {
  constexpr std::uint64_t below = (std::uint64_t(1) << Wide::kPieceShift) - 1;
  return float_of_bits(and_or(f, splat(below), splat(power_bits<Wide>(0)))) - splat(1.25);
}

template <class T>
class Quantile;

// float32: the coefficients are scaled as they are loaded, those of the last pieces, which nearly all words fall into,
// once for all.
template <>
class Quantile<Narrow> {
  static constexpr int kCoefficients = TableF32::kCoefficients;
  static constexpr int kEnd = TableF32::kFirstOctave + TableF32::kPieces;  // the octave after the last
  // Of the numbers of pieces, the low bits are the place among the last ones.
  static constexpr int kFirstPlace = (Narrow::kBias + kEnd) / kPick32 * kPick32;
  Row32 rows_[kLevels32][kCoefficients];
  double scale_;
  float least_;

  static const double* coefficients(int i, int biased_exponent) {
    return kNormalF32.rows[i] + (biased_exponent - Narrow::kBias - TableF32::kFirstOctave);
  }

  // Any piece, by gathering.
  static FASTINIT_NOINLINE F32 any_piece(double scale, U32 f) {
    const F32 t = place_in_piece(f);
    const U32 piece = shift_right<Narrow::kPieceShift>(f) - splat(power_bits<Narrow>(TableF32::kFirstOctave) >>
                                                                  Narrow::kPieceShift);
    const WidePair index = widen(piece);
    const auto coefficient = [&](int i) {
      const double* const row = kNormalF32.rows[i];
      return narrow(gather(row, index.low) * splat(scale), gather(row, index.high) * splat(scale));
    };
    F32 sum = coefficient(kCoefficients - 1);
    sum = fma(sum, t, sum);
    for (int i = kCoefficients - 2; i >= 0; --i) sum = fma(sum, t, coefficient(i));
    return sum;
  }

 public:
  // f below `least` stands for that.
  Quantile(double scale, float least) : scale_(scale), least_(least) {
    for (int level = 0; level < kLevels32; ++level) {
      for (int i = 0; i < kCoefficients; ++i) {
        rows_[level][i] = load_row<Narrow::kBias + kEnd - kFirstPlace>(
            coefficients(i, kFirstPlace - level * kPick32), scale);
      }
    }
  }

  template <int group>
  FASTINIT_INLINE void operator()(const U32 (&f)[group], F32 (&ratio)[group]) const {
    F32 t[group];
    Place32 place[group];
    for (int v = 0; v < group; ++v) t[v] = place_in_piece(f[v]);
    for (int v = 0; v < group; ++v) place[v] = place_of(shift_right<Narrow::kPieceShift>(f[v]));
    for (int v = 0; v < group; ++v) ratio[v] = pick(rows_[0][kCoefficients - 1], place[v]);
    for (int v = 0; v < group; ++v) ratio[v] = fma(ratio[v], t[v], ratio[v]);
    for (int i = kCoefficients - 2; i >= 0; --i) {
      for (int v = 0; v < group; ++v) ratio[v] = fma(ratio[v], t[v], pick(rows_[0][i], place[v]));
    }
    U32 least = f[0];
    for (int v = 1; v < group; ++v) least = lesser(least, f[v]);
    if (!any(is_less(least, splat(power_bits<Narrow>(kEnd - kPick32))))) [[likely]] return;
    FASTINIT_UNROLLED
    for (int v = 0; v < group; ++v) ratio[v] = deeper(f[v], ratio[v]);
  }

 private:
  // Takes and returns values, and makes t and the place anew: a caller that had to have them in memory would store them
  // for every group.
  FASTINIT_NOINLINE F32 deeper(U32 f, F32 ratio) const {
    if (!any(is_less(f, splat(power_bits<Narrow>(kEnd - kPick32))))) return ratio;
    const F32 t = place_in_piece(f);
    const Place32 place = place_of(shift_right<Narrow::kPieceShift>(f));
    for (int level = 1; level < kLevels32; ++level) {
      F32 sum = pick(rows_[level][kCoefficients - 1], place);
      sum = fma(sum, t, sum);
      for (int i = kCoefficients - 2; i >= 0; --i) sum = fma(sum, t, pick(rows_[level][i], place));
      ratio = select(is_less(f, splat(power_bits<Narrow>(kEnd - level * kPick32))), sum, ratio);
    }
    const Mask32 below = is_less(f, splat(power_bits<Narrow>(kEnd - kLevels32 * kPick32)));
    if (any(below)) {
      const U32 within = bits(greater(float_of_bits(f), splat(least_)));
      ratio = select(below, any_piece(scale_, within), ratio);
    }
    return ratio;
  }
};

// float64: the ratio is scaled.
template <>
class Quantile<Wide> {
  static constexpr int kDegree = TableF64::kDegree;
  static constexpr int kEnd = TableF64::kFirstOctave + TableF64::kPieces / 2;  // the octave after the last
  static_assert(kPick64 == 0 || kPick64 == TableF64::kPick);
  double scale_, least_;

  F64 within(U64 f) const { return greater(float_of_bits(f), splat(least_)); }

 public:
  // f below `least` stands for that.
  Quantile(double scale, double least) : scale_(scale), least_(least) {}

  // Any pieces, their coefficients loaded two by two. f below 2^kFirstOctave is not in the table.
  template <int count>
  static FASTINIT_INLINE void any_pieces(const U64 (&f)[count], F64 (&sum)[count]) {
    constexpr std::uint64_t first = power_bits<Wide>(TableF64::kFirstOctave) >> Wide::kPieceShift;
    static_assert(kDegree % 2 == 0);
    Pieces64 pieces[count];
    F64 t[count], low, high;
    for (int v = 0; v < count; ++v) {
      t[v] = place_in_piece(f[v]);
      pieces[v] = Pieces64(kNormalF64.pieces[0], shift_right<Wide::kPieceShift>(f[v]) - splat(first));
      pieces[v].two(kDegree, sum[v], high);
    }
    for (int i = kDegree - 2; i >= 0; i -= 2) {
      for (int v = 0; v < count; ++v) {
        pieces[v].two(i, low, high);
        sum[v] = fma(fma(sum[v], t[v], high), t[v], low);
      }
    }
  }
  static FASTINIT_INLINE F64 any_piece(U64 f) {
    const U64 of[1] = {f};
    F64 sum[1];
    any_pieces(of, sum);
    return sum[0];
  }

  template <int group>
  FASTINIT_INLINE void operator()(const U64 (&f)[group], F64 (&ratio)[group]) const {
    if constexpr (kPick64 > 0) {
      F64 t[group];
      U64 place[group];
      for (int v = 0; v < group; ++v) t[v] = place_in_piece(f[v]);
      for (int v = 0; v < group; ++v) place[v] = shift_right<Wide::kPieceShift>(f[v]);
      picked<0>(t, place, ratio);
      U64 least = f[0];
      for (int v = 1; v < group; ++v) least = lesser(least, f[v]);
      if (any(is_less(least, splat(power_bits<Wide>(kEnd - kPick64 / 2))))) [[unlikely]] {
        FASTINIT_UNROLLED
        for (int v = 0; v < group; ++v) ratio[v] = deeper<1>(f[v], ratio[v]);
      }
    } else {
      U64 inside[group];
      for (int v = 0; v < group; ++v) inside[v] = bits(within(f[v]));
      any_pieces(inside, ratio);
    }
    for (int v = 0; v < group; ++v) ratio[v] = ratio[v] * splat(scale_);
  }

 private:
  template <int level, int group>
  static FASTINIT_INLINE void picked(const F64 (&t)[group], const U64 (&place)[group], F64 (&ratio)[group]) {
    const auto& rows = kNormalF64.last[level];
    for (int v = 0; v < group; ++v) ratio[v] = pick(rows[kDegree], place[v]);
    for (int i = kDegree - 1; i >= 0; --i) {
      for (int v = 0; v < group; ++v) ratio[v] = fma(ratio[v], t[v], pick(rows[i], place[v]));
    }
  }
  template <int level>
  FASTINIT_NOINLINE F64 deeper(U64 f, F64 ratio) const {
    const Mask64 beyond = is_less(f, splat(power_bits<Wide>(kEnd - level * kPick64 / 2)));
    if (!any(beyond)) return ratio;
    const F64 of[1] = {place_in_piece(f)};
    const U64 at[1] = {shift_right<Wide::kPieceShift>(f)};
    F64 sum[1];
    picked<level>(of, at, sum);
    const Mask64 below = is_less(f, splat(power_bits<Wide>(kEnd - (level + 1) * kPick64 / 2)));
    if (any(below)) sum[0] = select(below, any_piece(bits(within(f))), sum[0]);
    return select(beyond, sum[0], ratio);
  }
};

}  // namespace
}  // namespace fastinit
