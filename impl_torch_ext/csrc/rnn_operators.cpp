// What each operator of the recurrent layers asks of the driver.
#include "rnn_operators.h"

#include <ATen/ops/cat.h>

#include "rnn_driver.h"

namespace impl_torch_ext {

std::tuple<Tensor, Tensor> rnn_forward(const Tensor& x, const Tensor& h0, const Tensor& weight_ih,
                                       const Tensor& weight_hh, const OptionalTensor& bias_ih,
                                       const OptionalTensor& bias_hh, bool relu,
                                       const OptionalTensor& batch_sizes, bool reverse) {
    const Inputs inputs{x, h0, {}, weight_ih, weight_hh, {}};
    const Order order{batch_sizes, reverse};
    const Outputs outputs = run_forward<PlainCell>(inputs, bias_ih, bias_hh, true, order, relu);
    return {outputs.output, outputs.h_n};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const Tensor& x,
    const Tensor& h0, const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output,
    bool relu, std::array<bool, 5> wanted, const OptionalTensor& batch_sizes, bool reverse) {
    const Inputs inputs{x, h0, {}, weight_ih, weight_hh, {}};
    const Outputs outputs{output, {}, {}, {}, {}};
    const OutputGradients grad_outputs{grad_output, grad_h_n, {}, {}};
    const Gradients grads = run_backward<PlainCell>(
        inputs, outputs, grad_outputs,
        {wanted[0], wanted[1], false, wanted[2], wanted[3], wanted[4], false},
        {batch_sizes, reverse}, relu);
    return {grads.x, grads.h0, grads.weight_ih, grads.weight_hh, grads.bias};
}

Tensor rnn_step(const Tensor& x, const Tensor& h, const Tensor& weight_ih, const Tensor& weight_hh,
                const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, bool relu) {
    return std::get<1>(rnn_forward(x.unsqueeze(0), h, weight_ih, weight_hh, bias_ih, bias_hh, relu,
                                   std::nullopt, false));
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_step_backward(
    const Tensor& grad_output, const Tensor& x, const Tensor& h, const Tensor& weight_ih,
    const Tensor& weight_hh, const Tensor& output, bool relu, std::array<bool, 5> wanted) {
    auto grads = rnn_backward(std::nullopt, grad_output, x.unsqueeze(0), h, weight_ih, weight_hh,
                              output.unsqueeze(0), relu, wanted, std::nullopt, false);
    if (wanted[0]) std::get<0>(grads) = std::get<0>(grads).squeeze(0);
    return grads;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> lstm_forward(
    const Tensor& x, const Tensor& h0, const Tensor& c0, const Tensor& weight_ih,
    const Tensor& weight_hh, const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
    bool keep, const OptionalTensor& batch_sizes, bool reverse) {
    const Inputs inputs{x, h0, c0, weight_ih, weight_hh, {}};
    const Order order{batch_sizes, reverse};
    const Outputs outputs = run_forward<LstmCell>(inputs, bias_ih, bias_hh, keep, order);
    return {outputs.output, outputs.h_n, outputs.c_n, outputs.gates, outputs.cells};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n,
    const OptionalTensor& grad_c_n, const Tensor& x, const Tensor& h0, const Tensor& c0,
    const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output, const Tensor& gates,
    const Tensor& cells, std::array<bool, 6> wanted, const OptionalTensor& batch_sizes,
    bool reverse, const OptionalTensor& grad_cells) {
    const Gradients grads = run_backward<LstmCell>(
        {x, h0, c0, weight_ih, weight_hh, {}}, {output, {}, {}, gates, cells},
        {grad_output, grad_h_n, grad_c_n, grad_cells},
        {wanted[0], wanted[1], wanted[2], wanted[3], wanted[4], wanted[5], false},
        {batch_sizes, reverse});
    return {grads.x, grads.h0, grads.c0, grads.weight_ih, grads.weight_hh, grads.bias};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> projected_lstm_forward(
    const Tensor& x, const Tensor& h0, const Tensor& c0, const Tensor& weight_ih,
    const Tensor& weight_hh, const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
    const Tensor& weight_hr, bool keep, const OptionalTensor& batch_sizes, bool reverse) {
    const Inputs inputs{x, h0, c0, weight_ih, weight_hh, weight_hr};
    const Order order{batch_sizes, reverse};
    const Outputs outputs = run_forward<ProjectedLstmCell>(inputs, bias_ih, bias_hh, keep, order);
    return {outputs.output, outputs.h_n, outputs.c_n, outputs.gates, outputs.cells};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> projected_lstm_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n,
    const OptionalTensor& grad_c_n, const Tensor& x, const Tensor& h0, const Tensor& c0,
    const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& weight_hr, const Tensor& output,
    const Tensor& gates, const Tensor& cells, std::array<bool, 7> wanted,
    const OptionalTensor& batch_sizes, bool reverse, const OptionalTensor& grad_cells) {
    const Gradients grads = run_backward<ProjectedLstmCell>(
        {x, h0, c0, weight_ih, weight_hh, weight_hr}, {output, {}, {}, gates, cells},
        {grad_output, grad_h_n, grad_c_n, grad_cells},
        {wanted[0], wanted[1], wanted[2], wanted[3], wanted[4], wanted[5], wanted[6]},
        {batch_sizes, reverse});
    return {grads.x,         grads.h0,   grads.c0,       grads.weight_ih,
            grads.weight_hh, grads.bias, grads.weight_hr};
}

std::tuple<Tensor, Tensor, Tensor> gru_forward(const Tensor& x, const Tensor& h0,
                                               const Tensor& weight_ih, const Tensor& weight_hh,
                                               const OptionalTensor& bias_ih,
                                               const OptionalTensor& bias_hh, bool keep,
                                               const OptionalTensor& batch_sizes, bool reverse) {
    const Inputs inputs{x, h0, {}, weight_ih, weight_hh, {}};
    const Order order{batch_sizes, reverse};
    const Outputs outputs = run_forward<GruCell>(inputs, bias_ih, bias_hh, keep, order);
    return {outputs.output, outputs.h_n, outputs.gates};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gru_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const Tensor& x,
    const Tensor& h0, const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output,
    const Tensor& gates, std::array<bool, 6> wanted, const OptionalTensor& batch_sizes,
    bool reverse) {
    const Gradients grads = run_backward<GruCell>(
        {x, h0, {}, weight_ih, weight_hh, {}}, {output, {}, {}, gates, {}},
        {grad_output, grad_h_n, {}, {}},
        {wanted[0], wanted[1], false, wanted[2], wanted[3], wanted[4] || wanted[5], false},
        {batch_sizes, reverse});
    // The sums are in the order of the columns: n, r, z belong to bias_ih, r, z, hn to bias_hh.
    const Tensor none = at::empty({0}, x.options());
    const std::int64_t H = weight_hh.size(1);
    Tensor bias_ih = none, bias_hh = none;
    if (wanted[4]) bias_ih = at::cat({grads.bias.narrow(0, H, 2 * H), grads.bias.narrow(0, 0, H)});
    if (wanted[5]) bias_hh = grads.bias.narrow(0, H, 3 * H).clone();
    return {grads.x, grads.h0, grads.weight_ih, grads.weight_hh, bias_ih, bias_hh};
}

}  // namespace impl_torch_ext
