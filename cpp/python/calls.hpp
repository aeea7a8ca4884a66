// Calls that may run Python code, and so may not come back. bindings.cpp and views.cpp make theirs here. What is given
// back is no such call, though a finalizer of the caller's may run then.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <string>
#include <thread>

namespace fastinit {

namespace py = pybind11;

// An interpreter that shuts down ends every other thread that asks for the GIL: CPython before 3.14 by pthread_exit,
// which on glibc unwinds the stack like an exception, through a noexcept destructor (then the process aborts) or
// through ones that touch Python's objects without the GIL. Such a thread rests here until the process ends, as in
// 3.14: in a destructor, since `catch (...)` aborts where an exception is being handled already.
struct RestUnlessBack {
  bool is_back = false;
  ~RestUnlessBack() {
    while (!is_back) std::this_thread::sleep_for(std::chrono::hours(1));
  }
};

// `call` must be C alone: handles and functions of the C API, no object of pybind11, which would be destroyed first.
template <class Call>
auto in_python(const Call& call) {
  RestUnlessBack rest;
  const auto result = call();
  rest.is_back = true;
  return result;
}

// A new reference, or the error that was set.
inline py::object owned(PyObject* result) {
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

inline bool succeeded(int result) {
  if (result < 0) throw py::error_already_set();
  return result != 0;
}

inline py::object attribute(py::handle object, const char* name) {
  return owned(in_python([&] { return PyObject_GetAttrString(object.ptr(), name); }));
}

inline bool has_attribute(py::handle object, const char* name) {
  return in_python([&] { return PyObject_HasAttrString(object.ptr(), name); }) != 0;
}

inline py::object call(py::handle function, const py::dict& keywords = {}) {
  const py::tuple nothing(0);
  return owned(in_python([&] { return PyObject_Call(function.ptr(), nothing.ptr(), keywords.ptr()); }));
}

inline bool is_instance(py::handle object, py::handle type) {
  return succeeded(in_python([&] { return PyObject_IsInstance(object.ptr(), type.ptr()); }));
}

inline bool is_true(py::handle object) {
  return succeeded(in_python([&] { return PyObject_IsTrue(object.ptr()); }));
}

inline std::string text_of(py::handle object) {
  return py::str(owned(in_python([&] { return PyObject_Str(object.ptr()); })));
}

// While it lives, other threads may run Python.
class WithoutGil {
  PyThreadState* const state_ = PyEval_SaveThread();

 public:
  WithoutGil() = default;
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;
  ~WithoutGil() noexcept(false) {  // a noexcept function need not run destructors before it aborts
    in_python([this] {
      PyEval_RestoreThread(state_);
      return true;
    });
  }
};

}  // namespace fastinit
