// Adam (Kingma and Ba 2015), sparse: what has no gradient stays as it is, moments included.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kColumnsPerTask = 512;

// One step for sixteen values, where they have a gradient; `shrink` is the decay's factor.
GENEFACE_INLINE void adam_step(const AdamRule& rule, const Floats& grad, float lr, float shrink, Floats& param,
                               Floats& first, Floats& second) {
  const Ints touched = grad != 0.f;
  const Floats mean = first + (1 - rule.beta1) * (grad - first);
  const Floats square = second + (1 - rule.beta2) * (grad * grad - second);
  const Floats change = lr / rule.correction1 * mean / (square_root(square * (1 / rule.correction2)) + rule.eps);
  param = select(touched, param * shrink - change, param);
  first = select(touched, mean, first);
  second = select(touched, square, second);
}

// The same for up to sixteen neighbours in memory.
GENEFACE_INLINE void adam_lanes(const AdamArgs& a, ptrdiff_t at, int lanes, const Floats& grad, float lr,
                                float shrink) {
  if (!any(grad != 0.f)) return;
  Floats param = load_some(a.param + at, lanes);
  Floats first = load_some(a.first + at, lanes), second = load_some(a.second + at, lanes);
  adam_step(a.rule, grad, lr, shrink, param, first, second);
  store_some(param, a.param + at, lanes);
  store_some(first, a.first + at, lanes);
  store_some(second, a.second + at, lanes);
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
    if (value == 0.f) return;  // no gradient: all of it stays as it is
    const float* grad = a.grad + static_cast<ptrdiff_t>(row) * a.columns;
    for (int i = 0; i < a.columns; i += kLanes)
      adam_lanes(a, task / a.rows * table + static_cast<ptrdiff_t>(row) * a.columns + i, a.columns - i,
                 load_some(grad + i, a.columns - i) * value, a.lr[row], args.shrink[row]);
  });
}

// A table whose gradient comes in slots, which are cleared; its bfloat16 copy is kept up to date.
void adam_table(const AdamTableArgs& a) {
  constexpr int kPerTask = 1 << 14;
  const int tasks = static_cast<int>((a.size + kPerTask - 1) / kPerTask);
  for_each_task(tasks, [&](int task) {
    const int64_t end = smaller<int64_t>(a.size, static_cast<int64_t>(task + 1) * kPerTask);
    for (int64_t i = static_cast<int64_t>(task) * kPerTask; i < end; i += kLanes) {
      Floats grad = load16(a.grad + i);
      for (int slot = 1; slot < a.slots; slot++) grad += load16(a.grad + slot * a.size + i);
      if (!any(grad != 0.f)) continue;
      for (int slot = 0; slot < a.slots; slot++) store(broadcast(0.f), a.grad + slot * a.size + i);
      Floats param = load16(a.param + i), first = load16(a.first + i), second = load16(a.second + i);
      adam_step(a.rule, grad, a.lr, 1.f, param, first, second);
      store(param, a.param + i);
      store(first, a.first + i);
      store(second, a.second + i);
      int32_t lanes[kLanes];
      store(to_half(param), lanes);
      for (int lane = 0; lane < kLanes; lane++) a.half[i + lane] = static_cast<uint16_t>(lanes[lane]);
    }
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
