// Rays through a head: which samples of a tile lie in occupied cells, where they lie in the canonical head, blending.
//
// A tile is kRayTile x kRayTile pixels. Depth is measured along the camera's axis; samples lie on a lattice of depths
// (k + 1/2 + jitter) step, the same for all tiles, so that a picture does not show them.
#pragma once

#include "network.hpp"
#include "tasks.hpp"

namespace geneface {
namespace GENEFACE_TARGET {

// Half the diagonal of the unit cube, a little more.
constexpr float kCubeRadius = 0.867f;

struct RayTile {
  float origin[3];                // camera in the head's frame
  float direction[3][kTileRays];  // head frame, of camera depth 1
  float camera[2][kTileRays];     // the same in the camera's frame, x and y
  float jitter[kTileRays];
  int next[kTileRays];  // number of the next sample on the lattice
  int end;              // behind the last
  int used[kTileRays];  // samples so far
  float transmittance[kTileRays];
  float color[3][kTileRays];
};

// Whether a cell near the point is marked. Marks are grown by a coarse cell, so a point as far outside the cube counts.
GENEFACE_INLINE bool coarse_bit(const SceneView& scene, const float point[3]) {
  int cell[3];
  for (int k = 0; k < 3; k++) {
    const float scaled = point[k] * kCoarseCells;
    if (!(scaled >= -1 && scaled < kCoarseCells + 1)) return false;
    cell[k] = smaller(larger(static_cast<int>(scaled), 0), kCoarseCells - 1);
  }
  return scene.coarse[cell[2] * kCoarseCells + cell[1]] >> cell[0] & 1;
}

// Depths between which the rays of a tile may meet occupied cells; none if far < near.
struct Reach {
  float near, far;
};

// The lattice's sample at or before a depth.
GENEFACE_INLINE int lattice(float depth, float step) {
  return static_cast<int>(smaller(larger(depth, 0.f) / step, 1e9f));
}

// The camera in the head's frame.
GENEFACE_INLINE void find_origin(const View& view, float origin[3]) {
  const float *r = view.rotation, *t = view.translation;
  for (int k = 0; k < 3; k++) origin[k] = -(r[k] * t[0] + r[3 + k] * t[1] + r[6 + k] * t[2]);
}

// Sets up the rays of the tile whose first pixel is (x, y).
inline void start_rays(const SceneView& scene, const View& view, int x, int y, const float* jitter, const Reach& reach,
                       RayTile& tile) {
  const float* r = view.rotation;
  find_origin(view, tile.origin);
  const int start = lattice(reach.near, scene.step);
  tile.end = reach.far < reach.near ? start : lattice(reach.far, scene.step) + 1;
  for (int i = 0; i < kTileRays; i++) {
    const float u = view.left + x + i % kRayTile + 0.5f, v = view.top + y + i / kRayTile + 0.5f;
    const float cx = (u - 0.5f * view.whole_width) / view.focal_px, cy = (0.5f * view.whole_height - v) / view.focal_px;
    tile.camera[0][i] = cx;
    tile.camera[1][i] = cy;
    for (int k = 0; k < 3; k++) tile.direction[k][i] = r[k] * cx + r[3 + k] * cy - r[6 + k];
    tile.jitter[i] = jitter ? jitter[i] : 0.f;
    tile.next[i] = start;
    tile.used[i] = 0;
    tile.transmittance[i] = 1;
    for (int c = 0; c < 3; c++) tile.color[c][i] = 0;
  }
}

// Looks for occupied cells along the rays of one tile: for a few tiles of many frames, as training has them.
inline Reach look_through(const SceneView& scene, const View& view, int x, int y) {
  const float *r = view.rotation, *t = view.translation;
  const Reach everything = {-t[2] - kCubeRadius, -t[2] + kCubeRadius};
  // The coarse cells are grown by one cell: looks along the middles of the tile's quarters see all that any ray can
  // meet, as long as no sample is farther from a look than a cell. That is 1.5 pixels each way and half a look along
  // the ray.
  constexpr float kCell = 1.f / kCoarseCells, kLook = 0.5f * kCell;
  const float middle[2] = {(x + 0.5f * kRayTile - 0.5f * view.width) / view.focal_px,
                           (0.5f * view.height - y - 0.5f * kRayTile) / view.focal_px};
  const float slant = __builtin_sqrtf(1 + middle[0] * middle[0] + middle[1] * middle[1]);
  if (1.5f * 1.42f * everything.far / view.focal_px + 0.5f * kLook * slant >= kCell) return everything;
  const float quarter = 0.25f * kRayTile / view.focal_px;
  float origin[3], looks[4][3];
  find_origin(view, origin);
  for (int i = 0; i < 4; i++) {
    const float cx = middle[0] + (i & 1 ? quarter : -quarter), cy = middle[1] + (i & 2 ? quarter : -quarter);
    for (int k = 0; k < 3; k++) looks[i][k] = r[k] * cx + r[3 + k] * cy - r[6 + k];
  }
  Reach reach = {everything.far + kLook, everything.near - kLook};
  for (float s = everything.near; s < everything.far + kLook; s += kLook)
    for (int i = 0; i < 4; i++) {
      float point[3];
      for (int k = 0; k < 3; k++) point[k] = origin[k] + s * looks[i][k] + 0.5f;
      if (!coarse_bit(scene, point)) continue;
      reach = {smaller(reach.near, s - kLook), larger(reach.far, s + kLook)};
      break;
    }
  return reach;
}

// Samples of one round, or of a whole patch.
struct Samples {
  float* canonical[3];  // [capacity] in [0, 1]
  float* depth;         // along the camera's axis
  float* gate;          // of the bias, see Gates
  int32_t* ray;         // -1: only there to fill a group
};

typedef float Quad __attribute__((vector_size(16)));

// Four nodes of the warp around a point of the head and their shares.
struct WarpCell {
  ptrdiff_t node;
  float shares[4];
};
GENEFACE_INLINE WarpCell warp_cell(const SceneView& scene, float x, float y) {
  const float* box = scene.warp_box;
  const float fx = (x - box[0]) * ((scene.warp_columns - 1) / (box[2] - box[0]));
  const float fy = (y - box[1]) * ((scene.warp_rows - 1) / (box[3] - box[1]));
  const float cx = smaller(larger(fx, 0.f), scene.warp_columns - 1.f);
  const float cy = smaller(larger(fy, 0.f), scene.warp_rows - 1.f);
  const int ix = smaller(static_cast<int>(cx), scene.warp_columns - 2);
  const int iy = smaller(static_cast<int>(cy), scene.warp_rows - 2);
  const float ax = cx - ix, ay = cy - iy;
  return {static_cast<ptrdiff_t>(iy) * scene.warp_columns + ix,
          {(1 - ax) * (1 - ay), ax * (1 - ay), (1 - ax) * ay, ax * ay}};
}

// Adds the ray's next occupied samples, at most kRound, from number `count` on; returns the new count.
GENEFACE_INLINE int march(const SceneView& scene, const float* warp, RayTile& tile, int ray, const Samples& out,
                          int count) {
  const int first = count, stop = count + smaller(kRound, kMaxRaySamples - tile.used[ray]);
  int k = tile.next[ray];
  for (; k < tile.end && count < stop; k++) {
    const float s = (k + 0.5f + tile.jitter[ray]) * scene.step;
    float p[3];
    for (int axis = 0; axis < 3; axis++) p[axis] = tile.origin[axis] + s * tile.direction[axis][ray] + 0.5f;
    if (!(p[0] >= 0 && p[1] >= 0 && p[2] >= 0 && p[0] < 1 && p[1] < 1 && p[2] < 1)) continue;
    const int x = static_cast<int>(p[0] * kCells), y = static_cast<int>(p[1] * kCells),
              z = static_cast<int>(p[2] * kCells);
    if (!(scene.occupancy[(z * kCells + y) * (kCells / 32) + x / 32] >> (x & 31) & 1)) continue;
    const WarpCell cell = warp_cell(scene, p[0] - 0.5f, p[1] - 0.5f);
    const float* node = warp + 4 * cell.node;
    Quad corners[4];
    std::memcpy(&corners[0], node, 2 * sizeof(Quad));
    std::memcpy(&corners[2], node + 4 * scene.warp_columns, 2 * sizeof(Quad));
    const Quad moved = corners[0] * cell.shares[0] + corners[1] * cell.shares[1] + corners[2] * cell.shares[2] +
                       corners[3] * cell.shares[3];
    for (int axis = 0; axis < 3; axis++) out.canonical[axis][count] = smaller(larger(p[axis] + moved[axis], 0.f), 1.f);
    out.depth[count] = s;
    out.gate[count] = moved[3];
    out.ray[count] = ray;
    count++;
  }
  tile.used[ray] += count - first;
  tile.next[ray] = k;
  return count;
}

// Repeats the last sample up to a multiple of sixteen.
GENEFACE_INLINE int fill_group(const Samples& samples, int count) {
  for (; count % kLanes; count++) {
    for (int axis = 0; axis < 3; axis++) samples.canonical[axis][count] = samples.canonical[axis][count - 1];
    samples.depth[count] = samples.depth[count - 1];
    samples.gate[count] = samples.gate[count - 1];
    samples.ray[count] = -1;
  }
  return count;
}

// Raw outputs [kOutputs][16] of a group -> density, opacity of a step, colour.
struct Shaded {
  Floats density, alpha, color[3];
};
GENEFACE_INLINE Shaded shade(const float* raw, float step) {
  Shaded s;
  s.density = exponential(minimum(load16(raw), kMaxLogDensity));
  s.alpha = 1.f - exponential(s.density * -step);
  for (int c = 0; c < 3; c++) s.color[c] = sigmoid(load16(raw + (1 + c) * kLanes));
  return s;
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
