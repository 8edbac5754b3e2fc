"""What a Module calls around its `forward`, in the pass back, and around its state dict."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from impl_cupy.checks import check_callable, check_flag, shown, type_name
from impl_cupy.module.state import LoadResult, Registry
from impl_cupy.random import RestoredOnError
from impl_cupy.tape import (
    Edges,
    Node,
    RemovableHandle,
    Value,
    at_edge,
    edge_of,
    state,
    watched,
    wrap,
)
from impl_cupy.tensor import Tensor

_Gradients = tuple[Tensor | None, ...]
_FULL, _PRE = "register_full_backward_hook", "register_full_backward_pre_hook"
_KINDS = ("forward_pre", "forward", "backward_pre", "backward", "state_dict_pre", "loaded")


class Hook(NamedTuple):
    """A hook with the options it was registered with."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class Hooked(Registry):
    """Runs the hooks of a Module; see `Module`."""

    _forward_pre_hooks: dict[int, Hook]
    _forward_hooks: dict[int, Hook]
    _backward_pre_hooks: dict[int, Hook]
    _backward_hooks: dict[int, Hook]
    _state_dict_pre_hooks: dict[int, Hook]
    _loaded_hooks: dict[int, Hook]

    forward: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        for kind in _KINDS:
            object.__setattr__(self, f"_{kind}_hooks", {})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward` with the hooks around it."""
        self._check_initialized("be called")
        if watched:
            return _watched_call(self, args, kwargs)
        if not (
            self._forward_pre_hooks
            or self._forward_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        ):
            return self.forward(*args, **kwargs)
        return self._with_hooks(self.forward, args, kwargs)

    def _with_hooks(
        self, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run `forward`, which is the Module's, with its hooks around it."""
        has_backward = self._backward_hooks or self._backward_pre_hooks
        output, left = None, None
        with RestoredOnError():
            try:
                for hook in tuple(self._forward_pre_hooks.values()):
                    args, kwargs = self._before_forward(hook, args, kwargs)
                call = _Call(self, len(args)) if has_backward and state.recording else None
                args = call.enter(args) if call else args
                output = forward(*args, **kwargs)
                left = list(self._forward_hooks.values())
                while left:
                    output = self._after_forward(left.pop(0), args, kwargs, output)
                return call.leave(output) if call else output
            except Exception:
                for hook in list(self._forward_hooks.values()) if left is None else left:
                    if hook.always_call:
                        with suppress(Exception):  # module-21
                            output = self._after_forward(hook, args, kwargs, output)
                raise

    def _before_forward(
        self, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments as a forward pre-hook leaves them."""
        if not hook.with_kwargs:
            changed = hook.function(self, args)
            if changed is None:
                return args, kwargs
            return (changed if isinstance(changed, tuple) else (changed,)), kwargs
        changed = hook.function(self, args, kwargs)
        if changed is None:
            return args, kwargs
        if isinstance(changed, tuple) and len(changed) == 2:
            after, named = changed
            if isinstance(after, tuple) and isinstance(named, Mapping):
                return after, dict(named)
        msg = (
            f"{type(self).__name__}.register_forward_pre_hook: a hook with kwargs must return None "
            f"or a tuple (args, kwargs) of a tuple and a dict, got {shown(changed)}"
        )
        raise RuntimeError(msg)

    def _after_forward(
        self, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        """Return the output as a forward hook leaves it."""
        given = (self, args, kwargs, output) if hook.with_kwargs else (self, args, output)
        changed = hook.function(*given)
        return output if changed is None else changed

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before `forward`; what it returns replaces the args.

        Parameters
        ----------
        hook : callable
            Returns None, a tuple of arguments, or the only one.
        prepend : bool
            Whether it runs before those that are there.
        with_kwargs : bool
            Whether it is called as ``hook(module, args, kwargs)``; then it returns None or a tuple
            ``(args, kwargs)``. Anything else raises RuntimeError when the Module is called.

        Returns
        -------
        RemovableHandle
            Its ``remove()`` takes the hook away.

        Raises
        ------
        TypeError
            If `hook` is no callable.
        """
        name = "register_forward_pre_hook"
        return self._add(name, self._forward_pre_hooks, hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after `forward`; what it returns is the output.

        Parameters
        ----------
        hook : callable
            Returns None or an output.
        prepend : bool
            Whether it runs before those that are there.
        with_kwargs : bool
            Whether it is called as ``hook(module, args, kwargs, output)``.
        always_call : bool
            Whether it also runs where a pre-hook, `forward` or a hook before it has raised, with
            the output so far. The exception goes on; one of the hook's own is dropped then.

        Returns
        -------
        RemovableHandle
            Its ``remove()`` takes the hook away.

        Raises
        ------
        TypeError
            If `hook` is no callable.
        """
        options = {"with_kwargs": with_kwargs, "always_call": always_call}
        return self._add("register_forward_hook", self._forward_hooks, hook, prepend, **options)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` in `backward`, once for each call.

        Parameters
        ----------
        hook : callable
            `grad_input` is a tuple with the gradient of each positional argument, `grad_output` one
            with that of each output; None stands where there is none. It returns None or a tuple
            in the place of `grad_input`. Anything else raises TypeError or ValueError in
            `backward`.
        prepend : bool
            Whether it runs before those that are there.

        Returns
        -------
        RemovableHandle
            Its ``remove()`` takes the hook away, for later calls.

        Raises
        ------
        TypeError
            If `hook` is no callable.
        """
        return self._add(_FULL, self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` in `backward`, before the pass through the Module.

        What it returns takes the place of `grad_output`; else as `register_full_backward_hook`.
        """
        return self._add(_PRE, self._backward_pre_hooks, hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before `state_dict` reads this Module's entries.

        `prefix` is the Module's dotted name with a dot behind it, `keep_vars` is False.
        """
        return self._add("register_state_dict_pre_hook", self._state_dict_pre_hooks, hook, False)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after `load_state_dict` has loaded.

        `incompatible_keys` is what it will return; the hook may change its lists.
        """
        return self._add("register_load_state_dict_post_hook", self._loaded_hooks, hook, False)

    def _add(
        self,
        method: str,
        hooks: dict[int, Hook],
        hook: Callable[..., Any],
        prepend: bool,
        **options: bool,
    ) -> RemovableHandle:
        name = f"{type(self).__name__}.{method}"
        check_callable(name, "hook", hook)
        flags = {key: check_flag(name, key, value) for key, value in options.items()}
        later = dict(hooks) if check_flag(name, "prepend", prepend) else {}
        if later:
            hooks.clear()
        handle = RemovableHandle(hooks, Hook(hook, **flags))
        hooks.update(later)
        return handle

    def _hook_state_dict(self, path: str, module: Hooked) -> None:
        """Run what is to run before the entries of a Module inside are read."""
        for hook in tuple(module._state_dict_pre_hooks.values()):
            hook.function(module, f"{path}." if path else "", False)

    def _hook_loaded(self, keys: LoadResult) -> None:
        for hook in tuple(self._loaded_hooks.values()):
            hook.function(self, keys)


def _watched_call(module: Hooked, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a Module where this thread's observers may be told of it; see `tape.observe`."""
    calls, anomalies = state.calls, state.anomalies
    forward = module.forward
    if anomalies is not None:
        forward = functools.partial(anomalies.called, module, forward)
    if calls is not None:
        return calls.called(module, args, kwargs, lambda: module._with_hooks(forward, args, kwargs))
    return module._with_hooks(forward, args, kwargs)


class _Call:
    """One call of a Module with backward hooks: what its two gates in the graph share.

    Every Tensor that goes in passes the first gate, and every one that comes out the second.
    """

    __slots__ = ("arrived", "entries", "hooks", "inputs", "module", "pre_hooks")

    def __init__(self, module: Hooked, entries: int) -> None:
        self.module = module
        self.pre_hooks = tuple(module._backward_pre_hooks.values())
        self.hooks = tuple(module._backward_hooks.values())
        self.entries = entries
        self.inputs: list[int] = []
        # By the thread of a pass, the gradients of the outputs.
        self.arrived: dict[int, _Gradients] = {}

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments behind the first gate."""
        self.inputs = [place for place, value in enumerate(args) if edge_of(value)]
        return tuple(_passed(_Inputs, self, args, self.inputs))

    def leave(self, output: Any) -> Any:
        """Return the output behind the second gate."""
        if isinstance(output, Tensor):
            outputs: Sequence[Any] = (output,)
        elif isinstance(output, tuple):
            outputs = output
        else:
            return output
        places = [place for place, value in enumerate(outputs) if edge_of(value)]
        passed = _passed(_Outputs, self, outputs, places)
        if isinstance(output, Tensor):
            return passed[0]
        return type(output)(*passed) if hasattr(output, "_fields") else tuple(passed)

    def before(self, grads: _Gradients) -> _Gradients:
        """Show the gradients of the outputs; return what the hooks leave."""
        for hook in self.pre_hooks:
            grads = self._replaced(_PRE, hook.function(self.module, grads), grads)
        if self.inputs:
            self.arrived[threading.get_ident()] = grads
        else:
            self._run((None,) * self.entries, grads)
        return grads

    def after(self, grads: _Gradients) -> _Gradients:
        """Show the gradients of the inputs; return what the hooks leave.

        A gradient that did not come through the outputs, as one of a derivative's derivative, is
        not that of a call.
        """
        grad_output = self.arrived.pop(threading.get_ident(), None)
        return grads if grad_output is None else self._run(grads, grad_output)

    def _run(self, grads: _Gradients, grad_output: _Gradients) -> _Gradients:
        for hook in self.hooks:
            answer = hook.function(self.module, grads, grad_output)
            grads = self._replaced(_FULL, answer, grads)
        return grads

    def _replaced(self, method: str, answer: Any, grads: _Gradients) -> _Gradients:
        if answer is None:
            return grads
        name = f"{type(self.module).__name__}.{method}"
        if not isinstance(answer, tuple):
            msg = f"{name}: a hook must return a tuple or None, got {type_name(answer)}"
            raise TypeError(msg)
        if len(answer) != len(grads):
            msg = f"{name}: a hook must return {len(grads)} entries, got {len(answer)}"
            raise ValueError(msg)
        for new, old in zip(answer, grads, strict=True):
            if old is None:
                continue
            if not isinstance(new, Tensor):
                msg = f"{name}: a hook must return Tensors, got {type_name(new)}"
                raise TypeError(msg)
            if new.shape != old.shape or new.dtype != old.dtype:
                msg = (
                    f"{name}: a hook must return shape {old.shape} and dtype {old.dtype.name}, "
                    f"got {new.shape} and {new.dtype.name}"
                )
                raise ValueError(msg)
        return tuple([None if old is None else new for new, old in zip(answer, grads, strict=True)])


def _passed(gate: type[_Gate], call: _Call, values: Sequence[Any], places: list[int]) -> list[Any]:
    """Return the values, those at `places` behind a gate."""
    passed = list(values)
    if places:
        node = gate(tuple([edge_of(values[place]) for place in places]), call, places, len(values))
        for index, place in enumerate(places):
            passed[place] = at_edge(values[place]._data, (node, index))
    return passed


class _Gate(Node):
    """Passes gradients on, as hooks leave them."""

    __slots__ = ("call", "entries", "outputs", "places")

    def __init__(self, edges: Edges, call: _Call, places: list[int], entries: int) -> None:
        super().__init__(edges)
        self.call = call
        self.places = places
        self.entries = entries
        self.outputs = len(places)

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Show copies, which a hook may write into, and pass on what the hooks leave."""
        del retain
        left = self.pull_recorded([None if grad is None else wrap(grad.copy()) for grad in grads])
        return [None if grad is None else grad._data for grad in left]

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Pass on what the hooks leave."""
        shown: list[Tensor | None] = [None] * self.entries
        for place, grad in zip(self.places, grads, strict=True):
            shown[place] = grad
        left = self._show(tuple(shown))
        return [left[place] for place in self.places]

    def _show(self, grads: _Gradients) -> _Gradients:
        raise NotImplementedError


class _Inputs(_Gate):
    """The gate before a Module: behind it in the graph, so that its hooks come last."""

    __slots__ = ()

    def _show(self, grads: _Gradients) -> _Gradients:
        return self.call.after(grads)


class _Outputs(_Gate):
    """The gate behind a Module."""

    __slots__ = ()

    def _show(self, grads: _Gradients) -> _Gradients:
        return self.call.before(grads)
