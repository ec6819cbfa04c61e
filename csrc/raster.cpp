// Blending of splats, front to back, in tiles of 16 x 16 pixels, and gradients back (Kerbl et al. 2023).
//
// A tile is sixteen blocks of 4 x 4 pixels; the pixels of a block are the lanes of a vector, row by row.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kBlocksAcross = kTile / kBlock;
constexpr int kChunk = 64;                // splats that a tile takes at a time
constexpr int kPrefetch = 16;             // splats ahead that are called into the cache
const float kLog2MinAlpha = -7.9943534f;  // log2(1 / 255)

// Pixel centres of a block's lanes, seen from its corner.
struct Lanes {
  Floats x, y;
  Lanes() {
    float lane_x[kLanes], lane_y[kLanes];
    for (int i = 0; i < kLanes; i++) lane_x[i] = 0.5f + i % kBlock, lane_y[i] = 0.5f + i / kBlock;
    x = load16(lane_x);
    y = load16(lane_y);
  }
};

struct Tile {
  int x, y;           // pixel of its corner
  int width, height;  // pixels that lie inside of the image
  const int32_t *first, *end;
};

Tile make_tile(const RasterArgs& a, int index) {
  Tile tile;
  tile.x = index % a.tiles_x * kTile;
  tile.y = index / a.tiles_x * kTile;
  tile.width = smaller(kTile, a.width - tile.x);
  tile.height = smaller(kTile, a.height - tile.y);
  tile.first = a.tile_splats + a.tile_start[index];
  tile.end = a.tile_splats + a.tile_start[index + 1];
  return tile;
}

// Bit by bit: blocks of a tile that a splat's bounds touch.
GENEFACE_INLINE uint32_t blocks_in_bounds(const PackedSplat& s, const Tile& tile) {
  const int x0 = larger(s.x0 - tile.x, 0) / kBlock, x1 = smaller(s.x1 - tile.x, kTile - 1) / kBlock;
  const int y0 = larger(s.y0 - tile.y, 0) / kBlock, y1 = smaller(s.y1 - tile.y, kTile - 1) / kBlock;
  const uint32_t columns = (2u << x1) - (1u << x0), first_of_rows = 0x1111u;
  const uint32_t rows = (16u << (y1 * kBlocksAcross)) - (1u << (y0 * kBlocksAcross));
  return columns * first_of_rows & rows;
}

// Where the pixels of a block lie.
struct BlockPlace {
  Floats x, y;
  GENEFACE_INLINE BlockPlace(const Tile& tile, const Lanes& lanes, int block)
      : x(lanes.x + static_cast<float>(tile.x + block % kBlocksAcross * kBlock)),
        y(lanes.y + static_cast<float>(tile.y + block / kBlocksAcross * kBlock)) {}
};

GENEFACE_INLINE Floats log2_alpha(const PackedSplat& s, const Floats& dx, const Floats& dy) {
  return dx * (dx * s.xx + dy * s.xy) + (dy * dy * s.yy + s.log_opacity);
}

// Opacity before the cap; 0 where the splat is too thin or the pixel is finished.
GENEFACE_INLINE Floats masked_alpha(const Floats& log2_alpha, const Floats& transmittance) {
  const Floats zero = broadcast(0.f);
  const Floats alpha = select(log2_alpha >= broadcast(kLog2MinAlpha), exp2(log2_alpha), zero);
  return select(transmittance >= broadcast(kMinTransmittance), alpha, zero);
}

// Copies between a tile's blocks and an image of `channels` interleaved channels.
template <class Visit>
GENEFACE_INLINE void for_each_pixel(const RasterArgs& a, const Tile& tile, const Visit& visit) {
  for (int y = 0; y < tile.height; y++)
    for (int x = 0; x < tile.width; x++) {
      const int block = y / kBlock * kBlocksAcross + x / kBlock, lane = y % kBlock * kBlock + x % kBlock;
      visit(static_cast<ptrdiff_t>(tile.y + y) * a.width + tile.x + x, block * kLanes + lane);
    }
}

// What the pixels of a block have gathered.
struct BlockColor {
  Floats transmittance, color[4];
};

// The splats of a tile that are blended next, and for each block those that touch it, near to far.
struct Chunk {
  int count;
  const PackedSplat* splats[kChunk];
  uint8_t lists[kBlocks][kChunk];
  int lengths[kBlocks];
};

void fill_chunk(Chunk& chunk, const RasterArgs& a, const Tile& tile, const int32_t* first, uint32_t live) {
  chunk.count = static_cast<int>(smaller<ptrdiff_t>(kChunk, tile.end - first));
  for (int& length : chunk.lengths) length = 0;
  for (int i = 0; i < chunk.count; i++) {
    const PackedSplat& s = a.splats[first[i]];
    if (tile.end - first > i + kPrefetch) __builtin_prefetch(a.splats + first[i + kPrefetch]);
    chunk.splats[i] = &s;
    for (uint32_t blocks = blocks_in_bounds(s, tile) & live; blocks; blocks &= blocks - 1) {
      const int block = __builtin_ctz(blocks);
      chunk.lists[block][chunk.lengths[block]++] = static_cast<uint8_t>(i);
    }
  }
}

// Blends a chunk's splats into one block; block after block, because then the block's pixels stay in registers.
GENEFACE_INLINE void blend_block(const Chunk& chunk, const BlockPlace& place, int block, BlockColor& pixels,
                                 uint16_t* touched) {
  Floats transmittance = pixels.transmittance, color[4];
  for (int c = 0; c < 4; c++) color[c] = pixels.color[c];
  for (int k = 0; k < chunk.lengths[block]; k++) {
    const int number = chunk.lists[block][k];
    const PackedSplat& s = *chunk.splats[number];
    const Floats alpha = minimum(masked_alpha(log2_alpha(s, place.x - s.u, place.y - s.v), transmittance), kMaxAlpha);
    touched[number] = static_cast<uint16_t>(touched[number] | any(alpha > 0.f) << block);
    const Floats share = alpha * transmittance;
    transmittance -= share;
    for (int c = 0; c < 4; c++) color[c] += share * s.color[c];
  }
  pixels.transmittance = transmittance;
  for (int c = 0; c < 4; c++) pixels.color[c] = color[c];
}

// The tile's pixels over the background, into the image.
void write_tile(const RasterArgs& a, const Tile& tile, const BlockColor pixels[kBlocks]) {
  float lane_color[4][kTile * kTile], lane_transmittance[kTile * kTile];
  for (int b = 0; b < kBlocks; b++) {
    store(pixels[b].transmittance, lane_transmittance + b * kLanes);
    for (int c = 0; c < 4; c++) store(pixels[b].color[c], lane_color[c] + b * kLanes);
  }
  const float black[3] = {0, 0, 0};
  const float* flat = a.background ? a.background : black;
  for_each_pixel(a, tile, [&](ptrdiff_t pixel, int lane) {
    const float* behind = a.background_is_image ? a.background + 3 * pixel : flat;
    const float through = lane_transmittance[lane];
    for (int c = 0; c < 3; c++) a.image[4 * pixel + c] = lane_color[c][lane] + through * behind[c];
    a.image[4 * pixel + 3] = lane_color[3][lane];
    a.transmittance[pixel] = through;
  });
}

void rasterize_tile(const RasterArgs& a, int index, const Lanes& lanes) {
  const Tile tile = make_tile(a, index);
  BlockColor pixels[kBlocks];
  for (BlockColor& block : pixels) {
    block.transmittance = broadcast(1.f);
    for (Floats& channel : block.color) channel = broadcast(0.f);
  }
  uint16_t* touched = a.touched + a.tile_start[index];
  std::memset(touched, 0, sizeof(uint16_t) * (tile.end - tile.first));
  uint32_t live = (1u << kBlocks) - 1;  // bit by bit: blocks that have a pixel which is not finished
  Chunk chunk;
  for (const int32_t* next = tile.first; next < tile.end && live; next += chunk.count) {
    fill_chunk(chunk, a, tile, next, live);
    for (int block = 0; block < kBlocks; block++) {
      if (chunk.lengths[block] == 0) continue;
      blend_block(chunk, BlockPlace(tile, lanes, block), block, pixels[block], touched + (next - tile.first));
      if (!any(pixels[block].transmittance >= broadcast(kMinTransmittance))) live &= ~(1u << block);
    }
  }
  write_tile(a, tile, pixels);
}

// ---- backward

// What the gradients of one block's pixels need while splats are walked front to back.
struct BlockGradient {
  Floats transmittance;
  Floats incoming[4];  // gradient of the image
  Floats behind;       // incoming . (all that is blended from here on, background included)
};

void load_gradients(const RasterBackwardArgs& a, const Tile& tile, BlockGradient blocks[kBlocks]) {
  float incoming[4][kTile * kTile] = {}, behind[kTile * kTile] = {};
  for_each_pixel(a.raster, tile, [&](ptrdiff_t pixel, int lane) {
    float total = a.grad_transmittance ? a.grad_transmittance[pixel] * a.raster.transmittance[pixel] : 0.f;
    for (int c = 0; c < 4; c++) {
      incoming[c][lane] = a.grad_image[4 * pixel + c];
      total += incoming[c][lane] * a.raster.image[4 * pixel + c];
    }
    behind[lane] = total;
  });
  for (int b = 0; b < kBlocks; b++) {
    blocks[b].transmittance = broadcast(1.f);
    blocks[b].behind = load16(behind + b * kLanes);
    for (int c = 0; c < 4; c++) blocks[b].incoming[c] = load16(incoming[c] + b * kLanes);
  }
}

// Sums over a tile's pixels for one splat: moments of the gradient of log alpha, and the gradient of the colour.
struct PairSums {
  Floats total, x, y, xx, xy, yy, color[3];
  PairSums() {
    total = x = y = xx = xy = yy = broadcast(0.f);
    for (Floats& channel : color) channel = total;
  }
  GENEFACE_INLINE void store_to(float* out) const {
    const Floats* const all[kGradientRows] = {&total, &x, &y, &xx, &xy, &yy, color, color + 1, color + 2};
    sum_each(all, out);
  }
};

GENEFACE_INLINE void add_block(const PackedSplat& s, BlockGradient& block, const Floats& dx, const Floats& dy,
                               PairSums& sums) {
  const Floats raw = masked_alpha(log2_alpha(s, dx, dy), block.transmittance);
  const Floats alpha = minimum(raw, kMaxAlpha);
  const Floats share = alpha * block.transmittance;
  Floats own = block.incoming[0] * s.color[0];
  for (int c = 1; c < 4; c++) own += block.incoming[c] * s.color[c];
  block.behind -= share * own;
  // d image / d alpha: its own colour comes, what is behind is dimmed by 1 - alpha. The cap lets nothing through.
  const Floats by_log_alpha = share * own - block.behind * (alpha / (1.f - alpha));
  const Floats grad = select(raw <= broadcast(kMaxAlpha), by_log_alpha, broadcast(0.f));
  block.transmittance -= share;
  const Floats gx = grad * dx, gy = grad * dy;
  sums.total += grad;
  sums.x += gx;
  sums.y += gy;
  sums.xx += gx * dx;
  sums.xy += gx * dy;
  sums.yy += gy * dy;
  for (int c = 0; c < 3; c++) sums.color[c] += share * block.incoming[c];
}

int pair_of(const PackedSplat& s, const Tile& tile) {
  const int left = s.x0 / kTile, across = s.x1 / kTile - left + 1;
  return s.first_pair + (tile.y / kTile - s.y0 / kTile) * across + tile.x / kTile - left;
}

void backward_tile(const RasterBackwardArgs& a, int index, const Lanes& lanes) {
  const Tile tile = make_tile(a.raster, index);
  BlockGradient pixels[kBlocks];
  load_gradients(a, tile, pixels);
  const uint16_t* touched = a.raster.touched + a.raster.tile_start[index];
  for (const int32_t* next = tile.first; next < tile.end; next++, touched++) {
    if (tile.end - next > kPrefetch) __builtin_prefetch(a.raster.splats + next[kPrefetch]);
    const PackedSplat& s = a.raster.splats[*next];
    float* out = a.pair_sums + static_cast<ptrdiff_t>(pair_of(s, tile)) * kGradientRows;
    if (*touched == 0) {
      std::memset(out, 0, sizeof(float) * kGradientRows);
      continue;
    }
    PairSums sums;
    for (uint32_t blocks = *touched; blocks; blocks &= blocks - 1) {
      const int block = __builtin_ctz(blocks);
      const BlockPlace place(tile, lanes, block);
      add_block(s, pixels[block], place.x - s.u, place.y - s.v, sums);
    }
    sums.store_to(out);
  }
}

// Adds up a splat's pairs in the order of its tiles and writes the gradient of its parameters.
void gather_gradient(const RasterBackwardArgs& a, int n) {
  const PackedSplat& s = a.raster.splats[n];
  if (!s.drawn) {
    for (int k = 0; k < kGradientRows; k++) a.grad[k][n] = 0;
    return;
  }
  const int pairs = (s.x1 / kTile - s.x0 / kTile + 1) * (s.y1 / kTile - s.y0 / kTile + 1);
  float sums[kGradientRows] = {};
  const float* from = a.pair_sums + static_cast<ptrdiff_t>(s.first_pair) * kGradientRows;
  for (int pair = 0; pair < pairs; pair++)
    for (int k = 0; k < kGradientRows; k++) sums[k] += *from++;
  // The packed quadratic form is -log2(e) / 2 (a dx^2 + 2 b dx dy + c dy^2).
  const float conic_a = s.xx * (-2 / kLog2E), conic_b = s.xy * (-1 / kLog2E), conic_c = s.yy * (-2 / kLog2E);
  const float opacity = __builtin_exp2f(s.log_opacity);
  const float grad[6] = {conic_a * sums[1] + conic_b * sums[2],
                         conic_b * sums[1] + conic_c * sums[2],
                         -0.5f * sums[3],
                         -sums[4],
                         -0.5f * sums[5],
                         sums[0] / opacity};
  for (int k = 0; k < 6; k++) a.grad[k][n] = grad[k];
  for (int k = 6; k < kGradientRows; k++) a.grad[k][n] = sums[k];
}

}  // namespace

void rasterize(const RasterArgs& args) {
  const Lanes lanes;
  for_each_task(args.tiles_x * args.tiles_y, [&](int index) { rasterize_tile(args, index, lanes); });
}

void rasterize_backward(const RasterBackwardArgs& args) {
  const Lanes lanes;
  for_each_task(args.raster.tiles_x * args.raster.tiles_y, [&](int index) { backward_tile(args, index, lanes); });
  constexpr int kSplatsPerTask = 1024;
  for_each_task((args.raster.splat_count + kSplatsPerTask - 1) / kSplatsPerTask, [&](int task) {
    const int end = smaller(args.raster.splat_count, (task + 1) * kSplatsPerTask);
    for (int n = task * kSplatsPerTask; n < end; n++) gather_gradient(args, n);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
