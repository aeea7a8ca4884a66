// One build of the core behind a few C functions, which turns.py loads: the kernels of a target, and the time that
// fills take. It is compiled against each of the two sources that are compared, of which one may be older than the
// rooms of cpp/.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>

#if __has_include("engine/dispatch.hpp")
#include "engine/dispatch.hpp"
#include "engine/environment.hpp"
#include "engine/parameters.hpp"
#else
#include "dispatch.hpp"
#include "environment.hpp"
#include "parameters.hpp"
#endif

using namespace fastinit;

namespace {

struct Fill {
  Kernel kernel;
  Stream stream;
  Parameters parameters;
  std::size_t element_bytes;
};

// Kernels were listed for each generator before the stream named it.
template <class Table, class Named>
Kernel kernel_of(const Table& table, Named& stream, int generator, int transform, int type) {
  if constexpr (requires { stream.generator; }) {
    stream.generator = decltype(stream.generator)(generator);
    return table.fill[transform][type];
  } else {
    return table.fill[generator][transform][type];
  }
}

}  // namespace

extern "C" {

// Null where the target does not run here, or is not in this build.
void* fastinit_fill(const char* target, int generator, int distribution, const double* arguments, int type) {
  try {
    Arguments all{};
    for (int i = 0; i < 4; ++i) all[std::size_t(i)] = arguments[i];
    const Plan plan = make_plan(Distribution(distribution), ElementType(type), all);
    Stream stream{1, 2};
    const Kernel kernel = kernel_of(kernels_of(target), stream, generator, int(plan.transform), type);
    const std::size_t bytes = type == int(ElementType::kFloat64) ? 8 : type == int(ElementType::kFloat32) ? 4 : 2;
    return new Fill{kernel, stream, plan.parameters, bytes};
  } catch (const std::invalid_argument&) {
    return nullptr;
  }
}

// Nanoseconds of so many fills of n elements.
double fastinit_time(const void* fill, std::size_t n, void* out, int fills) {
  const Fill& of = *static_cast<const Fill*>(fill);
  const DefaultEnvironment environment;
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < fills; ++i) {
    of.kernel(of.stream, of.parameters,
              {0, n, static_cast<unsigned char*>(out), std::ptrdiff_t(of.element_bytes)});
  }
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
}
}
