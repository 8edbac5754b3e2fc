"""Functions whose applications stand on a tape: those of an implementation, and torch's own."""

import gc
import importlib
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spec_tests.check.subjects import scripts
from spec_tests.check.subjects.base import (
    Application,
    Arrays,
    NotAsked,
    Slopes,
    Subject,
    Values,
    unasked,
)
from spec_tests.check.target import OURS, Target


class TapedApplication(Application):
    """An application on a tape.

    Parameters
    ----------
    tape : Taped
        Whose it is.
    inputs : list
        The values as the backend has them.
    """

    def __init__(self, tape: "Taped", inputs: list[Any], wanted: Sequence[bool]) -> None:
        self.tape, self.inputs, self.wanted = tape, inputs, list(wanted)
        result = tape.call(*inputs)
        self.one = not isinstance(result, tuple | list)
        self.results = [result] if self.one else list(result)
        self.outputs = [tape.numpy(result) for result in self.results]
        self.follows = [bool(result.requires_grad) for result in self.results]
        # The cotangents that the last `pull` handed over, by output.
        self.handed: dict[int, Any] = {}

    def pull(self, cotangents: Sequence[np.ndarray | None]) -> Slopes:
        """Return the gradient of each input."""
        self.handed = {
            k: self.tape.tensor(np.asarray(u), False)
            for k, u in enumerate(cotangents)
            if self.follows[k] and u is not None
        }
        chosen = [(self.results[k], u) for k, u in self.handed.items()]
        leaves = [x for x, w in zip(self.inputs, self.wanted, strict=True) if w]
        if not chosen or not leaves:
            return [None for _ in self.inputs]
        got = iter(
            self.tape.grad(
                [result for result, _ in chosen],
                leaves,
                grad_outputs=[cotangent for _, cotangent in chosen],
                retain_graph=True,
                allow_unused=True,
            )
        )
        slopes = [next(got) if w else None for w in self.wanted]
        return [None if slope is None else self.tape.numpy(slope) for slope in slopes]


class Taped(Subject):
    """A Function of an implementation, or a `torch.autograd.Function`."""

    grad: Callable[..., Any]

    def __init__(self, target: Target, call: Callable[..., Any], config: dict[str, Any]) -> None:
        self.target, self.name, self.config = target, target.name, config
        self._call = call

    def call(self, *inputs: Any) -> Any:
        """Apply the Function."""
        return self._call(*inputs, **self.config)

    def tensor(self, array: np.ndarray, requires_grad: bool) -> Any:
        """Return a Tensor with an array's values and, where there are some, its strides."""
        raise NotImplementedError

    def numpy(self, tensor: Any) -> np.ndarray:
        """Return a copy of a Tensor."""
        return np.array(tensor.detach().numpy())

    def overwrite(self, tensor: Any) -> None:
        """Write NaN into a Tensor's memory."""
        raise NotImplementedError

    def _inputs(self, values: Values, wanted: Sequence[bool]) -> list[Any]:
        # An array that is given twice is one Tensor that is given twice.
        made: dict[tuple[int, bool], Any] = {}
        for value, w in zip(values, wanted, strict=True):
            key = id(value), bool(w)
            if isinstance(value, np.ndarray) and key not in made:
                made[key] = self.tensor(value, w)
        return [
            made.get((id(value), bool(w)), value) for value, w in zip(values, wanted, strict=True)
        ]

    def apply(self, values: Values, wanted: Sequence[bool]) -> TapedApplication:
        """Run forward."""
        return TapedApplication(self, self._inputs(values, wanted), wanted)

    def second(
        self, values: Values, wanted: Sequence[bool], cotangents: Arrays, directions: Arrays
    ) -> tuple[Slopes, Slopes]:
        """Go backward twice."""
        made = self.apply(values, wanted)
        leaves = [x for x, w in zip(made.inputs, wanted, strict=True) if w]
        weights = [
            self.tensor(np.asarray(u), f) for u, f in zip(cotangents, made.follows, strict=True)
        ]
        outputs = [(y, u) for y, u, f in zip(made.results, weights, made.follows, strict=True) if f]
        try:
            first = self.grad(
                [y for y, _ in outputs],
                leaves,
                grad_outputs=[u for _, u in outputs],
                create_graph=True,
                allow_unused=True,
            )
            kept = [
                (slope, self.tensor(np.asarray(direction), False))
                for slope, direction in zip(first, directions, strict=True)
                if slope is not None and slope.requires_grad
            ]
            ends = [*leaves, *(u for _, u in outputs)]
            got = self._again(kept, ends) if kept else [None] * len(ends)
        except Exception as error:
            if unasked(error):
                raise NotAsked(str(unasked(error))) from error
            raise
        by_leaf, by_weight = iter(got[: len(leaves)]), iter(got[len(leaves) :])
        return (
            [next(by_leaf) if w else None for w in wanted],
            [next(by_weight) if f else None for f in made.follows],
        )

    def _again(self, kept: list[tuple[Any, Any]], ends: list[Any]) -> Slopes:
        got = self.grad(
            [slope for slope, _ in kept],
            ends,
            grad_outputs=[direction for _, direction in kept],
            retain_graph=True,
            allow_unused=True,
        )
        if all(slope is None for slope in got):
            # What refuses is reached only where nothing says which gradients are wanted.
            for slope, direction in kept:
                slope.backward(direction, retain_graph=True)
        return [None if slope is None else self.numpy(slope) for slope in got]

    def after_writing(
        self, values: Values, wanted: Sequence[bool], cotangents: Arrays, what: str
    ) -> Slopes:
        """Make the inputs, or the outputs, NaN before backward."""
        if not self.arrays_change:
            raise NotAsked("arrays of this backend cannot be written into")
        made = self.apply([np.array(v) if isinstance(v, np.ndarray) else v for v in values], wanted)
        if what == "inputs":
            written = [x for x, w in zip(made.inputs, wanted, strict=True) if w]
        else:
            written = [y for y, f in zip(made.results, made.follows, strict=True) if f]
        for tensor in written:
            self.overwrite(tensor)
        return made.pull(cotangents)

    def mutations(self, values: Values, wanted: Sequence[bool], cotangents: Arrays) -> list[str]:
        """Return what was changed."""
        if not self.arrays_change:
            raise NotAsked("arrays of this backend cannot be written into")
        values = [np.array(v) if isinstance(v, np.ndarray) else v for v in values]
        made = self.apply([np.array(v) if isinstance(v, np.ndarray) else v for v in values], wanted)
        changed = self._changed(made, values, "forward")
        outputs = [y.copy() for y in made.outputs]
        made.pull(cotangents)
        changed += self._changed(made, values, "backward")
        for k, u in made.handed.items():
            if not np.array_equal(self.numpy(u), cotangents[k], equal_nan=True):
                changed.append(f"backward changed the gradient {k} that it was given")
        for k, (y, known) in enumerate(zip(made.results, outputs, strict=True)):
            if not np.array_equal(self.numpy(y), known, equal_nan=True):
                changed.append(f"backward changed output {k}")
        return changed

    def _changed(self, made: TapedApplication, values: Values, when: str) -> list[str]:
        return [
            f"{when} changed input {k}"
            for k, (x, known) in enumerate(zip(made.inputs, values, strict=True))
            if isinstance(known, np.ndarray)
            and not np.array_equal(self.numpy(x), known, equal_nan=known.dtype.kind == "f")
        ]


class OnImplementation(Taped):
    """A Function on one of the implementations.

    Parameters
    ----------
    nn : module
        The implementation.
    """

    def __init__(self, target: Target, nn: Any, config: dict[str, Any]) -> None:
        self.nn, self.label, self.grad = nn, nn.__name__, nn.grad
        self.function = target.obj if target.kind == OURS else nn.as_function(target.obj)
        super().__init__(target, self.function.apply, config)
        raw = nn.zeros(1).data
        self.kind = type(raw).__module__.partition(".")[0]
        self.strided = self.arrays_change = hasattr(raw, "strides") or hasattr(raw, "stride")

    def tensor(self, array: np.ndarray, requires_grad: bool) -> Any:
        """Return a Tensor of the implementation."""
        plain = array.flags.c_contiguous or array.size == 0 or not self.strided

        def make(part: np.ndarray) -> Any:
            return self.nn.tensor(np.array(part, order="C"), requires_grad=requires_grad)

        if plain:
            return make(array)
        return strided(make, array, self.nn.ops.broadcast_to, self.nn.ops.permute_dims)

    def overwrite(self, tensor: Any) -> None:
        """Write NaN where the Tensor's values are, if they can be written."""
        raw = tensor.detach() if self.kind == "torch" else tensor.data
        try:
            raw[...] = float("nan")
        except (TypeError, ValueError, RuntimeError):
            raise NotAsked("the implementation lets nobody write into these arrays") from None

    def jitted(self) -> Subject:
        """Return the Function under `jit`."""
        if not self.nn.spec_capabilities().get("jit", False):
            raise NotAsked("the implementation has no jit")
        other = OnImplementation(self.target, self.nn, {})
        other._call = self.nn.jit(lambda *inputs: self.function.apply(*inputs, **self.config))
        return other

    def mapped(self, values: Values, axes: Sequence[int | None]) -> Arrays:
        """Map by `nn.vmap`."""
        if not hasattr(self.nn, "vmap"):
            raise NotAsked("the implementation has no vmap")
        if any(not isinstance(value, np.ndarray) for value in values):
            raise NotAsked("not every input is an array")
        result = self.nn.vmap(self.call, in_axes=tuple(axes))(
            *self._inputs(values, [False] * len(values))
        )
        return [self.numpy(y) for y in (result if isinstance(result, tuple | list) else [result])]

    def live(self) -> int:
        """Return the bytes of arrays, or the number of the backend's arrays."""
        return alive(self.kind)

    def script(self, body: str) -> str:
        """Return a script that runs on its own."""
        return scripts.implementation(self.target, self.label, self.config, body)


class OnTorch(Taped):
    """A `torch.autograd.Function`."""

    label = "torch"

    def __init__(self, target: Target, config: dict[str, Any]) -> None:
        if config:
            raise NotAsked("torch.autograd.Function takes no configuration by name")
        self.torch = importlib.import_module("torch")
        self.grad = self.torch.autograd.grad
        super().__init__(target, target.obj.apply, {})

    def tensor(self, array: np.ndarray, requires_grad: bool) -> Any:
        """Return a tensor that shares no memory with the array, with its strides."""
        if array.flags.c_contiguous or array.size == 0:
            return self.torch.tensor(np.array(array, order="C")).requires_grad_(requires_grad)
        made = strided(self.torch.tensor, array, self.torch.broadcast_to, self.torch.permute)
        return made.requires_grad_(requires_grad)

    def overwrite(self, tensor: Any) -> None:
        """Write NaN, and let the version counter know, as any assignment would."""
        tensor.detach().fill_(float("nan"))

    def intermediates(self, values: Values, wanted: Sequence[bool]) -> list[str]:
        """Return what the ctx holds beside inputs and outputs."""
        made = self.apply(values, wanted)
        node = next((y.grad_fn for y in made.results if y.grad_fn is not None), None)
        if node is None:
            return []
        known = {x.data_ptr() for x in [*made.inputs, *made.results] if hasattr(x, "data_ptr")}
        held = {f"saved_tensors[{k}]": t for k, t in enumerate(node.saved_tensors)}
        held |= {f"ctx.{name}": value for name, value in vars(node).items()}
        return [
            name
            for name, t in held.items()
            if isinstance(t, self.torch.Tensor)
            and t.is_floating_point()
            and t.data_ptr() not in known
        ]

    def jitted(self) -> Subject:
        """Refuse: torch.compile takes a compiler and minutes."""
        raise NotAsked("torch.compile is not asked for: it wants a compiler, and minutes")

    def mapped(self, values: Values, axes: Sequence[int | None]) -> Arrays:
        """Map by `torch.func.vmap`."""
        if not self.target.obj.__dict__.get("generate_vmap_rule") and not _overrides(
            self.target.obj, "vmap"
        ):
            raise NotAsked("the Function brings no vmap, and no generate_vmap_rule")
        inputs = self._inputs(values, [False] * len(values))
        result = self.torch.func.vmap(self.call, in_dims=tuple(axes))(*inputs)
        return [self.numpy(y) for y in (result if isinstance(result, tuple | list) else [result])]

    def push(self, values: Values, wanted: Sequence[bool], directions: Arrays) -> Arrays:
        """Use the Function's own `jvp`."""
        if not _overrides(self.target.obj, "jvp"):
            raise NotAsked("it brings no rule for derivatives forward")
        ad = self.torch.autograd.forward_ad
        given = iter(directions)
        with ad.dual_level():
            inputs = [
                ad.make_dual(x, self.tensor(next(given), False)) if w else x
                for x, w in zip(self._inputs(values, [False] * len(values)), wanted, strict=True)
            ]
            result = self.call(*inputs)
            results = list(result) if isinstance(result, tuple | list) else [result]
            parts = [ad.unpack_dual(y) for y in results]
        return [
            np.zeros(tuple(p.primal.shape)) if p.tangent is None else self.numpy(p.tangent)
            for p in parts
        ]

    def live(self) -> int:
        """Return the bytes of all tensors."""
        return alive("torch")

    def script(self, body: str) -> str:
        """Return a script that runs on its own."""
        return scripts.torch(self.target, body)


def _overrides(cls: type, method: str) -> bool:
    owner = next((c for c in cls.__mro__ if method in vars(c)), None)
    return owner is not None and not owner.__module__.startswith("torch.")


def strided(
    make: Callable[[np.ndarray], Any],
    array: np.ndarray,
    broadcast: Callable[..., Any],
    permute: Callable[..., Any],
) -> Any:
    """Return a Tensor with the values of `array`, and strides as awkward as its.

    It is a view of another Tensor, as where a program hands on `x.T` or `x[:, ::2]`.
    """
    still = [n > 1 and stride == 0 for n, stride in zip(array.shape, array.strides, strict=True)]
    if any(still):
        part = array[tuple(slice(0, 1) if s else slice(None) for s in still)]
        return broadcast(make(np.array(part, order="C")), array.shape)
    if array.flags.f_contiguous:
        turned = tuple(range(array.ndim))[::-1]
        return permute(make(np.array(array.T, order="C")), turned)
    return make(np.repeat(array, 2, axis=-1))[..., ::2]


def alive(kind: str) -> int:
    """Return the bytes of arrays that are alive, or for JAX their number."""
    gc.collect()
    if kind == "torch":
        torch = importlib.import_module("torch")
        tensors = [t for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
        return int(sum(t.untyped_storage().nbytes() for t in tensors))
    if kind in ("jax", "jaxlib"):
        return int(sum(array.nbytes for array in importlib.import_module("jax").live_arrays()))
    return tracemalloc.get_traced_memory()[0]
