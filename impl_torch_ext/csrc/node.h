// Nodes of torch's graph that are written by hand, as torch's own are: a C++ autograd::Function
// costs several microseconds more for each call.
#pragma once

#include <ATen/core/Tensor.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/autograd/variable.h>

#include <memory>
#include <mutex>
#include <type_traits>
#include <utility>

namespace impl_torch_ext {

using at::Tensor;
using torch::autograd::Edge;
using torch::autograd::Node;
using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

// How torch holds nodes: by std::shared_ptr up to 2.12, by its own pointer since.
using NodePtr = decltype(Edge::function);

template <typename T, typename... Arguments>
NodePtr make_node(Arguments&&... arguments) {
    if constexpr (std::is_same_v<NodePtr, std::shared_ptr<Node>>) {
        return std::make_shared<T>(std::forward<Arguments>(arguments)...);
    } else {
        return c10::make_intrusive<T>(std::forward<Arguments>(arguments)...);
    }
}

// Makes `result`, which was computed from `inputs`, the output of `node`.
template <typename... Inputs>
void record(const Tensor& result, const NodePtr& node, const Inputs&... inputs) {
    node->set_next_edges(torch::autograd::collect_next_edges(inputs...));
    torch::autograd::set_history(result, node);
}

// Computes below torch's recording.
template <typename F>
Tensor below_autograd(const F& compute) {
    const at::AutoDispatchBelowADInplaceOrView guard;
    return compute();
}

// Whether forward-mode derivatives are asked for. An operation is then composed of torch's, which
// have them.
template <typename... Inputs>
bool have_tangents(const Inputs&... inputs) {
    return (torch::autograd::isFwGradDefined(inputs) || ...);
}

// Whether a transform of torch.func stands between one of these and its memory.
template <typename... Inputs>
bool is_wrapped(const Inputs&... inputs) {
    return (inputs.key_set().has_any(c10::functorch_transforms_ks) || ...);
}

// Whether an operation on these is recorded; a gradient may be in its turn.
template <typename... Inputs>
bool is_recorded(const Inputs&... inputs) {
    return torch::autograd::compute_requires_grad(inputs...);
}

}  // namespace impl_torch_ext
