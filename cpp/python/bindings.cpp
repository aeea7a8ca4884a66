// Python's calls of the core: objects to numbers, views to boxes, errors in the user's words, the GIL. Which objects
// have memory is for views.hpp to say. python/fastinit/_core.pyi describes what is here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <cmath>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/dispatch.hpp"
#include "engine/environment.hpp"
#include "engine/fill.hpp"
#include "engine/fresh.hpp"
#include "engine/huge_pages.hpp"
#include "engine/memory.hpp"
#include "engine/parameters.hpp"
#include "engine/pool.hpp"
#include "engine/summary.hpp"
#include "engine/threads.hpp"
#include "python/calls.hpp"
#include "python/views.hpp"

namespace fastinit {
namespace {

constexpr int kStreamFormat = 2;
// Below this many elements giving up the GIL costs more than it brings.
constexpr std::size_t kReleaseGil = 32768;

// --- numbers

[[noreturn]] void refuse_type(py::handle object, const char* name, const char* wanted) {
  throw py::type_error(std::string(name) + " must be " + wanted + ", got " + shown(object) + " of type " +
                       type_name(object));
}

// Python's int, or None where the object stands for no integer. Truth values and arrays do not, though they convert.
py::object to_int(py::handle object, const char* name, const char* wanted) {
  if (PyLong_CheckExact(object.ptr())) return py::reinterpret_borrow<py::object>(object);
  if (!PyIndex_Check(object.ptr()) || PyBool_Check(object.ptr()) || type_name(object).starts_with("numpy.bool") ||
      py::isinstance<py::array>(object)) {
    refuse_type(object, name, wanted);
  }
  return owned(in_python([&] { return PyNumber_Index(object.ptr()); }));
}

// `wanted` says what else than an integer would do.
std::uint64_t to_word(py::handle object, const char* name, const char* wanted = "an int") {
  const py::object integer = to_int(object, name, wanted);
  const unsigned long long value = PyLong_AsUnsignedLongLong(integer.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    throw py::value_error(std::string(name) + " must be an int from 0 to 2**64 - 1, got " + shown(object));
  }
  return value;
}

int to_threads(py::handle object, const char* name) {
  const py::object integer = to_int(object, name, "an int");
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
  if (overflow < 0 || (overflow == 0 && value < 1)) {
    throw py::value_error(std::string(name) + " must be at least 1, got " + shown(object));
  }
  return overflow > 0 || value > INT_MAX ? INT_MAX : int(value);
}

// What a call's threads= says, or what is wished for all calls; 0 if nobody wishes anything.
int wished(py::handle threads_or_none) {
  return threads_or_none.is_none() ? wished_threads() : to_threads(threads_or_none, "threads");
}

// Python's numbers.Real. Set once, when the module is made.
PyObject* real_numbers = nullptr;

double as_double(PyObject* object) {
  return in_python([object] { return PyFloat_AsDouble(object); });
}

bool is_equal(double value, py::handle object) {
  const py::float_ number(value);
  return succeeded(in_python([&] { return PyObject_RichCompareBool(number.ptr(), object.ptr(), Py_EQ); }));
}

double to_double(py::handle object, const char* name, const char* wanted = "a number") {
  PyObject* o = object.ptr();
  if (PyFloat_CheckExact(o)) return PyFloat_AS_DOUBLE(o);
  // numbers.Real has Python's and NumPy's integers and floats; of what it has too, these are no numbers here.
  const auto is_real = [&object] {
    return is_instance(object, real_numbers) && type_name(object) != "numpy.timedelta64";
  };
  if (PyBool_Check(o) || (!PyFloat_Check(o) && !PyLong_Check(o) && !is_real())) refuse_type(object, name, wanted);
  // A wider float is rounded here. PyFloat_AsDouble would make a float of an integer first, to read it and throw it
  // away.
  const double value = in_default_environment(PyLong_Check(o) ? PyLong_AsDouble : as_double, o);
  const bool failed = PyErr_Occurred() != nullptr;
  if (failed && !PyErr_ExceptionMatches(PyExc_OverflowError)) throw py::error_already_set();
  PyErr_Clear();
  if (failed || (std::isinf(value) && !is_equal(value, object))) {
    throw py::value_error(std::string(name) + " must be " + wanted + " within the range of float64, got " +
                          shown(object));
  }
  return value;
}

// A finite number.
double to_real(py::handle object, const char* name, const char* wanted) {
  const double value = to_double(object, name, wanted);
  if (!std::isfinite(value)) throw py::value_error(std::string(name) + " must be " + wanted + ", got " + shown(object));
  return value;
}

// --- boxes

std::vector<std::uint64_t> to_extents(py::handle object, const char* name) {
  const auto wanted = "a sequence of one int for each dimension of out";
  // Python iterates over these, too, and may find integers, but nobody means them as extents.
  PyObject* o = object.ptr();
  if (PyUnicode_Check(o) || PyBytes_Check(o) || PyByteArray_Check(o) || PyDict_Check(o) || PyAnySet_Check(o)) {
    refuse_type(object, name, wanted);
  }
  const auto items = py::reinterpret_steal<py::object>(in_python([&] { return PySequence_Fast(object.ptr(), ""); }));
  if (!items) {
    PyErr_Clear();
    refuse_type(object, name, wanted);
  }
  std::vector<std::uint64_t> extents;
  for (py::ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) {
    const auto item = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(items.ptr(), i));
    extents.push_back(to_word(item, name));
  }
  return extents;
}

// Which box of a larger tensor `out` is, if it is one.
struct Place {
  bool is_box;
  std::vector<std::uint64_t> global_shape, offset;

  Place(py::handle shape_or_none, py::handle offset_or_none) : is_box(!shape_or_none.is_none()) {
    if (is_box == offset_or_none.is_none()) {
      throw py::value_error("global_shape and offset must be given together: the shape of the whole tensor, and where "
                            "out begins in it; got global_shape " + shown(shape_or_none) +
                            ", offset " + shown(offset_or_none));
    }
    if (!is_box) return;
    global_shape = to_extents(shape_or_none, "global_shape");
    offset = to_extents(offset_or_none, "offset");
  }
};

// The logical indices of `out`, alone or as a box of a larger tensor.
Box to_box(const View& view, const Place& place) {
  const auto n_dimensions = std::size_t(view.n_dimensions);
  const std::vector<std::uint64_t>&global_shape = place.global_shape, &offset = place.offset;
  Box box;  // its dimensions are written one by one: clearing all 64 first took 15 ns
  box.data = view.data;
  box.element_bytes = view.element.bytes;
  box.first = 0;
  box.n_dimensions = int(n_dimensions);
  const auto what_came = [&] {
    const auto tuple = [](const std::vector<std::uint64_t>& extents) { return shown(py::tuple(py::cast(extents))); };
    return "shape " + view.shape_text() + ", global_shape " + tuple(global_shape) + ", offset " + tuple(offset);
  };
  if (place.is_box && (global_shape.size() != n_dimensions || offset.size() != n_dimensions)) {
    throw py::value_error("global_shape and offset must hold one int for each dimension of out; got " + what_came());
  }
  const bool empty = std::find(global_shape.begin(), global_shape.end(), std::uint64_t(0)) != global_shape.end();
  std::uint64_t index_stride = 1;
  for (std::size_t i = n_dimensions; i-- > 0;) {
    const auto n = std::uint64_t(view.shape[i]);
    const std::uint64_t size = place.is_box ? global_shape[i] : n, from = place.is_box ? offset[i] : 0;
    if (from > size || n > size - from) {
      throw py::value_error("out does not lie inside global_shape at offset: in dimension " + std::to_string(i) +
                            " it covers " + std::to_string(n) + " elements from " + std::to_string(from) + " on, of " +
                            std::to_string(size) + "; got " + what_came());
    }
    box.dimensions[i] = {std::size_t(n), view.strides[i], index_stride};
    if (empty || size == 0) continue;
    if (size > (std::uint64_t(1) << 63) / index_stride) {
      throw py::value_error("global_shape must have at most 2**63 elements; got " + what_came());
    }
    box.first += from * index_stride;
    index_stride *= size;
  }
  return box;
}

// --- seeds and streams

// The seed of a generator, and the streams that its calls take in turn. One lock serves all generators: it is held for
// a few instructions, and has to be made anew after a fork.
std::mutex streams_lock;

class Streams {
 public:
  Streams() = default;  // it seeds itself from the system when it is first asked
  Streams(std::uint64_t seed, std::uint64_t next, std::uint64_t children)
      : seed_(seed), next_(next), children_(children), seeded_(true), by_user_(true) {}

  void reset(std::uint64_t seed) {
    const std::lock_guard lock(streams_lock);
    seed_ = seed;
    next_ = children_ = 0;
    seeded_ = by_user_ = true;
  }
  std::uint64_t seed() { return state()[0]; }
  // The seed, the next stream, the number of children spawned.
  std::array<std::uint64_t, 3> state() {
    const std::lock_guard lock(streams_lock);
    seed_from_system();
    return {seed_, next_, children_};
  }
  Stream take() {
    const std::lock_guard lock(streams_lock);
    seed_from_system();
    return {seed_, next_++};
  }
  // The seed, and the number of the first of n new children.
  std::array<std::uint64_t, 2> spawn(std::uint64_t n) {
    const std::lock_guard lock(streams_lock);
    seed_from_system();
    const std::uint64_t first = children_;
    children_ += n;
    return {seed_, first};
  }
  void forget_system_seed() {
    if (!by_user_) seeded_ = false;
  }

 private:
  std::uint64_t seed_ = 0, next_ = 0, children_ = 0;
  bool seeded_ = false, by_user_ = false;

  void seed_from_system() {
    if (seeded_) return;
    std::random_device device;
    seed_ = std::uint64_t(device()) << 32 | device();
    next_ = children_ = 0;
    seeded_ = true;
  }
};
Streams default_streams;  // of the calls that name neither a seed nor a generator

// In the child of a fork: another thread of the parent may have held the lock.
void after_fork() {
  new (&streams_lock) std::mutex;
  default_streams.forget_system_seed();
}

// Python's function from the name of a stream to its number. Set once, when the package is imported.
PyObject* stream_of_name = nullptr;

std::uint64_t to_stream(py::handle object) {
  if (!PyUnicode_Check(object.ptr())) return to_word(object, "stream", "an int or a str");
  return to_word(owned(in_python([&] { return PyObject_CallOneArg(stream_of_name, object.ptr()); })), "stream");
}

// --- the calls

Generator to_generator(py::handle name) {
  const auto wanted = "'ars' or 'philox'";
  if (!PyUnicode_Check(name.ptr())) refuse_type(name, "bit_generator", wanted);
  if (PyUnicode_CompareWithASCIIString(name.ptr(), "ars") == 0) return Generator::kArs;
  if (PyUnicode_CompareWithASCIIString(name.ptr(), "philox") == 0) return Generator::kPhilox;
  throw py::value_error("bit_generator must be 'ars' or 'philox', got " + shown(name));
}

// The arguments that all distributions share. Converting them may run the caller's code (__index__), which may do
// anything, also to `out`: so they are converted before anything is read from it.
struct Common {
  Generator generator;
  Place place;
  Streams* streams = nullptr;  // of a generator, where no number is the seed
  bool has_stream;
  std::uint64_t seed = 0, number = 0;
  int threads;  // 0: as many as pay off

  // `source` is a seed, the streams of a generator, or None, which is the default generator.
  Common(py::handle source, py::handle stream_or_none, py::handle shape_or_none, py::handle offset_or_none,
         py::handle threads_or_none, py::handle bit_generator)
      : generator(to_generator(bit_generator)),
        place(shape_or_none, offset_or_none),
        has_stream(!stream_or_none.is_none()) {
    if (source.is_none()) {
      streams = &default_streams;
    } else if (PyLong_CheckExact(source.ptr())) {
      seed = to_word(source, "seed");
    } else if (py::isinstance<Streams>(source)) {
      streams = py::cast<Streams*>(source);
    } else {
      const bool is_generator = type_name(source) == "Generator";
      seed = to_word(source, "seed", is_generator ? "an int (a Generator has methods instead)" : "an int");
    }
    if (has_stream) number = to_stream(stream_or_none);
    threads = wished(threads_or_none);
  }

  // Uses up a stream of the generator where neither seed nor stream was given. So this comes last, when nothing can be
  // refused any more.
  Stream stream() const {
    if (streams == nullptr) return {seed, number, generator};
    Stream stream = has_stream ? Stream{streams->seed(), number} : streams->take();
    stream.generator = generator;
    return stream;
  }
};

// How many threads a fill may use: 1 for few elements.
int threads_for(std::size_t n, int wished_number) {
  return n < kReleaseGil ? 1 : wished_number > 0 ? wished_number : available_cpus();
}

// Calls work(), without the GIL if there is much of it.
template <class Work>
void work_on(std::size_t n, const Work& work) {
  if (n < kReleaseGil) return work();
  const WithoutGil without_gil;
  work();
}

// `plan` is made, everything is converted: from here on none of the caller's code runs, and only the view's place in
// the larger tensor, FASTINIT_TARGET and FASTINIT_HUGE_PAGES can be refused.
void run(const View& view, const Plan& plan, Distribution distribution, const Common& common) {
  const Element element = view.element;
  const Box box = to_box(view, common.place);
  const KernelTable& table = kernels();
  wished_huge_pages();
  const std::size_t n = elements_of(box);
  const int threads = threads_for(n, common.threads);
  Task task{};
  if (!plan.constant) {
    const Stream stream = common.stream();
    task = distribution == Distribution::kBits       ? Task{table.bits[element.bytes == 8], stream, {}}
           : distribution == Distribution::kIntegers ? integers_task(table, plan, element.bytes, stream)
                                                     : task_of(table, plan, element.type, stream);
  }
  work_on(n, [&] {
    if (plan.constant) {
      fill_constant(table, plan.parameters.constant_bits, box, threads);
    } else {
      fill(task, box, threads);
    }
  });
}

void py_fill(py::handle out, py::handle distribution_number, py::handle a, py::handle b, py::handle c, py::handle d,
             py::handle seed, py::handle stream, py::handle global_shape, py::handle offset, py::handle threads,
             py::handle bit_generator) {
  const auto distribution = Distribution(py::cast<int>(distribution_number));
  const ArgumentNames names = argument_names(distribution);
  const py::handle given[4] = {a, b, c, d};
  Arguments arguments{};
  for (int i = 0; i < names.n; ++i) arguments[std::size_t(i)] = to_double(given[i], names.name[i]);
  const Common common(seed, stream, global_shape, offset, threads, bit_generator);
  const bool bits = distribution == Distribution::kBits, integers = distribution == Distribution::kIntegers;
  const View view(out, bits ? Elements::kWords : integers ? Elements::kIntegers : Elements::kFloats, Access::kWrite);
  const Element element = view.element;
  run(view,
      integers ? make_integers_plan(arguments, element.bytes, element.is_signed)
      : bits   ? Plan()
               : make_plan(distribution, element.type, arguments),
      distribution, common);
}

void py_fill_scaled(py::handle out, py::handle distribution_number, py::handle gain, py::handle scale, py::handle n,
                    py::handle seed, py::handle stream, py::handle global_shape, py::handle offset, py::handle threads,
                    py::handle bit_generator) {
  const auto distribution = Distribution(py::cast<int>(distribution_number));
  const double numbers[3] = {to_double(gain, "gain"), to_double(scale, "scale"), to_double(n, "the mean of the fans")};
  const Common common(seed, stream, global_shape, offset, threads, bit_generator);
  const View view(out, Elements::kFloats, Access::kWrite);
  const Plan plan = make_scaled_plan(distribution, view.element.type, numbers[0], numbers[1], numbers[2]);
  run(view, plan, distribution, common);
}

// These two are called the way that costs CPython least, by position and without conversions: pybind11 would take as
// long to pass twelve arguments on as 80 elements take to fill.
template <class... Handles>
void pass_on(void (*function)(Handles...), PyObject* const* arguments, std::size_t n) {
  if (n != sizeof...(Handles)) throw py::type_error("expected " + std::to_string(sizeof...(Handles)) + " arguments");
  [=]<std::size_t... i>(std::index_sequence<i...>) {
    function(arguments[i]...);
  }(std::index_sequence_for<Handles...>());
}

template <auto function>
PyObject* fast(PyObject*, PyObject* const* arguments, Py_ssize_t n) {
  try {
    pass_on(function, arguments, std::size_t(n));
    Py_RETURN_NONE;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

template <auto function>
PyMethodDef fast_method(const char* name) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&fast<function>)), METH_FASTCALL, nullptr};
}

// The seed and the stream that a fill with these arguments would have, as numbers. Uses up what it would.
py::tuple py_stream_of(py::handle source, py::handle stream_or_none) {
  const py::none none;
  const Stream taken = Common(source, stream_or_none, none, none, none, py::str("ars")).stream();
  return py::make_tuple(taken.seed, taken.stream);
}

py::tuple py_shape(py::handle out) {
  const View view(out, Elements::kAny, Access::kRead);
  py::tuple shape(view.n_dimensions);
  for (std::size_t i = 0; i < shape.size(); ++i) shape[i] = view.shape[i];
  return shape;
}

constexpr const char* kElementNames[kElementTypes] = {"float32",  "float64",       "float16",
                                                      "bfloat16", "float8_e4m3fn", "float8_e5m2"};

// Refuses the parameters that a fill of this element type would refuse. Where all elements are the same: their bits.
std::uint64_t py_plan(int distribution, const std::string& element, double a, double b, double c, double d) {
  const auto* const name = std::find(std::begin(kElementNames), std::end(kElementNames), element);
  if (name == std::end(kElementNames)) throw py::value_error("no element type is called '" + element + "'");
  const auto type = ElementType(name - std::begin(kElementNames));
  return make_plan(Distribution(distribution), type, {a, b, c, d}).parameters.constant_bits;
}

// The memory of `out` as an array of unsigned integers of its elements' size, which keeps `out`, and its type's name.
py::tuple py_memory(py::handle out) {
  struct Kept {
    py::object owner;
    View view;
  };
  auto kept = std::unique_ptr<Kept>(
      new Kept{py::reinterpret_borrow<py::object>(out), {out, Elements::kFloats, Access::kWrite}});
  const View& view = kept->view;
  const py::capsule base(kept.get(), [](void* p) { delete static_cast<Kept*>(p); });
  kept.release();
  const std::vector<py::ssize_t> shape(view.shape, view.shape + view.n_dimensions);
  const std::vector<py::ssize_t> strides(view.strides, view.strides + view.n_dimensions);
  const py::dtype words("u" + std::to_string(view.element.bytes));
  return py::make_tuple(py::array(words, shape, strides, view.data, base), kElementNames[int(view.element.type)]);
}

py::tuple py_summary(py::handle out, py::handle global_shape, py::handle offset, py::handle threads_or_none) {
  const Place place(global_shape, offset);
  const int threads = wished(threads_or_none);
  const View view(out, Elements::kFloats, Access::kRead);
  const Box box = to_box(view, place);
  const KernelTable& table = kernels();
  const std::size_t n = elements_of(box);
  Summary found;
  work_on(n, [&] { found = summarise(table, view.element.type, box, threads_for(n, threads)); });
  return py::make_tuple(found.n, found.mean, found.std, found.minimum, found.maximum, found.digest);
}

PyMethodDef fast_methods[] = {fast_method<py_fill>("fill"), fast_method<py_fill_scaled>("fill_scaled"), {}};

py::array py_allocate(std::size_t n_bytes) {
  struct Owner {
    void* memory;
    std::size_t n_bytes;
    ~Owner() { release(memory, n_bytes); }
  };
  void* memory = nullptr;
  try {
    memory = allocate(n_bytes);
  } catch (const std::bad_alloc&) {
    PyErr_Format(PyExc_MemoryError, "cannot allocate %zu bytes", n_bytes);
    throw py::error_already_set();
  }
  std::unique_ptr<Owner> owner(new Owner{memory, n_bytes});
  const py::capsule capsule(owner.get(), [](void* p) { delete static_cast<Owner*>(p); });
  owner.release();
  return py::array(py::dtype::of<std::uint8_t>(), {n_bytes}, {1}, memory, capsule);
}

int number_of_threads() {
  const int wished = wished_threads();
  return wished > 0 ? wished : available_cpus();
}

std::string compiler() {
#if defined(__clang__)
  return "clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
         std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
  return "gcc " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
         std::to_string(__GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
  return "msvc " + std::to_string(_MSC_VER);
#else
  return "unknown";
#endif
}

py::dict config() {
  py::dict dict;
  dict["version"] = FASTINIT_VERSION;
  dict["stream_format"] = kStreamFormat;
  dict["compiler"] = compiler();
  dict["targets_built"] = py::cast(targets_built());
  dict["targets_found"] = py::cast(targets_found());
  // Asked for most when a variable is wrong: then the field says so.
  const auto or_error = [](const auto& ask) -> py::object {
    try {
      return py::cast(ask());
    } catch (const std::invalid_argument& error) {
      return py::str(error.what());
    }
  };
  dict["target"] = or_error([] { return std::string(kernels().target); });
  dict["cpus"] = available_cpus();
  dict["threads"] = or_error(number_of_threads);
  dict["huge_pages"] = or_error([] {
    const HugePages wish = wished_huge_pages();
    return wish == HugePages::kNever ? "0" : wish == HugePages::kAlways ? "1" : "auto";
  });
  return dict;
}

std::vector<std::uint32_t> py_known_answer(const std::string& target, py::handle generator, int rounds,
                                           std::vector<std::uint32_t> counter, std::vector<std::uint32_t> key) {
  if ((rounds != 7 && rounds != 10) || counter.size() != 4 || key.size() > 4) {
    throw py::value_error("known_answer takes 7 or 10 rounds, a counter of 4 words, a key of up to 4");
  }
  key.resize(4);
  std::vector<std::uint32_t> block(4);
  kernels_of(target).known_answer(to_generator(generator), rounds, counter.data(), key.data(), block.data());
  return block;
}

}  // namespace
}  // namespace fastinit

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  using namespace fastinit;
  prepare_for_forks();
  // These ask the system once. In a thread's first fill, a fork by another thread would leave the child waiting for it.
  available_cpus();
  huge_pages_on_request();
  is_resident(nullptr);
  // pybind11 would ask NumPy for its functions in the first fill, where no thread could rest: calls.hpp.
  py::dtype::of<float>();
  real_numbers = py::object(py::module_::import("numbers").attr("Real")).release().ptr();
  module.doc() = "The compiled core of fastinit. Private.";
  module.attr("__version__") = FASTINIT_VERSION;
  module.attr("stream_format") = kStreamFormat;
  module.attr("BITS") = int(Distribution::kBits);
  module.attr("UNIFORM") = int(Distribution::kUniform);
  module.attr("NORMAL") = int(Distribution::kNormal);
  module.attr("TRUNCATED") = int(Distribution::kTruncated);
  module.attr("TRUNCATED_STD") = int(Distribution::kTruncatedStd);
  module.attr("CONSTANT") = int(Distribution::kConstant);
  module.attr("INTEGERS") = int(Distribution::kIntegers);
  if (PyModule_AddFunctions(module.ptr(), fast_methods) != 0) throw py::error_already_set();
  module.def("shape", &py_shape);
  module.def("plan", &py_plan);
  module.def("memory", &py_memory);
  module.def("summary", &py_summary);
  module.def("real", &to_real);
  module.def("arithmetic_mean", &arithmetic_mean);
  module.def("geometric_mean", &geometric_mean);
  module.def("slope_scale", &slope_scale);
  module.def("square_root", &square_root);
  module.def("name_streams", [](py::function stream_of) { stream_of_name = stream_of.release().ptr(); });
  py::class_<Streams>(module, "Streams")
      .def(py::init<>())
      .def(py::init([](py::handle seed, std::uint64_t next, std::uint64_t children) {
             const auto wanted = "an int, a numpy.random.SeedSequence or None";
             return std::make_unique<Streams>(to_word(seed, "seed", wanted), next, children);
           }),
           py::arg(), py::arg() = 0, py::arg() = 0)
      .def("reset", [](Streams& streams, py::handle seed) { streams.reset(to_word(seed, "seed")); })
      .def("state", [](Streams& streams) { return py::tuple(py::cast(streams.state())); })
      .def("spawn", [](Streams& streams, std::uint64_t n) { return py::tuple(py::cast(streams.spawn(n))); });
  module.attr("default_streams") = py::cast(&default_streams, py::return_value_policy::reference);
  module.def("stream_of", &py_stream_of);
  module.def("after_fork", &after_fork);
  module.def("set_num_threads", [](py::handle threads) { set_wished_threads(to_threads(threads, "threads")); });
  module.def("get_num_threads", &number_of_threads);
  module.def("allocate", &py_allocate);
  module.def("config", &config);
  module.def("set_target", [](const py::object& name) {
    set_target(name.is_none() ? std::string() : py::cast<std::string>(name));
  });
  module.def("set_grain", &set_grain);
  module.def("set_huge_pages", &set_wished_huge_pages);
  module.def("known_answer", &py_known_answer);
}
