// The sequence kernels of all cells: see rnn.inl.
#define IMPL_KERNELS "rnn.inl"
#include "rnn.h"

#include "targets.h"

namespace impl_torch_ext {

template <typename Cell, typename T>
void sequence_forward(const SequenceForward<T>& call, const Part& part) {
    IMPL_DISPATCH(forward_steps<Cell>, call, part)
}

template <typename Cell, typename T>
void sequence_backward(const SequenceBackward<T>& call,
                       const Part& part){IMPL_DISPATCH(backward_steps<Cell>, call, part)}

#define IMPL_INSTANTIATE_FOR(Cell, T)                                             \
    template void sequence_forward<Cell>(const SequenceForward<T>&, const Part&); \
    template void sequence_backward<Cell>(const SequenceBackward<T>&, const Part&);
#define IMPL_INSTANTIATE(Cell)        \
    IMPL_INSTANTIATE_FOR(Cell, float) \
    IMPL_INSTANTIATE_FOR(Cell, double)
IMPL_INSTANTIATE(PlainCell) IMPL_INSTANTIATE(LstmCell) IMPL_INSTANTIATE(ProjectedLstmCell)
    IMPL_INSTANTIATE(GruCell)
#undef IMPL_INSTANTIATE
#undef IMPL_INSTANTIATE_FOR

}  // namespace impl_torch_ext
