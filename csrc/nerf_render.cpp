// One picture: the head's field along rays, the torso's field behind it, the plate behind both.
#include "torso.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kRoundSamples = kTileRays * kRound;

// The colour and transmittance through the head of the tile's first `across` x `down` rays; returns the number of samples.
template <int width>
int64_t render_head(const SceneView& scene, const FrameView& frame, int across, int down, RayTile& tile) {
  float x[kRoundSamples], y[kRoundSamples], z[kRoundSamples], depth[kRoundSamples];
  int32_t ray[kRoundSamples];
  const Samples samples = {{x, y, z}, depth, ray};
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
      network_forward<kEncoded, width>(scene.head, frame.head_bias, features, hidden1, hidden2, raw);
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
  const bool met = start_tile(a.scene, view, x, y, nullptr, tile);
  a.tile_samples[index] = met ? render_head<head_width>(a.scene, a.frame, view.width - x, view.height - y, tile) : 0;
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

}  // namespace

void render_field(const RenderFieldArgs& args) {
  const View& view = args.frame.view;
  const int tiles_x = (view.width + kRayTile - 1) / kRayTile, tiles_y = (view.height + kRayTile - 1) / kRayTile;
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
