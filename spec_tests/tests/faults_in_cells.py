"""Faults in cells, in what runs them over a sequence, and in what computes again."""

import sys

from faults import fault


@fault("test_autograd_checkpoint", "autograd-39")
def what_is_drawn_is_drawn_anew_in_backward(nn):
    from contextlib import nullcontext

    from impl_numpy import random

    random.replayed = lambda place: nullcontext()


@fault("test_autograd_checkpoint", "autograd-39")
def a_checkpoint_keeps_everything(nn):
    nn.checkpoint = lambda fn, *args: fn(*args)


@fault("test_autograd_checkpoint", "autograd-39")
def a_checkpoint_forgets_tensors_from_elsewhere(nn):
    original = nn.checkpoint

    def checkpoint(fn, *args):
        bound = getattr(fn, "__closure__", None) or ()
        held = [cell.cell_contents for cell in bound]
        for tensor in held:
            if isinstance(tensor, nn.Tensor) and not tensor.is_leaf:
                return original(fn, *args).detach() + 0 * args[0]
        return original(fn, *args)

    nn.checkpoint = checkpoint


@fault("test_rnn_unroll", "rnn-39")
def the_gates_of_a_gru_carry_the_dropped_state(nn):
    original = nn.GRUCell.step

    def step(self, projected, hx=None, *, recurrent=None):
        return original(self, projected, hx if recurrent is None else recurrent)

    nn.GRUCell.step = step


@fault("test_rnn_unroll", "rnn-40")
def unroll_gives_the_state_before_each_step(nn):
    original = nn.rnn.unroll

    def unroll(cell, inputs, state=None, **options):
        output, last = original(cell, inputs, state, **options)
        if isinstance(output, nn.Tensor) and state is None and output.shape[0]:
            output = nn.ops.roll(output, 1, axis=1 if options.get("batch_first") else 0)
        return output, last

    nn.rnn.unroll = unroll


@fault("test_rnn_unroll", "rnn-41")
def states_go_on_past_the_end(nn):
    sys.modules["impl_numpy.rnn.unroll"]._Mask.chosen = lambda self, t, new, old: new


@fault("test_rnn_unroll", "rnn-41")
def padding_reaches_the_cell(nn):
    sys.modules["impl_numpy.rnn.unroll"]._Mask.cut = lambda self, x: x


@fault("test_rnn_unroll", "rnn-42")
def a_segment_begins_with_a_detached_state(nn):
    from impl_numpy import autograd

    original = autograd.checkpoint

    def checkpoint(fn, inputs, state):
        detach = getattr(state, "detach", None)
        return original(fn, inputs, state if detach is None else detach())

    autograd.checkpoint = checkpoint


@fault("test_rnn_memory", "rnn-43")
def every_step_is_kept(nn):
    from impl_numpy import autograd

    autograd.checkpoint = lambda fn, *args: fn(*args)


@fault("test_rnn_unroll test_rnn_unroll_arguments", "rnn-44")
def a_state_may_change_its_form(nn):
    sys.modules["impl_numpy.rnn.unroll"].check_alike = lambda name, new, old: None


@fault("test_rnn_carried", "rnn-45")
def the_state_is_carried_on_with_its_history(nn):
    def truncated(module, chunks, hx=None):
        for chunk in chunks:
            output, hx = module(**chunk, hx=hx) if isinstance(chunk, dict) else module(chunk, hx)
            yield output, hx

    nn.rnn.truncated = truncated


@fault("test_rnn_cells", "rnn-46")
def the_cell_state_is_not_normalized(nn):
    original = nn.LayerNormLSTMCell.__init__

    def __init__(self, *args, **options):
        original(self, *args, **options)
        self.norm_c.forward = lambda input: input * self.norm_c.weight

    nn.LayerNormLSTMCell.__init__ = __init__


@fault("test_rnn_cells", "rnn-47")
def all_gates_of_a_gru_have_another_eps(nn):
    original = nn.LayerNormGRUCell.__init__

    def __init__(self, input_size, hidden_size, bias=True, eps=1e-05, *, dtype=None):
        original(self, input_size, hidden_size, bias, 1e-05, dtype=dtype)

    nn.LayerNormGRUCell.__init__ = __init__


@fault("test_rnn_cells", "rnn-48")
def the_output_gate_sees_too_much(nn):
    original = nn.PeepholeLSTMCell.forward

    def forward(self, input, hx=None):
        h, c = original(self, input, hx)
        return h + 0.001 * c, c

    nn.PeepholeLSTMCell.forward = forward


@fault("test_rnn_cells", "rnn-49")
def zoneout_draws_anew_for_every_call(nn):
    original = nn.ZoneoutCell.project

    def project(self, input):
        nn.rand(1)
        return original(self, input)

    nn.ZoneoutCell.project = project


@fault("test_rnn_cells", "rnn-49")
def recurrent_dropout_is_not_off_in_evaluation(nn):
    original = nn.RecurrentDropoutCell.project

    def project(self, input):
        mode, self.training = self.training, True
        try:
            return original(self, input)
        finally:
            self.training = mode

    nn.RecurrentDropoutCell.project = project


@fault("test_rnn_carried", "rnn-50")
def cell_states_get_no_gradient(nn):
    original = nn.LSTM.forward

    def forward(self, input, hx=None, **options):
        result = original(self, input, hx, **options)
        return (*result[:2], *[cells.detach() + 0 * result[0].sum() for cells in result[2:]])

    nn.LSTM.forward = forward


@fault("test_rnn_programs test_ops_recurrence", "rnn-51", "ops-54")
def a_recurrence_forgets_its_first_state(nn):
    original = nn.ops.linear_recurrence

    def linear_recurrence(a, b, /, h0=None, *, axis=0, reverse=False):
        return original(a, b, axis=axis, reverse=reverse)

    nn.ops.linear_recurrence = linear_recurrence


@fault("test_init", "init-10")
def both_biases_of_the_forget_gate_are_set(nn):
    original = nn.init.lstm_bias_

    def lstm_bias_(module, forget=1.0):
        original(module, forget)
        for name, bias in module.named_parameters():
            if name.startswith("bias_hh"):
                size = module.hidden_size
                bias.data = (
                    nn.ops.concat(
                        [nn.zeros((size,)), nn.full((size,), forget), nn.zeros((2 * size,))]
                    )
                    .astype(bias.dtype)
                    .data
                )
        return module

    nn.init.lstm_bias_ = lstm_bias_


@fault("test_rnn_exchange test_rnn_article", "rnn-52")
def gates_of_onnx_stand_in_the_order_of_torch(nn):
    original = nn.rnn.convert

    def convert(parameters, source="torch", target="torch", **sizes):
        converted = original(parameters, source, target, **sizes)
        if source == "torch" and target == "onnx":
            for name in [name for name in converted if name.endswith(".W")]:
                first = parameters[name.replace(".W", "").replace("l", "weight_ih_l")]
                converted[name] = converted[name].copy()
                converted[name][0] = getattr(first, "data", first)
        return converted

    nn.rnn.convert = convert


@fault("test_rnn_exchange test_rnn_article", "rnn-53")
def one_of_two_biases_is_lost(nn):
    original = nn.rnn.convert

    def convert(parameters, source="torch", target="torch", **sizes):
        if target == "keras" and source == "torch":
            parameters = {
                name: value * 0 if name.startswith("bias_hh") else value
                for name, value in parameters.items()
            }
        return original(parameters, source, target, **sizes)

    nn.rnn.convert = convert


@fault("test_rnn_exchange test_rnn_article", "rnn-53")
def sizes_that_are_said_are_not_compared(nn):
    original = nn.rnn.convert

    def convert(parameters, source="torch", target="torch", **sizes):
        return original(parameters, source, target, **(sizes if source == "cudnn" else {}))

    nn.rnn.convert = convert


@fault("test_rnn_packed", "rnn-55")
def the_two_indices_of_what_is_packed_change_places(nn):
    original = nn.rnn.pack

    def pack(padded, lengths, **options):
        packed = original(padded, lengths, **options)
        return packed._replace(
            sorted_indices=packed.unsorted_indices, unsorted_indices=packed.sorted_indices
        )

    nn.rnn.pack = pack


@fault("test_rnn_packed", "rnn-56")
def what_is_padded_again_is_padded_with_zeros(nn):
    original = nn.rnn.unpack
    nn.rnn.unpack = lambda packed, **options: original(packed, **{**options, "padding_value": 0.0})


@fault("test_rnn_packed", "rnn-57")
def packed_states_are_taken_in_falling_order_of_length(nn):
    original = nn.GRU.forward

    def forward(self, input, hx=None, **options):
        order = getattr(input, "unsorted_indices", None)
        if order is not None and hx is not None:
            hx = nn.ops.take(hx, order, axis=1)
        return original(self, input, hx, **options)

    nn.GRU.forward = forward


@fault("test_rnn_packed", "rnn-58")
def a_length_of_nothing_is_packed_as_one_step(nn):
    original = nn.rnn.pack

    def pack(padded, lengths, **options):
        if isinstance(lengths, list) and 0 in lengths:
            lengths = [end or 1 for end in lengths]
        return original(padded, lengths, **options)

    nn.rnn.pack = pack


@fault("test_rnn_table", "rnn-59")
def marks_past_an_end_begin_an_episode(nn):
    layer = sys.modules["impl_numpy.rnn.layer"].SequenceLayer
    original = layer._episodes
    layer._episodes = lambda self, mask, _lengths, *rest: original(self, mask, None, *rest)


@fault("test_rnn_table", "rnn-60")
def second_derivatives_leave_out_the_recurrent_weight(nn):
    original = nn.rnn.LSTMFunction.composite

    def composite(x, h, c, w_ih, w_hh, *others, **config):
        return original(x, h, c, w_ih, w_hh.detach(), *others, **config)

    nn.rnn.LSTMFunction.composite = staticmethod(composite)
