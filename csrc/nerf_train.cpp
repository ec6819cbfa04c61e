// Gradients of the radiance fields for patches of training frames.
//
// The work is divided among a fixed number of slots, each with gradients of its own that the optimiser adds in order:
// the result does not depend on the number of threads or on which of them did what.
#include "torso.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

// Everything that is kept of a patch from the forward pass to the backward pass.
template <int width>
struct PatchMemory {
  Samples samples;
  float *density, *alpha, *after, *share, *color[3];
  float *x, *hidden1, *hidden2;  // [groups][values][16]
  Corners<3>* corners;           // [groups]

  static_assert(train_field_scratch(width) == static_cast<size_t>(kPatchSamples) *
                                                  (13 + kEncoded + 2 * width + sizeof(Corners<3>) / (4 * kLanes)),
                "the memory that was asked for");

  explicit PatchMemory(float* memory) {
    const auto take = [&](int values) {
      float* part = memory;
      memory += static_cast<size_t>(kPatchSamples) * values;
      return part;
    };
    for (float*& axis : samples.canonical) axis = take(1);
    samples.depth = take(1);
    samples.gate = take(1);
    samples.ray = reinterpret_cast<int32_t*>(take(1));
    density = take(1), alpha = take(1), after = take(1), share = take(1);
    for (float*& channel : color) channel = take(1);
    x = take(kEncoded), hidden1 = take(width), hidden2 = take(width);
    corners = reinterpret_cast<Corners<3>*>(memory);
  }
};

template <int width>
void shade_group(const SceneView& scene, const FrameView& frame, const PatchMemory<width>& m, int start) {
  const int group = start / kLanes;
  float* x = m.x + static_cast<ptrdiff_t>(group) * kEncoded * kLanes;
  float raw[kOutputs * kLanes];
  fetch<3>(scene.head, m.corners[group], x);
  const GatedBias bias = {frame.head_bias, width, Gates(load16(m.samples.gate + start))};
  network_forward<kEncoded, width>(scene.head, bias, x, m.hidden1 + static_cast<ptrdiff_t>(group) * width * kLanes,
                                   m.hidden2 + static_cast<ptrdiff_t>(group) * width * kLanes, raw);
  // A capped density has no gradient: 0 stands for that.
  const Shaded shaded = shade(raw, scene.step);
  store(select(load16(raw) < broadcast(kMaxLogDensity), shaded.density, broadcast(0.f)), m.density + start);
  store(shaded.alpha, m.alpha + start);
  for (int c = 0; c < 3; c++) store(shaded.color[c], m.color[c] + start);
}

// All samples of the patch, front to back; returns their number, groups filled up.
template <int width>
int forward_head(const SceneView& scene, const FrameView& frame, RayTile& tile, const PatchMemory<width>& m,
                 int64_t& evaluated) {
  int alive[kTileRays], rays = kTileRays, count = 0;
  for (int i = 0; i < kTileRays; i++) alive[i] = i;
  while (rays) {
    const int start = count;
    int left = 0;
    for (int i = 0; i < rays; i++) {
      const int before = count;
      count = march(scene, frame.warp, tile, alive[i], m.samples, count);
      if (count > before) alive[left++] = alive[i];
    }
    if (count == start) break;
    evaluated += count - start;
    count = fill_group(m.samples, count);
    for (int i = start; i < count; i += kLanes) {
      const float* axes[3] = {m.samples.canonical[0] + i, m.samples.canonical[1] + i, m.samples.canonical[2] + i};
      find_corners<3>(scene.head, axes, m.corners[i / kLanes]);
      prefetch_rows<3>(scene.head, m.corners[i / kLanes]);
      if (i > start) shade_group<width>(scene, frame, m, i - kLanes);
    }
    shade_group<width>(scene, frame, m, count - kLanes);
    for (int i = start; i < count; i++) {
      const int r = m.samples.ray[i];
      const bool drawn = r >= 0 && tile.transmittance[r] >= kMinRayTransmittance;
      m.share[i] = drawn ? m.alpha[i] * tile.transmittance[r] : 0.f;
      if (!drawn) {
        m.samples.ray[i] = -1;
        continue;
      }
      tile.transmittance[r] -= m.share[i];
      m.after[i] = tile.transmittance[r];
      for (int c = 0; c < 3; c++) tile.color[c][r] += m.share[i] * m.color[c][i];
    }
    rays = 0;
    for (int i = 0; i < left; i++)
      if (tile.transmittance[alive[i]] >= kMinRayTransmittance) alive[rays++] = alive[i];
  }
  return count;
}

// Torso values of a patch and their gradients.
struct TorsoPatch : TorsoTile {
  float grad_color[3][kTileRays], grad_opacity[kTileRays];
};

struct PatchData {
  int x, y;
  const uint8_t *target, *masks, *plate;
  const float *weight, *jitter;
  PatchData(const TrainFieldArgs& a, int number)
      : x(a.corners[2 * number]),
        y(a.corners[2 * number + 1]),
        target(a.target + static_cast<ptrdiff_t>(number) * kTileRays * 3),
        masks(a.masks + static_cast<ptrdiff_t>(number) * kTileRays * 2),
        plate(a.plate + static_cast<ptrdiff_t>(number) * kTileRays * 3),
        weight(a.weight + static_cast<ptrdiff_t>(number) * kTileRays),
        jitter(a.jitter + static_cast<ptrdiff_t>(number) * kTileRays) {}
};

template <int width>
void backward_torso(const TrainFieldArgs& a, int chunk, const RayTile& tile, const TorsoPatch& torso,
                    const FieldGradient& grad) {
  const SceneView& scene = a.scene;
  const FrameView& frame = a.frames[chunk];
  float inputs[kTorsoInputs * kLanes], hidden1[width * kLanes], hidden2[width * kLanes], raw[kOutputs * kLanes];
  float grad1[width * kLanes], grad2[width * kLanes], grad_x[kTorsoInputs * kLanes], points[kLanes * kEncoded];
  float by_plane[2 * kLanes];
  float* motion = a.grad_motion + 6 * chunk;
  Corners<2> corners;
  for (int start = 0; start < kTileRays; start += kLanes) {
    if (!any_inside(torso, start)) continue;
    torso_inputs(scene, tile, torso, start, corners, inputs);
    network_forward<kTorsoInputs, width>(scene.torso, Bias{frame.torso_bias}, inputs, hidden1, hidden2, raw);
    for (int lane = 0; lane < kLanes; lane++) {
      const int i = start + lane;
      const float solid = torso.opacity[i];
      raw[lane] = torso.inside[i] ? torso.grad_opacity[i] * solid * (1 - solid) : 0.f;
      for (int c = 0; c < 3; c++) {
        const float value = torso.color[c][i];
        raw[(1 + c) * kLanes + lane] = torso.inside[i] ? torso.grad_color[c][i] * value * (1 - value) : 0.f;
      }
    }
    network_backward<kTorsoInputs, width>(scene.torso, raw, hidden1, hidden2, grad1, grad2, grad_x);
    add_weight_gradient<kOutputs, width>(raw, hidden2, 1, grad.w2);
    add_weight_gradient<width, width>(grad2, hidden1, 1, grad.w1);
    add_weight_gradient<width, kTorsoInputs>(grad1, inputs, 1, grad.w0);
    add_bias_gradient<kOutputs>(raw, 1, grad.b2);
    add_bias_gradient<width>(grad2, 1, grad.b1);
    add_bias_gradient<width>(grad1, 1, a.grad_torso_bias + static_cast<ptrdiff_t>(chunk) * width);
    lanes_to_points(grad_x, points);
    scatter<2>(corners, points, grad.table);
    position_gradient<2>(scene.torso, corners, points, by_plane);
    for (int lane = 0; lane < kLanes; lane++)
      for (int axis = 0; axis < 2; axis++) {
        const float by = by_plane[axis * kLanes + lane] * kTorsoScale;
        motion[3 * axis] += by * torso.q[0][start + lane];
        motion[3 * axis + 1] += by * torso.q[1][start + lane];
        motion[3 * axis + 2] += by;
      }
  }
}

GENEFACE_INLINE float rounded(float difference, float epsilon, float& slope) {
  const float distance = __builtin_sqrtf(difference * difference + epsilon * epsilon);
  slope = difference / distance;
  return distance;
}

// What a patch's samples hand back to their network.
struct RayGradient {
  float color[3][kTileRays], transmittance[kTileRays];
  float blended[3][kTileRays] = {};  // colour gathered by the samples so far
  float opaque[kTileRays];           // weight of the light that is left behind each sample
  float light[kTileRays] = {};       // that light, summed up over the samples still to come
};

// Losses of a patch; gradients of the rays' colour and transmittance, and of the torso's values.
void patch_losses(const TrainFieldArgs& a, int chunk, const PatchData& patch, const RayTile& tile, TorsoPatch& torso,
                  RayGradient& grad) {
  const float pixels = static_cast<float>(kTileRays) * a.chunks * a.patches;
  float difference[3][kTileRays];
  double colour_loss = 0, outline_loss = 0;
  float slope;
  for (int i = 0; i < kTileRays; i++)
    for (int c = 0; c < 3; c++) {
      const float behind =
          torso.opacity[i] * torso.color[c][i] + (1 - torso.opacity[i]) * patch.plate[3 * i + c] * (1 / 255.f);
      difference[c][i] = tile.color[c][i] + tile.transmittance[i] * behind - patch.target[3 * i + c] * (1 / 255.f);
      const float weight = patch.weight[i] / (3 * pixels);
      colour_loss += weight * (rounded(difference[c][i], a.epsilon, slope) - a.epsilon);
      grad.color[c][i] = weight * slope;
    }
  // Neighbours' differences: what is blurred differs from its neighbour otherwise than the truth does.
  for (int i = 0; a.edge > 0 && i < kTileRays; i++)
    for (int beside = 0; beside < 2; beside++) {
      const int j = beside ? i + kRayTile : i + 1;
      if (beside ? j >= kTileRays : j % kRayTile == 0) continue;
      const float weight = a.edge * 0.5f * (patch.weight[i] + patch.weight[j]) / (3 * pixels);
      for (int c = 0; c < 3; c++) {
        colour_loss += weight * (rounded(difference[c][j] - difference[c][i], a.epsilon, slope) - a.epsilon);
        grad.color[c][j] += weight * slope;
        grad.color[c][i] -= weight * slope;
      }
    }
  for (int i = 0; i < kTileRays; i++) {
    const float through = tile.transmittance[i], solid = torso.opacity[i];
    float by_through = 0, by_solid = 0;
    for (int c = 0; c < 3; c++) {
      const float plate = patch.plate[3 * i + c] * (1 / 255.f);
      by_through += grad.color[c][i] * (solid * torso.color[c][i] + (1 - solid) * plate);
      by_solid += grad.color[c][i] * through * (torso.color[c][i] - plate);
      torso.grad_color[c][i] = grad.color[c][i] * through * solid;
    }
    const float weight = a.silhouette / pixels;
    const float head = patch.masks[2 * i] * (1 / 255.f),
                both = smaller(head + patch.masks[2 * i + 1] * (1 / 255.f), 1.f);
    outline_loss += weight * rounded(1 - through - head, a.silhouette_epsilon, slope);
    by_through -= weight * slope;
    outline_loss += weight * rounded(1 - through * (1 - solid) - both, a.silhouette_epsilon, slope);
    by_through -= weight * slope * (1 - solid);
    by_solid += weight * slope * through;
    grad.transmittance[i] = by_through;
    torso.grad_opacity[i] = by_solid;
  }
  a.losses[3 * chunk] += colour_loss;
  a.losses[3 * chunk + 1] += outline_loss;
}

// The loss on light left behind samples: a head is opaque, and the sooner a ray ends the less it costs.
template <int width>
void light_loss(const TrainFieldArgs& a, int chunk, const PatchData& patch, const PatchMemory<width>& m, int count,
                RayGradient& grad) {
  const float weight = a.opaque / (static_cast<float>(kTileRays) * a.chunks * a.patches);
  for (int i = 0; i < kTileRays; i++) grad.opaque[i] = weight * patch.masks[2 * i] * (1 / 255.f);
  for (int i = 0; i < count; i++)
    if (m.samples.ray[i] >= 0) grad.light[m.samples.ray[i]] += m.after[i];
  double loss = 0;
  for (int i = 0; i < kTileRays; i++) loss += grad.opaque[i] * grad.light[i];
  a.losses[3 * chunk + 2] += loss;
}

// Gradients of a sample's raw outputs.
GENEFACE_INLINE void sample_gradient(const RayTile& tile, int r, float density, float after, float share, float step,
                                     const float color[3], RayGradient& grad, float out[kOutputs]) {
  float by_depth = -grad.transmittance[r] * tile.transmittance[r] - grad.opaque[r] * grad.light[r];
  grad.light[r] -= after;
  for (int c = 0; c < 3; c++) {
    grad.blended[c][r] += share * color[c];
    by_depth += grad.color[c][r] * (after * color[c] - (tile.color[c][r] - grad.blended[c][r]));
    out[1 + c] = grad.color[c][r] * share * color[c] * (1 - color[c]);
  }
  out[0] = by_depth * step * density;
}

// From the gradient of a sample's canonical position: of the frame's warp, and of its pose.
GENEFACE_INLINE void move_gradient(const SceneView& scene, const View& view, const RayTile& tile, int r, float s,
                                   const float g[3], float* grad_warp, float pose[6]) {
  float point[2];
  for (int axis = 0; axis < 2; axis++) point[axis] = tile.origin[axis] + s * tile.direction[axis][r];
  const WarpCell cell = warp_cell(scene, point[0], point[1]);
  for (int corner = 0; corner < 4; corner++) {
    float* node = grad_warp + 4 * (cell.node + (corner & 1) + (corner >> 1) * scene.warp_columns);
    for (int axis = 0; axis < 3; axis++) node[axis] += g[axis] * cell.shares[corner];
  }
  // X = R^T (X_camera - t); turning and shifting the head moves the ray the other way.
  const float *rotation = view.rotation, *t = view.translation;
  const float arm[3] = {s * tile.camera[0][r] - t[0], s * tile.camera[1][r] - t[1], -s - t[2]};
  float turned[3];
  for (int i = 0; i < 3; i++)
    turned[i] = rotation[3 * i] * g[0] + rotation[3 * i + 1] * g[1] + rotation[3 * i + 2] * g[2];
  for (int i = 0; i < 3; i++) {
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    pose[i] -= arm[j] * turned[k] - arm[k] * turned[j];
    pose[3 + i] -= turned[i];
  }
}

template <int width>
void backward_head(const TrainFieldArgs& a, int chunk, const RayTile& tile, const PatchMemory<width>& m, int count,
                   RayGradient& by_ray, const FieldGradient& grad) {
  const SceneView& scene = a.scene;
  const FrameView& frame = a.frames[chunk];
  constexpr ptrdiff_t kHiddenGroup = width * kLanes, kInputGroup = kEncoded * kLanes, kRawGroup = kOutputs * kLanes;
  float raw[kBatch * kRawGroup], grad1[kBatch * kHiddenGroup], grad2[kBatch * kHiddenGroup], grad_x[kInputGroup];
  float points[kBatch][kLanes * kEncoded], by_position[3 * kLanes];
  float* grad_warp = a.grad_warp + static_cast<ptrdiff_t>(chunk) * scene.warp_rows * scene.warp_columns * 4;
  const int groups = count / kLanes;
  for (int first = 0; first < groups; first += kBatch) {
    const int batch = smaller(kBatch, groups - first);
    const float *x = m.x + first * kInputGroup, *hidden1 = m.hidden1 + first * kHiddenGroup,
                *hidden2 = m.hidden2 + first * kHiddenGroup;
    for (int b = 0; b < batch; b++) {
      for (int lane = 0; lane < kLanes; lane++) {
        const int i = (first + b) * kLanes + lane, r = m.samples.ray[i];
        float out[kOutputs] = {};
        const float color[3] = {m.color[0][i], m.color[1][i], m.color[2][i]};
        if (r >= 0) sample_gradient(tile, r, m.density[i], m.after[i], m.share[i], scene.step, color, by_ray, out);
        for (int o = 0; o < kOutputs; o++) raw[b * kRawGroup + o * kLanes + lane] = out[o];
      }
      prefetch_gradient<3>(m.corners[first + b], grad.table);
      network_backward<kEncoded, width>(scene.head, raw + b * kRawGroup, hidden1 + b * kHiddenGroup,
                                        hidden2 + b * kHiddenGroup, grad1 + b * kHiddenGroup, grad2 + b * kHiddenGroup,
                                        grad_x);
      lanes_to_points(grad_x, points[b]);
    }
    add_weight_gradient<kOutputs, width>(raw, hidden2, batch, grad.w2);
    add_weight_gradient<width, width>(grad2, hidden1, batch, grad.w1);
    add_weight_gradient<width, kEncoded>(grad1, x, batch, grad.w0);
    add_bias_gradient<kOutputs>(raw, batch, grad.b2);
    add_bias_gradient<width>(grad2, batch, grad.b1);
    add_gated_bias_gradient<width>(grad1, m.samples.gate + first * kLanes, batch,
                                   a.grad_head_bias + static_cast<ptrdiff_t>(chunk) * 3 * width);
    for (int b = 0; b < batch; b++) {
      const Corners<3>& corners = m.corners[first + b];
      scatter<3>(corners, points[b], grad.table);
      if (!a.move) continue;
      position_gradient<3>(scene.head, corners, points[b], by_position);
      for (int lane = 0; lane < kLanes; lane++) {
        const int i = (first + b) * kLanes + lane;
        if (m.samples.ray[i] < 0) continue;
        float g[3];  // what is held at the cube's border does not move
        for (int axis = 0; axis < 3; axis++) {
          const float at = m.samples.canonical[axis][i];
          g[axis] = at > 0 && at < 1 ? by_position[axis * kLanes + lane] : 0.f;
        }
        move_gradient(scene, frame.view, tile, m.samples.ray[i], m.samples.depth[i], g, grad_warp,
                      a.grad_pose + 6 * chunk);
      }
    }
  }
}

template <int width, int torso_width>
void train_chunk(const TrainFieldArgs& a, int chunk, const FieldGradient& head, const FieldGradient& torso_gradient,
                 float* scratch) {
  const FrameView& frame = a.frames[chunk];
  const PatchMemory<width> memory(scratch);
  for (int patch_number = 0; patch_number < a.patches; patch_number++) {
    const PatchData patch(a, chunk * a.patches + patch_number);
    RayTile tile;
    start_rays(a.scene, frame.view, patch.x, patch.y, patch.jitter, look_through(a.scene, frame.view, patch.x, patch.y),
               tile);
    const int count = forward_head<width>(a.scene, frame, tile, memory, a.samples[chunk]);
    TorsoPatch torso;
    forward_torso<torso_width>(a.scene, frame, patch.x, patch.y, tile, torso);
    RayGradient by_ray;
    patch_losses(a, chunk, patch, tile, torso, by_ray);
    light_loss<width>(a, chunk, patch, memory, count, by_ray);
    backward_torso<torso_width>(a, chunk, tile, torso, torso_gradient);
    backward_head<width>(a, chunk, tile, memory, count, by_ray, head);
  }
}

FieldGradient of_slot(const FieldGradient& first, const FieldView& field, int slot) {
  const ptrdiff_t inputs = static_cast<ptrdiff_t>(slot) * field.width * field.inputs;
  return {first.table + static_cast<ptrdiff_t>(slot) * kLevels * field.rows * kFeatures,
          first.w0 + inputs,
          first.w1 + static_cast<ptrdiff_t>(slot) * field.width * field.width,
          first.b1 + static_cast<ptrdiff_t>(slot) * field.width,
          first.w2 + static_cast<ptrdiff_t>(slot) * kOutputs * field.width,
          first.b2 + static_cast<ptrdiff_t>(slot) * kOutputs};
}

}  // namespace

void train_field(const TrainFieldArgs& args) {
  const bool wide = args.scene.head.width == 64, wide_torso = args.scene.torso.width == 64;
  const auto train = wide ? (wide_torso ? train_chunk<64, 64> : train_chunk<64, 32>)
                          : (wide_torso ? train_chunk<32, 64> : train_chunk<32, 32>);
  for_each_task(args.slots, [&](int slot) {
    const FieldGradient head = of_slot(args.head_grad, args.scene.head, slot);
    const FieldGradient torso = of_slot(args.torso_grad, args.scene.torso, slot);
    float* scratch = args.scratch + static_cast<size_t>(slot) * train_field_scratch(args.scene.head.width);
    for (int chunk = slot; chunk < args.chunks; chunk += args.slots) train(args, chunk, head, torso, scratch);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
