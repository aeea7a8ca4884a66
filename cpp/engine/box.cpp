#include "engine/box.hpp"

#include <algorithm>

namespace fastinit {

std::size_t elements_of(const Box& box) {
  std::size_t n = 1;
  for (int i = 0; i < box.n_dimensions; ++i) n *= box.dimensions[i].n;
  return n;
}

Box simplify(const Box& box) {
  Box simple{box.data, box.element_bytes, box.first, 0, {}};
  for (int i = 0; i < box.n_dimensions; ++i) {
    const Dimension& inner = box.dimensions[i];
    if (inner.n == 1) continue;
    if (simple.n_dimensions > 0) {
      Dimension& last = simple.dimensions[simple.n_dimensions - 1];
      if (last.memory_stride == inner.memory_stride * std::ptrdiff_t(inner.n) &&
          last.index_stride == inner.index_stride * inner.n) {
        last = {last.n * inner.n, inner.memory_stride, inner.index_stride};
        continue;
      }
    }
    simple.dimensions[simple.n_dimensions++] = inner;
  }
  return simple;
}

Box in_order_of_memory(Box box) {
  for (int i = 0; i < box.n_dimensions; ++i) {
    Dimension& dimension = box.dimensions[i];
    if (dimension.memory_stride < 0 && dimension.n > 1) {  // a stride that is never stepped along may be any number
      box.data += dimension.memory_stride * std::ptrdiff_t(dimension.n - 1);
      box.first += dimension.index_stride * (dimension.n - 1);
      dimension.memory_stride = -dimension.memory_stride;
      dimension.index_stride = 0 - dimension.index_stride;
    }
  }
  std::stable_sort(box.dimensions, box.dimensions + box.n_dimensions,
                   [](const Dimension& x, const Dimension& y) { return x.memory_stride > y.memory_stride; });
  return box;
}

}  // namespace fastinit
