// Which splats a tile has to blend, near to far.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "kernels.hpp"

namespace geneface {

// Sorted splats and tile lists of one image. Kept from the forward to the backward pass.
struct RasterState {
  int width = 0, height = 0, tiles_x = 0, tiles_y = 0;
  int pair_count = 0;
  std::vector<PackedSplat> splats;  // in the order they were given in
  std::vector<int32_t> tile_start, tile_splats;
  std::vector<uint16_t> touched;  // beside tile_splats; written by the rasteriser

  // Scratch of the sort and the backward pass: kept to be used again.
  std::vector<uint64_t> keys, keys_spare;
  std::vector<int32_t> tile_next, marks;
  std::vector<float> pair_sums;
  std::mutex backward;  // pair_sums serve one caller at a time

  RasterArgs raster_args();
};

// Fills everything but `touched`. False: there are more pairs of splats and tiles than an int can count.
bool bin_splats(Rows<const float> values, Rows<const int32_t> bounds, int count, int width, int height,
                RasterState& state);

}  // namespace geneface
