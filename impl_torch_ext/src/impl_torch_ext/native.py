"""The compiled operators `torch.ops.impl_torch_ext.*`, and their shapes for tracing.

T steps, N batch, I input size, H hidden size, P size of a state h, G gates. Gradients of the
recurrent operators are the business of the Functions in `rnn.fused`.
"""

from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["Recording", "Watch", "build_info", "calls", "load_native", "native"]


def load_native(folder: Path) -> tuple[Any, Any]:
    """Load the compiled library from `folder` and return its operators and its Python module.

    Raises
    ------
    ImportError
        If it is not there, or was built for another torch.
    ValueError
        If IMPL_TORCH_EXT_TARGET in the environment names no instruction set of this machine.
    """
    build = "pip install --no-build-isolation ./impl_torch_ext"
    libraries = sorted(folder.glob("_C*.so"))
    if not libraries:
        msg = f"impl_torch_ext: no compiled library in {folder}; build it with {build}"
        raise ImportError(msg)
    try:
        torch.ops.load_library(libraries[0])
        torch.ops.impl_torch_ext.target()
        loader = ExtensionFileLoader("impl_torch_ext._C", str(libraries[0]))
        module = loader.create_module(ModuleSpec(loader.name, loader, origin=loader.path))
        loader.exec_module(module)
    except (OSError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())
        msg = f"impl_torch_ext: cannot load {libraries[0]}, build it again with {build}: {reason}"
        raise ImportError(msg) from error
    return torch.ops.impl_torch_ext, module


native, calls = load_native(Path(__file__).parent)
"""The operators; and functions that compute the usual case of `ops`, or return NotImplemented."""

Recording: Any = torch.classes.impl_torch_ext.Recording
"""What a checkpoint has to know of a call: see `csrc/checkpoint.h`."""

Watch: Any = torch.classes.impl_torch_ext.Watch
"""The nodes of one operation, whose gradients are looked at: see `csrc/graph.h`."""


def build_info() -> dict[str, bool | str]:
    """Return what the compiled library runs with.

    Returns
    -------
    dict
        `openmp`: whether it has threads (`torch.get_num_threads()` of them), or was built for one;
        `target`: the instruction set of its kernels, `"avx512"`, `"avx2"`, `"neon"` or
        `"portable"`.
    """
    return {"openmp": native.has_openmp(), "target": native.target()}


@torch.library.register_fake("impl_torch_ext::relu")
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.register_fake("impl_torch_ext::relu_backward")
def _(_grad_output: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output, memory_format=torch.contiguous_format)


@torch.library.register_fake("impl_torch_ext::absolute")
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("impl_torch_ext::clamp")
def _(x: Tensor, _low: float | None, _high: float | None) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("impl_torch_ext::extremum")
def _(x1: Tensor, x2: Tensor, _largest: bool) -> Tensor:
    return torch.maximum(x1, x2)


@torch.library.register_fake("impl_torch_ext::extreme")
def _(x: Tensor, axes: Sequence[int], keepdim: bool, _largest: bool) -> Tensor:
    return torch.amax(x, tuple(axes), keepdim)


@torch.library.register_fake("impl_torch_ext::gather")
def _(x: Tensor, index: Tensor, axis: int) -> Tensor:
    return x.new_empty((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


@torch.library.register_fake("impl_torch_ext::gather_backward")
def _(grad_output: Tensor, index: Tensor, axis: int, size: int) -> Tensor:
    shape = grad_output.shape
    return grad_output.new_empty((*shape[:axis], size, *shape[axis + index.ndim :]))


@torch.library.register_fake("impl_torch_ext::linear_recurrence")
def _(_a: Tensor, b: Tensor, *_others: Any) -> Tensor:
    return torch.empty_like(b, memory_format=torch.contiguous_format)


@torch.library.register_fake("impl_torch_ext::linear_recurrence_backward")
def _(_grad_output: Tensor, _a: Tensor, output: Tensor, *others: Any) -> tuple[Tensor, ...]:
    axis, wanted = others[1], others[3]
    state = (*output.shape[:axis], *output.shape[axis + 1 :])
    shapes = (output.shape, output.shape, state)
    return tuple(
        output.new_empty(shape if want else (0,))
        for shape, want in zip(shapes, wanted, strict=True)
    )


@torch.library.register_fake("impl_torch_ext::rnn_step")
def _(x: Tensor, h: Tensor, *_others: Any) -> Tensor:
    return x.new_empty(h.shape)


@torch.library.register_fake("impl_torch_ext::rnn_step_backward")
def _(_grad_output: Tensor, *saved: Any) -> tuple[Tensor, ...]:
    return _gradients(saved[:4], saved[-1])


@torch.library.register_fake("impl_torch_ext::rnn_forward")
def _(x: Tensor, h0: Tensor, *_others: Any) -> tuple[Tensor, Tensor]:
    return _rows(x, h0.shape[-1]), x.new_empty(h0.shape)


@torch.library.register_fake("impl_torch_ext::rnn_backward")
def _(*arguments: Any) -> tuple[Tensor, ...]:
    return _gradients(arguments[2:6], arguments[8])


@torch.library.register_fake("impl_torch_ext::lstm_forward")
def _(x: Tensor, h0: Tensor, c0: Tensor, *others: Any) -> tuple[Tensor, ...]:
    return _lstm(x, h0, c0, keep=others[4])


@torch.library.register_fake("impl_torch_ext::lstm_backward")
def _(*arguments: Any) -> tuple[Tensor, ...]:
    return _gradients(arguments[3:8], arguments[11])


@torch.library.register_fake("impl_torch_ext::projected_lstm_forward")
def _(x: Tensor, h0: Tensor, c0: Tensor, *others: Any) -> tuple[Tensor, ...]:
    return _lstm(x, h0, c0, keep=others[5])


@torch.library.register_fake("impl_torch_ext::projected_lstm_backward")
def _(*arguments: Any) -> tuple[Tensor, ...]:
    wanted, weight_hr = arguments[12], arguments[8]
    return (
        *_gradients(arguments[3:8], wanted[:-1]),
        weight_hr.new_empty(weight_hr.shape if wanted[-1] else (0,)),
    )


@torch.library.register_fake("impl_torch_ext::gru_forward")
def _(x: Tensor, h0: Tensor, *others: Any) -> tuple[Tensor, ...]:
    gates = _rows(x, 4 * h0.shape[-1]) if others[4] else x.new_empty((0,))
    return _rows(x, h0.shape[-1]), x.new_empty(h0.shape), gates


@torch.library.register_fake("impl_torch_ext::gru_backward")
def _(*arguments: Any) -> tuple[Tensor, ...]:
    return _gradients(arguments[2:6], arguments[8])


def _rows(x: Tensor, columns: int) -> Tensor:
    """Return an array with as many rows as x, (T, N, I) or (rows, I) with batch sizes."""
    return x.new_empty((*x.shape[:-1], columns))


def _lstm(x: Tensor, h0: Tensor, c0: Tensor, keep: bool) -> tuple[Tensor, ...]:
    hidden = c0.shape[-1]
    return (
        _rows(x, h0.shape[-1]),
        x.new_empty(h0.shape),
        x.new_empty(c0.shape),
        _rows(x, 4 * hidden) if keep else x.new_empty((0,)),
        _rows(x, hidden) if keep else x.new_empty((0,)),
    )


def _gradients(inputs: Sequence[Tensor], wanted: Sequence[bool]) -> tuple[Tensor, ...]:
    """Return a gradient where one is wanted, else an empty Tensor, as a backward operator does.

    `inputs` are x, the states, weight_ih and weight_hh; one or two gradients of biases follow.
    """
    x, weight_ih = inputs[0], inputs[-2]
    biases = len(wanted) - len(inputs)
    shapes = [a.shape for a in inputs] + biases * [weight_ih.shape[:1]]
    return tuple(
        x.new_empty(shape if want else (0,)) for want, shape in zip(wanted, shapes, strict=True)
    )


# Under torch.vmap: B samples, whose axis is moved to where a kernel takes it for more of its own.

_Axes = Sequence[int | None]


@torch.library.register_vmap("impl_torch_ext::gather_backward")
def _(
    info: Any, axes: _Axes, grad: Tensor, index: Tensor, axis: int, size: int
) -> tuple[Tensor, int]:
    if axes[1] is None:  # The axis of samples is one more that stands before `axis`.
        moved = grad.movedim(axes[0] or 0, 0)
        return native.gather_backward(moved, index, axis + 1, size), 0
    count, indices = info.batch_size, _at(index, axes[1], 0, info)
    indices = torch.where(indices < 0, indices + size, indices)
    first = size * torch.arange(count).reshape(-1, *(1,) * (indices.ndim - 1))
    # Samples one after another, each with places of its own.
    summed = native.gather_backward(
        _at(grad, axes[0], axis, info), indices + first, axis, count * size
    )
    return summed.unflatten(axis, (count, size)), axis


@torch.library.register_vmap("impl_torch_ext::linear_recurrence")
def _(info: Any, axes: _Axes, *arguments: Any) -> tuple[Tensor, int]:
    tensors = [_at(x, place, 0, info) for x, place in zip(arguments[:3], axes, strict=False)]
    return native.linear_recurrence(*tensors, arguments[3] + 1, *arguments[4:]), 0


@torch.library.register_vmap("impl_torch_ext::linear_recurrence_backward")
def _(info: Any, axes: _Axes, *arguments: Any) -> tuple[Any, ...]:
    tensors = [_at(x, place, 0, info) for x, place in zip(arguments[:4], axes, strict=False)]
    found = native.linear_recurrence_backward(*tensors, arguments[4] + 1, *arguments[5:])
    return found, tuple(0 if wanted else None for wanted in arguments[6])


class _SideBySide:
    """The rule of a recurrent operator: samples are more sequences of its batch.

    Where parameters have the axis of samples, or gradients of parameters are wanted, each sample
    is a call.

    Parameters
    ----------
    name : str
        The operator.
    rows : sequence of int
        Which arguments have the axis N, the last but one.
    sizes : int, optional
        Which argument is `batch_sizes`.
    wanted : int, optional
        Which one says which gradients are wanted, those of the first `given` results being of
        arguments with the axis N.
    """

    def __init__(
        self,
        name: str,
        rows: Sequence[int],
        sizes: int | None,
        wanted: int | None = None,
        given: int = 0,
    ) -> None:
        self.operator, self.rows, self.sizes = getattr(native, name), rows, sizes
        self.wanted, self.given = wanted, given
        torch.library.register_vmap(f"impl_torch_ext::{name}", self)

    def __call__(self, info: Any, axes: _Axes, *arguments: Any) -> tuple[Any, Any]:
        # torch has a list of None for a list.
        axes = [place if isinstance(place, int) else None for place in axes]
        of_rows = all(place is None or i in self.rows for i, place in enumerate(axes))
        if not of_rows or (self.wanted is not None and any(arguments[self.wanted][self.given :])):
            return self._one_by_one(info, axes, arguments)
        changed = list(arguments)
        for i in self.rows:
            if i < len(changed) and changed[i] is not None and changed[i].ndim > 1:
                changed[i] = _at(changed[i], axes[i], -2, info).flatten(-3, -2)
        if self.sizes is not None and len(changed) > self.sizes and changed[self.sizes] is not None:
            changed[self.sizes] = changed[self.sizes] * info.batch_size
        found = self.operator(*changed)
        results = found if isinstance(found, tuple) else (found,)
        apart = [y if y.ndim == 1 else y.unflatten(-2, (-1, info.batch_size)) for y in results]
        places = tuple(None if y.ndim == 1 else y.ndim - 2 for y in apart)
        return (tuple(apart), places) if isinstance(found, tuple) else (apart[0], places[0])

    def _one_by_one(self, info: Any, axes: _Axes, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
        every = []
        for i in range(info.batch_size):
            sample = [
                x if place is None else x.select(place, i)
                for x, place in zip(arguments, axes, strict=True)
            ]
            found = self.operator(*sample)
            every.append(found if isinstance(found, tuple) else (found,))
        stacked = tuple(torch.stack(ys) for ys in zip(*every, strict=True))
        return (stacked, (0,) * len(stacked)) if isinstance(found, tuple) else (stacked[0], 0)


def _at(x: Any, place: int | None, wanted: int, info: Any) -> Any:
    """Return an array with its axis of samples, one of its own or a new one, at `wanted`.

    That is where it is to be afterwards, from the end if negative: then before what stands there.
    """
    if x is None:
        return None
    spread = (
        x.unsqueeze(0).expand(info.batch_size, *x.shape) if place is None else x.movedim(place, 0)
    )
    return spread.movedim(0, wanted)


_SideBySide("rnn_step", (0, 1), None)
_SideBySide("rnn_step_backward", (0, 1, 2, 5), None, wanted=7, given=2)
_SideBySide("rnn_forward", (0, 1), 7)
_SideBySide("rnn_backward", (0, 1, 2, 3, 6), 9, wanted=8, given=2)
_SideBySide("lstm_forward", (0, 1, 2), 8)
_SideBySide("lstm_backward", (0, 1, 2, 3, 4, 5, 8, 9, 10, 14), 12, wanted=11, given=3)
_SideBySide("projected_lstm_forward", (0, 1, 2), 9)
_SideBySide("projected_lstm_backward", (0, 1, 2, 3, 4, 5, 9, 10, 11, 15), 13, wanted=12, given=3)
_SideBySide("gru_forward", (0, 1), 7)
_SideBySide("gru_backward", (0, 1, 2, 3, 6, 7), 9, wanted=8, given=2)
