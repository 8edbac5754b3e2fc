// The operators of the recurrent layers on Tensors; their schemas stand in bindings.cpp.
#pragma once

#include <array>
#include <tuple>

#include "checks.h"

namespace impl_torch_ext {

std::tuple<Tensor, Tensor> rnn_forward(const Tensor& x, const Tensor& h0, const Tensor& weight_ih,
                                       const Tensor& weight_hh, const OptionalTensor& bias_ih,
                                       const OptionalTensor& bias_hh, bool relu,
                                       const OptionalTensor& batch_sizes, bool reverse);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const Tensor& x,
    const Tensor& h0, const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output,
    bool relu, std::array<bool, 5> wanted, const OptionalTensor& batch_sizes, bool reverse);

// One step: rnn_forward and rnn_backward without the axis T.
Tensor rnn_step(const Tensor& x, const Tensor& h, const Tensor& weight_ih, const Tensor& weight_hh,
                const OptionalTensor& bias_ih, const OptionalTensor& bias_hh, bool relu);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> rnn_step_backward(
    const Tensor& grad_output, const Tensor& x, const Tensor& h, const Tensor& weight_ih,
    const Tensor& weight_hh, const Tensor& output, bool relu, std::array<bool, 5> wanted);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> lstm_forward(
    const Tensor& x, const Tensor& h0, const Tensor& c0, const Tensor& weight_ih,
    const Tensor& weight_hh, const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
    bool keep, const OptionalTensor& batch_sizes, bool reverse);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> lstm_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n,
    const OptionalTensor& grad_c_n, const Tensor& x, const Tensor& h0, const Tensor& c0,
    const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output, const Tensor& gates,
    const Tensor& cells, std::array<bool, 6> wanted, const OptionalTensor& batch_sizes,
    bool reverse, const OptionalTensor& grad_cells);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> projected_lstm_forward(
    const Tensor& x, const Tensor& h0, const Tensor& c0, const Tensor& weight_ih,
    const Tensor& weight_hh, const OptionalTensor& bias_ih, const OptionalTensor& bias_hh,
    const Tensor& weight_hr, bool keep, const OptionalTensor& batch_sizes, bool reverse);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> projected_lstm_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n,
    const OptionalTensor& grad_c_n, const Tensor& x, const Tensor& h0, const Tensor& c0,
    const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& weight_hr, const Tensor& output,
    const Tensor& gates, const Tensor& cells, std::array<bool, 7> wanted,
    const OptionalTensor& batch_sizes, bool reverse, const OptionalTensor& grad_cells);

std::tuple<Tensor, Tensor, Tensor> gru_forward(const Tensor& x, const Tensor& h0,
                                               const Tensor& weight_ih, const Tensor& weight_hh,
                                               const OptionalTensor& bias_ih,
                                               const OptionalTensor& bias_hh, bool keep,
                                               const OptionalTensor& batch_sizes, bool reverse);

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> gru_backward(
    const OptionalTensor& grad_output, const OptionalTensor& grad_h_n, const Tensor& x,
    const Tensor& h0, const Tensor& weight_ih, const Tensor& weight_hh, const Tensor& output,
    const Tensor& gates, std::array<bool, 6> wanted, const OptionalTensor& batch_sizes,
    bool reverse);

}  // namespace impl_torch_ext
