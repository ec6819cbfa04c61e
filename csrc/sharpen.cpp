// A picture minus a part of its Laplacian (four neighbours; the edge repeats itself): what blur took comes back.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

// One row: colours are sharpened, a fourth channel is copied.
template <int channels>
void sharpen_row(const SharpenArgs& a, int y) {
  const ptrdiff_t stride = static_cast<ptrdiff_t>(a.width) * channels;
  const float* row = a.image + y * stride;
  const float* above = y > 0 ? row - stride : row;
  const float* below = y + 1 < a.height ? row + stride : row;
  float* out = a.out + y * stride;
  const int last = a.width - 1;
  const auto value = [&](ptrdiff_t i, ptrdiff_t left, ptrdiff_t right) {
    return row[i] + a.amount * (4 * row[i] - row[left] - row[right] - above[i] - below[i]);
  };
  for (int c = 0; c < 3; c++) {
    out[c] = value(c, c, last > 0 ? channels + c : c);
    const ptrdiff_t end = static_cast<ptrdiff_t>(last) * channels + c;
    out[end] = value(end, last > 0 ? end - channels : end, end);
  }
  for (ptrdiff_t i = channels; i < static_cast<ptrdiff_t>(last) * channels; i++)
    out[i] = value(i, i - channels, i + channels);
  if (channels == 4)
    for (int x = 0; x < a.width; x++) out[4 * x + 3] = row[4 * x + 3];
}

}  // namespace

void sharpen(const SharpenArgs& args) {
  constexpr int kRowsPerTask = 16;
  for_each_task((args.height + kRowsPerTask - 1) / kRowsPerTask, [&](int task) {
    for (int y = task * kRowsPerTask; y < smaller(args.height, (task + 1) * kRowsPerTask); y++)
      args.channels == 4 ? sharpen_row<4>(args, y) : sharpen_row<3>(args, y);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
