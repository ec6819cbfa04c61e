// What the files of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "kernels.hpp"

namespace geneface {

template <class T>
using Array = nanobind::ndarray<T, nanobind::c_contig, nanobind::device::cpu>;
template <class T>
using Matrix = nanobind::ndarray<T, nanobind::ndim<2>, nanobind::device::cpu>;  // contiguous rows at any distance

template <class T>
Rows<T> rows(const Matrix<T>& m) {
  return {m.data(), static_cast<ptrdiff_t>(m.stride(0))};
}

// Kernels count in ints, and round counts up to whole tasks.
inline int length(size_t size) {
  constexpr size_t kRoom = 1 << 16;
  if (size > INT32_MAX - kRoom) throw std::invalid_argument("array is too large");
  return static_cast<int>(size);
}

const Kernels& active_kernels();
void register_fields(nanobind::module_& m);

}  // namespace geneface
