// From a distribution's parameters, as the user gives them in double, to the constants that a transform takes, by the
// formulas of docs/stream-format.md. Parameters that make no sense are refused here, in words for the user.
#pragma once

#include <array>
#include <cstddef>

#include "kernels/contract.hpp"

namespace fastinit {

// kTruncatedStd: the bounds are in units of std.
enum class Distribution { kBits, kUniform, kNormal, kTruncated, kTruncatedStd, kConstant, kIntegers };

// Their names, in order, and how many there are: low, high; mean, std; mean, std, low, high; value; and of integers
// low, high, endpoint.
struct ArgumentNames {
  int n;
  const char* name[4];
};
ArgumentNames argument_names(Distribution distribution);
using Arguments = std::array<double, 4>;

// What every element gets: a value of a transform, or always the same bits (Parameters::constant_bits).
struct Plan {
  bool constant = false;
  Transform transform = Transform::kUniform;
  Parameters parameters;
};

// Throws std::invalid_argument that names the parameter.
Plan make_plan(Distribution distribution, ElementType type, const Arguments& arguments);

// Integers from low on, below high, or (endpoint 1) up to it, of a type of 1, 2 or 4 bytes. Throws as above.
Plan make_integers_plan(const Arguments& arguments, std::size_t element_bytes, bool is_signed);

// A uniform, normal or truncated (kTruncatedStd, cut at +-2) distribution of variance gain^2 scale / n. Throws
// std::invalid_argument also if that is too large for the element type.
Plan make_scaled_plan(Distribution distribution, ElementType type, double gain, double scale, double n);

// Formulas around the fans, in the default environment.
double arithmetic_mean(double a, double b);  // (a + b) / 2
double geometric_mean(double a, double b);   // sqrt(a b)
double slope_scale(double a);                // 2 / (1 + a a)
double square_root(double a);

}  // namespace fastinit
