// The operators torch.ops.impl_torch_ext.*: their schemas, and relu, which has no file of its own
// on this side.
#include <ATen/Dispatch.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include "gather.h"
#include "kernels.h"
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

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

Tensor call_relu_backward(const Tensor& grad, const Tensor& y) {
    static const auto op = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("impl_torch_ext::relu_backward", "")
                               .typed<Tensor(const Tensor&, const Tensor&)>();
    return op.call(grad, y);
}

// relu_backward is linear in the gradient and constant, where it has a derivative, in y.
struct ReluBackward : torch::autograd::Function<ReluBackward> {
    static Tensor forward(AutogradContext* ctx, const Tensor& grad, const Tensor& y) {
        at::AutoDispatchBelowADInplaceOrView guard;
        ctx->save_for_backward({y});
        return call_relu_backward(grad, y);
    }

    static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
        return {call_relu_backward(grads[0], ctx->get_saved_variables()[0]), Tensor()};
    }
};

struct Relu : torch::autograd::Function<Relu> {
    static Tensor forward(AutogradContext* ctx, const Tensor& x) {
        at::AutoDispatchBelowADInplaceOrView guard;
        static const auto op = c10::Dispatcher::singleton()
                                   .findSchemaOrThrow("impl_torch_ext::relu", "")
                                   .typed<Tensor(const Tensor&)>();
        Tensor y = op.call(x);
        ctx->save_for_backward({y});
        return y;
    }

    static tensor_list backward(AutogradContext* ctx, const tensor_list& grads) {
        return {call_relu_backward(grads[0], ctx->get_saved_variables()[0])};
    }
};

Tensor relu_recorded(const Tensor& x) { return Relu::apply(x); }

Tensor relu_gradient_recorded(const Tensor& grad, const Tensor& y) {
    return ReluBackward::apply(grad, y);
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
