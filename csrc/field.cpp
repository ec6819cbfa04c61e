// A field at given points, and its gradients. The fused renderer and trainer are in nerf_*.cpp.
#include "network.hpp"
#include "tasks.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

// Runs body(dims, inputs, width) with the numbers as constants.
template <int value>
struct Constant {
  static constexpr int kValue = value;
};
template <class Body>
void with_shape(int dims, const FieldView& field, const Body& body) {
  const bool wide = field.width == 64;
  if (dims == 3 && wide) return body(Constant<3>(), Constant<kEncoded>(), Constant<64>());
  if (dims == 3) return body(Constant<3>(), Constant<kEncoded>(), Constant<32>());
  if (wide) return body(Constant<2>(), Constant<kTorsoInputs>(), Constant<64>());
  body(Constant<2>(), Constant<kTorsoInputs>(), Constant<32>());
}

template <int dims, int inputs>
GENEFACE_INLINE void encode(const FieldArgs& a, int start, int lanes, Corners<dims>& corners, float* x) {
  float points[dims][kLanes];
  const float* axes[dims];
  for (int axis = 0; axis < dims; axis++) {
    store(load_some(a.positions[axis] + start, lanes), points[axis]);
    axes[axis] = points[axis];
  }
  find_corners<dims>(a.field, axes, corners);
  fetch<dims>(a.field, corners, x);
  for (int k = kEncoded; k < inputs; k++) store(load_some(a.extra[k - kEncoded] + start, lanes), x + k * kLanes);
}

// Raw outputs of a block; load(start, lanes, x) gives the network's inputs [inputs][16] of some points.
template <int inputs, int width, class Load>
GENEFACE_INLINE void evaluate_block(const FieldArgs& a, int block, const Load& load) {
  const int end = smaller(a.count, (block + 1) * kFieldBlock);
  float x[inputs * kLanes], hidden1[width * kLanes], hidden2[width * kLanes], raw[kOutputs * kLanes];
  for (int i = block * kFieldBlock; i < end; i += kLanes) {
    const int lanes = smaller(kLanes, end - i);
    load(i, lanes, x);
    if (a.gates) {
      const float* bias = a.bias + static_cast<ptrdiff_t>(block) * 3 * width;
      network_forward<inputs, width>(a.field, GatedBias{bias, width, Gates(load_some(a.gates + i, lanes))}, x, hidden1,
                                     hidden2, raw);
    } else {
      network_forward<inputs, width>(a.field, Bias{a.bias + static_cast<ptrdiff_t>(block) * width}, x, hidden1, hidden2,
                                     raw);
    }
    for (int o = 0; o < kOutputs; o++) store_some(load16(raw + o * kLanes), a.raw[o] + i, lanes);
  }
}

template <int dims, int inputs, int width>
void forward_block(const FieldArgs& a, int block) {
  Corners<dims> corners;
  evaluate_block<inputs, width>(
      a, block, [&](int start, int lanes, float* x) { encode<dims, inputs>(a, start, lanes, corners, x); });
}

template <int inputs, int width>
void network_block(const FieldArgs& a, int block) {
  evaluate_block<inputs, width>(a, block, [&](int start, int lanes, float* x) {
    for (int k = 0; k < inputs; k++) store(load_some(a.positions[k] + start, lanes), x + k * kLanes);
  });
}

template <int dims, int inputs, int width>
void backward_block(const FieldBackwardArgs& b, int block) {
  const FieldArgs& a = b.forward;
  const int end = smaller(a.count, (block + 1) * kFieldBlock);
  float x[inputs * kLanes], hidden1[width * kLanes], hidden2[width * kLanes], raw[kOutputs * kLanes];
  float grad1[width * kLanes], grad2[width * kLanes], grad_x[inputs * kLanes], grad_points[kLanes * kEncoded];
  float grad_positions[dims * kLanes];
  Corners<dims> corners;
  for (int i = block * kFieldBlock; i < end; i += kLanes) {
    const int lanes = smaller(kLanes, end - i);
    encode<dims, inputs>(a, i, lanes, corners, x);
    network_forward<inputs, width>(a.field, Bias{a.bias + static_cast<ptrdiff_t>(block) * width}, x, hidden1, hidden2,
                                   raw);
    for (int o = 0; o < kOutputs; o++) store(load_some(b.grad_raw[o] + i, lanes), raw + o * kLanes);
    network_backward<inputs, width>(a.field, raw, hidden1, hidden2, grad1, grad2, grad_x);
    add_weight_gradient<kOutputs, width>(raw, hidden2, 1, b.grad.w2);
    add_weight_gradient<width, width>(grad2, hidden1, 1, b.grad.w1);
    add_weight_gradient<width, inputs>(grad1, x, 1, b.grad.w0);
    add_bias_gradient<kOutputs>(raw, 1, b.grad.b2);
    add_bias_gradient<width>(grad2, 1, b.grad.b1);
    add_bias_gradient<width>(grad1, 1, b.grad_bias + static_cast<ptrdiff_t>(block) * width);
    lanes_to_points(grad_x, grad_points);
    scatter<dims>(corners, grad_points, b.grad.table);
    position_gradient<dims>(a.field, corners, grad_points, grad_positions);
    for (int axis = 0; axis < dims; axis++)
      store_some(load16(grad_positions + axis * kLanes), b.grad_positions[axis] + i, lanes);
  }
}

int blocks(const FieldArgs& a) { return (a.count + kFieldBlock - 1) / kFieldBlock; }

}  // namespace

void field_forward(const FieldArgs& args) {
  with_shape(args.dims, args.field, [&](auto dims, auto inputs, auto width) {
    for_each_task(blocks(args), [&](int block) {
      forward_block<decltype(dims)::kValue, decltype(inputs)::kValue, decltype(width)::kValue>(args, block);
    });
  });
}

void field_network(const FieldArgs& args) {
  with_shape(args.dims, args.field, [&](auto, auto inputs, auto width) {
    for_each_task(blocks(args),
                  [&](int block) { network_block<decltype(inputs)::kValue, decltype(width)::kValue>(args, block); });
  });
}

// One thread: blocks share the gradients. Training uses train_field; this is for tests and other losses.
void field_backward(const FieldBackwardArgs& args) {
  with_shape(args.forward.dims, args.forward.field, [&](auto dims, auto inputs, auto width) {
    for (int block = 0; block < blocks(args.forward); block++)
      backward_block<decltype(dims)::kValue, decltype(inputs)::kValue, decltype(width)::kValue>(args, block);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
