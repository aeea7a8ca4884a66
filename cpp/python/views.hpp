// Objects with memory: what `out` may be. An array of NumPy, a tensor of any library that speaks DLPack, a buffer (PEP
// 3118): each becomes a View. pybind11 is for the files of this room alone.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/contract.hpp"

namespace fastinit {

namespace py = pybind11;

struct Element {
  ElementType type;  // of a float
  std::size_t bytes;
  bool is_signed = false;  // of an integer
};

// Which types will do: those of ElementType; uint32 and uint64; integers of 1, 2 and 4 bytes; all.
enum class Elements { kFloats, kWords, kIntegers, kAny };
enum class Access { kRead, kWrite };

// Memory that its owner lends until this is destroyed, which must happen under the GIL.
struct Loan {
  std::vector<std::ptrdiff_t> shape, strides;  // where the owner has none in the form that View wants
  virtual ~Loan() = default;
};

// Throws TypeError or ValueError that names `out`. To make one may run the owner's code (__dlpack__).
struct View {
  View(py::handle out, Elements wanted, Access access);
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  std::size_t n_elements() const;
  std::string shape_text() const;

  unsigned char* data = nullptr;
  int n_dimensions = 0;  // at most kMaxDimensions
  const std::ptrdiff_t* shape = nullptr;
  const std::ptrdiff_t* strides = nullptr;  // bytes
  Element element{};                        // unless any will do

 private:
  void take_array(py::handle out, Elements wanted, Access access);
  void take_tensor(py::handle out, Elements wanted, Access access);
  void take_buffer(py::handle out, Elements wanted, Access access);
  void set_dimensions(std::ptrdiff_t n);
  void lay_out(const std::vector<std::ptrdiff_t>& extents, std::size_t element_bytes);

  std::unique_ptr<Loan> loan_;  // none for an array: the caller holds it
};

// For messages: what came, short and on one line; the name of its type.
std::string shown(py::handle object);
std::string type_name(py::handle object);

}  // namespace fastinit
