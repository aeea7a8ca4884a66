// Made by generate.py; do not edit. Coefficients of the normal quantile, version 1 of the stream format:
// row i is coefficient i, a column is a piece, two pieces an octave. The last columns of the normal
// tables are the pieces that nearly all words fall into.
#pragma once

namespace fastinit {

struct TableF32 {
  static constexpr int kFirstOctave = -14;
  static constexpr int kDegree = 5;
  static constexpr int kPieces = 94;
  alignas(64) float rows[kDegree + 1][kPieces];
};
extern const TableF32 kNormalF32;

struct TableF64 {
  static constexpr int kFirstOctave = -70;
  static constexpr int kDegree = 14;
  static constexpr int kPieces = 270;
  alignas(64) double rows[kDegree + 1][kPieces];
};
extern const TableF64 kNormalF64;

struct TableFar {
  static constexpr int kFirstOctave = 3;
  static constexpr int kDegree = 14;
  static constexpr int kPieces = 114;
  alignas(64) double rows[kDegree + 1][kPieces];
};
extern const TableFar kFar;

constexpr int kLogDegree = 7;
extern const double kLog[kLogDegree + 1];

}  // namespace fastinit
