// Image loss with its gradient, and bytes from floats.
//
// SSIM (Wang et al. 2004) needs blurs only. With B a blur, mx = Bx, my = By, s = B(x^2 + y^2), p = B(xy):
//   SSIM = (2 mx my + C1) (2 (p - mx my) + C2) / ((mx^2 + my^2 + C1) (s - mx^2 - my^2 + C2)),
// and the gradient of x is B' d/dmx + 2 x B' d/ds + y B' d/dp, B' being B transposed. B blurs rows, then columns.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

constexpr int kReach = 5, kTaps = 2 * kReach + 1;
constexpr float kC1 = 0.01f * 0.01f, kC2 = 0.03f * 0.03f;
// exp(-k^2 / (2 1.5^2)) for k = -5 .. 5, normalised.
constexpr float kWindow[kTaps] = {0.00102838f, 0.00759876f, 0.03600077f, 0.10936069f, 0.21300553f, 0.26601172f,
                                  0.21300553f, 0.10936069f, 0.03600077f, 0.00759876f, 0.00102838f};

enum Field { kMeanX, kMeanY, kSquares, kProduct, kByMean, kBySquares, kByProduct };
constexpr int kBlurred = 4, kGradients = 3;

// Planes [3 channels][kSsimFields][height][stride] in the scratch memory.
struct Planes {
  float* data;
  int height;
  ptrdiff_t stride;
  explicit Planes(const ImageLossArgs& a) : data(a.scratch), height(a.height), stride((a.width + kLanes - 1) / kLanes * kLanes) {}
  float* row(int channel, int field, int y) const {
    return data + ((static_cast<ptrdiff_t>(channel) * kSsimFields + field) * height + y) * stride;
  }
};

// A row with room on both sides for a window, and for reading whole vectors.
constexpr int kMargin = kLanes;
constexpr int kMaxWidth = 8192;
struct PaddedRow {
  float data[kMaxWidth + 3 * kMargin];
  float* pixels() { return data + kMargin; }
};

// out[i] = sum of the window over row[i - 5 .. i + 5], for whole vectors covering [start, end).
GENEFACE_INLINE void blur_row(const float* row, int start, int end, float* out) {
  for (int i = start; i < end; i += kLanes) {
    Float16 total = load16(row + i - kReach) * kWindow[0];
    for (int tap = 1; tap < kTaps; tap++) total += load16(row + i + tap - kReach) * kWindow[tap];
    store(total, out + i);
  }
}

void mirror_ends(float* row, int width) {
  for (int k = 1; k <= kReach; k++) {
    row[-k] = row[k - 1];
    row[width - 1 + k] = row[width - k];
  }
}

void blur_horizontally(const ImageLossArgs& a, const Planes& planes, int y) {
  PaddedRow fields[kBlurred];
  const float* prediction = a.prediction + static_cast<ptrdiff_t>(y) * a.width * a.channels;
  const float* target = a.target + static_cast<ptrdiff_t>(y) * a.width * 3;
  for (int channel = 0; channel < 3; channel++) {
    float *px = fields[kMeanX].pixels(), *py = fields[kMeanY].pixels();
    float *ps = fields[kSquares].pixels(), *pp = fields[kProduct].pixels();
    for (int i = 0; i < a.width; i++) {
      const float x = prediction[i * a.channels + channel], t = target[i * 3 + channel];
      px[i] = x;
      py[i] = t;
      ps[i] = x * x + t * t;
      pp[i] = x * t;
    }
    for (int field = 0; field < kBlurred; field++) {
      mirror_ends(fields[field].pixels(), a.width);
      blur_row(fields[field].pixels(), 0, a.width, planes.row(channel, field, y));
    }
  }
}

// The same field at the eleven rows around y, mirrored at the image's edges.
struct RowWindow {
  const float* rows[kTaps];
  RowWindow(const Planes& planes, int channel, int field, int y) {
    for (int tap = 0; tap < kTaps; tap++) {
      const int from = y + tap - kReach;
      rows[tap] = planes.row(channel, field, from < 0 ? -1 - from : from >= planes.height ? 2 * planes.height - 1 - from : from);
    }
  }
  GENEFACE_INLINE Float16 blur(int i) const {
    Float16 total = load16(rows[0] + i) * kWindow[0];
    for (int tap = 1; tap < kTaps; tap++) total += load16(rows[tap] + i) * kWindow[tap];
    return total;
  }
};

// Blur transposed, horizontally: zeros around the row, then what fell over the edge is folded back.
void blur_row_transposed(PaddedRow& row, int width, PaddedRow& spare, float* out) {
  float* in = row.pixels();
  for (int i = 1; i <= kMargin; i++) in[-i] = 0;
  for (int i = width; i < width + 2 * kMargin; i++) in[i] = 0;
  float* blurred = spare.pixels();
  // Whole vectors from -16 would read before the row: the few values on the left are done one by one.
  blur_row(in, 0, width + kReach, blurred);
  for (int i = -kReach; i < 0; i++) {
    float total = 0;
    for (int tap = kReach - i; tap < kTaps; tap++) total += in[i + tap - kReach] * kWindow[tap];
    blurred[i] = total;
  }
  std::memcpy(out, blurred, sizeof(float) * width);
  for (int k = 1; k <= kReach; k++) {
    out[k - 1] += blurred[-k];
    out[width - k] += blurred[width - 1 + k];
  }
}

// Blurs vertically, evaluates SSIM, sends its derivatives through the first half of the transposed blur.
double ssim_row(const ImageLossArgs& a, const Planes& planes, int y) {
  PaddedRow derivatives[kGradients], weights, spare;
  const float share = 1.f / (3.f * a.width * a.height);
  for (int i = 0; i < a.width + kLanes; i++)
    weights.pixels()[i] = i >= a.width ? 0.f : a.weight ? a.weight[static_cast<ptrdiff_t>(y) * a.width + i] * share : share;
  double loss = 0;
  for (int channel = 0; channel < 3; channel++) {
    const RowWindow x(planes, channel, kMeanX, y), t(planes, channel, kMeanY, y);
    const RowWindow squares(planes, channel, kSquares, y), product(planes, channel, kProduct, y);
    Float16 total = broadcast(0.f);
    for (int i = 0; i < a.width; i += kLanes) {
      const Float16 mx = x.blur(i), my = t.blur(i);
      const Float16 mean_product = mx * my, mean_squares = mx * mx + my * my;
      const Float16 luminance = 2.f * mean_product + kC1, structure = 2.f * (product.blur(i) - mean_product) + kC2;
      const Float16 below_luminance = 1.f / (mean_squares + kC1), below_structure = 1.f / (squares.blur(i) - mean_squares + kC2);
      const Float16 below = below_luminance * below_structure, ssim = luminance * structure * below;
      const Float16 weight = load16(weights.pixels() + i) * (0.5f * a.dssim);
      // Lanes beyond the image hold whatever was in memory: no arithmetic, only a choice, gets rid of that.
      const Int16 inside = weight != 0.f;
      const Float16 zero = broadcast(0.f);
      total += select(inside, weight * (1.f - ssim), zero);
      const Float16 by_product = -2.f * weight * luminance * below, by_squares = weight * ssim * below_structure;
      const Float16 by_mean = -2.f * weight * (my * (structure - luminance) * below + mx * ssim * (below_structure - below_luminance));
      store(select(inside, by_mean, zero), derivatives[0].pixels() + i);
      store(select(inside, by_squares, zero), derivatives[1].pixels() + i);
      store(select(inside, by_product, zero), derivatives[2].pixels() + i);
    }
    loss += sum(total);
    for (int k = 0; k < kGradients; k++)
      blur_row_transposed(derivatives[k], a.width, spare, planes.row(channel, kByMean + k, y));
  }
  return loss;
}

// Blur transposed, vertically, at one row: rows beyond the edges count as zeros and are folded back.
struct TransposedWindow {
  const float* rows[3 * kTaps];
  float taps[3 * kTaps];
  int count = 0;
  TransposedWindow(const Planes& planes, int channel, int field, int y) {
    const int centres[3] = {y, -1 - y, 2 * planes.height - 1 - y};
    for (const int centre : centres)
      for (int tap = 0; tap < kTaps; tap++) {
        const int from = centre + tap - kReach;
        if (centre < -kReach || centre >= planes.height + kReach || from < 0 || from >= planes.height) continue;
        rows[count] = planes.row(channel, field, from);
        taps[count++] = kWindow[tap];
      }
  }
  GENEFACE_INLINE Float16 blur(int i) const {
    Float16 total = load16(rows[0] + i) * taps[0];
    for (int k = 1; k < count; k++) total += load16(rows[k] + i) * taps[k];
    return total;
  }
};

// The last half of the transposed blur, and the pointwise loss.
double gradient_row(const ImageLossArgs& a, const Planes& planes, int y) {
  const ptrdiff_t start = static_cast<ptrdiff_t>(y) * a.width;
  const float share = 1.f / (3.f * a.width * a.height);
  float pulled[kGradients][kMaxWidth + kLanes];
  double loss = 0;
  for (int channel = 0; channel < 3; channel++) {
    if (a.dssim > 0)
      for (int k = 0; k < kGradients; k++) {
        const TransposedWindow window(planes, channel, kByMean + k, y);
        for (int i = 0; i < a.width; i += kLanes) store(window.blur(i), pulled[k] + i);
      }
    float total = 0;
    for (int i = 0; i < a.width; i++) {
      const float x = a.prediction[(start + i) * a.channels + channel], t = a.target[(start + i) * 3 + channel];
      const float weight = (a.weight ? a.weight[start + i] : 1.f) * share * a.l1;
      const float difference = x - t, distance = __builtin_sqrtf(difference * difference + a.epsilon * a.epsilon);
      total += weight * (distance - a.epsilon);
      float grad = distance > 0 ? weight * difference / distance : 0.f;
      if (a.dssim > 0) grad += pulled[0][i] + 2 * x * pulled[1][i] + t * pulled[2][i];
      a.grad[(start + i) * a.channels + channel] = grad;
    }
    loss += total;
  }
  if (a.channels == 4)
    for (int i = 0; i < a.width; i++) a.grad[(start + i) * 4 + 3] = 0;
  return loss;
}

}  // namespace

void image_loss(const ImageLossArgs& args) {
  const Planes planes(args);
  for (int y = 0; y < args.height; y++) args.row_losses[y] = 0;
  if (args.dssim > 0) {
    for_each_task(args.height, [&](int y) { blur_horizontally(args, planes, y); });
    for_each_task(args.height, [&](int y) { args.row_losses[y] = ssim_row(args, planes, y); });
  }
  for_each_task(args.height, [&](int y) { args.row_losses[y] += gradient_row(args, planes, y); });
}

void to_uint8(const float* image, int channels, int pixels, uint8_t* bytes) {
  constexpr int kPixelsPerTask = 8192;
  for_each_task((pixels + kPixelsPerTask - 1) / kPixelsPerTask, [&](int task) {
    const int end = smaller(pixels, (task + 1) * kPixelsPerTask);
    for (int i = task * kPixelsPerTask; i < end; i++)
      for (int c = 0; c < 3; c++) {
        const float x = image[static_cast<ptrdiff_t>(i) * channels + c] * 255.f + 0.5f;
        const float low = x > 0.f ? x : 0.f;  // NaN, too, becomes 0
        bytes[static_cast<ptrdiff_t>(i) * 3 + c] = static_cast<uint8_t>(static_cast<int>(low < 255.f ? low : 255.f));
      }
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
