// The radiance fields' part of the Python module. Shapes and types have been checked by geneface.ops.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>
#include <vector>

#include "module.hpp"

namespace nb = nanobind;

namespace geneface {
namespace {

// Bits of the nearest bfloat16, ties to even.
uint16_t to_half(float x) {
  uint32_t word;
  std::memcpy(&word, &x, sizeof word);
  return static_cast<uint16_t>((word + 0x7fff + (word >> 16 & 1)) >> 16);
}

// A field's parameters; keeps the arrays alive.
struct FieldArrays {
  Array<const uint16_t> table;
  Array<const int32_t> resolution;
  Array<const float> w0, w1, b1, w2, b2;
  std::vector<uint16_t> halves;

  FieldArrays(Array<const uint16_t> table, Array<const int32_t> resolution, Array<const float> w0,
              Array<const float> w1, Array<const float> b1, Array<const float> w2, Array<const float> b2)
      : table(table), resolution(resolution), w0(w0), w1(w1), b1(b1), w2(w2), b2(b2) {
    if (!active_kernels().half_network) return;
    const HalfWeights at(w0.shape(1), w0.shape(0));
    halves.resize(at.size);
    pack(w0, at.w0, at.turned0);
    pack(w1, at.w1, at.turned1);
    pack(w2, at.w2, at.turned2);
  }

  void pack(const Array<const float>& w, size_t as_it_is, size_t turned) {
    const size_t out = w.shape(0), in = w.shape(1);
    for (size_t o = 0; o < out; o++)
      for (size_t k = 0; k < in; k++)
        halves[as_it_is + o * in + k] = halves[turned + k * out + o] = to_half(w.data()[o * in + k]);
  }

  FieldView view() const {
    return {table.data(), length(table.shape(1)), resolution.data(),   w0.data(),    w1.data(), b1.data(), w2.data(),
            b2.data(),    length(w0.shape(1)),    length(w0.shape(0)), halves.data()};
  }
};

// Gradients of a field, one row of each array a slot.
struct GradientArrays {
  Array<float> table, w0, w1, b1, w2, b2;

  FieldGradient first() const { return {table.data(), w0.data(), w1.data(), b1.data(), w2.data(), b2.data()}; }
};

struct SceneArrays {
  FieldArrays head, torso;
  Array<const uint32_t> occupancy, coarse;
  Array<const uint8_t> torso_occupancy;
  std::vector<float> warp_box;
  int warp_rows, warp_columns;
  float step;

  SceneView view() const {
    SceneView scene = {
        head.view(), torso.view(), occupancy.data(), coarse.data(), torso_occupancy.data(), warp_rows, warp_columns,
        {},          step};
    for (int k = 0; k < 4; k++) scene.warp_box[k] = warp_box[k];
    return scene;
  }
};

FieldArgs field_args(const FieldArrays& field, const Matrix<const float>& positions, const Array<const float>& bias,
                     const Matrix<const float>& extra) {
  FieldArgs args = {};
  args.field = field.view();
  args.dims = length(positions.shape(0));
  args.count = length(positions.shape(1));
  args.positions = rows(positions);
  args.bias = bias.data();
  args.extra = rows(extra);
  return args;
}

void field_forward(const FieldArrays& field, Matrix<const float> positions, Array<const float> bias,
                   Matrix<const float> extra, std::optional<Array<const float>> gates, Matrix<float> raw) {
  FieldArgs args = field_args(field, positions, bias, extra);
  args.gates = gates ? gates->data() : nullptr;
  args.raw = rows(raw);
  nb::gil_scoped_release release;
  active_kernels().field_forward(args);
}

void field_network(const FieldArrays& field, Matrix<const float> inputs, Array<const float> bias, Matrix<float> raw) {
  FieldArgs args = {};
  args.field = field.view();
  args.dims = inputs.shape(0) == kEncoded ? 3 : 2;
  args.count = length(inputs.shape(1));
  args.positions = rows(inputs);
  args.bias = bias.data();
  args.raw = rows(raw);
  nb::gil_scoped_release release;
  active_kernels().field_network(args);
}

void field_backward(const FieldArrays& field, Matrix<const float> positions, Array<const float> bias,
                    Matrix<const float> extra, Matrix<const float> grad_raw, const GradientArrays& grad,
                    Array<float> grad_bias, Matrix<float> grad_positions) {
  FieldBackwardArgs args = {};
  args.forward = field_args(field, positions, bias, extra);
  args.grad_raw = rows(grad_raw);
  args.grad = grad.first();
  args.grad_bias = grad_bias.data();
  args.grad_positions = rows(grad_positions);
  nb::gil_scoped_release release;
  active_kernels().field_backward(args);
}

FrameView frame_view(const float* pose, float focal_px, int width, int height, const float* head_bias,
                     const float* torso_bias, const float* warp, const float* motion) {
  return {{pose, pose + 9, focal_px, width, height, 0, 0, width, height}, head_bias, torso_bias, warp, motion};
}

int64_t render_field(const SceneArrays& scene, Array<const float> pose, float focal_px, Array<const float> head_bias,
                     Array<const float> torso_bias, Array<const float> warp, Array<const float> motion,
                     Array<const float> plate, Array<float> image, Array<float> opacity, int left, int top,
                     int whole_width, int whole_height) {
  RenderFieldArgs args = {};
  const int height = length(image.shape(0)), width = length(image.shape(1));
  args.scene = scene.view();
  args.frame =
      frame_view(pose.data(), focal_px, width, height, head_bias.data(), torso_bias.data(), warp.data(), motion.data());
  View& view = args.frame.view;
  view.left = left;
  view.top = top;
  view.whole_width = whole_width;
  view.whole_height = whole_height;
  args.plate = plate.data();
  args.image = image.data();
  args.opacity = opacity.data();
  nb::gil_scoped_release release;
  const int across = (width + kRayTile - 1) / kRayTile, down = (height + kRayTile - 1) / kRayTile;
  const size_t tiles = static_cast<size_t>(across) * down;
  std::vector<int64_t> samples(tiles);
  std::vector<float> reach(2 * tiles);
  args.tile_samples = samples.data();
  args.reach = reach.data();
  active_kernels().render_field(args);
  int64_t total = 0;
  for (int64_t count : samples) total += count;
  return total;
}

// What a batch of patches is: see ops.nerf.RayBatch.
struct BatchArrays {
  Array<const float> poses;  // [chunks, 12]
  Array<const float> head_bias, torso_bias, warp, motion;
  Array<const int32_t> corners;
  Array<const float> jitter;
  Array<const uint8_t> target, masks, plate;
  Array<const float> weight;
  float focal_px;
  int width, height;
};

// What is learnt about a batch besides the fields.
struct BatchGradients {
  Array<float> head_bias, torso_bias, warp, pose, motion;
  Array<double> losses;
  Array<int64_t> samples;
};

void train_field(const SceneArrays& scene, const BatchArrays& batch, float epsilon, float silhouette,
                 float silhouette_epsilon, float edge, float opaque, bool move, const GradientArrays& head,
                 const GradientArrays& torso, const BatchGradients& out) {
  TrainFieldArgs args = {};
  args.scene = scene.view();
  args.chunks = length(batch.corners.shape(0));
  args.patches = length(batch.corners.shape(1));
  args.slots = length(head.table.shape(0));
  std::vector<FrameView> frames(args.chunks);
  const size_t nodes = static_cast<size_t>(scene.warp_rows) * scene.warp_columns * 4;
  for (size_t i = 0; i < frames.size(); i++)
    frames[i] = frame_view(batch.poses.data() + 12 * i, batch.focal_px, batch.width, batch.height,
                           batch.head_bias.data() + i * 3 * args.scene.head.width,
                           batch.torso_bias.data() + i * args.scene.torso.width, batch.warp.data() + i * nodes,
                           batch.motion.data() + 6 * i);
  args.frames = frames.data();
  args.corners = batch.corners.data();
  args.jitter = batch.jitter.data();
  args.target = batch.target.data();
  args.masks = batch.masks.data();
  args.plate = batch.plate.data();
  args.weight = batch.weight.data();
  args.epsilon = epsilon;
  args.silhouette = silhouette;
  args.silhouette_epsilon = silhouette_epsilon;
  args.edge = edge;
  args.opaque = opaque;
  args.move = move;
  args.head_grad = head.first();
  args.torso_grad = torso.first();
  args.grad_head_bias = out.head_bias.data();
  args.grad_torso_bias = out.torso_bias.data();
  args.grad_warp = out.warp.data();
  args.grad_pose = out.pose.data();
  args.grad_motion = out.motion.data();
  args.losses = out.losses.data();
  args.samples = out.samples.data();
  nb::gil_scoped_release release;
  // Not a vector: that would write zeros into memory which is mostly not used.
  static thread_local std::unique_ptr<float[]> scratch;
  static thread_local size_t scratch_size = 0;
  const size_t needed = static_cast<size_t>(args.slots) * train_field_scratch(args.scene.head.width);
  if (needed > scratch_size) {
    scratch.reset(new float[needed]);
    scratch_size = needed;
  }
  args.scratch = scratch.get();
  active_kernels().train_field(args);
}

// A struct of arrays as a Python class that is made from its members, in their order.
template <class T, class... Members>
void bind(nb::module_& m, const char* name) {
  nb::class_<T>(m, name).def("__init__", [](T* self, Members... members) { new (self) T{members...}; });
}

}  // namespace

void register_fields(nb::module_& m) {
  using Floats = Array<float>;
  using ConstFloats = Array<const float>;
  using Bytes = Array<const uint8_t>;
  bind<FieldArrays, Array<const uint16_t>, Array<const int32_t>, ConstFloats, ConstFloats, ConstFloats, ConstFloats,
       ConstFloats>(m, "FieldArrays");
  bind<GradientArrays, Floats, Floats, Floats, Floats, Floats, Floats>(m, "GradientArrays");
  bind<SceneArrays, const FieldArrays&, const FieldArrays&, Array<const uint32_t>, Array<const uint32_t>, Bytes,
       std::vector<float>, int, int, float>(m, "SceneArrays");
  bind<BatchArrays, ConstFloats, ConstFloats, ConstFloats, ConstFloats, ConstFloats, Array<const int32_t>, ConstFloats,
       Bytes, Bytes, Bytes, ConstFloats, float, int, int>(m, "BatchArrays");
  bind<BatchGradients, Floats, Floats, Floats, Floats, Floats, Array<double>, Array<int64_t>>(m, "BatchGradients");
  m.def("field_forward", &field_forward);
  m.def("field_network", &field_network);
  m.def("field_backward", &field_backward);
  m.def("render_field", &render_field);
  m.def("train_field", &train_field);
}

}  // namespace geneface
