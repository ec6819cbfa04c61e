// A radiance field's multiresolution hash grid (Müller et al. 2022) at sixteen points at a time.
// The network is in network.hpp.
//
// The sixteen lanes of a vector are sixteen points. A row of the grid's table is eight bfloat16 in sixteen
// bytes: one fetch costs as much as that of a single float.
#pragma once

#include "kernels.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {

// ---- rows of the table

typedef float Row __attribute__((vector_size(4 * kFeatures)));
typedef uint32_t RowBits __attribute__((vector_size(4 * kFeatures)));
typedef uint16_t HalfRow __attribute__((vector_size(2 * kFeatures)));

GENEFACE_INLINE Row load_row(const uint16_t* from) {
  HalfRow half;
  std::memcpy(&half, from, sizeof half);
  return reinterpret_cast<Row>(__builtin_convertvector(half, RowBits) << 16);
}
GENEFACE_INLINE Row read_row(const float* from) {
  Row row;
  std::memcpy(&row, from, sizeof row);
  return row;
}
GENEFACE_INLINE void write_row(const Row& row, float* to) { std::memcpy(to, &row, sizeof row); }

// rows[i][j] <-> rows[j][i]
GENEFACE_INLINE void transpose(Row rows[kFeatures]) {
  Row pairs[8], quads[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = __builtin_shufflevector(rows[i], rows[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    pairs[i + 1] = __builtin_shufflevector(rows[i], rows[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; k++) {
      quads[i + 2 * k] = __builtin_shufflevector(pairs[i + k], pairs[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      quads[i + 2 * k + 1] = __builtin_shufflevector(pairs[i + k], pairs[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; i++) {
    rows[i] = __builtin_shufflevector(quads[i], quads[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    rows[i + 4] = __builtin_shufflevector(quads[i], quads[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

// [16 points][kEncoded] -> [kEncoded][16 points]
GENEFACE_INLINE void points_to_lanes(const float* points, float* lanes) {
  for (int block = 0; block < kEncoded; block += kFeatures)
    for (int half = 0; half < kLanes; half += 8) {
      Row rows[8];
      for (int i = 0; i < 8; i++) rows[i] = read_row(points + (half + i) * kEncoded + block);
      transpose(rows);
      for (int i = 0; i < 8; i++) write_row(rows[i], lanes + (block + i) * kLanes + half);
    }
}
GENEFACE_INLINE void lanes_to_points(const float* lanes, float* points) {
  for (int block = 0; block < kEncoded; block += kFeatures)
    for (int half = 0; half < kLanes; half += 8) {
      Row rows[8];
      for (int i = 0; i < 8; i++) rows[i] = read_row(lanes + (block + i) * kLanes + half);
      transpose(rows);
      for (int i = 0; i < 8; i++) write_row(rows[i], points + (half + i) * kEncoded + block);
    }
}

// ---- the grid

// Where the corners around sixteen points lie in the table, and their weights.
template <int kDims>
struct Corners {
  static constexpr int kCount = 1 << kDims;
  int32_t row[kLevels][kCount][kLanes];  // number of the row, the level's first included
  float weight[kLevels][kCount][kLanes];
};

constexpr uint32_t kPrimes[3] = {1u, 2654435761u, 805459861u};

// Positions are in [0, 1] on each axis.
template <int kDims>
GENEFACE_INLINE void find_corners(const FieldView& field, const float* const positions[kDims], Corners<kDims>& out) {
  for (int level = 0; level < kLevels; level++) {
    const int resolution = field.resolution[level];
    const int side = resolution + 1;
    const int64_t nodes = static_cast<int64_t>(side) * side * (kDims == 3 ? side : 1);
    const bool dense = nodes <= field.rows;
    Ints part[kDims][2];
    Floats share[kDims][2];
    for (int axis = 0; axis < kDims; axis++) {
      const Floats scaled = load16(positions[axis]) * static_cast<float>(resolution);
      const Floats whole = minimum(to_float(truncate(scaled)), static_cast<float>(resolution - 1));
      share[axis][1] = scaled - whole;
      share[axis][0] = 1.f - share[axis][1];
      const int32_t dense_stride = axis == 0 ? 1 : axis == 1 ? side : side * side;
      const int32_t stride = dense ? dense_stride : static_cast<int32_t>(kPrimes[axis]);
      part[axis][0] = truncate(whole) * stride;
      part[axis][1] = part[axis][0] + stride;
    }
    const int32_t first = level * field.rows, mask = field.rows - 1;
    for (int corner = 0; corner < Corners<kDims>::kCount; corner++) {
      Ints row = part[0][corner & 1];
      Floats weight = share[0][corner & 1];
      for (int axis = 1; axis < kDims; axis++) {
        const int side_of_axis = corner >> axis & 1;
        row = dense ? row + part[axis][side_of_axis] : (row ^ part[axis][side_of_axis]);
        weight = weight * share[axis][side_of_axis];
      }
      store((row & mask) + first, out.row[level][corner]);
      store(weight, out.weight[level][corner]);
    }
  }
}

template <int kDims>
GENEFACE_INLINE void prefetch_rows(const FieldView& field, const Corners<kDims>& corners) {
  for (int level = 1; level < kLevels; level++)  // the coarsest level stays in the cache by itself
    for (int corner = 0; corner < Corners<kDims>::kCount; corner++)
      for (int lane = 0; lane < kLanes; lane++)
        __builtin_prefetch(field.table + static_cast<ptrdiff_t>(corners.row[level][corner][lane]) * kFeatures);
}

// Interpolated features of sixteen points: [kEncoded][16].
template <int kDims>
GENEFACE_INLINE void fetch(const FieldView& field, const Corners<kDims>& corners, float* features) {
  float points[kLanes * kEncoded];
  for (int lane = 0; lane < kLanes; lane++)
    for (int level = 0; level < kLevels; level++) {
      Row even = {}, odd = {};
      for (int corner = 0; corner < Corners<kDims>::kCount; corner += 2) {
        const int32_t *rows = &corners.row[level][corner][lane], *next = rows + kLanes;
        even += load_row(field.table + static_cast<ptrdiff_t>(*rows) * kFeatures) * corners.weight[level][corner][lane];
        odd +=
            load_row(field.table + static_cast<ptrdiff_t>(*next) * kFeatures) * corners.weight[level][corner + 1][lane];
      }
      write_row(even + odd, points + lane * kEncoded + level * kFeatures);
    }
  points_to_lanes(points, features);
}

// Adds the gradient of the features [kEncoded][16] to the table's. Lanes of weight 0 get nothing.
template <int kDims>
GENEFACE_INLINE void scatter(const Corners<kDims>& corners, const float* grad_points, float* grad_table) {
  for (int lane = 0; lane < kLanes; lane++)
    for (int level = 0; level < kLevels; level++) {
      const Row grad = read_row(grad_points + lane * kEncoded + level * kFeatures);
      for (int corner = 0; corner < Corners<kDims>::kCount; corner++) {
        float* row = grad_table + static_cast<ptrdiff_t>(corners.row[level][corner][lane]) * kFeatures;
        write_row(read_row(row) + grad * corners.weight[level][corner][lane], row);
      }
    }
}
template <int kDims>
GENEFACE_INLINE void prefetch_gradient(const Corners<kDims>& corners, const float* grad_table) {
  for (int level = 1; level < kLevels; level++)
    for (int corner = 0; corner < Corners<kDims>::kCount; corner++)
      for (int lane = 0; lane < kLanes; lane++)
        __builtin_prefetch(grad_table + static_cast<ptrdiff_t>(corners.row[level][corner][lane]) * kFeatures, 1);
}

// Gradient of sixteen positions [kDims][16], from that of their features.
template <int kDims>
GENEFACE_INLINE void position_gradient(const FieldView& field, const Corners<kDims>& corners, const float* grad_points,
                                       float* grad_positions) {
  constexpr int kCount = Corners<kDims>::kCount;
  float by_corner[kLevels][kCount][kLanes];  // gradient of each corner's weight
  for (int level = 0; level < kLevels; level++)
    for (int corner = 0; corner < kCount; corner++)
      for (int half = 0; half < kLanes; half += 8) {
        Row products[8];
        for (int i = 0; i < 8; i++)
          products[i] =
              load_row(field.table + static_cast<ptrdiff_t>(corners.row[level][corner][half + i]) * kFeatures) *
              read_row(grad_points + (half + i) * kEncoded + level * kFeatures);
        transpose(products);
        const Row total = ((products[0] + products[1]) + (products[2] + products[3])) +
                          ((products[4] + products[5]) + (products[6] + products[7]));
        write_row(total, by_corner[level][corner] + half);
      }
  Floats total[kDims];
  for (int axis = 0; axis < kDims; axis++) total[axis] = broadcast(0.f);
  for (int level = 0; level < kLevels; level++)
    for (int axis = 0; axis < kDims; axis++) {
      Floats slope = broadcast(0.f);
      for (int corner = 0; corner < kCount; corner++) {
        if (corner >> axis & 1) continue;
        const int opposite = corner | 1 << axis;
        // The weights of the two ends of an edge along the axis sum up to the product of the other axes' shares.
        const Floats others = load16(corners.weight[level][corner]) + load16(corners.weight[level][opposite]);
        slope += others * (load16(by_corner[level][opposite]) - load16(by_corner[level][corner]));
      }
      total[axis] += slope * static_cast<float>(field.resolution[level]);
    }
  for (int axis = 0; axis < kDims; axis++) store(total[axis], grad_positions + axis * kLanes);
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
