"""NaN and infinities, found where they come up."""

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import array_api_compat
import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._contextlib import _NoParamDecoratorContextManager

from impl_torch_ext import function_node
from impl_torch_ext.autograd.modes import check_decorated, entered
from impl_torch_ext.dtypes import is_inexact
from impl_torch_ext.native import Watch, native

__all__ = ["detect_anomaly"]

# Whose frames are no callers: the implementation, its backend, and what runs context managers.
_INSIDE = (
    *(f"{Path(x).resolve().parent}/" for x in (torch.__file__, array_api_compat.__file__)),
    f"{Path(__file__).resolve().parents[1]}/",
    contextlib.__file__,
)
_FUNCTIONS = ("impl_torch_ext.ops.", "impl_torch_ext.loss.")

_NAMES = {
    "mul": "multiply",
    "sub": "subtract",
    "truediv": "divide",
    "div": "divide",
    "neg": "negative",
}
# In Python's names of operators that have the Tensor second, or change it.
_NAMES |= {
    f"{letter}{name}": to
    for name, to in [*_NAMES.items(), ("add", "add"), ("pow", "pow"), ("matmul", "matmul")]
    for letter in "ri"
}

# What reads the clock of nodes that torch numbers by.
_number = torch.autograd._get_sequence_nr


class _State(threading.local):
    depth = 0
    block: contextlib.ExitStack
    # What traced before an operation's frame raised: Python then traces no more.
    lost: Any = None


_state = _State()


class detect_anomaly(_NoParamDecoratorContextManager):
    """Context manager and decorator inside which the first NaN or infinity raises.

    An operation, a layer, a loss or a Function that gets finite numbers and gives others raises,
    forward and backward. It decorates with parentheses and without, and is a matter of the thread.

    Raises
    ------
    RuntimeError
        Inside, in one line that names the operation and ends with the place that called it.

    Notes
    -----
    A TorchFunctionMode sees what torch computes. What an operation of the program computes inside
    is of no matter until it comes out: from the first number inside that is not finite to the
    operation's end Python traces its frame.
    """

    def __init__(self) -> None:
        super().__init__()

    def __enter__(self) -> None:
        if not _state.depth:
            native.check_gradients.default(True)
            _state.block = contextlib.ExitStack()
            _state.block.callback(native.check_gradients.default, False)
            _state.block.enter_context(function_node.watched_by(_looked_at))
            _state.depth = 1
            _state.block.enter_context(entered(_looking))
        else:
            _state.depth += 1

    def __exit__(self, *error: Any) -> None:
        _state.depth -= 1
        if not _state.depth:
            _state.block.close()
            if _state.lost is not None and sys.gettrace() is None:
                sys.settrace(_state.lost)
            _state.lost = None

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, in whose body anomalies are found."""
        check_decorated("detect_anomaly", function)
        return super().__call__(function)


@contextlib.contextmanager
def _looking() -> Iterator[None]:
    """Look at operations, where the block holds: a checkpoint's second run may be outside it."""
    if not _state.depth:
        yield
        return
    with _Anomaly():
        yield


class _Anomaly(TorchFunctionMode):
    """Looks at each operation of torch's, with what it gets and gives."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func` and look at what it gives."""
        kwargs = kwargs or {}
        return _looked_at(_name(func), (*args, *kwargs.values()), lambda: func(*args, **kwargs))


def _looked_at(name: str, given: tuple[Any, ...], call: Callable[[], Any]) -> Any:
    """Return what `call` does, or raise a RuntimeError for what it has made of finite numbers."""
    unit = _Unit.of(sys._getframe(2), name)
    if unit is None:
        return call()
    # Its argument is another when it is over.
    before = not name.endswith("_") or _finite(given)
    since = _number()
    result = call()
    made = [x for x in _parts(result) if isinstance(x, Tensor) and is_inexact(x.dtype)]
    finite = _finite(made)
    # Past grad_fn, which makes a Python object of each node.
    recorded = any(x.requires_grad and not x.is_leaf for x in made)
    if finite and not recorded:
        return result
    if not before or not _finite(given if not name.endswith("_") else ()):
        unit.got_others()
    else:
        if recorded:
            unit.watch(made, since)
        # A constructor gives what it is told to.
        if not finite and any(isinstance(x, Tensor) for x in _parts(given)):
            unit.gave_others(made)
    return result


class _Unit:
    """One operation of the program's: a call of the implementation, or of torch, from outside.

    It is also the trace function of the frame of that call.
    """

    def __init__(self, name: str, entry: FrameType | None, caller: FrameType) -> None:
        self.name, self.entered = name, entry is not None
        self.place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
        self.spoiled = self.suspected = False
        self.gradients: Any = None
        self.outer: Any = None

    @classmethod
    def of(cls, frame: FrameType | None, name: str) -> "_Unit | None":
        """Return what `frame` computes for, None inside a Function's backward."""
        entry = None
        while frame is not None and frame.f_code.co_filename.startswith(_INSIDE):
            entry, frame = frame, frame.f_back
        if frame is None or _in_backward(entry):
            return None
        if entry is None:
            return cls(name, None, frame)
        if isinstance(entry.f_trace, cls):
            return entry.f_trace
        unit = cls(_called(entry, name), entry, frame)
        if entry.f_trace is None:
            entry.f_trace = unit
        else:  # A debugger is at work there.
            unit.entered = False
        return unit

    def got_others(self) -> None:
        """Note that it got numbers that are not finite, unless it made them itself."""
        if not self.suspected:
            self.spoiled = True
            if self.gradients is not None:
                self.gradients.spoil()

    def watch(self, made: list[Tensor], since: int) -> None:
        """Look at the nodes that were made since then in backward passes."""
        if self.spoiled:
            return
        if self.gradients is None:
            self.gradients = Watch(self.name, self.place)
        self.gradients.add(made, since)

    def gave_others(self, made: list[Tensor]) -> None:
        """Raise if numbers that are not finite come out, now or when the call is over."""
        if self.spoiled:
            return
        if not self.entered:
            self.refuse(made)
        if not self.suspected:
            self.suspected = True
            self.outer = sys.gettrace()
            sys.settrace(_no_trace)

    def __call__(self, _frame: FrameType, event: str, result: Any) -> Any:
        """Trace the frame of the call: look at what it returns."""
        if event == "return" and self.suspected:
            self.suspected = False
            sys.settrace(self.outer)
            made = [x for x in _parts(result) if isinstance(x, Tensor) and is_inexact(x.dtype)]
            with torch._C.DisableTorchFunction():
                if not self.spoiled and not _finite(made):
                    _state.lost = self.outer
                    self.refuse(made)
        return self

    def refuse(self, made: list[Tensor]) -> NoReturn:
        """Raise a RuntimeError for numbers that are not finite."""
        what = "a NaN" if any(bool(x.isnan().any()) for x in made) else "an infinity"
        bad = next(x for x in made if not _finite([x]))
        msg = (
            f"{self.name}: gave {what} from finite numbers, in a result of shape "
            f"{tuple(bad.shape)}, to the call at {self.place}"
        )
        raise RuntimeError(msg)


def _no_trace(_frame: FrameType, _event: str, _arg: Any) -> None:
    """Trace no frame that begins now."""


def _in_backward(frame: FrameType | None) -> bool:
    """Return whether a Function's backward calls, whose gradients are looked at as a whole."""
    while frame is not None:
        if frame.f_code is function_node.Node.backward.__code__:
            return True
        frame = frame.f_back
    return False


def _called(entry: FrameType, name: str) -> str:
    """Return what the call is called: a Module by its class, a function by its name."""
    known = entry.f_locals
    if isinstance(known.get("self"), torch.nn.Module):
        return type(known["self"]).__name__
    if entry.f_globals.get("__name__", "").startswith(_FUNCTIONS):
        row = known.get("name")
        return row if isinstance(row, str) else entry.f_code.co_name
    return name


def _name(func: Any) -> str:
    """Return the name in `ops` of one of torch's functions, methods and properties."""
    name = getattr(func, "__name__", type(func).__name__)
    if name == "__get__":
        name = getattr(func.__self__, "__name__", name)
    name = name.partition(".")[0]
    plain = name.strip("_")
    return _NAMES.get(plain, plain) + ("_" if name.endswith("_") and name[0] != "_" else "")


def _parts(x: Any) -> Iterator[Any]:
    if isinstance(x, dict):
        x = tuple(x.values())
    if isinstance(x, list | tuple):
        for item in x:
            yield from _parts(item)
    else:
        yield x


def _finite(structure: Any) -> bool:
    """Return whether every number in it is finite."""
    return all(map(_is_finite, _parts(structure)))


def _is_finite(x: Any) -> bool:
    if isinstance(x, Tensor):
        return not is_inexact(x.dtype) or bool(x.detach().isfinite().all())
    if isinstance(x, np.ndarray | np.generic):
        return x.dtype.kind not in "fc" or bool(np.isfinite(x).all())
    return not isinstance(x, float | complex) or math.isfinite(abs(x))
