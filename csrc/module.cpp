// The Python module geneface._native: picks the kernels for this processor and hands numpy arrays to them.
// Shapes and types have been checked by geneface.ops; this file only unpacks. Kernels run without the interpreter's
// lock.
#include "module.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "binning.hpp"
#include "kernels.hpp"
#include "pool.hpp"

namespace nb = nanobind;

namespace geneface {
namespace {

// ---- choice of the instruction set

struct InstructionSet {
  const char* name;
  const Kernels* kernels;
};

// Those this machine can run, slowest first.
std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> sets = {{"portable", &portable::kernels}};
#ifdef GENEFACE_X86
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    sets.push_back({"avx2", &avx2::kernels});
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
      sets.push_back({"avx512", &avx512::kernels});
      if (__builtin_cpu_supports("avx512bf16")) sets.push_back({"avx512bf16", &avx512bf16::kernels});
    }
  }
#endif
  return sets;
}

// The set in use. Atomic: kernels look it up without the interpreter's lock, while another thread may switch.
class Current {
 public:
  void operator=(const InstructionSet* set) { set_.store(set); }
  const InstructionSet* operator->() const { return set_.load(); }

 private:
  std::atomic<const InstructionSet*> set_{nullptr};
} current;

void use_instruction_set(const std::string& name) {
  static const std::vector<InstructionSet> sets = instruction_sets();
  for (const InstructionSet& set : sets)
    if (name == set.name) current = &set;
}

View make_view(const Array<const float>& pose, float focal_px, int width, int height) {
  return {pose.data(), pose.data() + 9, focal_px, width, height, 0, 0, width, height};
}

// ---- states of the rasteriser: their memory goes round, fresh pages are not free

class StatePool {
 public:
  std::unique_ptr<RasterState> take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (states_.empty()) return std::make_unique<RasterState>();
    std::unique_ptr<RasterState> state = std::move(states_.back());
    states_.pop_back();
    return state;
  }
  void give_back(std::unique_ptr<RasterState> state) {
    constexpr size_t kKept = 2;
    std::lock_guard<std::mutex> lock(mutex_);
    if (states_.size() < kKept) states_.push_back(std::move(state));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<RasterState>> states_;
};

StatePool& state_pool() {
  static StatePool* pool = new StatePool;  // never destroyed: states may outlive static objects at exit
  return *pool;
}

class PythonState {
 public:
  PythonState() : state_(state_pool().take()) {}
  PythonState(PythonState&&) = default;
  ~PythonState() {
    if (state_) state_pool().give_back(std::move(state_));
  }
  RasterState& get() { return *state_; }
  int count() const { return length(state_->splats.size()); }
  std::pair<int, int> size() const { return {state_->height, state_->width}; }

 private:
  std::unique_ptr<RasterState> state_;
};

// ---- the functions of the module

void project(Array<const float> base, Array<const float> basis, Array<const float> condition, Array<const float> pose,
             float focal_px, int width, int height, Matrix<float> values, Matrix<int32_t> bounds) {
  ProjectArgs args = {};
  args.count = length(base.shape(1));
  args.dynamic_count = length(basis.shape(2));
  args.condition_count = length(basis.shape(0));
  args.base = base.data();
  args.basis = basis.data();
  args.condition = condition.data();
  args.view = make_view(pose, focal_px, width, height);
  args.values = rows(values);
  args.bounds = rows(bounds);
  nb::gil_scoped_release release;
  current->kernels->project(args);
}

PythonState rasterize(Matrix<const float> values, Matrix<const int32_t> bounds,
                      std::optional<Array<const float>> background, Array<float> image, Array<float> transmittance) {
  nb::gil_scoped_release release;
  PythonState holder;
  RasterState& state = holder.get();
  const int height = length(image.shape(0)), width = length(image.shape(1));
  if (!bin_splats(rows(values), rows(bounds), length(values.shape(1)), width, height, state))
    throw std::invalid_argument("the splats cover too many tiles");
  RasterArgs args = state.raster_args();
  args.background = background ? background->data() : nullptr;
  args.background_is_image = background && background->ndim() == 3;
  args.image = image.data();
  args.transmittance = transmittance.data();
  current->kernels->rasterize(args);
  return holder;
}

void rasterize_backward(PythonState& holder, Array<const float> image, Array<const float> transmittance,
                        Array<const float> grad_image, std::optional<Array<const float>> grad_transmittance,
                        Matrix<float> grad) {
  nb::gil_scoped_release release;
  RasterState& state = holder.get();
  std::lock_guard<std::mutex> lock(state.backward);
  state.pair_sums.resize(static_cast<size_t>(state.pair_count) * kGradientRows);
  RasterBackwardArgs args = {};
  args.raster = state.raster_args();
  args.raster.image = const_cast<float*>(image.data());  // only read on the way back
  args.raster.transmittance = const_cast<float*>(transmittance.data());
  args.grad_image = grad_image.data();
  args.grad_transmittance = grad_transmittance ? grad_transmittance->data() : nullptr;
  args.pair_sums = state.pair_sums.data();
  args.grad = rows(grad);
  current->kernels->rasterize_backward(args);
}

void project_backward(Array<const float> base, Matrix<const float> values, Matrix<const int32_t> bounds,
                      Matrix<const float> grad, Array<const float> pose, float focal_px, int width, int height,
                      Array<float> grad_base, Array<float> grad_pose) {
  ProjectBackwardArgs args = {};
  args.count = length(base.shape(1));
  args.base = base.data();
  args.values = rows(values);
  args.bounds = rows(bounds);
  args.grad = rows(grad);
  args.view = make_view(pose, focal_px, width, height);
  args.grad_base = grad_base.data();
  nb::gil_scoped_release release;
  std::vector<double> pose_sums(6 * static_cast<size_t>(project_tasks(args.count)));
  args.pose_sums = pose_sums.data();
  current->kernels->project_backward(args);
  double total[6] = {};
  for (size_t i = 0; i < pose_sums.size(); i++) total[i % 6] += pose_sums[i];
  for (int k = 0; k < 6; k++) grad_pose.data()[k] = static_cast<float>(total[k]);
}

AdamRule adam_rule(double correction1, double correction2, double beta1, double beta2, double eps) {
  return {static_cast<float>(correction1), static_cast<float>(correction2), static_cast<float>(beta1),
          static_cast<float>(beta2), static_cast<float>(eps)};
}

AdamArgs adam_args(float* param, const Array<const float>& grad, const Array<float>& first, const Array<float>& second,
                   const Array<const float>& lr, double correction1, double correction2, double beta1, double beta2,
                   double eps) {
  AdamArgs args = {};
  args.rows = length(grad.shape(0));
  args.columns = length(grad.shape(1));
  length(grad.size());  // an upper bound of the number of tasks
  args.param = param;
  args.grad = grad.data();
  args.first = first.data();
  args.second = second.data();
  args.lr = lr.data();
  args.rule = adam_rule(correction1, correction2, beta1, beta2, eps);
  return args;
}

void adam(Array<float> param, Array<const float> grad, Array<float> first, Array<float> second, Array<const float> lr,
          double correction1, double correction2, double beta1, double beta2, double eps) {
  const AdamArgs args = adam_args(param.data(), grad, first, second, lr, correction1, correction2, beta1, beta2, eps);
  nb::gil_scoped_release release;
  current->kernels->adam(args);
}

void adam_basis(Array<float> basis, Array<const float> grad, Array<const float> condition, Array<float> first,
                Array<float> second, Array<const float> lr, Array<const float> shrink, double correction1,
                double correction2, double beta1, double beta2, double eps) {
  AdamBasisArgs args = {};
  args.adam = adam_args(basis.data(), grad, first, second, lr, correction1, correction2, beta1, beta2, eps);
  args.condition_count = length(condition.size());
  length(condition.size() * args.adam.rows);  // the number of tasks
  args.condition = condition.data();
  args.shrink = shrink.data();
  nb::gil_scoped_release release;
  current->kernels->adam_basis(args);
}

void adam_table(Array<float> param, Array<float> grad, Array<float> first, Array<float> second, Array<uint16_t> half,
                double lr, double correction1, double correction2, double beta1, double beta2, double eps) {
  const AdamTableArgs args = {static_cast<int64_t>(param.size()),
                              length(grad.shape(0)),
                              param.data(),
                              grad.data(),
                              first.data(),
                              second.data(),
                              half.data(),
                              static_cast<float>(lr),
                              adam_rule(correction1, correction2, beta1, beta2, eps)};
  nb::gil_scoped_release release;
  active_kernels().adam_table(args);
}

double image_loss(Array<const float> prediction, Array<const float> target, std::optional<Array<const float>> weight,
                  float l1, float dssim, float epsilon, Array<float> grad) {
  ImageLossArgs args = {};
  args.height = length(prediction.shape(0));
  args.width = length(prediction.shape(1));
  args.channels = length(prediction.shape(2));
  args.prediction = prediction.data();
  args.target = target.data();
  args.weight = weight ? weight->data() : nullptr;
  args.l1 = l1;
  args.dssim = dssim;
  args.epsilon = epsilon;
  args.grad = grad.data();
  nb::gil_scoped_release release;
  std::vector<double> row_losses(args.height);
  // One a thread, because several may compute losses at once.
  thread_local std::vector<float> scratch;
  scratch.resize(image_loss_scratch(args.width, args.height));
  args.row_losses = row_losses.data();
  args.scratch = scratch.data();
  current->kernels->image_loss(args);
  double total = 0;
  for (double loss : row_losses) total += loss;
  return total;
}

void to_uint8(Array<const float> image, Array<uint8_t> bytes) {
  const int channels = length(image.shape(2)), pixels = length(image.shape(0) * image.shape(1));
  nb::gil_scoped_release release;
  current->kernels->to_uint8(image.data(), channels, pixels, bytes.data());
}

void to_yuv420(Array<const float> image, Array<uint8_t> planes) {
  const int height = length(image.shape(0)), width = length(image.shape(1)), channels = length(image.shape(2));
  nb::gil_scoped_release release;
  current->kernels->to_yuv420(image.data(), width, height, channels, planes.data());
}

void sharpen(Array<const float> image, float amount, Array<float> out) {
  SharpenArgs args = {};
  args.image = image.data();
  args.height = length(image.shape(0));
  args.width = length(image.shape(1));
  args.channels = length(image.shape(2));
  args.amount = amount;
  args.out = out.data();
  nb::gil_scoped_release release;
  current->kernels->sharpen(args);
}

void cut_out(Array<const uint8_t> image, Array<const double> move, int canvas, Array<uint8_t> planes) {
  CutOutArgs args{};
  args.image = image.data();
  args.height = length(image.shape(0));
  args.width = length(image.shape(1));
  std::copy_n(move.data(), 6, args.move);
  args.canvas = canvas;
  args.side = length(planes.shape(1));
  args.planes = planes.data();
  nb::gil_scoped_release release;
  current->kernels->cut_out(args);
}

}  // namespace

const Kernels& active_kernels() { return *current->kernels; }

}  // namespace geneface

NB_MODULE(_native, m) {
  using namespace geneface;
  use_instruction_set(instruction_sets().back().name);

  m.def("instruction_set", [] { return std::string(current->name); });
  m.def("available_instruction_sets", [] {
    std::vector<std::string> names;
    for (const InstructionSet& set : instruction_sets()) names.push_back(set.name);
    return names;
  });
  m.def("use_instruction_set", &use_instruction_set);
  m.def("peak", [](int tasks, int64_t rounds, bool halves) {
    std::vector<float> results(tasks);
    nb::gil_scoped_release release;
    return active_kernels().peak({tasks, rounds, halves, 0.5f, results.data()});
  });
  m.def("half_network", [] { return active_kernels().half_network; });
  m.def("threads", &threads);
  m.def("set_threads", &set_threads);

  nb::class_<PythonState>(m, "RasterState")
      .def_prop_ro("count", &PythonState::count)
      .def_prop_ro("size", &PythonState::size);
  m.def("project", &project);
  m.def("rasterize", &rasterize, nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg());
  m.def("rasterize_backward", &rasterize_backward, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(),
        nb::arg());
  m.def("project_backward", &project_backward);
  m.def("adam", &adam);
  m.def("adam_basis", &adam_basis);
  m.def("adam_table", &adam_table);
  m.def("image_loss", &image_loss, nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
  m.def("to_uint8", &to_uint8);
  m.def("to_yuv420", &to_yuv420);
  m.def("sharpen", &sharpen);
  m.def("cut_out", &cut_out);
  register_fields(m);
}
