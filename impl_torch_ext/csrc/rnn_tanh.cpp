// h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu: see rnn_tanh.inl.
#define IMPL_KERNELS "rnn_tanh.inl"
#include "targets.h"

namespace impl_torch_ext {

void rnn_forward(const RnnForward<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(rnn_forward_rows<float>, call, first, last)
}
void rnn_forward(const RnnForward<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(rnn_forward_rows<double>, call, first, last)
}
void rnn_backward(const RnnBackward<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(rnn_backward_rows<float>, call, first, last)
}
void rnn_backward(const RnnBackward<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(rnn_backward_rows<double>, call, first, last)
}

}  // namespace impl_torch_ext
