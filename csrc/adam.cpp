// Adam (Kingma and Ba 2015), sparse: what has no gradient stays as it is, moments included.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kColumnsPerTask = 512;

// One step for up to sixteen neighbours; `shrink` is the decay's factor.
GENEFACE_INLINE void adam_lanes(const AdamArgs& a, ptrdiff_t at, int lanes, const Floats& grad, float lr,
                                float shrink) {
  const Ints touched = grad != 0.f;
  if (!any(touched)) return;
  const Floats param = load_some(a.param + at, lanes);
  const Floats first = load_some(a.first + at, lanes), second = load_some(a.second + at, lanes);
  const Floats mean = first + (1 - a.beta1) * (grad - first);
  const Floats square = second + (1 - a.beta2) * (grad * grad - second);
  const Floats change = lr / a.correction1 * mean / (square_root(square * (1 / a.correction2)) + a.eps);
  store_some(select(touched, param * shrink - change, param), a.param + at, lanes);
  store_some(select(touched, mean, first), a.first + at, lanes);
  store_some(select(touched, square, second), a.second + at, lanes);
}

}  // namespace

void adam(const AdamArgs& args) {
  const int strips = (args.columns + kColumnsPerTask - 1) / kColumnsPerTask;
  for_each_task(args.rows * strips, [&](int task) {
    const int row = task / strips, start = task % strips * kColumnsPerTask;
    const int end = smaller(args.columns, start + kColumnsPerTask);
    for (int i = start; i < end; i += kLanes) {
      const ptrdiff_t at = static_cast<ptrdiff_t>(row) * args.columns + i;
      adam_lanes(args, at, end - i, load_some(args.grad + at, end - i), args.lr[row], 1.f);
    }
  });
}

void adam_basis(const AdamBasisArgs& args) {
  const AdamArgs& a = args.adam;
  const ptrdiff_t table = static_cast<ptrdiff_t>(a.rows) * a.columns;
  // A task is one row of one condition value's table: long runs of memory.
  for_each_task(args.condition_count * a.rows, [&](int task) {
    const int row = task % a.rows;
    const float value = args.condition[task / a.rows];
    const float* grad = a.grad + static_cast<ptrdiff_t>(row) * a.columns;
    for (int i = 0; i < a.columns; i += kLanes)
      adam_lanes(a, task / a.rows * table + static_cast<ptrdiff_t>(row) * a.columns + i, a.columns - i,
                 load_some(grad + i, a.columns - i) * value, a.lr[row], args.shrink[row]);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
