"""Whole sequences, and single steps, as Functions: one GEMM and one kernel a step, each way.

T, N, I, H are steps, batch, input size, hidden size; P is the size of h, which is H unless an LSTM
projects it, by one GEMM more a step; G is the number of gates. The order of the steps, and the S
rows that all of them have, are those of the keyword `walk`, see `lengths`. The input's projection
and each weight's gradient are one GEMM for the sequence. Every gradient of a gate's sum is kept
until the loop is done, so that those GEMMs run over S rows.
"""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.function import Function
from impl_cupy.launch import each_step, launch
from impl_cupy.memory import RawArray
from impl_cupy.ops.products import matmul
from impl_cupy.rnn import equations
from impl_cupy.rnn.lengths import Walk
from impl_cupy.sums import total
from impl_cupy.tensor import Tensor

MaybeArray = RawArray | None


class RNNFunction(Function):
    """`equations.rnn` over a sequence.

    Inputs: x (T, N, I), h0 (1, N, H), weight_ih (H, I), weight_hh (H, H), bias_ih (H,) or None,
    bias_hh (H,) or None. Outputs: output (T, N, H), h_n (1, N, H).
    """

    _by_slices = True
    _is_ours = True
    _called = "RNN"
    composite = staticmethod(equations.unrolled(equations.rnn, states=1))

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: MaybeArray,
        bias_hh: MaybeArray,
        *,
        walk: Walk,
        nonlinearity: str,
    ) -> tuple[RawArray, ...]:
        """Run the steps."""
        ctx.set_materialize_grads(False)
        ctx.walk, ctx.is_relu = walk, nonlinearity == "relu"
        rows = walk.rows(x)
        from_x = cp.dot(rows, weight_ih.T)
        h = _states(walk, h0, rows)
        after = h[walk.after]
        arrays = (*_biases(bias_ih, bias_hh, from_x), after, bias_ih is not None, ctx.is_relu)
        _run("rnn_forward", walk, from_x, arrays, weight_hh, h, h.shape[1])
        ctx.save_for_backward(rows, weight_ih, weight_hh, h)
        return walk.put(after), _last(walk, h)

    @staticmethod
    def backward(ctx: Any, grad_output: MaybeArray, grad_h_n: MaybeArray) -> tuple[MaybeArray, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h = ctx.saved_tensors
        walk: Walk = ctx.walk
        after = h[walk.after]
        grad_sums = cp.empty(after.shape, dtype=h.dtype)
        grad_h = _state_gradient(walk, grad_h_n, h)
        output = _read(_output_gradient(walk, grad_output), after)
        to_x, to_h0, *to_weights = ctx.needs_input_grad
        arrays = (after, output[0], grad_h, grad_sums, output[1], ctx.is_relu)
        _run_back("rnn_backward", walk, arrays, weight_hh, grad_sums, grad_h, to_h0)
        return (
            _input_gradient(walk, grad_sums, weight_ih) if to_x else None,
            _first(walk, grad_h) if to_h0 else None,
            *_weight_gradients(grad_sums, grad_sums, rows, (walk, h), to_weights),
        )


class LSTMFunction(Function):
    """`equations.lstm` over a sequence.

    Inputs: x (T, N, I), h0 (1, N, P), c0 (1, N, H), weight_ih (4 H, I), weight_hh (4 H, P), bias_ih
    and bias_hh (4 H,) or None, weight_hr (P, H) or None. Outputs: output (T, N, P), h_n (1, N, P),
    c_n (1, N, H), and `with_cells` c after every step (T, N, H).
    """

    _by_slices = True
    _is_ours = True
    _called = "LSTM"
    composite = staticmethod(equations.unrolled(equations.lstm, states=2))

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        c0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: MaybeArray,
        bias_hh: MaybeArray,
        weight_hr: MaybeArray,
        *,
        walk: Walk,
        with_cells: bool = False,
    ) -> tuple[RawArray, ...]:
        """Run the steps; the gates take the place of the input's projection."""
        ctx.set_materialize_grads(False)
        ctx.walk, ctx.with_cells = walk, with_cells
        rows = walk.rows(x)
        gates = cp.dot(rows, weight_ih.T)
        h, c = _states(walk, h0, rows), _states(walk, c0, rows)
        after, projection = h[walk.after], None
        # What the kernel makes: h, or with a projection what becomes h by it.
        made = after
        if weight_hr is not None:  # rnn-32
            made = cp.empty((len(rows), c.shape[1]), dtype=c.dtype)
            projection = (made, weight_hr)
        biases, has_bias = _biases(bias_ih, bias_hh, gates), bias_ih is not None
        arrays = (*biases, gates, c, c[walk.after], made, has_bias)
        _run("lstm_forward", walk, gates, arrays, weight_hh, h, c.shape[1], projection)
        ctx.save_for_backward(rows, weight_ih, weight_hh, h, c, gates, *(projection or ()))
        cells = (walk.put(c[walk.after]),) if with_cells else ()
        return walk.put(after), _last(walk, h), _last(walk, c), *cells

    @staticmethod
    def backward(ctx: Any, grad_output: MaybeArray, *others: MaybeArray) -> tuple[MaybeArray, ...]:
        """Run the steps back, then form the weights' gradients."""
        grad_h_n, grad_c_n, grad_cells = others if ctx.with_cells else (*others, None)
        rows, weight_ih, weight_hh, h, c, gates, *projection = ctx.saved_tensors
        walk: Walk = ctx.walk
        grad_sums, grad_c = cp.empty_like(gates), _state_gradient(walk, grad_c_n, c)
        grad_made = output = _output_gradient(walk, grad_output)
        to_x, to_h0, to_c0, *to_weights, to_weight_hr = ctx.needs_input_grad
        later = grad_hr = None
        if projection:  # rnn-32
            made, weight_hr = projection
            later = _later(walk, grad_h_n, h), weight_hr
            grad_h = cp.empty_like(grad_c)
            grad_made = None if output is None else cp.dot(output, weight_hr)
        else:
            grad_h = _state_gradient(walk, grad_h_n, h)
        read, is_read = _read(grad_made, c)
        cells = _read(_output_gradient(walk, grad_cells), c)
        after = c[walk.after]
        running = (grad_h, grad_c, grad_c, grad_sums, is_read, cells[1])
        arrays = (gates, c, after, read, cells[0], *running)
        _run_back("lstm_backward", walk, arrays, weight_hh, grad_sums, grad_h, to_h0, later)
        if later is not None:
            grads = later[0]
            grad_h = grads[walk.initial].copy()
            if to_weight_hr:
                after = grads[walk.after]
                grad_hr = cp.dot((after if output is None else after + output).T, made)
        return (
            _input_gradient(walk, grad_sums, weight_ih) if to_x else None,
            _first(walk, grad_h) if to_h0 else None,
            _first(walk, grad_c) if to_c0 else None,
            *_weight_gradients(grad_sums, grad_sums, rows, (walk, h), to_weights),
            grad_hr,
        )


class GRUFunction(Function):
    """`equations.gru` over a sequence.

    Inputs: x (T, N, I), h0 (1, N, H), weight_ih (3 H, I), weight_hh (3 H, H), bias_ih and bias_hh
    (3 H,) or None. Outputs: output (T, N, H), h_n (1, N, H).
    """

    _by_slices = True
    _is_ours = True
    _called = "GRU"
    composite = staticmethod(equations.unrolled(equations.gru, states=1))

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: MaybeArray,
        bias_hh: MaybeArray,
        *,
        walk: Walk,
    ) -> tuple[RawArray, ...]:
        """Run the steps; the gates take the place of the input's projection."""
        ctx.set_materialize_grads(False)
        ctx.walk = walk
        rows = walk.rows(x)
        gates = cp.dot(rows, weight_ih.T)
        h = _states(walk, h0, rows)
        after = h[walk.after]
        # What the recurrent product gives the candidate n, which backward needs.
        candidate = cp.empty(after.shape, dtype=h.dtype)
        biases, has_bias = _biases(bias_ih, bias_hh, gates), bias_ih is not None
        arrays = (*biases, gates, candidate, h, after, has_bias, has_bias)
        _run("gru_forward", walk, gates, arrays, weight_hh, h, h.shape[1])
        ctx.save_for_backward(rows, weight_ih, weight_hh, h, candidate, gates)
        return walk.put(after), _last(walk, h)

    @staticmethod
    def backward(ctx: Any, grad_output: MaybeArray, grad_h_n: MaybeArray) -> tuple[MaybeArray, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h, candidate, gates = ctx.saved_tensors
        walk: Walk = ctx.walk
        grad_x_sums, grad_h_sums = cp.empty_like(gates), cp.empty_like(gates)
        grad_direct = _state_gradient(walk, grad_h_n, h)
        grad_h = cp.zeros_like(grad_direct)
        read, is_read = _read(_output_gradient(walk, grad_output), h)
        to_x, to_h0, *to_weights = ctx.needs_input_grad
        running = (read, grad_h, grad_direct, grad_x_sums, grad_h_sums, is_read)
        arrays = (gates, candidate, h, *running)
        _run_back("gru_backward", walk, arrays, weight_hh, grad_h_sums, grad_h, to_h0)
        return (
            _input_gradient(walk, grad_x_sums, weight_ih) if to_x else None,
            _first(walk, grad_h + grad_direct) if to_h0 else None,
            *_weight_gradients(grad_x_sums, grad_h_sums, rows, (walk, h), to_weights),
        )


class RNNStep(Function):
    """`equations.rnn` of one step.

    Inputs: from_x (N, H), with all biases, what W_hh multiplies (N, H), weight_hh. Output: h after.
    """

    _is_ours = True
    _called = "RNNCell"

    @staticmethod
    def forward(
        ctx: Any, from_x: RawArray, recurrent: RawArray, weight_hh: RawArray, *, nonlinearity: str
    ) -> RawArray:
        """Make the step."""
        from_x, from_h, h = _prepared(from_x, recurrent, weight_hh)
        ctx.is_relu = nonlinearity == "relu"
        arrays = (from_x, from_h, from_h, from_h, h, False, ctx.is_relu)
        launch("rnn", "rnn_forward", h.dtype, h.size, *arrays, 0, 0, h.shape[1])
        ctx.save_for_backward(recurrent, weight_hh, h)
        return h

    @staticmethod
    def backward(ctx: Any, grad: RawArray) -> tuple[MaybeArray, ...]:
        """Run the step back."""
        recurrent, weight_hh, h = ctx.saved_tensors
        grad_sums, grad = cp.empty_like(h), cp.ascontiguousarray(grad)
        arrays = (h, h, grad, grad_sums, False, ctx.is_relu)
        launch("rnn", "rnn_backward", h.dtype, h.size, *arrays, 0, 0, h.shape[1])
        return grad_sums, *_product_gradients(ctx, grad_sums, recurrent, weight_hh)

    @staticmethod
    def composite(from_x: Tensor, recurrent: Tensor, weight_hh: Tensor, **config: Any) -> Any:
        """Do the same on Tensors."""
        return equations.rnn(from_x, matmul(recurrent, weight_hh.T), recurrent, **config)


class LSTMStep(Function):
    """`equations.lstm` of one step.

    Inputs: from_x (N, 4 H), with all biases, what W_hh multiplies (N, H), weight_hh, c (N, H).
    Outputs: h and c after.
    """

    _is_ours = True
    _called = "LSTMCell"

    @staticmethod
    def forward(
        ctx: Any, from_x: RawArray, recurrent: RawArray, weight_hh: RawArray, c: RawArray
    ) -> tuple[RawArray, RawArray]:
        """Make the step."""
        from_x, from_h, gates = _prepared(from_x, recurrent, weight_hh)
        c = cp.ascontiguousarray(c)
        h, after = cp.empty_like(c), cp.empty_like(c)
        arrays = (from_x, from_h, from_h, from_h, gates, c, after, h, False)
        launch("rnn", "lstm_forward", c.dtype, c.size, *arrays, 0, 0, c.shape[1])
        ctx.save_for_backward(recurrent, weight_hh, gates, c, after)
        return h, after

    @staticmethod
    def backward(ctx: Any, grad_h: RawArray, grad_c: RawArray) -> tuple[MaybeArray, ...]:
        """Run the step back."""
        recurrent, weight_hh, gates, c, after = ctx.saved_tensors
        grad_h, grad_c = cp.ascontiguousarray(grad_h), cp.ascontiguousarray(grad_c)
        grad_sums, to_c = cp.empty_like(gates), cp.empty_like(c)
        arrays = (gates, c, after, c, c, grad_h, grad_c, to_c, grad_sums, False, False)
        launch("rnn", "lstm_backward", c.dtype, c.size, *arrays, 0, 0, c.shape[1])
        return grad_sums, *_product_gradients(ctx, grad_sums, recurrent, weight_hh), to_c

    @staticmethod
    def composite(from_x: Tensor, recurrent: Tensor, weight_hh: Tensor, c: Tensor) -> Any:
        """Do the same on Tensors."""
        return equations.lstm(from_x, matmul(recurrent, weight_hh.T), recurrent, c, None)


class GRUGates(Function):
    """`equations.gru` of one step, after the products.

    Inputs: from_x (N, 3 H), with bias_ih, from_h (N, 3 H), bias_hh (3 H,) or None, h (N, H). The
    output is h after.
    """

    _is_ours = True
    _called = "GRUCell"

    @staticmethod
    def forward(
        ctx: Any, from_x: RawArray, from_h: RawArray, bias_hh: MaybeArray, h: RawArray
    ) -> RawArray:
        """Run one kernel."""
        from_x, from_h, h = map(cp.ascontiguousarray, (from_x, from_h, h))
        gates, candidate, after = cp.empty_like(from_x), cp.empty_like(h), cp.empty_like(h)
        bias, has_bias = _read(bias_hh, from_h)
        arrays = (from_x, from_h, from_h, cp.ascontiguousarray(bias), gates, candidate, h, after)
        launch("rnn", "gru_forward", h.dtype, h.size, *arrays, False, has_bias, 0, 0, h.shape[1])
        ctx.save_for_backward(gates, candidate, h)
        return after

    @staticmethod
    def backward(ctx: Any, grad: RawArray) -> tuple[MaybeArray, ...]:
        """Run one kernel, and add up the bias's gradient over the batch."""
        gates, candidate, h = ctx.saved_tensors
        grad_x, grad_r = cp.empty_like(gates), cp.empty_like(gates)
        direct, grad = cp.zeros_like(h), cp.ascontiguousarray(grad)
        arrays = (gates, candidate, h, h, grad, direct, grad_x, grad_r, False)
        launch("rnn", "gru_backward", h.dtype, h.size, *arrays, 0, 0, h.shape[1])
        return grad_x, grad_r, total(grad_r, axis=0) if ctx.needs_input_grad[2] else None, direct

    @staticmethod
    def composite(from_x: Tensor, from_h: Tensor, bias_hh: Tensor | None, h: Tensor) -> Any:
        """Do the same on Tensors."""
        return equations.gru(from_x, from_h if bias_hh is None else from_h + bias_hh, h)


def _prepared(from_x: RawArray, recurrent: RawArray, weight_hh: RawArray) -> tuple[RawArray, ...]:
    """Return what a step's kernel reads, and room for as much as comes from x."""
    from_x = cp.ascontiguousarray(from_x)
    return from_x, cp.dot(recurrent, weight_hh.T), cp.empty_like(from_x)


def _product_gradients(
    ctx: Any, grad_sums: RawArray, recurrent: RawArray, weight_hh: RawArray
) -> tuple[MaybeArray, MaybeArray]:
    """Return the gradients of what W_hh multiplied and of W_hh, a step's inputs 1 and 2."""
    _, to_recurrent, to_weight, *_ = ctx.needs_input_grad
    return (
        cp.dot(grad_sums, weight_hh) if to_recurrent else None,
        cp.dot(grad_sums.T, recurrent) if to_weight else None,
    )


def _states(walk: Walk, first: RawArray, rows: RawArray) -> RawArray:
    """Make room for the states of all rows beside the first ones: shape (S + N, K)."""
    states = cp.empty((len(rows) + walk.batch, first.shape[2]), dtype=first.dtype)
    states[walk.initial] = walk.sort(first[0])
    return states


def _last(walk: Walk, states: RawArray) -> RawArray:
    """Return the last states, shape (1, N, K), in an array of their own."""
    return states[walk.last].reshape(1, walk.batch, states.shape[1]).copy()


def _biases(bias_ih: MaybeArray, bias_hh: MaybeArray, unread: RawArray) -> tuple[RawArray, ...]:
    """Return what the kernel gets for the biases: without them any array, left unread."""
    if bias_ih is None or bias_hh is None:
        return unread, unread
    return cp.ascontiguousarray(bias_ih), cp.ascontiguousarray(bias_hh)


def _run(
    kernel: str,
    walk: Walk,
    projected: RawArray,
    arrays: tuple[Any, ...],
    weight_hh: RawArray,
    h: RawArray,
    size: int,
    projection: tuple[RawArray, RawArray] | None = None,
) -> None:
    """Run the steps: the recurrent product, the kernel, and the product with W_hr.

    `projected` is the input's projection, (S, G H); `arrays` are the kernel's other arguments;
    `size` is H; `projection` is what W_hr multiplies, (S, H), and W_hr.
    """
    from_h = cp.empty((walk.batch, weight_hh.shape[0]), dtype=h.dtype)
    turned = cp.ascontiguousarray(weight_hh).T
    if projection is not None:
        made, weight_hr = projection
        down, after = cp.ascontiguousarray(weight_hr).T, h[walk.after]
    run = each_step("rnn", kernel, h.dtype, size, (projected, from_h, *arrays))
    for step in walk.steps():
        row, before, count = step
        product = from_h if count == walk.batch else from_h[:count]
        cp.dot(h[before : before + count], turned, out=product)
        run(step)
        if projection is not None:
            cp.dot(made[row : row + count], down, out=after[row : row + count])


def _run_back(
    kernel: str,
    walk: Walk,
    arrays: tuple[Any, ...],
    weight_hh: RawArray,
    grad_sums: RawArray,
    grad_h: RawArray,
    wants_h0: bool,
    later: tuple[RawArray, RawArray] | None = None,
) -> None:
    """Run the steps back: the kernel, then the product that leads to the step before.

    `grad_sums`, shape (S, G H), is what the kernel gives for the recurrent product; `grad_h`, shape
    (N, H), becomes the gradient of the state before, or with `later`, see `_later`, of what W_hr
    multiplied there.
    """
    weight = cp.ascontiguousarray(weight_hh)
    run = each_step("rnn", kernel, grad_h.dtype, grad_h.shape[1], arrays)
    if later is not None:
        grads, weight_hr = later[0], cp.ascontiguousarray(later[1])
        grads_after = grads[walk.after]
    for step in walk.steps(back=True):
        row, before, count = step
        running = grad_h if count == walk.batch else grad_h[:count]
        if later is not None:
            cp.dot(grads_after[row : row + count], weight_hr, out=running)
        run(step)
        if before != walk.initial.start or wants_h0:
            target = running if later is None else grads[before : before + count]
            cp.dot(grad_sums[row : row + count], weight, out=target)


def _state_gradient(walk: Walk, grad: MaybeArray, states: RawArray) -> RawArray:
    """Make the running gradient of a state, shape (N, K), start with the last state's."""
    if grad is None:
        return cp.zeros((walk.batch, states.shape[1]), dtype=states.dtype)
    return cp.array(walk.sort(grad[0]), copy=True, order="C")


def _later(walk: Walk, grad_h_n: MaybeArray, h: RawArray) -> RawArray:
    """Make room for each state's gradient from the steps after; the last ones' are those given."""
    later = cp.empty_like(h)
    later[walk.last] = 0 if grad_h_n is None else grad_h_n[0]
    return later


def _first(walk: Walk, grad: RawArray) -> RawArray:
    """Return the gradient of the first states, shape (1, N, K)."""
    return walk.unsort(grad).reshape(1, *grad.shape)


def _output_gradient(walk: Walk, grad: MaybeArray) -> MaybeArray:
    """Return the output's gradient as rows; what arrives in the padding is left out (rnn-33)."""
    return None if grad is None else cp.ascontiguousarray(walk.rows(grad))


def _read(grad: MaybeArray, unread: RawArray) -> tuple[RawArray, bool]:
    """Return what the kernel gets for the output's gradient, and whether it reads it."""
    return (unread, False) if grad is None else (grad, True)


def _input_gradient(walk: Walk, grad_sums: RawArray, weight: RawArray) -> RawArray:
    return walk.put(cp.dot(grad_sums, weight))


def _weight_gradients(
    grad_x_sums: RawArray,
    grad_h_sums: RawArray,
    rows: RawArray,
    states: tuple[Walk, RawArray],
    wanted: list[bool],
) -> tuple[MaybeArray, ...]:
    """Form the gradients of weight_ih, weight_hh, bias_ih, bias_hh over all steps at once."""
    walk, h = states
    to_weight_ih, to_weight_hh, to_bias_ih, to_bias_hh = wanted
    bias_ih = total(grad_x_sums, axis=0) if to_bias_ih else None
    bias_hh = None
    if to_bias_hh and bias_ih is not None and grad_x_sums is grad_h_sums:
        bias_hh = bias_ih.copy()
    elif to_bias_hh:
        bias_hh = total(grad_h_sums, axis=0)
    return (
        cp.dot(grad_x_sums.T, rows) if to_weight_ih else None,
        cp.dot(grad_h_sums.T, h[walk.before]) if to_weight_hh else None,
        bias_ih,
        bias_hh,
    )
