// A radiance field's network at sixteen points at a time: two hidden layers of `width` rectified values, then kOutputs.
//
// Activations of one group of points are [values][16] floats, so that a layer is broadcasts of weights times vectors.
#pragma once

#include "field.hpp"

namespace geneface {
namespace GENEFACE_TARGET {

// Outputs computed together: as many as the registers hold beside one input.
constexpr int kOutBlock = kNativeLanes == 16 ? 8 : kNativeLanes == 8 ? 4 : 2;

// Where the sums of a layer start: sixteen values of each output.
struct Zero {
  GENEFACE_INLINE Floats operator[](int) const { return broadcast(0.f); }
};
struct Bias {
  const float* values;
  GENEFACE_INLINE Floats operator[](int o) const { return broadcast(values[o]); }
};

// How much the upper and the lower face's share of the bias count at a point, from one signed gate: never both.
struct Gates {
  Floats upper, lower;
  GENEFACE_INLINE explicit Gates(const Floats& gate)
      : upper(maximum(gate, broadcast(0.f))), lower(maximum(-gate, broadcast(0.f))) {}
};
// A bias that differs from point to point. values: [3, width], everywhere, and what the upper and the lower face add.
struct GatedBias {
  const float* values;
  int width;
  Gates gates;
  GENEFACE_INLINE Floats operator[](int o) const {
    return broadcast(values[o]) + gates.upper * values[width + o] + gates.lower * values[2 * width + o];
  }
};

// start[o] + sum over k < in of w[o out_stride + k in_stride] x[k], handed to finish(o, sum) for every o < out.
template <int out, int in, int out_stride, int in_stride, class Start, class Finish>
GENEFACE_INLINE void multiply(const float* w, const float* x, const Start& start, const Finish& finish) {
  constexpr int block = out % kOutBlock == 0 ? kOutBlock : 2;
  static_assert(out % block == 0, "outputs come in blocks");
  for (int o = 0; o < out; o += block) {
    Floats sums[block];
#pragma GCC unroll 8
    for (int b = 0; b < block; b++) sums[b] = start[o + b];
    for (int k = 0; k < in; k++) {
      const Floats value = load16(x + k * kLanes);
#pragma GCC unroll 8
      for (int b = 0; b < block; b++) sums[b] += value * w[(o + b) * out_stride + k * in_stride];
    }
#pragma GCC unroll 8
    for (int b = 0; b < block; b++) finish(o + b, sums[b]);
  }
}

// The machine multiplies pairs of bfloat16 at twice the rate of floats. GENEFACE_EMULATE_HALF: the same sums without
// such a machine, for tests.
#if defined(__AVX512BF16__) || defined(GENEFACE_EMULATE_HALF)
constexpr bool kHalfNetwork = true;
#else
constexpr bool kHalfNetwork = false;
#endif

// `multiply` with inputs and weights rounded to bfloat16, sums in float. w: [out, in].
template <int out, int in, class Start, class Finish>
GENEFACE_INLINE void multiply_halves(const uint16_t* w, const float* x, const Start& start, const Finish& finish) {
  constexpr int block = out % kOutBlock == 0 ? kOutBlock : 4;
  static_assert(out % block == 0 && in % 4 == 0, "outputs come in blocks, inputs in pairs");
  Ints pairs[in / 2];
  for (int k = 0; k < in; k += 2) pairs[k / 2] = pack_halves(load16(x + k * kLanes), load16(x + (k + 1) * kLanes));
  for (int o = 0; o < out; o += block) {
    // Few outputs are summed up in two parts each, so that no sum waits for the one before it.
    constexpr int parts = block < 8 ? 2 : 1;
    Floats sums[parts][block];
#pragma GCC unroll 8
    for (int b = 0; b < block; b++) {
      sums[0][b] = start[o + b];
      if constexpr (parts == 2) sums[1][b] = broadcast(0.f);
    }
#pragma GCC unroll 2
    for (int k = 0; k < in / 2; k += parts)
#pragma GCC unroll 2
      for (int part = 0; part < parts; part++)
#pragma GCC unroll 8
        for (int b = 0; b < block; b++) {
          int32_t pair;
          std::memcpy(&pair, w + (o + b) * in + 2 * (k + part), sizeof pair);
          sums[part][b] = add_pairs(sums[part][b], pairs[k + part], broadcast_int(pair));
        }
#pragma GCC unroll 8
    for (int b = 0; b < block; b++) finish(o + b, parts == 2 ? sums[0][b] + sums[parts - 1][b] : sums[0][b]);
  }
}

// One layer forth, w [out, in], and back, where the same weights are read by columns.
template <int out, int in, class Start, class Finish>
GENEFACE_INLINE void layer(const float* w, const uint16_t* halves, const Start& start, const float* x,
                           const Finish& finish) {
  if constexpr (kHalfNetwork)
    multiply_halves<out, in>(halves, x, start, finish);
  else
    multiply<out, in, in, 1>(w, x, start, finish);
}
template <int out, int in, class Finish>
GENEFACE_INLINE void layer_back(const float* w, const uint16_t* turned, const float* x, const Finish& finish) {
  if constexpr (kHalfNetwork)
    multiply_halves<out, in>(turned, x, Zero(), finish);
  else
    multiply<out, in, 1, out>(w, x, Zero(), finish);
}

// One group: x [in][16] -> hidden [2][width][16], raw outputs [kOutputs][16]. The bias is that of the first layer.
template <int in, int width, class Start>
GENEFACE_INLINE void network_forward(const FieldView& f, const Start& bias, const float* x, float* hidden1,
                                     float* hidden2, float* raw) {
  constexpr HalfWeights at(in, width);
  const Floats zero = broadcast(0.f);
  layer<width, in>(f.w0, f.halves + at.w0, bias, x,
                   [&](int o, const Floats& sum) { store(maximum(sum, zero), hidden1 + o * kLanes); });
  layer<width, width>(f.w1, f.halves + at.w1, Bias{f.b1}, hidden1,
                      [&](int o, const Floats& sum) { store(maximum(sum, zero), hidden2 + o * kLanes); });
  layer<kOutputs, width>(f.w2, f.halves + at.w2, Bias{f.b2}, hidden2,
                         [&](int o, const Floats& sum) { store(sum, raw + o * kLanes); });
}

// Gradients of the values before both rectifiers, and of the inputs: the way back of network_forward.
template <int in, int width>
GENEFACE_INLINE void network_backward(const FieldView& f, const float* grad_raw, const float* hidden1,
                                      const float* hidden2, float* grad1, float* grad2, float* grad_x) {
  constexpr HalfWeights at(in, width);
  const Floats zero = broadcast(0.f);
  layer_back<width, kOutputs>(f.w2, f.halves + at.turned2, grad_raw, [&](int o, const Floats& sum) {
    store(select(load16(hidden2 + o * kLanes) > zero, sum, zero), grad2 + o * kLanes);
  });
  layer_back<width, width>(f.w1, f.halves + at.turned1, grad2, [&](int o, const Floats& sum) {
    store(select(load16(hidden1 + o * kLanes) > zero, sum, zero), grad1 + o * kLanes);
  });
  layer_back<in, width>(f.w0, f.halves + at.turned0, grad1,
                        [&](int o, const Floats& sum) { store(sum, grad_x + o * kLanes); });
}

// Weight gradients are sums of outer products: a row of sixteen inputs of one point times one of its gradients, so that
// no lane is ever added to another. With bfloat16 networks a unit is two neighbouring points, multiplied in one go.
constexpr int kUnits = kHalfNetwork ? kLanes / 2 : kLanes;  // of a group
constexpr int kBatch = 8;                                   // groups at a time: what is turned stays in the cache

// One row of sixteen points -> kUnits words: the floats, or pairs of bfloat16.
GENEFACE_INLINE void to_units(const float* row, float* units) {
  if constexpr (!kHalfNetwork) {
    std::memcpy(units, row, sizeof(float) * kLanes);
  } else {
    pack_neighbours(load16(row), units);
  }
}

// x [in][16] -> [unit][16 inputs] for each block of sixteen inputs; blocks lie `block_stride` floats apart.
template <int in>
GENEFACE_INLINE void inputs_to_lanes(const float* x, float* turned, ptrdiff_t block_stride) {
  for (int k = 0; k < in; k += kFeatures) {
    float units[kFeatures][kUnits] = {};
    for (int i = 0; i < kFeatures && k + i < in; i++) to_units(x + (k + i) * kLanes, units[i]);
    float* block = turned + k / kLanes * block_stride + k % kLanes;
    for (int part = 0; part < kUnits; part += kFeatures) {
      Row rows[kFeatures];
      for (int i = 0; i < kFeatures; i++) rows[i] = read_row(units[i] + part);
      transpose(rows);
      for (int i = 0; i < kFeatures; i++) write_row(rows[i], block + (part + i) * kLanes);
    }
  }
}

GENEFACE_INLINE Floats add_unit(const Floats& sum, const Floats& x, float grad) {
  if constexpr (kHalfNetwork) {
    int32_t pair;
    std::memcpy(&pair, &grad, sizeof pair);
    return add_pairs(sum, bits(x), broadcast_int(pair));
  } else {
    return sum + x * grad;
  }
}

// Rows and blocks of a weight matrix whose sums fit into the registers.
constexpr int sums_across(int blocks) { return kNativeLanes == 16 ? blocks : 1; }
constexpr int sums_down(int blocks) { return kNativeLanes == 16 ? (blocks > 2 ? 4 : 8) : kNativeLanes == 8 ? 4 : 2; }

// grad_w[out][in] += sum over points of g[out] x[in], over at most kBatch groups; values of a group lie [value][16].
template <int out, int in>
GENEFACE_INLINE void add_weight_gradient(const float* g, const float* x, int groups, float* grad_w) {
  constexpr int blocks = (in + kLanes - 1) / kLanes, across = sums_across(blocks);
  constexpr int down = sums_down(blocks) < out ? sums_down(blocks) : out;
  static_assert(out % down == 0 && blocks % across == 0, "rows and blocks come in whole sums");
  constexpr ptrdiff_t block_stride = kBatch * kUnits * kLanes;
  alignas(64) float turned[blocks * block_stride];
  float packed[kHalfNetwork ? kBatch * out * kUnits : 1];
  for (int group = 0; group < groups; group++) {
    inputs_to_lanes<in>(x + static_cast<ptrdiff_t>(group) * in * kLanes, turned + group * kUnits * kLanes,
                        block_stride);
    for (int o = 0; kHalfNetwork && o < out; o++)
      to_units(g + (static_cast<ptrdiff_t>(group) * out + o) * kLanes, packed + (group * out + o) * kUnits);
  }
  const float* grads = kHalfNetwork ? packed : g;
  for (int block = 0; block < blocks; block += across)
    for (int o = 0; o < out; o += down) {
      Floats sums[down][across];
#pragma GCC unroll 8
      for (int r = 0; r < down; r++)
#pragma GCC unroll 4
        for (int c = 0; c < across; c++) sums[r][c] = broadcast(0.f);
      for (int group = 0; group < groups; group++)
        for (int unit = 0; unit < kUnits; unit++) {
          const float* row = turned + block * block_stride + (group * kUnits + unit) * kLanes;
          const float* grad = grads + (group * out + o) * kUnits + unit;
          Floats values[across];
#pragma GCC unroll 4
          for (int c = 0; c < across; c++) values[c] = load16(row + c * block_stride);
#pragma GCC unroll 8
          for (int r = 0; r < down; r++)
#pragma GCC unroll 4
            for (int c = 0; c < across; c++) sums[r][c] = add_unit(sums[r][c], values[c], grad[r * kUnits]);
        }
      for (int r = 0; r < down; r++)
        for (int c = 0; c < across; c++) {
          float* to = grad_w + (o + r) * in + (block + c) * kLanes;
          const int count = in - (block + c) * kLanes;
          store_some(load_some(to, count) + sums[r][c], to, count);
        }
    }
}
template <int out>
GENEFACE_INLINE void add_bias_gradient(const float* g, int groups, float* grad_b) {
  for (int o = 0; o < out; o++) {
    Floats total = broadcast(0.f);
    for (int group = 0; group < groups; group++)
      total += load16(g + (static_cast<ptrdiff_t>(group) * out + o) * kLanes);
    grad_b[o] += sum(total);
  }
}
// The same for a GatedBias: grad_b [3, out], gate [groups][16].
template <int out>
GENEFACE_INLINE void add_gated_bias_gradient(const float* g, const float* gate, int groups, float* grad_b) {
  for (int o = 0; o < out; o++) {
    Floats total = broadcast(0.f), upper = broadcast(0.f), lower = broadcast(0.f);
    for (int group = 0; group < groups; group++) {
      const Floats grad = load16(g + (static_cast<ptrdiff_t>(group) * out + o) * kLanes);
      const Gates gates(load16(gate + group * kLanes));
      total += grad;
      upper += grad * gates.upper;
      lower += grad * gates.lower;
    }
    grad_b[o] += sum(total);
    grad_b[out + o] += sum(upper);
    grad_b[2 * out + o] += sum(lower);
  }
}

GENEFACE_INLINE Floats sigmoid(const Floats& x) { return 1.f / (1.f + exponential(-x)); }

}  // namespace GENEFACE_TARGET
}  // namespace geneface
