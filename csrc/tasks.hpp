// run_tasks() for lambdas, one copy for each instruction set (see wide.hpp).
#pragma once

#include "pool.hpp"

namespace geneface {
namespace GENEFACE_TARGET {

template <class Body>
inline void for_each_task(int count, const Body& body) {
  run_tasks(
      count, [](void* context, int index) { (*static_cast<const Body*>(context))(index); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

template <class T>
constexpr T smaller(T a, T b) {
  return a < b ? a : b;
}
template <class T>
constexpr T larger(T a, T b) {
  return a > b ? a : b;
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
