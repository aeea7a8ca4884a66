#include "python/views.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>

#include "engine/box.hpp"
#include "python/calls.hpp"

namespace fastinit {
namespace {

// --- messages

std::string tuple_text(const std::ptrdiff_t* extents, int n) {
  std::string text = "(";
  for (int i = 0; i < n; ++i) text += (i > 0 ? ", " : "") + std::to_string(extents[i]);
  return text + (n == 1 ? ",)" : ")");
}

[[noreturn]] void refuse_type(const std::string& type, Elements wanted) {
  const char* will_do = wanted == Elements::kFloats
                            ? "float32, float64, float16, bfloat16, float8_e4m3fn or float8_e5m2"
                        : wanted == Elements::kWords
                            ? "uint32 or uint64, in this machine's byte order, for random_bits"
                            : "int8, uint8, int16, uint16, int32 or uint32, in this machine's byte order, for integers";
  throw py::type_error("out must have dtype " + std::string(will_do) + ", got " + type);
}

[[noreturn]] void refuse_byte_order(const std::string& type, const char* what_would_do) {
  throw py::type_error("out must be in this machine's byte order, got " + type + what_would_do);
}

[[noreturn]] void refuse_read_only(const std::string& what_would_do) {
  throw py::value_error("out is read-only; " + what_would_do);
}

// An exception's type and the first line of its text.
std::string error_text(const py::error_already_set& error) {
  std::string text = text_of(attribute(error.type(), "__name__"));
  const auto said = py::reinterpret_steal<py::object>(in_python([&] { return PyObject_Str(error.value().ptr()); }));
  const auto bytes = py::reinterpret_steal<py::object>(
      said ? PyUnicode_AsEncodedString(said.ptr(), "utf-8", "backslashreplace") : nullptr);
  if (!bytes) {
    PyErr_Clear();
    return text;
  }
  const std::string line = PyBytes_AS_STRING(bytes.ptr());
  return text + ": " + line.substr(0, line.find('\n'));
}

// What the owner of the memory answers. Its refusal becomes a refusal of `out`, in its own words.
template <class Ask>
auto ask(const char* what, const Ask& question) {
  try {
    return question();
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_Exception) || error.matches(PyExc_MemoryError)) throw;
    const std::string text = "out gives no access to its memory: " + std::string(what) + " raised " + error_text(error);
    py::raise_from(error, error.matches(PyExc_TypeError) ? PyExc_TypeError : PyExc_ValueError, text.c_str());
    throw py::error_already_set();
  }
}

// --- arrays of NumPy

// ml_dtypes' types register themselves with NumPy at run time; their type numbers are not known beforehand.
struct Registered {
  const char* name;
  Element element;
  std::atomic<int> number{-1};  // once seen
};
Registered registered[] = {{"bfloat16", {ElementType::kBfloat16, 2}},
                           {"float8_e4m3fn", {ElementType::kFloat8E4m3fn, 1}},
                           {"float8_e5m2", {ElementType::kFloat8E5m2, 1}}};

std::optional<Element> element_of_registered(const py::dtype& dtype) {
  for (const Registered& known : registered) {
    if (dtype.num() == known.number) return known.element;
  }
  const std::string name = text_of(attribute(attribute(dtype, "type"), "__name__"));
  for (Registered& wanted : registered) {
    if (name != wanted.name || std::size_t(dtype.itemsize()) != wanted.element.bytes) continue;
    wanted.number = dtype.num();
    return wanted.element;
  }
  return {};
}

// An integer of that size, if it will do.
std::optional<Element> integer_of(bool is_signed, std::size_t bytes, Elements wanted) {
  const bool will_do = wanted == Elements::kWords ? !is_signed && (bytes == 4 || bytes == 8)
                                                  : bytes == 1 || bytes == 2 || bytes == 4;
  return will_do ? std::optional(Element{ElementType::kFloat32, bytes, is_signed}) : std::nullopt;
}

Element element_of(const py::dtype& dtype, Elements wanted) {
  const bool foreign = dtype.byteorder() == '>' || dtype.byteorder() == '<';  // NumPy writes native order as '='
  if (wanted != Elements::kFloats) {
    if ((dtype.kind() == 'u' || dtype.kind() == 'i') && !foreign) {
      if (const auto element = integer_of(dtype.kind() == 'i', std::size_t(dtype.itemsize()), wanted)) return *element;
    }
  } else if (foreign) {
    refuse_byte_order("dtype " + shown(dtype), "; out.astype(out.dtype.newbyteorder('=')) makes a copy that is");
  } else {
    switch (dtype.num()) {
      case 11: return {ElementType::kFloat32, 4};  // NPY_FLOAT, NPY_DOUBLE, NPY_HALF
      case 12: return {ElementType::kFloat64, 8};
      case 23: return {ElementType::kFloat16, 2};
      default: break;
    }
    if (dtype.num() > 23) {
      if (const auto element = element_of_registered(dtype)) return *element;
    }
  }
  refuse_type(text_of(dtype), wanted);
}

// --- DLPack: https://dmlc.github.io/dlpack/latest/c_api.html and python_spec.html
//
// Its structures as dlpack.h of DLPack 1.0 has them. A later minor version keeps their layout, and a tensor of another
// major version is refused. tests/test_views.py reads NumPy's and torch's capsules by the same fields.

namespace dlpack {

struct Device {
  std::int32_t type, id;
};

struct DataType {
  std::uint8_t code, bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t n_dimensions;
  DataType type;
  std::int64_t* shape;
  std::int64_t* strides;  // elements; null: row-major without gaps
  std::uint64_t byte_offset;
};

// What a capsule holds, before version 1.0 and since. Whoever takes it renames the capsule, and calls the deleter when
// the memory is no longer needed.
struct Managed {
  static constexpr const char *kName = "dltensor", *kUsed = "used_dltensor";
  Tensor tensor;
  void* context;
  void (*deleter)(Managed*);
};

struct VersionedManaged {
  static constexpr const char *kName = "dltensor_versioned", *kUsed = "used_dltensor_versioned";
  std::uint32_t major, minor;
  void* context;
  void (*deleter)(VersionedManaged*);
  std::uint64_t flags;
  Tensor tensor;
};

constexpr std::uint64_t kReadOnly = 1, kCopied = 2;
constexpr int kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kE4m3fn = 10, kE5m2 = 12;  // the last two since version 1.1
constexpr int kFirstSized = 7;  // from here on a type has one size
constexpr std::uint32_t kMajor = 1;  // the version of these structures

constexpr const char* kDevices[] = {
    "",       "cpu",   "cuda", "cuda_host", "opencl",  "",          "",             "vulkan", "metal",
    "vpi",    "rocm",  "rocm_host", "ext_dev", "cuda_managed", "oneapi", "webgpu", "hexagon", "maia"};

// Pinned memory (3: by CUDA, 11: by ROCm) is memory of the host.
void need_cpu(const Device& device, py::handle out) {
  if (device.type == 1 || device.type == 3 || device.type == 11) return;
  const bool known = device.type > 0 && std::size_t(device.type) < std::size(kDevices) && *kDevices[device.type] != 0;
  throw py::value_error("out must be in the memory of the CPU, got a " + type_name(out) + " on " +
                        (known ? kDevices[device.type] : "DLPack's device type " + std::to_string(device.type)) + ":" +
                        std::to_string(device.id) + "; fill an array in CPU memory and copy it");
}

std::string type_text(const DataType& type) {
  const char* const names[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool",
                               // whose names say how many bits they have
                               "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz",
                               "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn",
                               "float4_e2m1fn"};
  const bool known = type.code < std::size(names);
  std::string text = known ? names[type.code] : "DLPack's type " + std::to_string(type.code) + " of bits ";
  if (!known || type.code < kFirstSized) text += std::to_string(type.bits);
  return type.lanes == 1 ? text : text + " in vectors of " + std::to_string(type.lanes);
}

Element element_of(const DataType& type, Elements wanted) {
  const auto is = [&type](int code, int bits) { return type.code == code && type.bits == bits && type.lanes == 1; };
  if (wanted != Elements::kFloats) {
    if ((type.code == kInt || type.code == kUint) && type.lanes == 1 && type.bits % 8 == 0) {
      if (const auto element = integer_of(type.code == kInt, type.bits / 8, wanted)) return *element;
    }
  } else {
    if (is(kFloat, 32)) return {ElementType::kFloat32, 4};
    if (is(kFloat, 64)) return {ElementType::kFloat64, 8};
    if (is(kFloat, 16)) return {ElementType::kFloat16, 2};
    if (is(kBfloat, 16)) return {ElementType::kBfloat16, 2};
    if (is(kE4m3fn, 8)) return {ElementType::kFloat8E4m3fn, 1};
    if (is(kE5m2, 8)) return {ElementType::kFloat8E5m2, 1};
  }
  refuse_type(type_text(type), wanted);
}

template <class ManagedTensor>
struct TensorLoan : Loan {
  ManagedTensor* managed = nullptr;
  ~TensorLoan() override {
    if (managed != nullptr && managed->deleter != nullptr) managed->deleter(managed);
  }
};

// What the capsule holds, or nullptr if it is of the other kind.
template <class ManagedTensor>
ManagedTensor* take(py::handle capsule, std::unique_ptr<Loan>& loan) {
  if (!PyCapsule_IsValid(capsule.ptr(), ManagedTensor::kName)) return nullptr;
  auto taken = std::make_unique<TensorLoan<ManagedTensor>>();
  auto* const managed = static_cast<ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), ManagedTensor::kName));
  if (PyCapsule_SetName(capsule.ptr(), ManagedTensor::kUsed) != 0) throw py::error_already_set();
  taken->managed = managed;
  loan = std::move(taken);
  return managed;
}

// A capsule of the older kind cannot say that its memory must not change. These libraries, whose arrays are immutable,
// give no other one (jax 0.10, tensorflow 2.21).
bool is_immutable(py::handle out) {
  const py::object module = attribute(py::type::of(out), "__module__");
  if (!PyUnicode_Check(module.ptr())) return false;
  const std::string name = text_of(module), root = name.substr(0, name.find('.'));
  return root == "jaxlib" || root == "jax" || root == "tensorflow";
}

}  // namespace dlpack

// --- buffers

struct BufferLoan : Loan {
  Py_buffer buffer{};
  ~BufferLoan() override { PyBuffer_Release(&buffer); }  // one that was never got has no object, and is left alone
};

// The struct module's format of one native number, or nothing.
std::optional<Element> element_of(const Py_buffer& buffer, char type, Elements wanted) {
  const auto bytes = std::size_t(buffer.itemsize);
  if (wanted != Elements::kFloats) {
    const bool is_signed = std::strchr("bhilqn", type) != nullptr;
    if (is_signed || std::strchr("BHILQN", type) != nullptr) return integer_of(is_signed, bytes, wanted);
  } else {
    if (type == 'f' && bytes == 4) return Element{ElementType::kFloat32, 4};
    if (type == 'd' && bytes == 8) return Element{ElementType::kFloat64, 8};
    if (type == 'e' && bytes == 2) return Element{ElementType::kFloat16, 2};
  }
  return {};
}

Element element_of(const Py_buffer& buffer, Elements wanted) {
  const std::string format = buffer.format == nullptr ? "B" : buffer.format;
  constexpr bool little = std::endian::native == std::endian::little;
  const bool ordered = !format.empty() && std::strchr("@=<>!", format[0]) != nullptr;
  const bool foreign = ordered && std::strchr(little ? ">!" : "<", format[0]) != nullptr;
  const std::string type = format.substr(ordered ? 1 : 0);
  const auto element = type.size() == 1 ? element_of(buffer, type[0], wanted) : std::nullopt;
  if (element && foreign) refuse_byte_order("a buffer of format '" + format + "'", "");
  if (element) return *element;
  refuse_type("a buffer of format '" + format + "'", wanted);
}

// --- overlaps

// Two elements at one address would get one value. Strides that grow faster than what they span cannot overlap; the few
// arrays left are looked at element by element.
void need_no_overlap(const View& view) {
  struct Axis {
    std::size_t n, stride;
  };
  const std::size_t element_bytes = view.element.bytes;
  std::vector<Axis> axes;
  for (int i = 0; i < view.n_dimensions; ++i) {
    const std::ptrdiff_t stride = view.strides[i];
    if (view.shape[i] == 0) return;
    if (view.shape[i] > 1) axes.push_back({std::size_t(view.shape[i]), size_of(stride)});
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
  const bool few = view.n_elements() <= kMostToLookAt;
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
                                    : "out's strides interleave, and it is too large to check for overlapping elements";
  throw py::value_error(what + ": got shape " + view.shape_text() + " with strides " +
                        tuple_text(view.strides, view.n_dimensions) +
                        " bytes; pass an array where each element has its own place");
}

}  // namespace

std::string type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

std::string shown(py::handle object) {
  if (py::isinstance<py::array>(object)) {
    return "an array of shape " + text_of(attribute(object, "shape")) + " and dtype " +
           text_of(attribute(object, "dtype"));
  }
  // ascii(): a name with a lone surrogate has no UTF-8.
  std::string text = py::str(owned(in_python([&] { return PyObject_ASCII(object.ptr()); })));
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

// --- views

void View::take_array(py::handle out, Elements wanted, Access access) {
  const auto array = py::reinterpret_borrow<py::array>(out);
  if (wanted != Elements::kAny) element = element_of(array.dtype(), wanted);
  if (access == Access::kWrite && !array.writeable()) refuse_read_only("pass an array whose flags.writeable is True");
  data = static_cast<unsigned char*>(const_cast<void*>(array.data()));
  set_dimensions(array.ndim());
  shape = array.shape();
  strides = array.strides();
  const bool contiguous = (array.flags() & (py::array::c_style | py::array::f_style)) != 0;
  if (access == Access::kWrite && !contiguous) need_no_overlap(*this);
}

void View::take_tensor(py::handle out, Elements wanted, Access access) {
  const auto device = ask("__dlpack_device__", [&] {
    const py::object pair = call(attribute(out, "__dlpack_device__"));
    PyObject* const numbers = pair.ptr();
    const auto refuse = [&] {
      throw py::type_error("out's __dlpack_device__ must return a tuple of two integers, got " + shown(pair));
    };
    if (!PyTuple_Check(numbers) || PyTuple_GET_SIZE(numbers) != 2) refuse();
    const auto number = [&](int i) {
      PyObject* const item = PyTuple_GET_ITEM(numbers, i);
      if (!PyIndex_Check(item)) refuse();
      int overflow = 0;
      const long value =
          PyLong_AsLongAndOverflow(owned(in_python([&] { return PyNumber_Index(item); })).ptr(), &overflow);
      if (overflow != 0 || value != std::int32_t(value)) refuse();
      return std::int32_t(value);
    };
    return dlpack::Device{number(0), number(1)};
  });
  dlpack::need_cpu(device, out);
  // PyTorch's views that negate what they show (of a conjugate's imaginary part) are exported as if they did not.
  const auto negates = [&] { return has_attribute(out, "is_neg") && is_true(call(attribute(out, "is_neg"))); };
  if (ask("is_neg", negates)) {
    throw py::value_error("out must not be a negated view, got one; out.resolve_neg() makes a plain copy");
  }
  const py::object capsule = ask("__dlpack__", [&]() -> py::object {
    using namespace py::literals;
    const py::object export_ = attribute(out, "__dlpack__");
    try {
      return call(export_, py::dict("max_version"_a = py::make_tuple(dlpack::kMajor, 0), "copy"_a = false));
    } catch (const py::error_already_set& error) {
      if (!error.matches(PyExc_TypeError)) throw;
    }
    return call(export_);  // a library of before version 1.0, whose method has no such keywords
  });
  const dlpack::Tensor* tensor = nullptr;
  if (const auto* managed = dlpack::take<dlpack::VersionedManaged>(capsule, loan_)) {
    if (managed->major != dlpack::kMajor) {
      throw py::value_error("out must support DLPack version 1, got version " + std::to_string(managed->major));
    }
    tensor = &managed->tensor;
    if (access == Access::kWrite && (managed->flags & dlpack::kReadOnly)) refuse_read_only("its __dlpack__ says so");
    if (access == Access::kWrite && (managed->flags & dlpack::kCopied)) {
      throw py::value_error("out must expose its own memory, but its __dlpack__ returned a copy");
    }
  } else if (const auto* old = dlpack::take<dlpack::Managed>(capsule, loan_)) {
    tensor = &old->tensor;
    if (access == Access::kWrite && dlpack::is_immutable(out)) {
      refuse_read_only("a " + type_name(out) + " is immutable: fill a numpy.ndarray and convert it");
    }
  } else {
    throw py::type_error("out's __dlpack__ must return an unused DLPack capsule, got " + shown(capsule));
  }
  dlpack::need_cpu(tensor->device, out);
  if (wanted != Elements::kAny) element = dlpack::element_of(tensor->type, wanted);
  data = static_cast<unsigned char*>(tensor->data) + tensor->byte_offset;
  set_dimensions(tensor->n_dimensions);
  const std::size_t element_bytes = tensor->type.bits * tensor->type.lanes / 8;
  if (tensor->strides != nullptr) {
    for (int i = 0; i < n_dimensions; ++i) {
      loan_->strides.push_back(std::ptrdiff_t(std::size_t(tensor->strides[i]) * element_bytes));
    }
  }
  lay_out({tensor->shape, tensor->shape + n_dimensions}, element_bytes);
  if (tensor->data == nullptr && n_elements() > 0) {
    throw py::value_error("out must have memory, got a " + type_name(out) + " whose __dlpack__ gives a null pointer");
  }
  if (access == Access::kWrite) need_no_overlap(*this);
}

void View::take_buffer(py::handle out, Elements wanted, Access access) {
  auto loan = std::make_unique<BufferLoan>();
  Py_buffer& buffer = loan->buffer;
  const auto lend = [&](int flags) { return in_python([&] { return PyObject_GetBuffer(out.ptr(), &buffer, flags); }); };
  if (access == Access::kRead || lend(PyBUF_RECORDS) != 0) {
    PyErr_Clear();
    ask("its buffer", [&] {
      if (lend(PyBUF_RECORDS_RO) != 0) throw py::error_already_set();
      return true;
    });
    if (access == Access::kWrite) refuse_read_only("pass a writable buffer");
  }
  if (wanted != Elements::kAny) element = element_of(buffer, wanted);
  data = static_cast<unsigned char*>(buffer.buf);
  set_dimensions(buffer.ndim);
  if (buffer.strides != nullptr) loan->strides.assign(buffer.strides, buffer.strides + n_dimensions);
  const std::vector<std::ptrdiff_t> extents(buffer.shape, buffer.shape + (buffer.shape == nullptr ? 0 : n_dimensions));
  const auto element_bytes = std::size_t(buffer.itemsize);
  loan_ = std::move(loan);
  lay_out(extents, element_bytes);
  if (access == Access::kWrite) need_no_overlap(*this);
}

void View::set_dimensions(std::ptrdiff_t n) {
  if (n < 0 || n > kMaxDimensions) {
    throw py::value_error("out must have from 0 to " + std::to_string(kMaxDimensions) + " dimensions, got " +
                          std::to_string(n));
  }
  n_dimensions = int(n);
}

// Shape and strides of what is lent; without strides it is row-major without gaps. NumPy keeps shapes in bounds, others
// may not: a view with strides of 0 or 1 can have any product.
void View::lay_out(const std::vector<std::ptrdiff_t>& extents, std::size_t element_bytes) {
  loan_->shape = extents;
  shape = loan_->shape.data();
  auto most = std::numeric_limits<std::ptrdiff_t>::max() / std::max<std::ptrdiff_t>(std::ptrdiff_t(element_bytes), 1);
  for (const std::ptrdiff_t extent : extents) {
    if (extent < 0 || extent > most) {
      throw py::value_error("out must have a shape of less than 2**63 bytes, each extent at least 0, got " +
                            shape_text());
    }
    most /= std::max<std::ptrdiff_t>(extent, 1);
  }
  if (loan_->strides.size() != extents.size()) {
    loan_->strides.resize(extents.size());
    auto stride = std::ptrdiff_t(element_bytes);
    for (std::size_t i = extents.size(); i-- > 0; stride *= std::max<std::ptrdiff_t>(extents[i], 1)) {
      loan_->strides[i] = stride;
    }
  }
  strides = loan_->strides.data();
}

View::View(py::handle out, Elements wanted, Access access) {
  if (py::isinstance<py::array>(out)) {
    take_array(out, wanted, access);
  } else if (has_attribute(out, "__dlpack__") && has_attribute(out, "__dlpack_device__")) {
    take_tensor(out, wanted, access);
  } else if (PyObject_CheckBuffer(out.ptr())) {
    take_buffer(out, wanted, access);
  } else {
    throw py::type_error("out must be a numpy.ndarray, a tensor with __dlpack__ or a writable buffer, got " +
                         type_name(out) + "; make an array with numpy.empty or fastinit.empty");
  }
}

std::size_t View::n_elements() const {
  std::size_t n = 1;
  for (int i = 0; i < n_dimensions; ++i) n *= std::size_t(shape[i]);
  return n;
}

std::string View::shape_text() const { return tuple_text(shape, n_dimensions); }

}  // namespace fastinit
