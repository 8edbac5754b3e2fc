// The operators torch.ops.impl_torch_ext.*: their schemas, and relu, which has no file of its own
// on this side.
#include <ATen/Dispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/where.h>
#include <torch/library.h>

#include "gather.h"
#include "kernels.h"
#include "node.h"
#include "recurrence.h"
#include "rnn_operators.h"
#include "rows.h"
#include "selection.h"

namespace impl_torch_ext {

namespace {

Tensor relu(const Tensor& input) {
    const Tensor x = input.contiguous();
    Tensor y = at::empty_like(x);
    AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "relu", [&] {
        relu_forward(x.const_data_ptr<scalar_t>(), y.data_ptr<scalar_t>(), x.numel());
    });
    return y;
}

Tensor relu_gradient(const Tensor& grad_output, const Tensor& output) {
    check_like("relu_backward", "grad_output", grad_output, output.sizes(), output);
    const Tensor grad = grad_output.contiguous(), y = output.contiguous();
    Tensor result = at::empty_like(y);
    AT_DISPATCH_FLOATING_TYPES(y.scalar_type(), "relu_backward", [&] {
        relu_backward(grad.const_data_ptr<scalar_t>(), y.const_data_ptr<scalar_t>(),
                      result.data_ptr<scalar_t>(), y.numel());
    });
    return result;
}

// The same of torch's operations: for forward-mode derivatives, and for torch.vmap.
Tensor composed_relu(const Tensor& x) { return at::where(x.le(0), 0.0, x); }

Tensor composed_relu_gradient(const Tensor& grad, const Tensor& y) {
    return at::where(y.le(0), 0.0, grad);
}

Tensor relu_gradient_recorded(const Tensor& grad, const Tensor& y);

// Of relu, and of its gradient in its turn: linear in the gradient, and constant, where it has a
// derivative, in y.
struct ReluBackward : Node {
    std::string name() const override { return "ReluBackward"; }
    void release_variables() override {
        const std::lock_guard<std::mutex> lock(mutex_);
        y.reset_data();
    }
    variable_list apply(variable_list&& grads) override {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!grads[0].defined()) return {Tensor()};
        return {relu_gradient_recorded(grads[0], y.unpack())};
    }
    SavedVariable y;
};

Tensor relu_recorded(const Tensor& x) {
    if (have_tangents(x)) return composed_relu(x);
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("impl_torch_ext::relu", "")
                               .typed<Tensor(const Tensor&)>();
    const Tensor result = below_autograd([&] { return op.call(x); });
    if (is_recorded(x)) {
        auto node = make_node<ReluBackward>();
        // Without its history, which would hold the node, and with its counter of changes.
        static_cast<ReluBackward&>(*node).y =
            SavedVariable(result.tensor_data(), /*is_output=*/false);
        record(result, node, x);
    }
    return result;
}

Tensor relu_gradient_recorded(const Tensor& grad, const Tensor& y) {
    if (have_tangents(grad, y)) return composed_relu_gradient(grad, y);
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("impl_torch_ext::relu_backward", "")
                               .typed<Tensor(const Tensor&, const Tensor&)>();
    const Tensor result = below_autograd([&] { return op.call(grad, y); });
    if (is_recorded(grad)) {
        auto node = make_node<ReluBackward>();
        static_cast<ReluBackward&>(*node).y = SavedVariable(y.detach(), /*is_output=*/false);
        record(result, node, grad);
    }
    return result;
}

}  // namespace

TORCH_LIBRARY(impl_torch_ext, m) {
    m.def("relu(Tensor x) -> Tensor");
    m.def("relu_backward(Tensor grad_output, Tensor output) -> Tensor");
    m.def("absolute(Tensor x) -> Tensor");
    m.def("clamp(Tensor x, float? low, float? high) -> Tensor");
    m.def("extremum(Tensor x1, Tensor x2, bool largest) -> Tensor");
    m.def("extreme(Tensor x, int[] axes, bool keepdim, bool largest) -> Tensor");
    m.def("gather(Tensor x, Tensor index, int axis) -> Tensor");
    m.def("gather_backward(Tensor grad_output, Tensor index, int axis, int size) -> Tensor");
    m.def("rows(Tensor(a) x, int start, int? count) -> Tensor(a)");
    m.def(
        "linear_recurrence(Tensor a, Tensor b, Tensor? h0, int axis, bool reverse=False) "
        "-> Tensor");
    m.def(
        "linear_recurrence_backward(Tensor grad_output, Tensor a, Tensor output, Tensor? h0, int "
        "axis, bool reverse, bool[3] wanted) -> (Tensor, Tensor, Tensor)");
    m.def("share_version(Tensor self, Tensor other) -> ()", share_version);
}

// The recurrent layers.
TORCH_LIBRARY_FRAGMENT(impl_torch_ext, m) {
    m.def(
        "rnn_step(Tensor x, Tensor h, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, Tensor? "
        "bias_hh, bool relu) "
        "-> Tensor");
    m.def(
        "rnn_step_backward(Tensor grad_output, Tensor x, Tensor h, Tensor weight_ih, Tensor "
        "weight_hh, Tensor output, "
        "bool relu, bool[5] wanted) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
    m.def(
        "rnn_forward(Tensor x, Tensor h0, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, "
        "Tensor? bias_hh, bool relu, Tensor? batch_sizes=None, bool reverse=False) "
        "-> (Tensor, Tensor)");
    m.def(
        "rnn_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor x, Tensor h0, Tensor "
        "weight_ih, Tensor weight_hh, Tensor output, bool relu, bool[5] wanted, Tensor? "
        "batch_sizes=None, bool reverse=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
    m.def(
        "lstm_forward(Tensor x, Tensor h0, Tensor c0, Tensor weight_ih, Tensor weight_hh, Tensor? "
        "bias_ih, Tensor? bias_hh, bool keep, Tensor? batch_sizes=None, bool reverse=False) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor)");
    m.def(
        "lstm_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, Tensor x, Tensor "
        "h0, Tensor c0, Tensor weight_ih, Tensor weight_hh, Tensor output, Tensor gates, Tensor "
        "cells, bool[6] wanted, Tensor? batch_sizes=None, bool reverse=False, Tensor? "
        "grad_cells=None) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
    m.def(
        "projected_lstm_forward(Tensor x, Tensor h0, Tensor c0, Tensor weight_ih, Tensor "
        "weight_hh, Tensor? bias_ih, Tensor? bias_hh, Tensor weight_hr, bool keep, Tensor? "
        "batch_sizes=None, bool reverse=False) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
    m.def(
        "projected_lstm_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor? grad_c_n, Tensor "
        "x, Tensor h0, Tensor c0, Tensor weight_ih, Tensor weight_hh, Tensor weight_hr, Tensor "
        "output, Tensor gates, Tensor cells, bool[7] wanted, Tensor? batch_sizes=None, bool "
        "reverse=False, Tensor? grad_cells=None) -> (Tensor, Tensor, Tensor, Tensor, Tensor, "
        "Tensor, Tensor)");
    m.def(
        "gru_forward(Tensor x, Tensor h0, Tensor weight_ih, Tensor weight_hh, Tensor? bias_ih, "
        "Tensor? bias_hh, bool keep, Tensor? batch_sizes=None, bool reverse=False) "
        "-> (Tensor, Tensor, Tensor)");
    m.def(
        "gru_backward(Tensor? grad_output, Tensor? grad_h_n, Tensor x, Tensor h0, Tensor "
        "weight_ih, Tensor weight_hh, Tensor output, Tensor gates, bool[6] wanted, Tensor? "
        "batch_sizes=None, bool reverse=False) "
        "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(impl_torch_ext, CPU, m) {
    m.impl("relu", relu);
    m.impl("relu_backward", relu_gradient);
    m.impl("gather_backward", gather_backward);
    m.impl("linear_recurrence", linear_recurrence);
    m.impl("linear_recurrence_backward", linear_recurrence_backward);
    m.impl("rnn_step", rnn_step);
    m.impl("rnn_step_backward", rnn_step_backward);
    m.impl("rnn_forward", rnn_forward);
    m.impl("rnn_backward", rnn_backward);
    m.impl("lstm_forward", lstm_forward);
    m.impl("lstm_backward", lstm_backward);
    m.impl("projected_lstm_forward", projected_lstm_forward);
    m.impl("projected_lstm_backward", projected_lstm_backward);
    m.impl("gru_forward", gru_forward);
    m.impl("gru_backward", gru_backward);
}

TORCH_LIBRARY_IMPL(impl_torch_ext, CompositeExplicitAutograd, m) {
    m.impl("absolute", absolute);
    m.impl("clamp", clamp);
    m.impl("extremum", extremum);
    m.impl("extreme", extreme);
    m.impl("gather", gather);
    m.impl("rows", rows);
}

// Under torch.vmap: of torch's operations, which have rules for batches.
TORCH_LIBRARY_IMPL(impl_torch_ext, FuncTorchBatchedDecomposition, m) {
    m.impl("absolute", absolute);
    m.impl("clamp", clamp);
    m.impl("extremum", extremum);
    m.impl("extreme", extreme);
    m.impl("gather", gather);
    m.impl("rows", rows);
    m.impl("relu", composed_relu);
    m.impl("relu_backward", composed_relu_gradient);
}

TORCH_LIBRARY_IMPL(impl_torch_ext, Autograd, m) {
    m.impl("absolute", absolute_recorded);
    m.impl("clamp", clamp_recorded);
    m.impl("extremum", extremum_recorded);
    m.impl("extreme", extreme_recorded);
    m.impl("gather", gather_recorded);
    m.impl("gather_backward", gather_backward_recorded);
    m.impl("rows", rows_recorded);
    m.impl("relu", relu_recorded);
    m.impl("relu_backward", relu_gradient_recorded);
}

}  // namespace impl_torch_ext
