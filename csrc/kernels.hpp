// What the instruction-set specific files offer, and what they are given. Layouts: src/geneface/ops/types.py.
//
// Plain structs only: this header is shared by files compiled for different instruction sets (see wide.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace geneface {

// A matrix of contiguous rows, `stride` elements apart.
template <class T>
struct Rows {
  T* data;
  ptrdiff_t stride;
  __attribute__((always_inline)) T* operator[](int row) const { return data + row * stride; }
};

constexpr int kBaseRows = 14, kDynamicRows = 7, kGradientRows = 9;
// Row of the base that a row of the basis moves.
constexpr int kDynamicRow[kDynamicRows] = {0, 1, 2, 10, 11, 12, 13};
// Rows of the splats.
enum SplatRow { kU, kV, kDepth, kConicA, kConicB, kConicC, kOpacity, kRed, kGreen, kBlue, kLabel };

constexpr float kDilationPx2 = 0.3f, kNear = 0.1f;
constexpr float kMinAlpha = 1 / 255.f, kMaxAlpha = 0.99f, kMinTransmittance = 1e-3f;
constexpr float kLog2E = 1.44269504f;

constexpr int kTile = 16;  // pixels
constexpr int kBlock = 4;  // pixels: 4 x 4 of them are the sixteen lanes of a vector
constexpr int kBlocks = (kTile / kBlock) * (kTile / kBlock);

struct View {
  const float* rotation;     // [3, 3]
  const float* translation;  // [3]
  float focal_px;
  int width, height;
};

struct ProjectArgs {
  int count, dynamic_count, condition_count;
  const float* base;       // [14, count]
  const float* basis;      // [condition_count, 7, dynamic_count]
  const float* condition;  // [condition_count]
  View view;
  Rows<float> values;  // all rows but the label
  Rows<int32_t> bounds;
};

struct ProjectBackwardArgs {
  int count;
  const float* base;
  Rows<const float> values;
  Rows<const int32_t> bounds;
  Rows<const float> grad;  // [9, count]
  View view;
  float* grad_base;   // [14, count]
  double* pose_sums;  // [project_backward_tasks(count), 6]: gradients of turn and shift, one row a task
};

struct ConditionGradientArgs {
  int condition_count, size;
  const float* basis;  // [condition_count, size]
  const float* grad;   // [size]
  float* grad_condition;
};

// A splat prepared for blending: log2 alpha = quadratic form of (pixel - centre) + log_opacity.
// One line of the cache each: tiles read them in no order that a processor could foresee.
struct alignas(64) PackedSplat {
  float u, v;
  float xx, xy, yy, log_opacity;
  float color[4];          // red, green, blue, label
  int16_t x0, x1, y0, y1;  // pixels that may be touched, inside of the image
  int32_t first_pair;      // number of its first (splat, tile) pair; its tiles follow row by row
  bool drawn;              // if not, only the bounds are set
};

struct RasterArgs {
  int width, height, tiles_x, tiles_y;
  const PackedSplat* splats;
  int splat_count;
  const int32_t* tile_start;   // [tiles + 1] into tile_splats
  const int32_t* tile_splats;  // numbers of splats, near to far
  uint16_t* touched;           // [pairs] written: bit by bit, blocks of the tile that the splat shows in
  const float* background;     // null, [3] or [height, width, 3]
  bool background_is_image;
  float* image;          // [height, width, 4]
  float* transmittance;  // [height, width]
};

struct RasterBackwardArgs {
  RasterArgs raster;
  const float* grad_image;          // [height, width, 4]
  const float* grad_transmittance;  // [height, width] or null
  float* pair_sums;                 // [pairs, 9] scratch
  Rows<float> grad;                 // [9, splat_count]
};

struct AdamArgs {
  int rows, columns;
  float* param;
  const float* grad;
  float *first, *second;
  const float* lr;  // [rows]
  float correction1, correction2, beta1, beta2, eps;
};

struct AdamBasisArgs {
  AdamArgs adam;  // of one condition value's [7, D] table; grad is that of the dynamic rows
  int condition_count;
  const float* condition;
  const float* shrink;  // [rows]
};

struct ImageLossArgs {
  int width, height, channels;  // channels of prediction and grad: 3 or 4
  const float *prediction, *target, *weight;
  float l1, dssim, epsilon;
  float* grad;
  double* row_losses;  // [height]
  float* scratch;      // image_loss_scratch(width, height) floats
};

struct Kernels {
  void (*project)(const ProjectArgs&);
  void (*project_backward)(const ProjectBackwardArgs&);
  void (*condition_gradient)(const ConditionGradientArgs&);
  void (*rasterize)(const RasterArgs&);
  void (*rasterize_backward)(const RasterBackwardArgs&);
  void (*adam)(const AdamArgs&);
  void (*adam_basis)(const AdamBasisArgs&);
  void (*image_loss)(const ImageLossArgs&);
  void (*to_uint8)(const float* image, int channels, int pixels, uint8_t* bytes);
};

constexpr int kProjectTask = 512;  // Gaussians a task
constexpr int project_tasks(int count) { return (count + kProjectTask - 1) / kProjectTask; }

// The image loss works on bands of rows, each with the last rows of its blurred pictures at hand: see image.cpp.
constexpr int kLossBand = 128, kLossFields = 9, kLossRows = 16;
__attribute__((always_inline)) constexpr int image_loss_bands(int height) { return (height + kLossBand - 1) / kLossBand; }
// Floats from row to row: whole vectors, and an odd number of them, lest all rows share a few sets of the cache.
__attribute__((always_inline)) constexpr ptrdiff_t image_loss_stride(int width) {
  return ((width + 15) / 16 | 1) * 16;
}
constexpr size_t image_loss_scratch(int width, int height) {
  return static_cast<size_t>(image_loss_bands(height)) * kLossFields * kLossRows * image_loss_stride(width);
}

#define GENEFACE_DECLARE(target) \
  namespace target {             \
  extern const Kernels kernels;  \
  }
GENEFACE_DECLARE(portable)
GENEFACE_DECLARE(avx2)
GENEFACE_DECLARE(avx512)
#undef GENEFACE_DECLARE

}  // namespace geneface
