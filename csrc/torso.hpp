// The torso at a tile's pixels: a field on the picture's plane, moved by the head pose, which sees the head before it.
#pragma once

#include "rays.hpp"

namespace geneface {
namespace GENEFACE_TARGET {

struct TorsoTile {
  float color[3][kTileRays], opacity[kTileRays];
  float plane[2][kTileRays];  // where each pixel lies in the field, [0, 1]
  float q[2][kTileRays];      // the pixel in image widths around the picture's middle
  bool inside[kTileRays];     // whether there can be torso, and whether it would be seen
};

GENEFACE_INLINE bool any_inside(const TorsoTile& torso, int start) {
  bool some = false;
  for (int lane = 0; lane < kLanes; lane++) some |= torso.inside[start + lane];
  return some;
}

// Where a pixel lies in the torso's plane, [0, 1] on both axes; false if no torso can be there.
GENEFACE_INLINE bool torso_position(const SceneView& scene, const FrameView& frame, int x, int y, float out[2],
                                    float q[2]) {
  const View& view = frame.view;
  const float width = static_cast<float>(view.whole_width);
  q[0] = (view.left + x + 0.5f) / width - 0.5f;
  q[1] = (view.top + y + 0.5f - 0.5f * view.whole_height) / width;
  const float* m = frame.torso_motion;
  out[0] = ((1 + m[0]) * q[0] + m[1] * q[1] + m[2]) * kTorsoScale + 0.5f;
  out[1] = (m[3] * q[0] + (1 + m[4]) * q[1] + m[5]) * kTorsoScale + 0.5f;
  if (!(out[0] >= 0 && out[1] >= 0 && out[0] < 1 && out[1] < 1)) return false;
  return scene
      .torso_occupancy[static_cast<int>(out[1] * kTorsoCells) * kTorsoCells + static_cast<int>(out[0] * kTorsoCells)];
}

// What the network sees of sixteen pixels: features of the plane, colour and opacity of the head.
GENEFACE_INLINE void torso_inputs(const SceneView& scene, const RayTile& tile, const TorsoTile& torso, int start,
                                  Corners<2>& corners, float* inputs) {
  const float* axes[2] = {torso.plane[0] + start, torso.plane[1] + start};
  find_corners<2>(scene.torso, axes, corners);
  fetch<2>(scene.torso, corners, inputs);
  for (int c = 0; c < 3; c++) store(load16(tile.color[c] + start), inputs + (kEncoded + c) * kLanes);
  store(1.f - load16(tile.transmittance + start), inputs + (kEncoded + 3) * kLanes);
}

// Colour and opacity behind the head of the tile whose first pixel is (x, y).
template <int width>
void forward_torso(const SceneView& scene, const FrameView& frame, int x, int y, const RayTile& tile,
                   TorsoTile& torso) {
  float inputs[kTorsoInputs * kLanes], hidden1[width * kLanes], hidden2[width * kLanes], raw[kOutputs * kLanes];
  Corners<2> corners;
  for (int i = 0; i < kTileRays; i++) {
    float point[2], q[2] = {};  // q is multiplied by gradients of 0 where there is no torso, and must be a number
    torso.inside[i] = tile.transmittance[i] >= kMinRayTransmittance &&
                      torso_position(scene, frame, x + i % kRayTile, y + i / kRayTile, point, q);
    for (int axis = 0; axis < 2; axis++) {
      torso.plane[axis][i] = torso.inside[i] ? point[axis] : 0.f;
      torso.q[axis][i] = q[axis];
    }
    torso.opacity[i] = 0;
    for (int c = 0; c < 3; c++) torso.color[c][i] = 0;
  }
  for (int start = 0; start < kTileRays; start += kLanes) {
    if (!any_inside(torso, start)) continue;
    torso_inputs(scene, tile, torso, start, corners, inputs);
    network_forward<kTorsoInputs, width>(scene.torso, Bias{frame.torso_bias}, inputs, hidden1, hidden2, raw);
    for (int c = 0; c < 3; c++) store(sigmoid(load16(raw + (1 + c) * kLanes)), torso.color[c] + start);
    store(sigmoid(load16(raw)), torso.opacity + start);
    for (int lane = 0; lane < kLanes; lane++)
      if (!torso.inside[start + lane]) torso.opacity[start + lane] = 0;
  }
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
