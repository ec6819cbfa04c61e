// One picture: the head's field along rays, the torso's field behind it, the plate behind both.
#include "torso.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kRoundSamples = kTileRays * kRound;

// The colour and transmittance through the head of the tile's first `across` x `down` rays; returns how many samples.
template <int width>
int64_t render_head(const SceneView& scene, const FrameView& frame, int across, int down, RayTile& tile) {
  float x[kRoundSamples], y[kRoundSamples], z[kRoundSamples], depth[kRoundSamples], gate[kRoundSamples];
  int32_t ray[kRoundSamples];
  const Samples samples = {{x, y, z}, depth, gate, ray};
  float features[kEncoded * kLanes], hidden1[width * kLanes], hidden2[width * kLanes], raw[kOutputs * kLanes];
  Corners<3> corners[2];
  int alive[kTileRays], count = 0;
  for (int i = 0; i < kTileRays; i++)
    if (i % kRayTile < across && i / kRayTile < down) alive[count++] = i;
  int64_t evaluated = 0;
  while (count) {
    int found = 0, left = 0;
    for (int i = 0; i < count; i++) {
      const int before = found;
      found = march(scene, frame.warp, tile, alive[i], samples, found);
      if (found > before) alive[left++] = alive[i];
    }
    count = left;
    if (!found) break;
    evaluated += found;
    found = fill_group(samples, found);
    const float* axes[3] = {x, y, z};
    find_corners<3>(scene.head, axes, corners[0]);
    for (int start = 0, turn = 0; start < found; start += kLanes, turn ^= 1) {
      // The next group's rows are on their way while this group is computed.
      if (start + kLanes < found) {
        const float* next[3] = {x + start + kLanes, y + start + kLanes, z + start + kLanes};
        find_corners<3>(scene.head, next, corners[turn ^ 1]);
        prefetch_rows<3>(scene.head, corners[turn ^ 1]);
      }
      fetch<3>(scene.head, corners[turn], features);
      const GatedBias bias = {frame.head_bias, width, Gates(load16(gate + start))};
      network_forward<kEncoded, width>(scene.head, bias, features, hidden1, hidden2, raw);
      const Shaded shaded = shade(raw, scene.step);
      float alpha[kLanes], color[3][kLanes];
      store(shaded.alpha, alpha);
      for (int c = 0; c < 3; c++) store(shaded.color[c], color[c]);
      for (int lane = 0; lane < kLanes; lane++) {
        const int r = ray[start + lane];
        if (r < 0 || tile.transmittance[r] < kMinRayTransmittance) continue;
        const float share = alpha[lane] * tile.transmittance[r];
        tile.transmittance[r] -= share;
        for (int c = 0; c < 3; c++) tile.color[c][r] += share * color[c][lane];
      }
    }
    left = 0;
    for (int i = 0; i < count; i++)
      if (tile.transmittance[alive[i]] >= kMinRayTransmittance) alive[left++] = alive[i];
    count = left;
  }
  return evaluated;
}

template <int head_width, int torso_width>
void render_tile(const RenderFieldArgs& a, int index, int tiles_x) {
  const View& view = a.frame.view;
  const int x = index % tiles_x * kRayTile, y = index / tiles_x * kRayTile;
  RayTile tile;
  start_rays(a.scene, view, x, y, nullptr, {a.reach[2 * index], a.reach[2 * index + 1]}, tile);
  a.tile_samples[index] = render_head<head_width>(a.scene, a.frame, view.width - x, view.height - y, tile);
  TorsoTile torso;
  forward_torso<torso_width>(a.scene, a.frame, x, y, tile, torso);
  for (int i = 0; i < kTileRays; i++) {
    const int px = x + i % kRayTile, py = y + i / kRayTile;
    if (px >= view.width || py >= view.height) continue;
    const ptrdiff_t pixel = static_cast<ptrdiff_t>(py) * view.width + px;
    const float through = tile.transmittance[i], solid = torso.opacity[i];
    for (int c = 0; c < 3; c++)
      a.image[4 * pixel + c] =
          tile.color[c][i] + through * (solid * torso.color[c][i] + (1 - solid) * a.plate[3 * pixel + c]);
    a.image[4 * pixel + 3] = 1 - through;
    a.opacity[pixel] = 1 - through * (1 - solid);
  }
}

constexpr int kBlocks = kCells / 2;  // of two cells, along an axis of the cube

// Calls visit(x, y, z) for every block that has an occupied cell.
template <class Visit>
void for_each_block(const uint32_t* occupancy, const Visit& visit) {
  constexpr int kWords = kCells / 32;
  for (int z = 0; z < kBlocks; z++)
    for (int y = 0; y < kBlocks; y++)
      for (int word = 0; word < kWords; word++) {
        const uint32_t* rows = occupancy + (2 * z * kCells + 2 * y) * kWords + word;
        const uint32_t* behind = rows + kCells * kWords;
        uint32_t cells = rows[0] | rows[kWords] | behind[0] | behind[kWords];
        for (cells = (cells | cells >> 1) & 0x55555555u; cells; cells &= cells - 1)
          visit(word * 16 + __builtin_ctz(cells) / 2, y, z);
      }
}

// Splats sixteen occupied blocks, as balls around them, onto the tiles that they may be seen in.
void splat_blocks(const View& view, const float* const centre[3], int count, int tiles_x, int tiles_y, float* reach) {
  constexpr float kRadius = 1.001f * 1.7320508f / kCells;
  const float *r = view.rotation, *t = view.translation;
  Floats at[3];
  for (int axis = 0; axis < 3; axis++)
    at[axis] = load16(centre[0]) * r[3 * axis] + load16(centre[1]) * r[3 * axis + 1] +
               load16(centre[2]) * r[3 * axis + 2] + t[axis];
  const Floats depth = -at[2], nearest = depth - kRadius;
  // How far a point of the ball can lie from its centre's pixel: (dx - dz x / z) / (z + dz), at most.
  const Floats across = at[0] / depth, up = at[1] / depth, scale = kRadius * view.focal_px / nearest;
  const Floats u = across * view.focal_px + (0.5f * view.whole_width - view.left);
  const Floats v = 0.5f * view.whole_height - view.top - up * view.focal_px;
  const Floats du = square_root(across * across + 1.f) * scale, dv = square_root(up * up + 1.f) * scale;
  float box[4][kLanes], depths[2][kLanes];
  store((u - du) * (1.f / kRayTile), box[0]);
  store((u + du) * (1.f / kRayTile), box[1]);
  store((v - dv) * (1.f / kRayTile), box[2]);
  store((v + dv) * (1.f / kRayTile), box[3]);
  store(nearest, depths[0]);
  store(depth + kRadius, depths[1]);
  for (int i = 0; i < count; i++) {
    // A block around the camera may be seen anywhere.
    const bool around = !(depths[0][i] > 0.01f);
    if (around && depths[1][i] < 0) continue;
    const auto first = [&](float edge, int tiles) {
      return around || edge < 0 ? 0 : static_cast<int>(smaller(edge, static_cast<float>(tiles)));
    };
    const auto last = [&](float edge, int tiles) {
      return around ? tiles - 1 : edge < 0 ? -1 : static_cast<int>(smaller(edge, tiles - 1.f));
    };
    const int x0 = first(box[0][i], tiles_x), x1 = last(box[1][i], tiles_x);
    const int y0 = first(box[2][i], tiles_y), y1 = last(box[3][i], tiles_y);
    for (int y = y0; y <= y1; y++)
      for (int x = x0; x <= x1; x++) {
        float* tile = reach + 2 * (y * tiles_x + x);
        tile[0] = smaller(tile[0], depths[0][i]);
        tile[1] = larger(tile[1], depths[1][i]);
      }
  }
}

// The depths between which each tile may meet occupied cells.
void find_reach(const SceneView& scene, const View& view, int tiles_x, int tiles_y, float* reach) {
  for (int i = 0; i < tiles_x * tiles_y; i++) reach[2 * i] = 1e30f, reach[2 * i + 1] = -1e30f;
  float x[kLanes], y[kLanes], z[kLanes];
  const float* centre[3] = {x, y, z};
  int count = 0;
  for_each_block(scene.occupancy, [&](int bx, int by, int bz) {
    x[count] = (bx + 0.5f) / kBlocks - 0.5f;
    y[count] = (by + 0.5f) / kBlocks - 0.5f;
    z[count] = (bz + 0.5f) / kBlocks - 0.5f;
    if (++count < kLanes) return;
    splat_blocks(view, centre, count, tiles_x, tiles_y, reach);
    count = 0;
  });
  if (!count) return;
  for (int i = count; i < kLanes; i++) x[i] = x[0], y[i] = y[0], z[i] = z[0];
  splat_blocks(view, centre, count, tiles_x, tiles_y, reach);
}

}  // namespace

void render_field(const RenderFieldArgs& args) {
  const View& view = args.frame.view;
  const int tiles_x = (view.width + kRayTile - 1) / kRayTile, tiles_y = (view.height + kRayTile - 1) / kRayTile;
  find_reach(args.scene, view, tiles_x, tiles_y, args.reach);
  for_each_task(tiles_x * tiles_y, [&](int index) {
    const bool wide = args.scene.head.width == 64, wide_torso = args.scene.torso.width == 64;
    if (wide && wide_torso) return render_tile<64, 64>(args, index, tiles_x);
    if (wide) return render_tile<64, 32>(args, index, tiles_x);
    if (wide_torso) return render_tile<32, 64>(args, index, tiles_x);
    render_tile<32, 32>(args, index, tiles_x);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
