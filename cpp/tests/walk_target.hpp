// Given words through a target's transforms and stores. Included once by each walk_*.cpp after its vector vocabulary.
#pragma once

#include "kernels/loop.hpp"
#include "tests/walk.hpp"

namespace fastinit {
namespace {

template <class T, class E>
void walk_values(const Parameters& parameters, const void* given, void* out) {
  using Working = typename T::Working;
  const T transform(parameters);
  const auto* from = static_cast<const unsigned char*>(given);
  auto* to = static_cast<unsigned char*>(out);
  constexpr std::size_t kOfGroup = kGroupWords / E::kWords;
  for (std::size_t i = 0; i < kWalkChunk; i += kOfGroup, to += kOfGroup * E::kBytes) {
    typename Working::U words[kGroup];
    typename Working::F values[kGroup];
    for (int v = 0; v < kGroup; ++v, from += kVectorBytes) {
      words[v] = as_words(load(from), static_cast<const Working*>(nullptr));
    }
    transform(words, values);
    E::template put_group<false>(to, values);
  }
}

inline void walk_ratios(const double* f, double* ratio) {
  const Quantile<Wide> quantile;
  const auto* from = reinterpret_cast<const unsigned char*>(f);
  for (std::size_t i = 0; i < kWalkChunk; i += kGroup * kLanes64) {
    U64 of[kGroup];
    F64 values[kGroup];
    for (int v = 0; v < kGroup; ++v, from += kVectorBytes) of[v] = pairs(load(from));
    quantile(of, values);
    for (int v = 0; v < kGroup; ++v) store(ratio + i + std::size_t(v * kLanes64), values[v]);
  }
}

template <template <class> class Form>
constexpr void list_walk(WalkTable& table, Transform transform) {
  auto& types = table.values[int(transform)];
  types[int(ElementType::kFloat32)] = walk_values<Form<Narrow>, Float32>;
  types[int(ElementType::kFloat64)] = walk_values<Form<Wide>, Float64>;
  types[int(ElementType::kFloat16)] = walk_values<Form<Narrow>, Float16>;
  types[int(ElementType::kBfloat16)] = walk_values<Form<Narrow>, Bfloat16>;
}
template <class T>
using Normal = Symmetric<T, false>;
template <class T>
using Bounded = Symmetric<T, true>;

constexpr WalkTable make_walk_table(const char* target) {
  WalkTable table{};
  table.target = target;
  list_walk<Uniform>(table, Transform::kUniform);
  list_walk<Normal>(table, Transform::kNormal);
  list_walk<Bounded>(table, Transform::kSymmetric);
  list_walk<Near>(table, Transform::kNear);
  list_walk<Far>(table, Transform::kFar);
  table.ratios = walk_ratios;
  return table;
}

}  // namespace
}  // namespace fastinit
