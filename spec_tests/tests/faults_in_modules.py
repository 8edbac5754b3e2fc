"""Deliberate faults in Modules, recurrent layers, losses, optimizers, draws and files."""

import numpy as np
from faults import fault


def blocks(order, rows):
    """Return the row numbers of gates in another order."""
    size = rows // len(order)
    return np.concatenate([np.arange(size) + k * size for k in order])


def with_weights(layer, change):
    """Have a layer's Function get other weights: what `change` makes of the last four inputs."""
    original = layer._apply

    def apply(self, *inputs, **where):
        return original(self, *inputs[:-4], *change(*inputs[-4:]), **where)

    layer._apply = apply


def with_step(cell, change):
    """Have a cell take another step: `change` makes both parts of its gates."""
    original = cell._step

    def changed(self):
        step = original(self)
        return lambda part, back, states: step(change(part), change(back), states)

    cell._step = changed


@fault("test_rnn", "rnn-03", "rnn-08", "rnn-11")
def lstm_gates_in_another_order(nn):
    def exchange(*weights):
        return tuple(None if w is None else w[blocks((0, 2, 1, 3), w.shape[0])] for w in weights)

    with_weights(nn.LSTM, exchange)
    with_step(nn.LSTMCell, lambda part: exchange(part.T)[0].T)


@fault("test_rnn", "rnn-04", "rnn-09", "rnn-12")
def reset_gate_before_the_product(nn):
    from impl_numpy.rnn import cell, equations, fused

    def step(part, states, w_hh, b_hh):
        (h,) = states
        size = h.shape[1]
        w_r, w_z, w_n = (w_hh[k * size : (k + 1) * size] for k in range(3))
        b_r, b_z, b_n = (0 if b_hh is None else b_hh[k * size : (k + 1) * size] for k in range(3))
        r = nn.ops.sigmoid(part[:, :size] + h @ w_r.T + b_r)
        z = nn.ops.sigmoid(part[:, size : 2 * size] + h @ w_z.T + b_z)
        n = nn.ops.tanh(part[:, 2 * size :] + (r * h) @ w_n.T + b_n)
        return ((1 - z) * n + z * h,)

    def layer(self, x, h, w_ih, w_hh, b_ih, b_hh, **where):
        outputs = []
        for at_step in x:
            (h,) = step(equations.linear(at_step, w_ih, b_ih), (h,), w_hh, b_hh)
            outputs.append(h)
        return nn.ops.stack(outputs), h

    nn.GRU._apply = layer
    cell.gru_step = fused.gru_step = step


@fault("test_rnn", "rnn-02", "rnn-03", "rnn-04")
def a_cell_without_bias_adds_ones(nn):
    for owner in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        original = owner._project

        def project(self, x, original=original):
            part = original(self, x)
            return part if self.bias_ih is not None else part + 1

        owner._project = project


@fault("test_rnn", "rnn-10", "rnn-11", "rnn-12")
def recurrent_bias_gets_no_gradient(nn):
    def cut(w_ih, w_hh, b_ih, b_hh):
        return w_ih, w_hh, b_ih, None if b_hh is None else b_hh.detach()

    for owner in (nn.RNN, nn.LSTM, nn.GRU):
        with_weights(owner, cut)


@fault("test_rnn", "rnn-11")
def gradient_of_the_cell_is_dropped(nn):
    original = nn.LSTM._apply

    def apply(self, *inputs, **where):
        output, h, c = original(self, *inputs, **where)
        return output, h, c.detach()

    nn.LSTM._apply = apply


@fault("test_rnn", "rnn-13")
def batch_first_is_ignored(nn):
    for owner in (nn.RNN, nn.LSTM, nn.GRU):
        original = owner.forward

        def forward(self, *inputs, original=original, **options):
            self.batch_first = False
            return original(self, *inputs, **options)

        owner.forward = forward


@fault("test_rnn", "rnn-17")
def composite_takes_the_state_for_a_constant(nn):
    from impl_numpy import rnn

    function = rnn.LSTMFunction
    original = function.composite

    def composite(x, h, *rest, **where):
        return original(x, h.detach(), *rest, **where)

    function.composite = staticmethod(composite)


@fault("test_rnn test_rnn_memory", "rnn-24")
def a_sequence_keeps_the_weights_for_every_step(nn):
    original = nn.RNN.forward

    def forward(self, x, *state, **options):
        output, last = original(self, x, *state, **options)
        weight = self.weight_hh_l0.detach().numpy()
        copies = [weight.copy() for _ in range(x.shape[0])]
        output.register_hook(lambda grad: copies.clear())
        return output, last

    nn.RNN.forward = forward


@fault("test_rnn_options", "rnn-06")
def the_layers_of_a_stack_are_told_in_another_order(nn):
    original = nn.GRU.extra_repr
    nn.GRU.extra_repr = lambda self: ", ".join(reversed(original(self).split(", ")))


@fault("test_rnn_options", "rnn-18")
def a_projected_sequence_is_many_operations(nn):
    from impl_numpy.rnn import LSTMFunction

    original = nn.LSTM._apply

    def apply(self, *inputs, **where):
        if self.proj_size:
            return LSTMFunction.composite(*inputs, **where)
        return original(self, *inputs, **where)

    nn.LSTM._apply = apply


@fault("test_rnn_options", "rnn-29")
def states_of_layers_are_exchanged(nn):
    original = nn.GRU.forward

    def forward(self, input, hx=None, **options):
        if hx is not None and self.num_layers > 1:
            hx = nn.ops.flip(hx, axis=0)
        return original(self, input, hx, **options)

    nn.GRU.forward = forward


@fault("test_rnn_options", "rnn-30")
def directions_are_exchanged(nn):
    original = nn.LSTM.forward

    def forward(self, input, hx=None, **options):
        output, state = original(self, input, hx, **options)
        if self.bidirectional:
            half = output.shape[-1] // 2
            output = nn.ops.roll(output, half, axis=-1)
        return output, state

    nn.LSTM.forward = forward


@fault("test_rnn_options", "rnn-31")
def dropout_between_layers_is_not_scaled(nn):
    from impl_numpy.rnn import sequence

    sequence.dropped = lambda x, kept, p: nn.ops.where(kept, x, 0.0)


@fault("test_rnn_options", "rnn-32")
def the_projection_has_a_transposed_gradient(nn):
    function = nn.rnn.LSTMFunction
    original = function.backward

    def backward(ctx, *grads):
        *rest, last = original(ctx, *grads)
        # With eight of them the last is the projection's.
        if len(rest) == 7 and last is not None:
            last = last[::-1]
        return (*rest, last)

    function.backward = staticmethod(backward)


@fault("test_rnn_lengths test_rnn_options", "rnn-33")
def the_last_state_is_that_of_the_last_step(nn):
    original = nn.GRU.forward

    def forward(self, input, hx=None, *, lengths=None):
        output, state = original(self, input, hx, lengths=lengths)
        if lengths is not None and not self.bidirectional and not self.batch_first:
            state = original(self, input, hx)[1]
        return output, state

    nn.GRU.forward = forward


@fault("test_rnn_lengths", "rnn-33")
def padding_is_multiplied_by_zero(nn):
    original = nn.RNN.forward

    def forward(self, input, hx=None, *, lengths=None):
        output, state = original(self, input, hx, lengths=lengths)
        return output + 0.0 * nn.ops.sum(input), state

    nn.RNN.forward = forward


@fault("test_rnn_lengths", "rnn-34")
def lengths_are_brought_into_range(nn):
    from impl_numpy.rnn import sequence

    original = sequence.packing_of

    def packing_of(owner, lengths, steps, batch):
        return original(owner, np.clip(np.asarray(lengths), 0, steps), steps, batch)

    sequence.packing_of = packing_of


@fault("test_rnn_programs", "rnn-36")
def a_state_that_is_given_is_lost(nn):
    original = nn.LSTM.forward
    nn.LSTM.forward = lambda self, input, hx=None, **rest: original(self, input, None, **rest)


@fault("test_rnn_resets", "rnn-37")
def the_reverse_direction_goes_through_resets(nn):
    original = nn.GRU.forward

    def forward(self, input, hx=None, **options):
        output, state = original(self, input, hx, **options)
        if self.bidirectional and options.pop("reset_mask", None) is not None:
            options.pop("reset_state", None)
            whole, _ = original(self, input, hx, **options)
            half = output.shape[-1] // 2
            output = nn.ops.concat([output[..., :half], whole[..., half:]], axis=-1)
        return output, state

    nn.GRU.forward = forward


@fault("test_rnn_resets", "rnn-38")
def a_state_of_resets_without_a_mask_is_lost(nn):
    original = nn.GRU.forward

    def forward(self, input, hx=None, **options):
        if options.get("reset_mask") is None:
            options.pop("reset_state", None)
        return original(self, input, hx, **options)

    nn.GRU.forward = forward


@fault("test_nn", "nn-01")
def linear_bias_gets_no_gradient(nn):
    def forward(self, x):
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias.detach()

    nn.Linear.forward = forward


@fault("test_nn", "nn-04")
def padding_row_gets_a_gradient(nn):
    nn.Embedding.forward = lambda self, x: self.weight[x]


@fault("test_nn", "nn-08")
def dropout_does_not_scale(nn):
    from impl_numpy import random

    def forward(self, x):
        if not self.training:
            return x
        return x * (random.uniform(x.shape) >= self.p).astype(x.dtype)

    nn.Dropout.forward = forward


@fault("test_module", "module-06")
def shared_parameters_are_counted_twice(nn):
    def parameters(self, recurse=True):
        for module in self.modules():
            yield from (own for own in module._parameters.values() if own is not None)

    nn.Module.parameters = parameters


@fault("test_module", "module-09")
def load_state_dict_stops_half_way(nn):
    def load_state_dict(self, state_dict, strict=True):
        for name, own in self.state_dict().items():
            if name not in state_dict:
                msg = f"{type(self).__name__}.load_state_dict: missing key {name}"
                raise RuntimeError(msg)
            loaded = np.asarray(getattr(state_dict[name], "data", state_dict[name]))
            if loaded.shape != own.shape:
                msg = f"load_state_dict: key {name} must have shape {own.shape}, got {loaded.shape}"
                raise RuntimeError(msg)
            own.data[...] = loaded

    nn.Module.load_state_dict = load_state_dict


@fault("test_module_containers", "module-14")
def what_a_forward_hook_returns_is_ignored(nn):
    original = nn.Module.register_forward_hook

    def register_forward_hook(self, hook):
        def deaf(module, args, output):
            hook(module, args, output)

        return original(self, deaf)

    nn.Module.register_forward_hook = register_forward_hook


@fault("test_loss", "loss-02")
def mean_divides_by_the_batch_alone(nn):
    original = nn.loss.cross_entropy

    def cross_entropy(input, target, *rest, reduction="mean", **options):
        if reduction != "mean":
            return original(input, target, *rest, reduction=reduction, **options)
        return original(input, target, *rest, reduction="sum", **options) / input.shape[0]

    nn.loss.cross_entropy = cross_entropy


@fault("test_loss", "loss-04")
def cross_entropy_overflows(nn):
    def cross_entropy(input, target, **options):
        powers = nn.ops.exp(input)
        shares = powers / nn.ops.sum(powers, axis=min(1, input.ndim - 1), keepdims=True)
        return nn.loss.nll_loss(nn.ops.log(shares), target, **options)

    nn.loss.cross_entropy = cross_entropy


@fault("test_ops", "ops-05")
def log_softmax_overflows(nn):
    from impl_numpy import recording

    def naive(x, axis):
        e = np.exp(x)
        return np.log(e / e.sum(axis=axis, keepdims=True))

    recording.RULES["log_softmax"].forward = naive


@fault("test_optim", "optim-01")
def nesterov_is_ignored(nn):
    original = nn.optim.SGD._block
    nn.optim.SGD._block = lambda self, p, g, buffers, free, group, *numbers: original(
        self, p, g, buffers, free, {**group, "nesterov": False}, *numbers
    )


@fault("test_optim", "optim-02")
def adam_does_not_correct_its_bias(nn):
    original = nn.optim.Adam._begin

    def begin(self, p, state, group):
        buffers, _ = original(self, p, state, group)
        return buffers, (group["lr"], 1.0)

    nn.optim.Adam._begin = begin


@fault("test_optim", "optim-07")
def loaded_moments_are_forgotten(nn):
    for owner in (nn.optim.SGD, nn.optim.Adam):
        original = owner.load_state_dict

        def load_state_dict(self, state, original=original):
            original(self, {**state, "state": {}})

        owner.load_state_dict = load_state_dict


@fault("test_init", "init-01", "init-08")
def philox_is_replaced_by_the_default_generator(nn):
    from impl_numpy import random

    original = nn.manual_seed

    def manual_seed(seed):
        original(seed)
        random._Stream.bits = np.random.PCG64(seed)

    nn.manual_seed = manual_seed


@fault("test_init", "init-02")
def uniform_numbers_have_24_bits(nn):
    from impl_numpy import random

    original = random.uniform
    random.uniform = lambda shape: np.floor(original(shape) * 2.0**24) * 2.0**-24


@fault("test_serialization", "serialization-03")
def save_writes_in_place(nn):
    original = nn.save

    def save(source, path):
        with open(path, "wb") as file:
            file.write(b"half a file")
        original(source, path)

    nn.save = save


@fault("test_errors", "errors-03")
def a_refused_constructor_draws_numbers(nn):
    from impl_numpy import random

    for owner in (nn.Linear, nn.Embedding, nn.LSTM, nn.GRU, nn.RNN):
        original = owner.__init__

        def construct(self, *sizes, original=original, **options):
            try:
                original(self, *sizes, **options)
            except (ValueError, TypeError):
                random.uniform((1,))
                raise

        owner.__init__ = construct


@fault("test_errors", "errors-06")
def recording_stays_off_after_an_exception_in_forward(nn):
    from impl_numpy import function, tape

    original = function._call

    def call(*arguments):
        try:
            return original(*arguments)
        except Exception:
            tape.MODE.recording = False
            raise

    function._call = call
