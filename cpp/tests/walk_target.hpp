// Given words through a target's transforms and stores. Included once by each walk_*.cpp after its vector vocabulary.
#pragma once

#include "kernels/loop.hpp"
#include "tests/walk.hpp"

namespace fastinit {
namespace {

template <class T, class E>
void walk_values(const Parameters& parameters, const void* given, void* out) {
  const T transform(parameters);
  const auto* from = static_cast<const unsigned char*>(given);
  auto* to = static_cast<unsigned char*>(out);
  constexpr std::size_t kOfGroup = kGroup * kLanes32 / E::kWords;
  for (std::size_t i = 0; i < kWalkChunk; i += kOfGroup, from += kGroup * kVectorBytes, to += kOfGroup * E::kBytes) {
    transform_group<T, E, false, kGroup>(transform, from, to);
  }
}

inline void walk_ratios(const double* f, double* ratio) {
  const Quantile<Wide> quantile(1, 0);
  const auto* from = reinterpret_cast<const unsigned char*>(f);
  for (std::size_t i = 0; i < kWalkChunk; i += kLanes64, from += kVectorBytes) {
    const U64 of[1] = {pairs(load(from))};
    F64 values[1];
    quantile(of, values);
    store(ratio + i, values[0]);
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
constexpr WalkTable make_walk_table(const char* target) {
  WalkTable table{};
  table.target = target;
  list_walk<KeptUniform>(table, Transform::kUniform);
  auto& open = table.values[int(Transform::kOpenUniform)];
  open[int(ElementType::kFloat32)] = walk_values<Uniform<Narrow, UniformForm::kOpen>, Float32>;
  open[int(ElementType::kFloat64)] = walk_values<Uniform<Wide, UniformForm::kOpen>, Float64>;
  list_walk<Normal>(table, Transform::kNormal);
  list_walk<Bounded>(table, Transform::kSymmetric);
  list_walk<Near>(table, Transform::kNear);
  list_walk<Far>(table, Transform::kFar);
  table.ratios = walk_ratios;
  return table;
}

}  // namespace
}  // namespace fastinit
