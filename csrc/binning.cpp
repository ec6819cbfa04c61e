#include "binning.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "pool.hpp"

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

// The part of a splat's bounds inside of the image; false if there is none.
bool clip_bounds(Rows<const int32_t> bounds, int n, const RasterState& state, PackedSplat& s) {
  const int x0 = std::max(bounds[0][n], 0), x1 = std::min(bounds[1][n], state.width - 1);
  const int y0 = std::max(bounds[2][n], 0), y1 = std::min(bounds[3][n], state.height - 1);
  s.x0 = static_cast<int16_t>(x0);
  s.x1 = static_cast<int16_t>(x1);
  s.y0 = static_cast<int16_t>(y0);
  s.y1 = static_cast<int16_t>(y1);
  s.drawn = x0 <= x1 && y0 <= y1;
  return s.drawn;
}

void pack(Rows<const float> values, int n, PackedSplat& s) {
  s.u = values[kU][n];
  s.v = values[kV][n];
  // exp(-(a dx^2 + 2 b dx dy + c dy^2) / 2) as a power of two.
  s.xx = -0.5f * kLog2E * values[kConicA][n];
  s.xy = -kLog2E * values[kConicB][n];
  s.yy = -0.5f * kLog2E * values[kConicC][n];
  s.log_opacity = std::log2(values[kOpacity][n]);
  for (int c = 0; c < 4; c++) s.color[c] = values[kRed + c][n];
}

template <class Body>
void for_each_task(int count, const Body& body) {
  run_tasks(
      count, [](void* context, int task) { (*static_cast<const Body*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

void pack_all(Rows<const float> values, Rows<const int32_t> bounds, int count, RasterState& state) {
  constexpr int kSplatsPerTask = 2048;
  state.splats.resize(count);
  for_each_task((count + kSplatsPerTask - 1) / kSplatsPerTask, [&](int task) {
    const int end = std::min(count, (task + 1) * kSplatsPerTask);
    for (int n = task * kSplatsPerTask; n < end; n++)
      if (clip_bounds(bounds, n, state, state.splats[n])) pack(values, n, state.splats[n]);
  });
}

// Numbers the pairs of splats and tiles and counts those of each tile, into tile_start[tile + 1].
// A rectangle of tiles is four marks at its corners, whose sums along rows and columns are the counts: loops over the
// few tiles of each splat would cost more, because no processor foresees where they end.
bool count_pairs(RasterState& state) {
  const int across = state.tiles_x + 1, tiles = state.tiles_x * state.tiles_y;
  state.marks.assign(static_cast<size_t>(across) * (state.tiles_y + 1), 0);
  int64_t pairs = 0;
  for (PackedSplat& s : state.splats) {
    if (!s.drawn) continue;
    const int x0 = s.x0 / kTile, x1 = s.x1 / kTile + 1, y0 = s.y0 / kTile, y1 = s.y1 / kTile + 1;
    state.marks[y0 * across + x0]++;
    state.marks[y0 * across + x1]--;
    state.marks[y1 * across + x0]--;
    state.marks[y1 * across + x1]++;
    s.first_pair = static_cast<int32_t>(pairs);
    pairs += static_cast<int64_t>(x1 - x0) * (y1 - y0);
    if (pairs > INT32_MAX / kGradientRows) return false;
  }
  state.pair_count = static_cast<int>(pairs);
  state.tile_start.assign(tiles + 1, 0);
  for (int y = 0; y < state.tiles_y; y++)
    for (int x = 0, row = 0; x < state.tiles_x; x++) {
      row += state.marks[y * across + x];
      state.tile_start[y * state.tiles_x + x + 1] = row + (y ? state.tile_start[(y - 1) * state.tiles_x + x + 1] : 0);
    }
  for (int tile = 0; tile < tiles; tile++) state.tile_start[tile + 1] += state.tile_start[tile];
  return true;
}

int32_t number_of(uint64_t key) { return static_cast<int32_t>(key & 0xffffffffu); }

// Writes the tile lists from the sorted keys; each task does some rows of tiles.
void fill_lists(RasterState& state) {
  state.tile_splats.resize(state.pair_count);
  state.touched.resize(state.pair_count);
  state.tile_next.assign(state.tile_start.begin(), state.tile_start.end() - 1);
  const int bands = std::min(state.tiles_y, threads());
  for_each_task(bands, [&](int band) {
    const int first = state.tiles_y * band / bands, end = state.tiles_y * (band + 1) / bands;
    for (size_t i = 0; i < state.keys.size(); i++) {
      constexpr size_t kPrefetch = 16;
      if (i + kPrefetch < state.keys.size()) __builtin_prefetch(&state.splats[number_of(state.keys[i + kPrefetch])]);
      const int32_t n = number_of(state.keys[i]);
      const PackedSplat& s = state.splats[n];
      const int y1 = std::min(s.y1 / kTile + 1, end), x1 = s.x1 / kTile + 1;
      for (int y = std::max(s.y0 / kTile, first); y < y1; y++)
        for (int x = s.x0 / kTile; x < x1; x++) state.tile_splats[state.tile_next[y * state.tiles_x + x]++] = n;
    }
  });
}

}  // namespace

bool bin_splats(Rows<const float> values, Rows<const int32_t> bounds, int count, int width, int height,
                RasterState& state) {
  state.width = width;
  state.height = height;
  state.tiles_x = (width + kTile - 1) / kTile;
  state.tiles_y = (height + kTile - 1) / kTile;
  pack_all(values, bounds, count, state);
  if (!count_pairs(state)) return false;
  state.keys.clear();
  for (int n = 0; n < count; n++)
    if (state.splats[n].drawn) state.keys.push_back(static_cast<uint64_t>(sortable(values[kDepth][n])) << 32 | n);
  sort_by_depth(state.keys, state.keys_spare);
  fill_lists(state);
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
  args.tile_splats = tile_splats.data();
  args.touched = touched.data();
  return args;
}

}  // namespace geneface
