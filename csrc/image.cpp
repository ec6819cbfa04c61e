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

enum Field { kMeanX, kMeanY, kSquares, kProduct, kByMean, kBySquares, kByProduct, kPrediction, kTarget };
constexpr int kBlurred = 4, kGradients = 3;

// The last rows of each field, of one colour channel: a row's place is taken again sixteen rows later. So few rows stay
// in the cache, whole planes would not.
struct Rings {
  float* data;
  int height;
  ptrdiff_t stride;
  Rings(const ImageLossArgs& a, int band) : height(a.height), stride(image_loss_stride(a.width)) {
    data = a.scratch + static_cast<ptrdiff_t>(band) * kLossFields * kLossRows * stride;
  }
  float* row(int field, int y) const { return data + (field * kLossRows + y % kLossRows) * stride; }
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
    Floats total = load16(row + i - kReach) * kWindow[0];
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

// Every third or fourth value: a distance that the compiler knows lets it use vectors.
template <int channels>
GENEFACE_INLINE void gather_every(const float* pixels, int width, float* row) {
  for (int i = 0; i < width; i++) row[i] = pixels[i * channels];
}

// One channel of a row of interleaved pixels; zeros behind it, up to a whole vector.
void gather_channel(const float* pixels, int channels, int channel, int width, float* row) {
  if (channels == 3)
    gather_every<3>(pixels + channel, width, row);
  else
    gather_every<4>(pixels + channel, width, row);
  std::memset(row + width, 0, sizeof(float) * kLanes);
}

// The pixels' weights in the mean over pixels and channels; zeros behind them.
void gather_weights(const ImageLossArgs& a, int y, float* row) {
  const float share = 1.f / (3.f * a.width * a.height);
  for (int i = 0; i < a.width; i++)
    row[i] = a.weight ? a.weight[static_cast<ptrdiff_t>(y) * a.width + i] * share : share;
  std::memset(row + a.width, 0, sizeof(float) * kLanes);
}

// Takes a channel apart from its pixels, and blurs horizontally.
void spread_and_blur(const ImageLossArgs& a, const Rings& rings, int channel, int y) {
  const ptrdiff_t start = static_cast<ptrdiff_t>(y) * a.width;
  PaddedRow fields[kBlurred];
  float *x = fields[kMeanX].pixels(), *t = fields[kMeanY].pixels();
  gather_channel(a.prediction + start * a.channels, a.channels, channel, a.width, x);
  gather_channel(a.target + start * 3, 3, channel, a.width, t);
  std::memcpy(rings.row(kPrediction, y), x, sizeof(float) * a.width);
  std::memcpy(rings.row(kTarget, y), t, sizeof(float) * a.width);
  if (a.dssim == 0) return;
  for (int i = 0; i < a.width; i++) {
    fields[kSquares].pixels()[i] = x[i] * x[i] + t[i] * t[i];
    fields[kProduct].pixels()[i] = x[i] * t[i];
  }
  for (int field = 0; field < kBlurred; field++) {
    mirror_ends(fields[field].pixels(), a.width);
    blur_row(fields[field].pixels(), 0, a.width, rings.row(field, y));
  }
}

// The same field at the eleven rows around y, mirrored at the image's edges.
struct RowWindow {
  const float* rows[kTaps];
  RowWindow(const Rings& rings, int field, int y) {
    for (int tap = 0; tap < kTaps; tap++) {
      const int from = y + tap - kReach;
      rows[tap] = rings.row(field, from < 0 ? -1 - from : from >= rings.height ? 2 * rings.height - 1 - from : from);
    }
  }
  GENEFACE_INLINE Floats blur(int i) const {
    Floats total = load16(rows[0] + i) * kWindow[0];
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
double ssim_row(const ImageLossArgs& a, const Rings& rings, int y) {
  PaddedRow derivatives[kGradients], weights, spare;
  gather_weights(a, y, weights.pixels());
  const RowWindow x(rings, kMeanX, y), t(rings, kMeanY, y);
  const RowWindow squares(rings, kSquares, y), product(rings, kProduct, y);
  const Floats zero = broadcast(0.f);
  Floats total = zero;
  for (int i = 0; i < a.width; i += kLanes) {
    const Floats mx = x.blur(i), my = t.blur(i);
    const Floats mean_product = mx * my, mean_squares = mx * mx + my * my;
    const Floats luminance = 2.f * mean_product + kC1, structure = 2.f * (product.blur(i) - mean_product) + kC2;
    const Floats below_luminance = 1.f / (mean_squares + kC1);
    const Floats below_structure = 1.f / (squares.blur(i) - mean_squares + kC2);
    const Floats below = below_luminance * below_structure, ssim = luminance * structure * below;
    const Floats weight = load16(weights.pixels() + i) * (0.5f * a.dssim);
    // Lanes beyond the image hold whatever was in memory: no arithmetic, only a choice, gets rid of that.
    const Ints inside = weight != 0.f;
    total += select(inside, weight * (1.f - ssim), zero);
    const Floats by_product = -2.f * weight * luminance * below, by_squares = weight * ssim * below_structure;
    const Floats by_mean =
        -2.f * weight * (my * (structure - luminance) * below + mx * ssim * (below_structure - below_luminance));
    store(select(inside, by_mean, zero), derivatives[0].pixels() + i);
    store(select(inside, by_squares, zero), derivatives[1].pixels() + i);
    store(select(inside, by_product, zero), derivatives[2].pixels() + i);
  }
  for (int k = 0; k < kGradients; k++) blur_row_transposed(derivatives[k], a.width, spare, rings.row(kByMean + k, y));
  return sum(total);
}

// Blur transposed, vertically, at one row: rows beyond the edges count as zeros and are folded back.
struct TransposedWindow {
  const float* rows[3 * kTaps];
  float taps[3 * kTaps];
  int count = 0;
  TransposedWindow(const Rings& rings, int field, int y) {
    const int centres[3] = {y, -1 - y, 2 * rings.height - 1 - y};
    for (const int centre : centres)
      for (int tap = 0; tap < kTaps; tap++) {
        const int from = centre + tap - kReach;
        if (centre < -kReach || centre >= rings.height + kReach || from < 0 || from >= rings.height) continue;
        rows[count] = rings.row(field, from);
        taps[count++] = kWindow[tap];
      }
  }
  GENEFACE_INLINE Floats blur(int i) const {
    Floats total = load16(rows[0] + i) * taps[0];
    for (int k = 1; k < count; k++) total += load16(rows[k] + i) * taps[k];
    return total;
  }
};

// Adds to a row of the gradient what SSIM sends back, with the last half of the transposed blur.
template <class Window>
void add_ssim_gradient(const Rings& rings, int width, int y, float* grad) {
  const Window by_mean(rings, kByMean, y), by_squares(rings, kBySquares, y), by_product(rings, kByProduct, y);
  const float *prediction = rings.row(kPrediction, y), *target = rings.row(kTarget, y);
  for (int i = 0; i < width; i += kLanes) {
    const Floats x = load16(prediction + i), t = load16(target + i);
    store(load16(grad + i) + (by_mean.blur(i) + 2.f * x * by_squares.blur(i) + t * by_product.blur(i)), grad + i);
  }
}

// The pointwise loss of a row, and its whole gradient.
double gradient_row(const ImageLossArgs& a, const Rings& rings, int channel, int y) {
  const float *prediction = rings.row(kPrediction, y), *target = rings.row(kTarget, y);
  float weights[kMaxWidth + kLanes];
  gather_weights(a, y, weights);
  const float squared_epsilon = a.epsilon * a.epsilon;
  const Floats zero = broadcast(0.f);
  Floats total = zero;
  for (int i = 0; i < a.width; i += kLanes) {
    const Floats weight = load16(weights + i) * a.l1;
    const Floats difference = load16(prediction + i) - load16(target + i);
    const Floats distance = square_root(difference * difference + squared_epsilon);
    total += select(weight != 0.f, weight * (distance - a.epsilon), zero);
    // Not "distance > 0": NaN has to stay NaN.
    store(select(distance == 0.f, zero, weight * difference / distance), weights + i);
  }
  if (a.dssim > 0) {
    // Far from the edges nothing is folded back: the transposed blur is the blur, and its taps are known beforehand.
    const bool at_edge = y < kReach || y >= a.height - kReach;
    if (at_edge)
      add_ssim_gradient<TransposedWindow>(rings, a.width, y, weights);
    else
      add_ssim_gradient<RowWindow>(rings, a.width, y, weights);
  }
  float* grad = a.grad + static_cast<ptrdiff_t>(y) * a.width * a.channels;
  for (int i = 0; i < a.width; i++) grad[i * a.channels + channel] = weights[i];
  return sum(total);
}

// One channel of the rows [first, end). A row's gradient needs the derivatives of SSIM five rows further down, and
// these the blurred pictures five more: three steps follow each other through the band.
void loss_of_band(const ImageLossArgs& a, const Rings& rings, int channel, int first, int end) {
  if (a.dssim == 0) {
    for (int y = first; y < end; y++) {
      spread_and_blur(a, rings, channel, y);
      a.row_losses[y] += gradient_row(a, rings, channel, y);
    }
    return;
  }
  const int ssim_first = larger(first - kReach, 0), ssim_end = smaller(end + kReach, a.height);
  for (int y = larger(ssim_first - kReach, 0); y < end + 2 * kReach; y++) {
    if (y < smaller(ssim_end + kReach, a.height)) spread_and_blur(a, rings, channel, y);
    const int middle = y - kReach, last = y - 2 * kReach;
    if (middle >= ssim_first && middle < ssim_end) {
      const double loss = ssim_row(a, rings, middle);
      if (middle >= first && middle < end) a.row_losses[middle] += loss;
    }
    if (last >= first) a.row_losses[last] += gradient_row(a, rings, channel, last);
  }
}

}  // namespace

void image_loss(const ImageLossArgs& args) {
  for_each_task(image_loss_bands(args.height), [&](int band) {
    const int first = band * kLossBand, end = smaller(first + kLossBand, args.height);
    for (int y = first; y < end; y++) args.row_losses[y] = 0;
    for (int channel = 0; channel < 3; channel++) loss_of_band(args, Rings(args, band), channel, first, end);
    if (args.channels == 4)
      for (ptrdiff_t i = static_cast<ptrdiff_t>(first) * args.width; i < static_cast<ptrdiff_t>(end) * args.width; i++)
        args.grad[4 * i + 3] = 0;
  });
}

void to_uint8(const float* image, int channels, int pixels, uint8_t* bytes) {
  constexpr int kPixelsPerTask = 8192;
  for_each_task((pixels + kPixelsPerTask - 1) / kPixelsPerTask, [&](int task) {
    const int end = smaller(pixels, (task + 1) * kPixelsPerTask);
    for (int i = task * kPixelsPerTask; i < end; i += kLanes) {
      const int count = smaller(kLanes, end - i);
      int32_t rounded[4 * kLanes];
      for (int at = 0; at < count * channels; at += kLanes) {
        const float* from = image + static_cast<ptrdiff_t>(i) * channels + at;
        const Floats x = load_some(from, count * channels - at) * 255.f + 0.5f;
        store(truncate(minimum(maximum(x, 0.f), 255.f)), rounded + at);  // NaN, too, becomes 0
      }
      uint8_t* out = bytes + static_cast<ptrdiff_t>(i) * 3;
      for (int k = 0; k < count; k++)
        for (int c = 0; c < 3; c++) out[3 * k + c] = static_cast<uint8_t>(rounded[channels * k + c]);
    }
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
