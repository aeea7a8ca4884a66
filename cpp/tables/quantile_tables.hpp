// Made by generate.py; do not edit. Coefficients of the normal quantile, version 2 of the stream format.
#pragma once

namespace fastinit {

// Row i is coefficient i, a column is a piece: vectors look the same coefficient of many pieces up. They are scaled
// before they are rounded, hence double.
struct TableF32 {
  static constexpr int kFirstOctave = -16;
  static constexpr int kCoefficients = 7;
  static constexpr int kPieces = 47;
  double rows[kCoefficients][kPieces];
};
extern const TableF32 kNormalF32;

// pieces[k] is piece k, its coefficients side by side, and a zero. last[0][i] is coefficient i of the last 16
// pieces, last[1][i] of the 16 before, in the order of the low bits of their numbers, as f's exponent and first bit
// of the mantissa count them.
struct TableF64 {
  static constexpr int kFirstOctave = -72;
  static constexpr int kDegree = 14;
  static constexpr int kPieces = 270;
  static constexpr int kPick = 16;
  static constexpr int kLevels = 2;
  alignas(64) double last[kLevels][kDegree + 1][kPick];
  alignas(64) double pieces[kPieces][16];
};
extern const TableF64 kNormalF64;

// Row i is coefficient i, a column is a piece, two pieces an octave.
struct TableFar {
  static constexpr int kFirstOctave = 3;
  static constexpr int kDegree = 14;
  static constexpr int kPieces = 114;
  double rows[kDegree + 1][kPieces];
};
extern const TableFar kFar;

constexpr int kLogDegree = 7;
extern const double kLog[kLogDegree + 1];

}  // namespace fastinit
