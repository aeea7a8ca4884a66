// Python's view of the core: arrays to boxes, objects to numbers, errors in the user's words, the GIL. It knows NumPy's
// arrays and no arithmetic. python/fastinit/_core.pyi describes what is here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cmath>
#include <memory>
#include <mutex>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dispatch.hpp"
#include "environment.hpp"
#include "fill.hpp"
#include "memory.hpp"
#include "parameters.hpp"
#include "pool.hpp"
#include "threads.hpp"

namespace py = pybind11;

namespace fastinit {
namespace {

constexpr int kStreamFormat = 1;
// Below this many elements giving up the GIL costs more than it brings.
constexpr std::size_t kReleaseGil = 32768;

std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

// What came, for a message: short and on one line.
std::string shown(py::handle object) {
  if (py::isinstance<py::array>(object)) {
    return "an array of shape " + std::string(py::str(object.attr("shape"))) + " and dtype " +
           std::string(py::str(object.attr("dtype")));
  }
  // ascii(): a name with a lone surrogate has no UTF-8.
  const auto ascii = py::reinterpret_steal<py::object>(PyObject_ASCII(object.ptr()));
  if (!ascii) throw py::error_already_set();
  std::string text = py::str(ascii);
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

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
  auto integer = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!integer) throw py::error_already_set();
  return integer;
}

// `wanted` says what else than an integer would do.
std::uint64_t to_word(py::handle object, const char* name, const char* wanted = "an integer") {
  const py::object integer = to_int(object, name, wanted);
  const unsigned long long value = PyLong_AsUnsignedLongLong(integer.ptr());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    throw py::value_error(std::string(name) + " must be an integer from 0 to 2**64 - 1, got " + shown(object));
  }
  return value;
}

int to_threads(py::handle object, const char* name) {
  const py::object integer = to_int(object, name, "an integer");
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(integer.ptr(), &overflow);
  if (overflow < 0 || (overflow == 0 && value < 1)) {
    throw py::value_error(std::string(name) + " must be at least 1, got " + shown(object));
  }
  return overflow > 0 || value > INT_MAX ? INT_MAX : int(value);
}

double to_double(py::handle object, const char* name, const char* wanted = "a number") {
  PyObject* o = object.ptr();
  if (PyFloat_CheckExact(o)) return PyFloat_AS_DOUBLE(o);
  // numbers.Real has Python's and NumPy's integers and floats; of what it has too, these are no numbers here.
  const auto is_real = [&object] {
    return py::isinstance(object, py::module_::import("numbers").attr("Real")) &&
           type_name(object) != "numpy.timedelta64";
  };
  if (PyBool_Check(o) || (!PyFloat_Check(o) && !PyLong_Check(o) && !is_real())) refuse_type(object, name, wanted);
  // A wider float is rounded here. PyFloat_AsDouble would make a float of an integer first, to read it and throw it away.
  const double value = in_default_environment(PyLong_Check(o) ? PyLong_AsDouble : PyFloat_AsDouble, o);
  const bool failed = PyErr_Occurred() != nullptr;
  if (failed && !PyErr_ExceptionMatches(PyExc_OverflowError)) throw py::error_already_set();
  PyErr_Clear();
  if (failed || (std::isinf(value) && !py::float_(value).equal(object))) {
    throw py::value_error(std::string(name) + " must be " + wanted + " within the range of float64, got " +
                          shown(object));
  }
  return value;
}

// A finite one.
double to_real(py::handle object, const char* name, const char* wanted) {
  const double value = to_double(object, name, wanted);
  if (!std::isfinite(value)) throw py::value_error(std::string(name) + " must be " + wanted + ", got " + shown(object));
  return value;
}

// --- arrays

constexpr const char* kFloats = "float32, float64, float16 or bfloat16";

struct Element {
  ElementType type;
  std::size_t bytes;
};

// ml_dtypes' bfloat16 registers itself with NumPy at run time; its type number is not known beforehand.
bool is_bfloat16(const py::dtype& dtype) {
  static std::atomic<int> known{-1};  // its type number, once seen
  if (known >= 0 && dtype.num() == known) return true;
  const py::object type = dtype.attr("type");
  if (dtype.itemsize() != 2 || std::string(py::str(type.attr("__name__"))) != "bfloat16") return false;
  known = dtype.num();
  return true;
}

[[noreturn]] void refuse_dtype(py::handle dtype, const char* what_would_do) {
  throw py::type_error("out must have dtype " + std::string(what_would_do) + ", got " + std::string(py::str(dtype)));
}

Element float_element(const py::dtype& dtype) {
  if (dtype.byteorder() == '>' || dtype.byteorder() == '<') {  // NumPy writes native order as '='
    throw py::type_error("out must be in this machine's byte order, got dtype " + shown(dtype) +
                         "; out.astype(out.dtype.newbyteorder('=')) is a copy that is");
  }
  switch (dtype.num()) {
    case 11: return {ElementType::kFloat32, 4};  // NPY_FLOAT, NPY_DOUBLE, NPY_HALF
    case 12: return {ElementType::kFloat64, 8};
    case 23: return {ElementType::kFloat16, 2};
    default: break;
  }
  if (dtype.num() > 23 && is_bfloat16(dtype)) return {ElementType::kBfloat16, 2};
  refuse_dtype(dtype, kFloats);
}

std::size_t word_bytes(const py::dtype& dtype) {
  const bool native = dtype.byteorder() != '>' && dtype.byteorder() != '<';
  if (dtype.kind() != 'u' || !native || (dtype.itemsize() != 4 && dtype.itemsize() != 8)) {
    refuse_dtype(dtype, "uint32 or uint64, in this machine's byte order, for random_bits");
  }
  return std::size_t(dtype.itemsize());
}

py::array to_array(py::handle out) {
  if (!py::isinstance<py::array>(out)) {
    throw py::type_error("out must be a numpy.ndarray to write into, got " + type_name(out) +
                         "; make one with numpy.empty or fastinit.empty");
  }
  return py::reinterpret_borrow<py::array>(out);
}

std::string shape_text(py::handle array) { return std::string(py::str(array.attr("shape"))); }

// Two elements at one address would get one value. Contiguous arrays and strides that grow faster than what they span
// cannot overlap; the few arrays left are looked at element by element.
void need_no_overlap(const py::array& array, std::size_t element_bytes) {
  if (array.flags() & (py::array::c_style | py::array::f_style)) return;
  struct Axis {
    std::size_t n, stride;
  };
  std::vector<Axis> axes;
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    const py::ssize_t stride = array.strides(i);
    if (array.shape(i) == 0) return;
    if (array.shape(i) > 1) axes.push_back({std::size_t(array.shape(i)), std::size_t(stride < 0 ? -stride : stride)});
  }
  std::sort(axes.begin(), axes.end(), [](const Axis& x, const Axis& y) { return x.stride < y.stride; });
  std::size_t span = element_bytes;
  bool apart = true;
  for (const Axis& axis : axes) {
    apart = apart && axis.stride >= span;
    span += axis.stride * (axis.n - 1);
  }
  if (apart) return;
  constexpr std::size_t kMostToLookAt = std::size_t(1) << 20;  // 8 MiB for the list of places
  const bool few = std::size_t(array.size()) <= kMostToLookAt;
  bool overlaps = axes.front().stride < element_bytes;
  if (!overlaps && few) {
    std::vector<std::size_t> places{0};
    for (const Axis& axis : axes) {
      const std::size_t n = places.size();
      for (std::size_t k = 1; k < axis.n; ++k) {
        for (std::size_t i = 0; i < n; ++i) places.push_back(places[i] + k * axis.stride);
      }
    }
    std::sort(places.begin(), places.end());
    for (std::size_t i = 1; i < places.size(); ++i) overlaps = overlaps || places[i] - places[i - 1] < element_bytes;
    if (!overlaps) return;
  }
  const std::string what = overlaps ? "out has elements that overlap in memory, like a broadcast view"
                                    : "out's strides interleave, and it is too large to look for elements that overlap";
  throw py::value_error(what + ": got shape " + shape_text(array) + " with strides " +
                        std::string(py::str(array.attr("strides"))) +
                        "; pass an array where each element has its own place");
}

// The logical indices of `out`, alone or as a box of a larger tensor.
Box to_box(py::array& array, std::size_t element_bytes, const std::vector<std::uint64_t>& global_shape,
           const std::vector<std::uint64_t>& offset, bool is_box) {
  const auto n_dimensions = std::size_t(array.ndim());
  if (n_dimensions > std::size_t(kMaxDimensions)) {
    throw py::value_error("out must have at most " + std::to_string(kMaxDimensions) + " dimensions, got " +
                          std::to_string(n_dimensions));
  }
  Box box;  // its dimensions are written one by one: clearing all 64 first took 15 ns
  box.data = static_cast<unsigned char*>(array.mutable_data());
  box.element_bytes = element_bytes;
  box.first = 0;
  box.n_dimensions = int(n_dimensions);
  const auto place = [&] {
    const auto tuple = [](const std::vector<std::uint64_t>& extents) { return shown(py::tuple(py::cast(extents))); };
    return "shape " + shape_text(array) + ", global_shape " + tuple(global_shape) + ", offset " + tuple(offset);
  };
  if (is_box && (global_shape.size() != n_dimensions || offset.size() != n_dimensions)) {
    throw py::value_error("global_shape and offset must hold one integer for each dimension of out; got " + place());
  }
  const bool empty = std::find(global_shape.begin(), global_shape.end(), std::uint64_t(0)) != global_shape.end();
  std::uint64_t index_stride = 1;
  for (std::size_t i = n_dimensions; i-- > 0;) {
    const auto n = std::uint64_t(array.shape(py::ssize_t(i)));
    const std::uint64_t size = is_box ? global_shape[i] : n, from = is_box ? offset[i] : 0;
    if (from > size || n > size - from) {
      throw py::value_error("out does not lie inside global_shape at offset: in dimension " + std::to_string(i) +
                            " it covers " + std::to_string(n) + " elements from " + std::to_string(from) + " on, of " +
                            std::to_string(size) + "; got " + place());
    }
    box.dimensions[i] = {std::size_t(n), array.strides(py::ssize_t(i)), index_stride};
    if (empty || size == 0) continue;
    if (size > (std::uint64_t(1) << 63) / index_stride) {
      throw py::value_error("global_shape must have at most 2**63 elements; got " + place());
    }
    box.first += from * index_stride;
    index_stride *= size;
  }
  return box;
}

// --- seeds and streams

struct ProcessStream {
  std::mutex mutex;
  std::uint64_t seed = 0, next = 0;
  bool seeded = false, by_user = false;

  void seed_from_system() {
    std::random_device device;
    seed = std::uint64_t(device()) << 32 | device();
    next = 0;
    seeded = true;
    by_user = false;
  }
  void seed_by_user(std::uint64_t by_user_seed) {
    const std::lock_guard lock(mutex);
    seed = by_user_seed;
    next = 0;
    seeded = by_user = true;
  }
  std::uint64_t current_seed() {
    const std::lock_guard lock(mutex);
    if (!seeded) seed_from_system();
    return seed;
  }
  Stream take() {
    const std::lock_guard lock(mutex);
    if (!seeded) seed_from_system();
    return {seed, next++};
  }
  // In the child of a fork: another thread of the parent may have held the lock, and it is not here to give it back.
  void after_fork() {
    new (&mutex) std::mutex;
    if (!by_user) seeded = false;
  }
};
ProcessStream process_stream;

// Python's function from the name of a stream to its number. Set once, when the package is imported.
PyObject* stream_of_name = nullptr;

std::uint64_t to_stream(py::handle object) {
  if (!PyUnicode_Check(object.ptr())) return to_word(object, "stream", "an integer or a str");
  const auto number = py::reinterpret_steal<py::object>(PyObject_CallOneArg(stream_of_name, object.ptr()));
  if (!number) throw py::error_already_set();
  return to_word(number, "stream");
}

// --- the calls

Generator to_generator(py::handle rng) {
  if (!PyUnicode_Check(rng.ptr())) {
    throw py::type_error("rng must be 'ars' or 'philox', got " + shown(rng) + " of type " + type_name(rng));
  }
  if (PyUnicode_CompareWithASCIIString(rng.ptr(), "ars") == 0) return Generator::kArs;
  if (PyUnicode_CompareWithASCIIString(rng.ptr(), "philox") == 0) return Generator::kPhilox;
  throw py::value_error("rng must be 'ars' or 'philox', got " + shown(rng));
}

std::vector<std::uint64_t> to_extents(py::handle object, const char* name) {
  const auto wanted = "a sequence of one integer for each dimension of out";
  if (PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr())) refuse_type(object, name, wanted);
  const auto items = py::reinterpret_steal<py::object>(PySequence_Fast(object.ptr(), ""));
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

// The arguments that all distributions share. Converting them may run the caller's code (__index__), which may do
// anything, also to `out`: so they are converted before anything is read from it.
struct Common {
  bool has_seed, has_stream, is_box;
  std::uint64_t seed = 0, stream = 0;
  std::vector<std::uint64_t> global_shape, offset;
  int threads = 0;  // 0: as many as pay
  Generator generator;

  Common(py::handle seed_or_none, py::handle stream_or_none, py::handle shape_or_none, py::handle offset_or_none,
         py::handle threads_or_none, py::handle rng)
      : has_seed(!seed_or_none.is_none()),
        has_stream(!stream_or_none.is_none()),
        is_box(!shape_or_none.is_none()),
        generator(to_generator(rng)) {
    if (is_box == offset_or_none.is_none()) {
      throw py::value_error("global_shape and offset must be given together: the shape of the tensor that out is a box "
                            "of, and the place of the box in it; got global_shape " + shown(shape_or_none) +
                            ", offset " + shown(offset_or_none));
    }
    if (is_box) {
      global_shape = to_extents(shape_or_none, "global_shape");
      offset = to_extents(offset_or_none, "offset");
    }
    if (has_seed) seed = to_word(seed_or_none, "seed");
    if (has_stream) stream = to_stream(stream_or_none);
    threads = threads_or_none.is_none() ? wished_threads() : to_threads(threads_or_none, "threads");
  }
};

// While it lives, other threads may run Python. An interpreter that shuts down ends every thread that asks for the GIL:
// CPython before 3.14 by pthread_exit, which on glibc unwinds the stack like an exception, through a noexcept destructor
// (then the process aborts) or through ones that touch Python's objects. Such a thread rests here until the process ends,
// as in 3.14.
class WithoutGil {
  PyThreadState* const state_ = PyEval_SaveThread();

 public:
  WithoutGil() = default;
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // never left: this is no exception that could be
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
};

// `plan` is made, everything is converted: from here on none of the caller's code runs, and only the array itself, its
// place in the larger tensor and FASTINIT_TARGET can be refused.
void run(py::array& array, const Plan& plan, bool bits, Element element, const Common& common) {
  if (!array.writeable()) throw py::value_error("out is read-only; pass an array whose flags.writeable is True");
  need_no_overlap(array, element.bytes);
  const Box box = to_box(array, element.bytes, common.global_shape, common.offset, common.is_box);
  const KernelTable& table = kernels();
  const bool small = std::size_t(array.size()) < kReleaseGil;
  const int threads = small ? 1 : common.threads > 0 ? common.threads : available_cpus();
  Task task;
  if (!plan.constant) {
    const int generator = int(common.generator);
    task.kernel = bits ? table.bits[generator][element.bytes == 8]
                       : table.fill[generator][int(plan.transform)][int(element.type)];
    task.parameters = plan.parameters;
    // Last, so that no refused call uses up a stream.
    task.stream = common.has_seed     ? Stream{common.seed, common.stream}
                  : common.has_stream ? Stream{process_stream.current_seed(), common.stream}
                                      : process_stream.take();
  }
  const auto write = [&] {
    if (plan.constant) {
      fill_constant(table, plan.parameters.constant_bits, box, threads);
    } else {
      fill(task, box, threads);
    }
  };
  if (small) return write();
  const WithoutGil without_gil;
  write();
}

void py_fill(py::handle out, py::handle distribution_number, py::handle a, py::handle b, py::handle c, py::handle d,
             py::handle seed, py::handle stream, py::handle global_shape, py::handle offset, py::handle threads,
             py::handle rng) {
  py::array array = to_array(out);
  const auto distribution = Distribution(py::cast<int>(distribution_number));
  const ArgumentNames names = argument_names(distribution);
  const py::handle given[4] = {a, b, c, d};
  Arguments arguments{};
  for (int i = 0; i < names.n; ++i) arguments[std::size_t(i)] = to_double(given[i], names.name[i]);
  const Common common(seed, stream, global_shape, offset, threads, rng);
  if (distribution == Distribution::kBits) {
    const std::size_t bytes = word_bytes(array.dtype());
    return run(array, Plan(), true, {ElementType::kFloat32, bytes}, common);
  }
  const Element element = float_element(array.dtype());
  run(array, make_plan(distribution, element.type, arguments), false, element, common);
}

void py_fill_scaled(py::handle out, py::handle distribution_number, py::handle gain, py::handle scale, py::handle n,
                    py::handle seed, py::handle stream, py::handle global_shape, py::handle offset, py::handle threads,
                    py::handle rng) {
  py::array array = to_array(out);
  const auto distribution = Distribution(py::cast<int>(distribution_number));
  const double numbers[3] = {to_double(gain, "gain"), to_double(scale, "scale"), to_double(n, "the mean of the fans")};
  const Common common(seed, stream, global_shape, offset, threads, rng);
  const Element element = float_element(array.dtype());
  run(array, make_scaled_plan(distribution, element.type, numbers[0], numbers[1], numbers[2]), false, element, common);
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

PYBIND11_MODULE(_core, module, py::mod_gil_not_used()) {
  fastinit::prepare_for_forks();
  using namespace fastinit;
  module.doc() = "The compiled core of fastinit. Private.";
  module.attr("__version__") = FASTINIT_VERSION;
  module.attr("stream_format") = kStreamFormat;
  module.attr("BITS") = int(Distribution::kBits);
  module.attr("UNIFORM") = int(Distribution::kUniform);
  module.attr("NORMAL") = int(Distribution::kNormal);
  module.attr("TRUNCATED") = int(Distribution::kTruncated);
  module.attr("TRUNCATED_STD") = int(Distribution::kTruncatedStd);
  module.attr("CONSTANT") = int(Distribution::kConstant);
  if (PyModule_AddFunctions(module.ptr(), fast_methods) != 0) throw py::error_already_set();
  module.def("real", [](py::handle value, const char* name, const char* wanted) { return to_real(value, name, wanted); });
  module.def("arithmetic_mean", &arithmetic_mean);
  module.def("geometric_mean", &geometric_mean);
  module.def("slope_scale", &slope_scale);
  module.def("square_root", &square_root);
  module.def("name_streams", [](py::function stream_of) { stream_of_name = stream_of.release().ptr(); });
  module.def("manual_seed", [](py::handle seed) { process_stream.seed_by_user(to_word(seed, "seed")); });
  module.def("initial_seed", [] { return process_stream.current_seed(); });
  module.def("take_stream", [] {
    const Stream taken = process_stream.take();
    return py::make_tuple(taken.seed, taken.stream);
  });
  module.def("reseed_child", [] { process_stream.after_fork(); });
  module.def("set_num_threads", [](py::handle threads) { set_wished_threads(to_threads(threads, "threads")); });
  module.def("get_num_threads", &number_of_threads);
  module.def("allocate", &py_allocate);
  module.def("config", &config);
  module.def("set_target", [](const py::object& name) {
    set_target(name.is_none() ? std::string() : py::cast<std::string>(name));
  });
  module.def("set_grain", &set_grain);
  module.def("known_answer", &py_known_answer);
}
