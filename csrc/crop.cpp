// A turned rectangle of a picture, brought to another size: bilinear interpolation in whole numbers. Places are rounded
// to 1/32 pixel and weights are products of 32nds, as OpenCV's warpPerspective has them, whose bits these are.
#include <cstring>

#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kSteps = 32, kStepBits = 5;
constexpr double kFarthest = 1 << 30;  // in steps: beyond every edge
constexpr int kBlock = 64;             // pixels of a row whose places are found at once

// Rounds to the nearest, halves to the even one: from this number on a double has no room for fractions.
GENEFACE_INLINE int32_t rounded(double x) {
  const double shifted = x + 6755399441055744.0;
  int64_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return static_cast<int32_t>(bits);
}

// One axis of the places of a block of pixels, in steps.
GENEFACE_INLINE void find_places(double by_column, double start, int first, int count, int32_t* steps) {
  for (int k = 0; k < count; k++) {
    const double place = kSteps * (by_column * (first + k) + start);
    const double low = place > -kFarthest ? place : -kFarthest;  // NaN is far outside, too
    steps[k] = rounded(low < kFarthest ? low : kFarthest);
  }
}

// One axis of a place: the pixels before and after it and their weights; one that is black has none.
struct Pair {
  int first, second, first_weight, second_weight;
};

template <bool inside>
GENEFACE_INLINE Pair neighbours(int32_t steps, int size, int canvas) {
  Pair pair;
  pair.first = steps >> kStepBits;
  pair.second = pair.first + 1;
  pair.second_weight = steps & (kSteps - 1);
  pair.first_weight = kSteps - pair.second_weight;
  if (inside) return pair;
  if (canvas > 0) {
    pair.first = larger(0, smaller(pair.first, canvas - 1));
    pair.second = larger(0, smaller(pair.second, canvas - 1));
  }
  if (pair.first < 0 || pair.first >= size) pair.first = pair.first_weight = 0;
  if (pair.second < 0 || pair.second >= size) pair.second = pair.second_weight = 0;
  return pair;
}

template <bool inside>
void mix(const CutOutArgs& args, const int32_t* x_steps, const int32_t* y_steps, int count, uint8_t* planes) {
  const ptrdiff_t area = static_cast<ptrdiff_t>(args.side) * args.side, stride = 3 * static_cast<ptrdiff_t>(args.width);
  for (int k = 0; k < count; k++) {
    const Pair x = neighbours<inside>(x_steps[k], args.width, args.canvas);
    const Pair y = neighbours<inside>(y_steps[k], args.height, args.canvas);
    const uint8_t *upper = args.image + y.first * stride, *lower = args.image + y.second * stride;
    const ptrdiff_t left = 3 * static_cast<ptrdiff_t>(x.first), right = 3 * static_cast<ptrdiff_t>(x.second);
    const int upper_left = y.first_weight * x.first_weight, upper_right = y.first_weight * x.second_weight;
    const int lower_left = y.second_weight * x.first_weight, lower_right = y.second_weight * x.second_weight;
    for (int channel = 0; channel < 3; channel++) {
      const int total = upper_left * upper[left + channel] + upper_right * upper[right + channel] +
                        lower_left * lower[left + channel] + lower_right * lower[right + channel];
      planes[channel * area + k] = static_cast<uint8_t>((total + kSteps * kSteps / 2) >> (2 * kStepBits));
    }
  }
}

// Whether a block lies between the outer pixels' centres: its ends do, as places go one way.
GENEFACE_INLINE bool is_inside(const int32_t* steps, int count, int size) {
  const int32_t end = (size - 1) * kSteps;
  return steps[0] >= 0 && steps[0] < end && steps[count - 1] >= 0 && steps[count - 1] < end;
}

}  // namespace

void cut_out(const CutOutArgs& args) {
  const double* move = args.move;
  int32_t x_steps[kBlock], y_steps[kBlock];
  for (int i = 0; i < args.side; i++) {
    const double x_start = move[1] * i + move[2], y_start = move[4] * i + move[5];
    for (int block = 0; block < args.side; block += kBlock) {
      const int count = smaller(kBlock, args.side - block);
      find_places(move[0], x_start, block, count, x_steps);
      find_places(move[3], y_start, block, count, y_steps);
      uint8_t* planes = args.planes + static_cast<ptrdiff_t>(i) * args.side + block;
      if (is_inside(x_steps, count, args.width) && is_inside(y_steps, count, args.height))
        mix<true>(args, x_steps, y_steps, count, planes);
      else
        mix<false>(args, x_steps, y_steps, count, planes);
    }
  }
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
