// This instruction set's kernels, for the dispatcher in module.cpp.
#include "network.hpp"

namespace geneface {
namespace GENEFACE_TARGET {

void project(const ProjectArgs&);
void project_backward(const ProjectBackwardArgs&);
void rasterize(const RasterArgs&);
void rasterize_backward(const RasterBackwardArgs&);
void adam(const AdamArgs&);
void adam_basis(const AdamBasisArgs&);
void image_loss(const ImageLossArgs&);
void to_uint8(const float*, int, int, uint8_t*);
void to_yuv420(const float*, int, int, int, uint8_t*);
void cut_out(const CutOutArgs&);
void sharpen(const SharpenArgs&);
void field_forward(const FieldArgs&);
void field_network(const FieldArgs&);
void field_backward(const FieldBackwardArgs&);
void adam_table(const AdamTableArgs&);
void render_field(const RenderFieldArgs&);
void train_field(const TrainFieldArgs&);
int64_t peak(const PeakArgs&);

const Kernels kernels = {project,      project_backward, rasterize,     rasterize_backward, adam,
                         adam_basis,   image_loss,       to_uint8,      to_yuv420,          cut_out,
                         sharpen,      field_forward,    field_network, field_backward,     adam_table,
                         render_field, train_field,      peak,          kHalfNetwork};

}  // namespace GENEFACE_TARGET
}  // namespace geneface
