// From a layer of 3D Gaussians to splats on the screen, and gradients back (Zwicker et al. 2001, eq. 29-31).
// The formulas, one by one, are those of src/geneface/ops/reference.py.
#include "kernels.hpp"
#include "tasks.hpp"
#include "wide.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

// Sixteen 3D Gaussians in camera space, and how their axes look on the screen.
struct Geometry {
  Floats x, y, inverse_depth;
  Floats by_point[2][3];  // d(u, v) / d(camera point)
  Floats jacobian[2][3];  // d(u, v) / d(head point)
  Floats quaternion[4];   // unit
  Floats inverse_norm;    // of the quaternion as it was
  Floats rotation[3][3];  // of the Gaussian's own axes
  Floats deviation[3];
  Floats screen_axes[2][3];
};

GENEFACE_INLINE void quaternion_matrix(const Floats q[4], Floats matrix[3][3]) {
  const Floats &w = q[0], &x = q[1], &y = q[2], &z = q[3];
  matrix[0][0] = 1.f - 2.f * (y * y + z * z);
  matrix[0][1] = 2.f * (x * y - w * z);
  matrix[0][2] = 2.f * (x * z + w * y);
  matrix[1][0] = 2.f * (x * y + w * z);
  matrix[1][1] = 1.f - 2.f * (x * x + z * z);
  matrix[1][2] = 2.f * (y * z - w * x);
  matrix[2][0] = 2.f * (x * z - w * y);
  matrix[2][1] = 2.f * (y * z + w * x);
  matrix[2][2] = 1.f - 2.f * (x * x + y * y);
}

// Fills all but x, y and inverse_depth, which must be there. `base` points at the first Gaussian's row 0.
GENEFACE_INLINE void fill_geometry(Geometry& g, const float* base, ptrdiff_t stride, int lanes, const View& view) {
  const Floats by_xy = g.inverse_depth * view.focal_px, by_depth = by_xy * g.inverse_depth;
  g.by_point[0][0] = by_xy;
  g.by_point[0][1] = broadcast(0.f);
  g.by_point[0][2] = by_depth * g.x;
  g.by_point[1][0] = broadcast(0.f);
  g.by_point[1][1] = -by_xy;
  g.by_point[1][2] = -(by_depth * g.y);
  const float* r = view.rotation;
  for (int k = 0; k < 3; k++) {
    g.jacobian[0][k] = by_xy * r[k] + g.by_point[0][2] * r[6 + k];
    g.jacobian[1][k] = g.by_point[1][2] * r[6 + k] - by_xy * r[3 + k];
  }
  Floats norm2 = broadcast(0.f);
  for (int k = 0; k < 4; k++) {
    g.quaternion[k] = load_some(base + (6 + k) * stride, lanes);
    norm2 += g.quaternion[k] * g.quaternion[k];
  }
  g.inverse_norm = 1.f / square_root(norm2);
  for (int k = 0; k < 4; k++) g.quaternion[k] *= g.inverse_norm;
  quaternion_matrix(g.quaternion, g.rotation);
  for (int k = 0; k < 3; k++) g.deviation[k] = exponential(load_some(base + (3 + k) * stride, lanes));
  for (int i = 0; i < 2; i++)
    for (int k = 0; k < 3; k++)
      g.screen_axes[i][k] = (g.jacobian[i][0] * g.rotation[0][k] + g.jacobian[i][1] * g.rotation[1][k] +
                             g.jacobian[i][2] * g.rotation[2][k]) *
                            g.deviation[k];
}

// First and last pixel whose centre lies in [low, high], held inside of 0 .. size - 1; first > last if there is none.
GENEFACE_INLINE void pixel_range(const Floats& low, const Floats& high, int size, Ints& first, Ints& last) {
  const Floats start = minimum(maximum(low - 0.5f, 0.f), static_cast<float>(size));
  const Floats end = minimum(maximum(high - 0.5f, -1.f), static_cast<float>(size - 1));
  first = truncate(start);
  first = first + select(to_float(first) < start, broadcast_int(1), broadcast_int(0));  // ceiling
  last = truncate(end + 1.f) - 1;                                                       // floor, for end >= -1
}

// Projects up to sixteen Gaussians, number `first` and on; moved[row] are their condition-driven rows.
void project_lanes(const ProjectArgs& a, int first, int lanes, const Floats moved[kDynamicRows]) {
  const View& view = a.view;
  const float *r = view.rotation, *t = view.translation;
  Floats point[3];
  for (int i = 0; i < 3; i++) point[i] = moved[0] * r[3 * i] + moved[1] * r[3 * i + 1] + moved[2] * r[3 * i + 2] + t[i];
  const Floats depth = -point[2];
  Geometry g;
  g.x = point[0];
  g.y = point[1];
  g.inverse_depth = 1.f / depth;
  fill_geometry(g, a.base + first, a.count, lanes, view);
  const Floats u = g.x * g.inverse_depth * view.focal_px + 0.5f * view.width;
  const Floats v = 0.5f * view.height - g.y * g.inverse_depth * view.focal_px;
  const Floats *p = g.screen_axes[0], *q = g.screen_axes[1];
  const Floats xx = p[0] * p[0] + p[1] * p[1] + p[2] * p[2] + kDilationPx2;
  const Floats xy = p[0] * q[0] + p[1] * q[1] + p[2] * q[2];
  const Floats yy = q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + kDilationPx2;
  const Floats determinant = xx * yy - xy * xy;
  const Floats opacity = 1.f / (1.f + exponential(-moved[3]));

  // alpha = kMinAlpha on an ellipse with these half extents; a hundredth of a pixel covers rounding.
  const Floats reach2 = maximum(log2(opacity * (1 / kMinAlpha)) * (2 / kLog2E), 0.f);
  const Floats half_width = square_root(reach2 * xx) + 0.01f, half_height = square_root(reach2 * yy) + 0.01f;
  // A product with anything infinite or NaN is not 0: one comparison finds all lanes that must not be drawn.
  const Floats zero_if_finite = (u + v + half_width + half_height + xy) * 0.f;
  const Ints drawn = (depth > kNear) & (opacity > kMinAlpha) & (determinant > 0.f) & (zero_if_finite == 0.f);
  const Floats nowhere = broadcast(-1.f);
  Ints x0, x1, y0, y1;
  pixel_range(select(drawn, u - half_width, nowhere), select(drawn, u + half_width, nowhere), view.width, x0, x1);
  pixel_range(select(drawn, v - half_height, nowhere), select(drawn, v + half_height, nowhere), view.height, y0, y1);

  const Floats scale = 1.f / determinant;
  const Floats rows[kLabel] = {u,          v,       depth,    yy * scale, -(xy * scale),
                               xx * scale, opacity, moved[4], moved[5],   moved[6]};
  for (int row = 0; row < kLabel; row++) store_some(rows[row], a.values[row] + first, lanes);
  const Ints bounds[4] = {x0, x1, y0, y1};
  for (int row = 0; row < 4; row++) store_some(bounds[row], a.bounds[row] + first, lanes);
}

// Gaussians [start, start + count): row by row through the basis, so that memory is read in long runs.
void project_task(const ProjectArgs& a, int start, int count) {
  float moved[kDynamicRows][kProjectTask];
  const int dynamic = larger(0, smaller(count, a.dynamic_count - start));
  const int conditions = dynamic > 0 ? a.condition_count : 0;
  for (int row = 0; row < kDynamicRows; row++) {
    const float* base = a.base + static_cast<ptrdiff_t>(kDynamicRow[row]) * a.count + start;
    std::memcpy(moved[row], base, sizeof(float) * count);
    for (int c = 0; c < conditions; c++) {
      if (a.condition[c] == 0.f) continue;
      const float* basis = a.basis + (static_cast<ptrdiff_t>(c) * kDynamicRows + row) * a.dynamic_count + start;
      for (int i = 0; i < dynamic; i += kLanes) {
        const int lanes = smaller(kLanes, dynamic - i);
        store_some(load_some(moved[row] + i, lanes) + load_some(basis + i, lanes) * a.condition[c], moved[row] + i,
                   lanes);
      }
    }
  }
  for (int i = 0; i < count; i += kLanes) {
    const int lanes = smaller(kLanes, count - i);
    Floats rows[kDynamicRows];
    for (int row = 0; row < kDynamicRows; row++) rows[row] = load_some(moved[row] + i, lanes);
    project_lanes(a, start + i, lanes, rows);
  }
}

// ---- backward

// d loss / d unit quaternion, from the gradient of its rotation matrix; then through the normalisation.
GENEFACE_INLINE void quaternion_gradient(const Geometry& g, const Floats m[3][3], Floats grad[4]) {
  const Floats &w = g.quaternion[0], &x = g.quaternion[1], &y = g.quaternion[2], &z = g.quaternion[3];
  const Floats sums[3] = {m[2][1] + m[1][2], m[0][2] + m[2][0], m[1][0] + m[0][1]};
  const Floats turns[3] = {m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]};
  Floats unit[4];
  unit[0] = x * turns[0] + y * turns[1] + z * turns[2];
  unit[1] = w * turns[0] + y * sums[2] + z * sums[1] - 2.f * x * (m[1][1] + m[2][2]);
  unit[2] = w * turns[1] + x * sums[2] + z * sums[0] - 2.f * y * (m[0][0] + m[2][2]);
  unit[3] = w * turns[2] + x * sums[1] + y * sums[0] - 2.f * z * (m[0][0] + m[1][1]);
  const Floats along = unit[0] * w + unit[1] * x + unit[2] * y + unit[3] * z;
  for (int k = 0; k < 4; k++) grad[k] = 2.f * (unit[k] - along * g.quaternion[k]) * g.inverse_norm;
}

// d loss / d covariance [xx, xy, yy] from that of its inverse, the conic: -conic (d conic) conic.
GENEFACE_INLINE void covariance_gradient(const Floats conic[3], const Floats grad_conic[3], Floats grad[3]) {
  const Floats &a = conic[0], &b = conic[1], &c = conic[2];
  const Floats half = grad_conic[1] * 0.5f;
  const Floats left[2][2] = {{a * grad_conic[0] + b * half, a * half + b * grad_conic[2]},
                             {b * grad_conic[0] + c * half, b * half + c * grad_conic[2]}};
  grad[0] = -(left[0][0] * a + left[0][1] * b);
  grad[1] = -(left[0][0] * b + left[0][1] * c);
  grad[2] = -(left[1][0] * b + left[1][1] * c);
}

// Adds to turn and shift [6] the pose's share; grad_factor is the gradient of g.by_point.
GENEFACE_INLINE void pose_gradient(const Geometry& g, const Floats arm[3], const Floats grad_point[3],
                                   const Floats grad_factor[2][3], double pose[6]) {
  for (int axis = 0; axis < 3; axis++) {
    const int i = (axis + 2) % 3, j = (axis + 1) % 3;
    Floats turn = arm[j] * grad_point[i] - arm[i] * grad_point[j];
    for (int k = 0; k < 2; k++) turn += g.by_point[k][i] * grad_factor[k][j] - g.by_point[k][j] * grad_factor[k][i];
    pose[axis] += sum(turn);
    pose[3 + axis] += sum(grad_point[axis]);
  }
}

void project_backward_lanes(const ProjectBackwardArgs& a, int first, int lanes, double pose[6]) {
  Ints used = broadcast_int(0);
  Floats grad[kGradientRows];
  for (int k = 0; k < kGradientRows; k++) {
    grad[k] = load_some(a.grad[k] + first, lanes);
    used = used | (grad[k] != 0.f);
  }
  for (int lane = 0; lane < lanes; lane++)  // what was not drawn may hold anything
    if (a.bounds[1][first + lane] < a.bounds[0][first + lane] || a.bounds[3][first + lane] < a.bounds[2][first + lane])
      reinterpret_cast<int32_t*>(&used)[lane] = 0;
  const Floats zero = broadcast(0.f);
  Floats out[kBaseRows];
  for (int k = 0; k < kBaseRows; k++) out[k] = zero;
  if (any(used)) {
    const View& view = a.view;
    Floats values[kLabel];
    for (int k = 0; k < kLabel; k++) values[k] = load_some(a.values[k] + first, lanes);
    Geometry g;
    const Floats depth = values[kDepth], per_px = depth * (1.f / view.focal_px);
    g.x = (values[kU] - 0.5f * view.width) * per_px;
    g.y = (0.5f * view.height - values[kV]) * per_px;
    g.inverse_depth = 1.f / depth;
    fill_geometry(g, a.base + first, a.count, lanes, view);

    Floats covariance[3];
    covariance_gradient(values + kConicA, grad + 2, covariance);
    Floats matrix[3][3], grad_jacobian[2][3] = {{zero, zero, zero}, {zero, zero, zero}};
    for (int k = 0; k < 3; k++) {
      const Floats axis[2] = {2.f * (covariance[0] * g.screen_axes[0][k] + covariance[1] * g.screen_axes[1][k]),
                              2.f * (covariance[1] * g.screen_axes[0][k] + covariance[2] * g.screen_axes[1][k])};
      Floats stretch = zero;
      for (int row = 0; row < 3; row++) {
        const Floats along = g.jacobian[0][row] * axis[0] + g.jacobian[1][row] * axis[1];
        stretch += along * g.rotation[row][k];
        matrix[row][k] = along * g.deviation[k];
        for (int i = 0; i < 2; i++) grad_jacobian[i][row] += axis[i] * g.rotation[row][k] * g.deviation[k];
      }
      out[3 + k] = stretch * g.deviation[k];
    }
    quaternion_gradient(g, matrix, out + 6);

    // jacobian = by_point R: the point acts through by_point and through the screen position.
    const float *r = view.rotation, *t = view.translation;
    Floats factor[2][3];
    for (int i = 0; i < 2; i++)
      for (int k = 0; k < 3; k++)
        factor[i][k] =
            grad_jacobian[i][0] * r[3 * k] + grad_jacobian[i][1] * r[3 * k + 1] + grad_jacobian[i][2] * r[3 * k + 2];
    const Floats by_depth2 = g.inverse_depth * g.inverse_depth * view.focal_px;
    Floats point[3];
    point[0] = factor[0][2] * by_depth2 + grad[0] * g.by_point[0][0];
    point[1] = grad[1] * g.by_point[1][1] - factor[1][2] * by_depth2;
    point[2] =
        by_depth2 * (factor[0][0] - factor[1][1] + 2.f * g.inverse_depth * (factor[0][2] * g.x - factor[1][2] * g.y)) +
        grad[0] * g.by_point[0][2] + grad[1] * g.by_point[1][2];
    for (int k = 0; k < 3; k++) out[k] = point[0] * r[k] + point[1] * r[3 + k] + point[2] * r[6 + k];
    out[10] = grad[5] * values[kOpacity] * (1.f - values[kOpacity]);
    for (int k = 0; k < 3; k++) out[11 + k] = grad[6 + k];

    for (int k = 0; k < kBaseRows; k++) out[k] = select(used, out[k], zero);
    for (int k = 0; k < 3; k++) {
      point[k] = select(used, point[k], zero);
      for (int i = 0; i < 2; i++) {
        factor[i][k] = select(used, factor[i][k], zero);
        g.by_point[i][k] = select(used, g.by_point[i][k], zero);
      }
    }
    const Floats arm[3] = {select(used, g.x - t[0], zero), select(used, g.y - t[1], zero),
                           select(used, -depth - t[2], zero)};
    pose_gradient(g, arm, point, factor, pose);
  }
  for (int k = 0; k < kBaseRows; k++)
    store_some(out[k], a.grad_base + static_cast<ptrdiff_t>(k) * a.count + first, lanes);
}

}  // namespace

void project(const ProjectArgs& args) {
  for_each_task(project_tasks(args.count), [&](int task) {
    const int start = task * kProjectTask;
    project_task(args, start, smaller(kProjectTask, args.count - start));
  });
}

void project_backward(const ProjectBackwardArgs& args) {
  for_each_task(project_tasks(args.count), [&](int task) {
    double* pose = args.pose_sums + 6 * task;
    for (int k = 0; k < 6; k++) pose[k] = 0;
    const int end = smaller(args.count, (task + 1) * kProjectTask);
    for (int i = task * kProjectTask; i < end; i += kLanes)
      project_backward_lanes(args, i, smaller(kLanes, end - i), pose);
  });
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
