#include "binning.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace geneface {
namespace {

// Unsigned integers in the order of the floats.
uint32_t sortable(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// Stable radix sort by the upper half of each key, eleven bits at a time.
void sort_by_depth(std::vector<uint64_t>& keys, std::vector<uint64_t>& spare) {
  constexpr int kBits = 11, kBuckets = 1 << kBits;
  spare.resize(keys.size());
  for (int shift = 32; shift < 64; shift += kBits) {
    uint32_t starts[kBuckets + 1] = {};
    for (uint64_t key : keys) starts[(key >> shift & (kBuckets - 1)) + 1]++;
    for (int i = 0; i < kBuckets; i++) starts[i + 1] += starts[i];
    for (uint64_t key : keys) spare[starts[key >> shift & (kBuckets - 1)]++] = key;
    keys.swap(spare);
  }
}

PackedSplat pack(Rows<const float> values, int n, const int box[4], int first_pair) {
  PackedSplat s;
  s.u = values[kU][n];
  s.v = values[kV][n];
  // exp(-(a dx^2 + 2 b dx dy + c dy^2) / 2) as a power of two.
  s.xx = -0.5f * kLog2E * values[kConicA][n];
  s.xy = -kLog2E * values[kConicB][n];
  s.yy = -0.5f * kLog2E * values[kConicC][n];
  s.log_opacity = std::log2(values[kOpacity][n]);
  for (int c = 0; c < 4; c++) s.color[c] = values[kRed + c][n];
  s.x0 = static_cast<int16_t>(box[0]);
  s.x1 = static_cast<int16_t>(box[1]);
  s.y0 = static_cast<int16_t>(box[2]);
  s.y1 = static_cast<int16_t>(box[3]);
  s.first_pair = first_pair;
  s.source = n;
  return s;
}

template <class Visit>
void for_each_tile(const PackedSplat& s, int tiles_x, const Visit& visit) {
  for (int y = s.y0 / kTile; y <= s.y1 / kTile; y++)
    for (int x = s.x0 / kTile; x <= s.x1 / kTile; x++) visit(y * tiles_x + x);
}

}  // namespace

bool bin_splats(Rows<const float> values, Rows<const int32_t> bounds, int count, int width, int height, RasterState& state) {
  state.width = width;
  state.height = height;
  state.tiles_x = (width + kTile - 1) / kTile;
  state.tiles_y = (height + kTile - 1) / kTile;
  state.source_count = count;
  const int tiles = state.tiles_x * state.tiles_y;

  const auto box_of = [&](int n, int box[4]) {
    box[0] = std::max(bounds[0][n], 0);
    box[1] = std::min(bounds[1][n], width - 1);
    box[2] = std::max(bounds[2][n], 0);
    box[3] = std::min(bounds[3][n], height - 1);
    return box[0] <= box[1] && box[2] <= box[3];
  };
  int box[4];
  state.keys.clear();
  for (int n = 0; n < count; n++)
    if (box_of(n, box)) state.keys.push_back(static_cast<uint64_t>(sortable(values[kDepth][n])) << 32 | static_cast<uint32_t>(n));
  sort_by_depth(state.keys, state.keys_spare);

  state.splats.resize(state.keys.size());
  state.tile_start.assign(tiles + 1, 0);
  int64_t pairs = 0;
  for (size_t rank = 0; rank < state.keys.size(); rank++) {
    const int n = static_cast<int>(static_cast<uint32_t>(state.keys[rank]));
    box_of(n, box);
    const PackedSplat& s = state.splats[rank] = pack(values, n, box, static_cast<int>(pairs));
    for_each_tile(s, state.tiles_x, [&](int tile) { state.tile_start[tile + 1]++, pairs++; });
    if (pairs > INT32_MAX / kGradientRows) return false;
  }
  for (int tile = 0; tile < tiles; tile++) state.tile_start[tile + 1] += state.tile_start[tile];
  state.pair_count = static_cast<int>(pairs);
  state.tile_splats.resize(pairs);
  state.tile_end.resize(tiles);
  state.tile_next.assign(state.tile_start.begin(), state.tile_start.end() - 1);
  for (size_t rank = 0; rank < state.splats.size(); rank++)
    for_each_tile(state.splats[rank], state.tiles_x,
                  [&](int tile) { state.tile_splats[state.tile_next[tile]++] = static_cast<int32_t>(rank); });
  return true;
}

RasterArgs RasterState::raster_args() {
  RasterArgs args = {};
  args.width = width;
  args.height = height;
  args.tiles_x = tiles_x;
  args.tiles_y = tiles_y;
  args.splats = splats.data();
  args.splat_count = static_cast<int>(splats.size());
  args.tile_start = tile_start.data();
  args.tile_end = tile_end.data();
  args.tile_splats = tile_splats.data();
  return args;
}

}  // namespace geneface
