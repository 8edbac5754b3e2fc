// The gated recurrent unit with the reset gate after the recurrent product: see rnn_gru.inl.
#define IMPL_KERNELS "rnn_gru.inl"
#include "targets.h"

namespace impl_torch_ext {

void gru_forward(const GruForward<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(gru_forward_rows<float>, call, first, last)
}
void gru_forward(const GruForward<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(gru_forward_rows<double>, call, first, last)
}
void gru_backward(const GruBackward<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(gru_backward_rows<float>, call, first, last)
}
void gru_backward(const GruBackward<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(gru_backward_rows<double>, call, first, last)
}

}  // namespace impl_torch_ext
