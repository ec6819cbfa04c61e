// Float pictures to the planes that a video encoder takes: BT.709, limited range, 4:2:0.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

// ITU-R BT.709: the weights of red, green and blue in luma, and the ranges of 8-bit luma and chroma.
constexpr float kRed = 0.2126f, kGreen = 0.7152f, kBlue = 0.0722f;
constexpr float kLumaRange = 219.f, kLumaZero = 16.f, kChromaRange = 224.f, kChromaZero = 128.f;
constexpr int kBlock = 256;  // pixels of a row that are converted at once: their planes stay in the nearest cache

struct Pixels {
  float red[kBlock], green[kBlock], blue[kBlock];
};

GENEFACE_INLINE float clamped(float x) {
  const float low = x > 0.f ? x : 0.f;  // NaN, too, becomes 0
  return low < 1.f ? low : 1.f;
}

// A constant number of channels lets the compiler take them apart in vectors.
template <int channels>
GENEFACE_INLINE void take_apart(const float* image, int count, Pixels& to) {
  for (int i = 0; i < count; i++) {
    to.red[i] = clamped(image[i * channels]);
    to.green[i] = clamped(image[i * channels + 1]);
    to.blue[i] = clamped(image[i * channels + 2]);
  }
}

GENEFACE_INLINE void write_luma(const Pixels& pixels, int count, uint8_t* luma) {
  for (int i = 0; i < count; i++) {
    const float y = kRed * pixels.red[i] + kGreen * pixels.green[i] + kBlue * pixels.blue[i];
    luma[i] = static_cast<uint8_t>(static_cast<int>(kLumaRange * y + (kLumaZero + 0.5f)));
  }
}

GENEFACE_INLINE float box(const float* upper, const float* lower, int i) {
  return 0.25f * (upper[2 * i] + upper[2 * i + 1] + lower[2 * i] + lower[2 * i + 1]);
}

GENEFACE_INLINE void write_chroma(const Pixels& upper, const Pixels& lower, int count, uint8_t* cb, uint8_t* cr) {
  for (int i = 0; i < count; i++) {
    const float red = box(upper.red, lower.red, i), green = box(upper.green, lower.green, i),
                blue = box(upper.blue, lower.blue, i);
    const float y = kRed * red + kGreen * green + kBlue * blue;
    const float b = (kChromaRange / (2.f * (1.f - kBlue))) * (blue - y);
    const float r = (kChromaRange / (2.f * (1.f - kRed))) * (red - y);
    cb[i] = static_cast<uint8_t>(static_cast<int>(b + (kChromaZero + 0.5f)));
    cr[i] = static_cast<uint8_t>(static_cast<int>(r + (kChromaZero + 0.5f)));
  }
}

template <int channels>
void two_rows(const float* image, int width, uint8_t* luma, uint8_t* cb, uint8_t* cr) {
  Pixels upper, lower;
  for (int start = 0; start < width; start += kBlock) {
    const int count = smaller(kBlock, width - start);
    take_apart<channels>(image + static_cast<ptrdiff_t>(start) * channels, count, upper);
    take_apart<channels>(image + static_cast<ptrdiff_t>(width + start) * channels, count, lower);
    write_luma(upper, count, luma + start);
    write_luma(lower, count, luma + width + start);
    write_chroma(upper, lower, count / 2, cb + start / 2, cr + start / 2);
  }
}

}  // namespace

void to_yuv420(const float* image, int width, int height, int channels, uint8_t* planes) {
  constexpr int kPairsPerTask = 16;
  const ptrdiff_t pixels = static_cast<ptrdiff_t>(width) * height;
  uint8_t *cb = planes + pixels, *cr = cb + pixels / 4;
  for_each_task((height / 2 + kPairsPerTask - 1) / kPairsPerTask, [&](int task) {
    for (int pair = task * kPairsPerTask; pair < smaller(height / 2, (task + 1) * kPairsPerTask); pair++) {
      const ptrdiff_t luma = static_cast<ptrdiff_t>(2) * pair * width, chroma = luma / 4;
      const auto convert = channels == 4 ? two_rows<4> : two_rows<3>;
      convert(image + luma * channels, width, planes + luma, cb + chroma, cr + chroma);
    }
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
