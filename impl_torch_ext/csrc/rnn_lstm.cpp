// Long short-term memory, gates in the order i, f, g, o: see rnn_lstm.inl.
#define IMPL_KERNELS "rnn_lstm.inl"
#include "targets.h"

namespace impl_torch_ext {

void lstm_forward(const LstmForward<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(lstm_forward_rows<float>, call, first, last)
}
void lstm_forward(const LstmForward<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(lstm_forward_rows<double>, call, first, last)
}
void lstm_backward(const LstmBackward<float>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(lstm_backward_rows<float>, call, first, last)
}
void lstm_backward(const LstmBackward<double>& call, std::int64_t first, std::int64_t last) {
  IMPL_DISPATCH(lstm_backward_rows<double>, call, first, last)
}

}  // namespace impl_torch_ext
