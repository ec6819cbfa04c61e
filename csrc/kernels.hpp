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
  int width, height;  // of what is drawn
  // A radiance field may draw a part of a picture: where it begins, and how large all of it is.
  int left, top, whole_width, whole_height;
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

struct AdamRule {
  float correction1, correction2, beta1, beta2, eps;
};

struct AdamArgs {
  int rows, columns;
  float* param;
  const float* grad;
  float *first, *second;
  const float* lr;  // [rows]
  AdamRule rule;
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

// ---- radiance fields. Layouts: src/geneface/ops/field.py and nerf.py.

constexpr int kLevels = 4, kFeatures = 8, kEncoded = kLevels * kFeatures;
constexpr int kOutputs = 4;                 // logarithm of the density (or logit of the opacity), logits of the colour
constexpr int kTorsoInputs = kEncoded + 4;  // and the head's colour and opacity at the pixel
constexpr float kMaxLogDensity = 9;         // beyond this a step is opaque anyway
constexpr int kCells = 128, kCoarseCells = 32;  // occupancy: cells along an axis of the head's unit cube
constexpr int kTorsoCells = 64;
constexpr int kRayTile = 8, kTileRays = kRayTile * kRayTile;
constexpr int kMaxRaySamples = 32;  // occupied samples of a ray, at most
constexpr int kRound = 2;           // samples of a ray that are evaluated between two looks at its transmittance
constexpr float kMinRayTransmittance = 1e-2f;
constexpr float kTorsoScale = 0.8f;  // the torso's plane reaches beyond the image by 1 / 0.8

// A field's parameters. Table: [kLevels, rows, kFeatures] bfloat16; weights are [out, in].
struct FieldView {
  const uint16_t* table;
  int rows;                   // a power of two
  const int32_t* resolution;  // [kLevels] cells along an axis
  const float *w0, *w1, *b1, *w2, *b2;
  int inputs, width;
  const uint16_t* halves;  // the weights in bfloat16, see HalfWeights; null unless the kernels ask for it
};
// Offsets of the matrices in `halves`: each as it is, [out, in], and turned, [in, out].
struct HalfWeights {
  size_t w0, turned0, w1, turned1, w2, turned2, size;
  constexpr HalfWeights(size_t inputs, size_t width)
      : w0(0),
        turned0(width * inputs),
        w1(2 * width * inputs),
        turned1(w1 + width * width),
        w2(w1 + 2 * width * width),
        turned2(w2 + kOutputs * width),
        size(w2 + 2 * kOutputs * width) {}
};
struct FieldGradient {
  float *table, *w0, *w1, *b1, *w2, *b2;
};

// Points are [dims][count rows of `stride`]; a block of kFieldBlock points shares one bias of the first layer.
constexpr int kFieldBlock = 256;
struct FieldArgs {
  FieldView field;
  int dims, count;
  Rows<const float> positions;  // [dims, count] in [0, 1]; field_network: [inputs, count] what the network sees
  const float* bias;            // [blocks, width]; [blocks, 3, width] with gates
  const float* gates;           // [count], see Gates; null for none. Forth only
  Rows<const float> extra;      // [inputs - kEncoded, count]
  Rows<float> raw;              // [kOutputs, count]
};
struct FieldBackwardArgs {
  FieldArgs forward;
  Rows<const float> grad_raw;  // [kOutputs, count]
  FieldGradient grad;
  float* grad_bias;            // [blocks, width]
  Rows<float> grad_positions;  // [dims, count]
};

// What all frames of a head and torso share.
struct SceneView {
  FieldView head, torso;
  const uint32_t* occupancy;       // [kCells, kCells, kCells / 32] bits, x fastest
  const uint32_t* coarse;          // [kCoarseCells, kCoarseCells] bits, each grown by one cell
  const uint8_t* torso_occupancy;  // [kTorsoCells, kTorsoCells]
  int warp_rows, warp_columns;
  float warp_box[4];  // x and y of the first node, x and y of the last, head units
  float step;         // head units of depth between two samples
};
// What changes from frame to frame.
struct FrameView {
  View view;
  const float* head_bias;   // [3, head.width] everywhere, and what is added in the upper and in the lower face
  const float* torso_bias;  // [torso.width]
  const float* warp;  // [warp_rows, warp_columns, 4] to the canonical head; the fourth is the bias's gate: see Gates
  const float* torso_motion;  // [6] affine map of the picture's plane, less the identity
};

struct RenderFieldArgs {
  SceneView scene;
  FrameView frame;
  const float* plate;     // [height, width, 3]
  float* image;           // [height, width, 4]
  float* opacity;         // [height, width]
  int64_t* tile_samples;  // [tiles] evaluated samples
  float* reach;           // [tiles, 2] is filled with the depths between which each tile looks for the head
};

// Square patches of kRayTile pixels; every chunk belongs to one frame.
struct TrainFieldArgs {
  SceneView scene;
  int chunks, patches, slots;
  const FrameView* frames;  // [chunks]
  const int32_t* corners;   // [chunks, patches, 2] first pixel, x and y
  const float* jitter;      // [chunks, patches, kTileRays] in [-1/2, 1/2] steps
  const uint8_t* target;    // [chunks, patches, kTileRays, 3]
  const uint8_t* masks;     // [chunks, patches, kTileRays, 2] head, torso
  const uint8_t* plate;     // [chunks, patches, kTileRays, 3]
  const float* weight;      // [chunks, patches, kTileRays] of the colour loss
  float epsilon, silhouette, silhouette_epsilon, edge, opaque;
  bool move;                                // whether gradients of warp and pose are wanted
  FieldGradient head_grad, torso_grad;      // of slot 0; the others follow
  float *grad_head_bias, *grad_torso_bias;  // [chunks, 3, width], [chunks, width]
  float* grad_warp;                         // [chunks, warp_rows, warp_columns, 4]
  float* grad_pose;                         // [chunks, 6] turn and shift, as in project_backward
  float* grad_motion;                       // [chunks, 6]
  double* losses;                           // [chunks, 3] colour, silhouettes, light behind samples
  int64_t* samples;                         // [chunks]
  float* scratch;                           // [slots, train_field_scratch(...)]
};

struct AdamTableArgs {
  int64_t size;
  int slots;
  float *param, *grad, *first, *second;  // grad [slots, size] is cleared on the way
  uint16_t* half;
  float lr;
  AdamRule rule;
};

struct SharpenArgs {
  const float* image;  // [height, width, channels]
  int width, height, channels;
  float amount;
  float* out;  // shaped like the image
};

struct CutOutArgs {
  const uint8_t* image;  // [height, width, 3]
  int width, height;
  double move[6];  // two rows of three: takes column and row of the crop to those of the picture
  int canvas;      // side of the black square in whose corner the picture lies, its edge continued; 0: no end
  int side;
  uint8_t* planes;  // [3, side, side]
};

// A measurement, see peak.cpp.
struct PeakArgs {
  int tasks;
  int64_t rounds;
  bool halves;  // bfloat16 dot products instead of float multiply-adds, where the networks use them
  float factor;
  float* results;  // [tasks]
};

struct Kernels {
  void (*project)(const ProjectArgs&);
  void (*project_backward)(const ProjectBackwardArgs&);
  void (*rasterize)(const RasterArgs&);
  void (*rasterize_backward)(const RasterBackwardArgs&);
  void (*adam)(const AdamArgs&);
  void (*adam_basis)(const AdamBasisArgs&);
  void (*image_loss)(const ImageLossArgs&);
  void (*to_uint8)(const float* image, int channels, int pixels, uint8_t* bytes);
  void (*to_yuv420)(const float* image, int width, int height, int channels, uint8_t* planes);
  void (*cut_out)(const CutOutArgs&);
  void (*sharpen)(const SharpenArgs&);
  void (*field_forward)(const FieldArgs&);
  void (*field_network)(const FieldArgs&);
  void (*field_backward)(const FieldBackwardArgs&);
  void (*adam_table)(const AdamTableArgs&);
  void (*render_field)(const RenderFieldArgs&);
  void (*train_field)(const TrainFieldArgs&);
  int64_t (*peak)(const PeakArgs&);
  bool half_network;  // networks are computed with bfloat16 dot products
};

constexpr int kProjectTask = 512;  // Gaussians a task
constexpr int project_tasks(int count) { return (count + kProjectTask - 1) / kProjectTask; }

// The image loss works on bands of rows, each with the last rows of its blurred pictures at hand: see image.cpp.
constexpr int kLossBand = 128, kLossFields = 9, kLossRows = 16;
__attribute__((always_inline)) constexpr int image_loss_bands(int height) {
  return (height + kLossBand - 1) / kLossBand;
}
// Floats from row to row: whole vectors, and an odd number of them, lest all rows share a few sets of the cache.
__attribute__((always_inline)) constexpr ptrdiff_t image_loss_stride(int width) { return ((width + 15) / 16 | 1) * 16; }
constexpr size_t image_loss_scratch(int width, int height) {
  return static_cast<size_t>(image_loss_bands(height)) * kLossFields * kLossRows * image_loss_stride(width);
}

// Samples that a patch may have: those of its rays, and what fills up the last group of each round.
constexpr int kPatchSamples = kTileRays * kMaxRaySamples + (kMaxRaySamples / kRound + 1) * 16;
constexpr size_t train_field_scratch(int width) {  // floats a slot
  constexpr size_t kCornerFloats = 2 * kLevels * 8;
  return static_cast<size_t>(kPatchSamples) * (13 + kEncoded + kCornerFloats + 2 * width);
}

#define GENEFACE_DECLARE(target) \
  namespace target {             \
  extern const Kernels kernels;  \
  }
GENEFACE_DECLARE(portable)
GENEFACE_DECLARE(avx2)
GENEFACE_DECLARE(avx512)
GENEFACE_DECLARE(avx512bf16)
#undef GENEFACE_DECLARE

}  // namespace geneface
