"""Hooks of Modules: around a call, in its backward pass, and around state dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import get_ident
from typing import Any, NamedTuple

from impl_numpy.batched import asarray
from impl_numpy.checks import check_callable, check_flag, shown
from impl_numpy.dtypes import Value
from impl_numpy.function_node import CallRule, OutputNode, turned
from impl_numpy.grad_checks import check_hooked
from impl_numpy.memory import follow, own, readonly
from impl_numpy.tape import MODE, Handle, Node, Parents
from impl_numpy.tensor import Tensor, wrap

Gradients = Sequence[Value | None]


class Hook(NamedTuple):
    """A hook and its options."""

    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False


class Hooked:
    """What has hooks: `__call__` runs `forward` between them.

    `_hooks` holds those of each kind, by the name of the method that registers them; none of any
    kind, as a rule.
    """

    _hooks: dict[str, dict[int, Hook]]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute; a subclass defines it."""
        msg = f"{type(self).__name__}: defines no forward"
        raise NotImplementedError(msg)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the hooks and `forward`."""
        return _called(self, args, kwargs) if self._hooks else self.forward(*args, **kwargs)

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call `hook(module, args)` before `forward`; it may return other args.

        As torch.nn.Module.register_forward_pre_hook.

        Parameters
        ----------
        hook : callable
            What it returns takes the place of the args: None, a tuple of args, or one of them.
        prepend : bool
            Run it before those that are there.
        with_kwargs : bool
            Call `hook(module, args, kwargs)`, which returns None or a tuple (args, kwargs).

        Returns
        -------
        Handle
            Its `remove()` takes the hook away.

        Raises
        ------
        TypeError
            If the hook cannot be called.
        """
        name = "register_forward_pre_hook"
        with_kwargs = check_flag(name, "with_kwargs", with_kwargs)
        return self._register(name, hook, prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Call `hook(module, args, output)` after `forward`; it may return another output.

        As torch.nn.Module.register_forward_hook.

        Parameters
        ----------
        hook : callable
        prepend : bool
            Run it before those that are there.
        with_kwargs : bool
            Call `hook(module, args, kwargs, output)`.
        always_call : bool
            Run it too where something before it raised, with the output so far, or None.

        Returns
        -------
        Handle

        Raises
        ------
        TypeError
            If the hook cannot be called.
        """
        name = "register_forward_hook"
        with_kwargs = check_flag(name, "with_kwargs", with_kwargs)
        always = check_flag(name, "always_call", always_call)
        return self._register(name, hook, prepend, with_kwargs=with_kwargs, always_call=always)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_input, grad_output)` in backward, once for each call of this.

        As torch.nn.Module.register_full_backward_hook.

        Parameters
        ----------
        hook : callable
            It gets two tuples of gradients: one for each positional argument, and one for each
            output, None where there is none. It returns None, or another tuple for the first.
        prepend : bool
            Run it before those that are there.

        Returns
        -------
        Handle

        Raises
        ------
        TypeError
            If the hook cannot be called.
        """
        return self._register("register_full_backward_hook", hook, prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> Handle:
        """Call `hook(module, grad_output)` before the backward pass of each call of this.

        As torch.nn.Module.register_full_backward_pre_hook.

        Parameters
        ----------
        hook : callable
            It returns None, or a tuple that takes the place of the gradients of the outputs.
        prepend : bool
            Run it before those that are there.

        Returns
        -------
        Handle

        Raises
        ------
        TypeError
            If the hook cannot be called.
        """
        return self._register("register_full_backward_pre_hook", hook, prepend)

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` reads this Module's entries.

        The prefix is the dotted name with a dot behind it, "" for the outermost; `keep_vars` is
        False. (torch.nn.Module.register_state_dict_pre_hook.)

        Returns
        -------
        Handle

        Raises
        ------
        TypeError
            If the hook cannot be called.
        """
        return self._register("register_state_dict_pre_hook", hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> Handle:
        """Call `hook(module, incompatible_keys)` after a `load_state_dict` that raised nothing.

        The hook may change the lists of what `load_state_dict` will return.
        (torch.nn.Module.register_load_state_dict_post_hook.)

        Returns
        -------
        Handle

        Raises
        ------
        TypeError
            If the hook cannot be called.
        """
        return self._register("register_load_state_dict_post_hook", hook)

    def _register(
        self, kind: str, hook: Callable[..., Any], prepend: bool = False, **options: bool
    ) -> Handle:
        check_callable(kind, "hook", hook)
        prepend = check_flag(kind, "prepend", prepend)
        hooks = self._hooks.setdefault(kind, {})
        before = list(hooks)
        handle = Handle(hooks, Hook(hook, **options))
        for key in before if prepend else ():
            hooks[key] = hooks.pop(key)
        return handle

    def _tidy_hooks(self) -> None:
        """Forget the kinds of which no hook is left: a call without hooks is a plain one."""
        for kind in [kind for kind, hooks in self._hooks.items() if not hooks]:
            del self._hooks[kind]

    def _hooks_of(self, kind: str) -> tuple[tuple[int, Hook], ...]:
        return tuple(self._hooks.get(kind, {}).items())


def _called(module: Hooked, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a Module that has hooks."""
    ran: set[int] = set()
    output: Any = None
    try:
        for _, hook in module._hooks_of("register_forward_pre_hook"):
            args, kwargs = _before(module, hook, args, kwargs)
        backward = _backward_of(module)
        if backward is not None:
            args = backward.inputs(args)
        output = module.forward(*args, **kwargs)
        for key, hook in module._hooks_of("register_forward_hook"):
            ran.add(key)
            output = _after(module, hook, args, kwargs, output)
        return output if backward is None else backward.outputs(output)
    except Exception:
        for key, hook in module._hooks_of("register_forward_hook"):
            if hook.always_call and key not in ran:
                with suppress(Exception):  # module-21
                    output = _after(module, hook, args, kwargs, output)
        raise


def _before(
    module: Hooked, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments that a hook before `forward` leaves."""
    if not hook.with_kwargs:
        replaced = hook.function(module, args)
        if replaced is not None:
            args = replaced if isinstance(replaced, tuple) else (replaced,)
        return args, kwargs
    replaced = hook.function(module, args, kwargs)
    if replaced is None:
        return args, kwargs
    both = isinstance(replaced, tuple) and len(replaced) == 2
    if not both or not isinstance(replaced[0], tuple) or not isinstance(replaced[1], Mapping):
        msg = (
            f"{type(module).__name__}: a forward pre-hook with keywords must return None or a "
            f"tuple (args, kwargs), returned {shown(replaced)}"
        )
        raise RuntimeError(msg)
    return replaced[0], dict(replaced[1])


def _after(
    module: Hooked, hook: Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    """Return the output that a hook after `forward` leaves."""
    given = (args, kwargs, output) if hook.with_kwargs else (args, output)
    replaced = hook.function(module, *given)
    return output if replaced is None else replaced


def _backward_of(module: Hooked) -> _Backward | None:
    """Return what runs the backward hooks of a call; None where there is nothing to run."""
    after = module._hooks_of("register_full_backward_hook")
    before = module._hooks_of("register_full_backward_pre_hook")
    if not MODE.recording or not (after or before):
        return None
    return _Backward(module, [h.function for _, h in before], [h.function for _, h in after])


class _Backward:
    """The backward hooks of one call of a Module, as they were when it was called.

    The inputs that require grad go through one node and the outputs through another, in which the
    hooks see the gradients.
    """

    def __init__(
        self, module: Hooked, before: list[Callable[..., Any]], after: list[Callable[..., Any]]
    ) -> None:
        self.module = module
        self.before = before
        self.after = after
        self.count = 0
        self.watched = False
        # The gradients of the outputs on their way to the inputs, by the thread of the pass.
        self.arrived: dict[int, tuple[Any, ...]] = {}

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments with a node behind those that require grad."""
        self.count = len(args)
        if not self.after:
            return args
        passed = _passed(args, lambda parents: _Inputs(self, parents))
        self.watched = passed is not args
        return passed

    def outputs(self, output: Any) -> Any:
        """Return the output with a node behind what requires grad in it."""
        several = isinstance(output, tuple)
        items = output if several else (output,)
        passed = _passed(items, lambda parents: _Outputs(self, parents))
        if passed is items:
            return output
        if not several:
            return passed[0]
        return type(output)(*passed) if hasattr(output, "_fields") else passed

    def leave(self, grads: Gradients) -> Gradients:
        """Run the hooks before the backward pass, and keep what they leave for those after it."""
        subject = "register_full_backward_pre_hook: the hook must return None or a tuple"
        seen = [_seen(grad) for grad in grads]
        for hook in self.before:
            result = hook(self.module, tuple(seen))
            grads = _replaced(subject, result, seen, grads)
        if self.watched:
            self.arrived[get_ident()] = tuple(seen)
        elif self.after:
            self.arrive([None] * self.count, tuple(seen))
        return grads

    def arrive(self, grads: Gradients, arrived: tuple[Any, ...] | None = None) -> Gradients:
        """Run the hooks after the backward pass."""
        arrived = self.arrived.pop(get_ident(), None) if arrived is None else arrived
        if arrived is None:
            # A pass that differentiates a gradient comes here without having met the outputs.
            return grads
        subject = "register_full_backward_hook: the hook must return None or a tuple"
        seen = [_seen(grad) for grad in grads]
        for hook in self.after:
            result = hook(self.module, tuple(seen), arrived)
            grads = _replaced(subject, result, seen, grads)
        return grads


def _seen(grad: Value | None) -> Tensor | None:
    """Return a gradient as a hook sees it: what others may get too cannot be written."""
    if grad is None or isinstance(grad, Tensor):
        return grad
    return wrap(readonly(asarray(grad)), None)


def _replaced(subject: str, result: Any, seen: list[Tensor | None], grads: Gradients) -> Gradients:
    """Return the gradients that a hook leaves, checked, and show them to the next (module-22)."""
    if result is None:
        return grads
    if not isinstance(result, tuple):
        msg = f"{subject}, returned {type(result).__name__} ({shown(result)})"
        raise TypeError(msg)
    if len(result) != len(seen):
        msg = f"{subject} of {len(seen)} entries, returned one of {len(result)}"
        raise ValueError(msg)
    left = list(grads)
    for k, (entry, before) in enumerate(zip(result, seen, strict=True)):
        if before is not None and entry is not before:
            wanted = f"{subject} of Tensors"
            check_hooked(entry, isinstance(entry, Tensor), before.shape, before.dtype, wanted)
            recorded = isinstance(grads[k], Tensor)
            seen[k], left[k] = entry, entry if recorded else own(entry._data)
    return left


class _Through(Node):
    """Where gradients of several Tensors come together, for hooks to see, and go on."""

    __slots__ = ("call",)

    def __init__(self, call: _Backward, parents: Parents) -> None:
        super().__init__(_HOOKS, parents, ())
        self.call = call

    def free(self) -> None:
        """Let go of the Module too."""
        super().free()
        del self.call


class _Inputs(_Through):
    """What the inputs of a call go through."""

    __slots__ = ()

    def pull(self, grad: Any) -> Gradients:
        """Run the hooks after the backward pass."""
        return turned(self.call.arrive(turned(grad.items)))

    pull_recorded = pull


class _Outputs(_Through):
    """What the outputs of a call go through."""

    __slots__ = ()

    def pull(self, grad: Any) -> Gradients:
        """Run the hooks before the backward pass."""
        return turned(self.call.leave(turned(grad.items)))

    pull_recorded = pull


_HOOKS = CallRule("Module")


def _passed(items: tuple[Any, ...], node: Callable[[Parents], Node]) -> tuple[Any, ...]:
    """Return items of which those that require grad come out of one node; without any, the same."""
    parents = tuple([x._node if isinstance(x, Tensor) else None for x in items])
    if not any(parents):
        return items
    call = node(parents)
    return tuple(
        [
            x if parent is None else follow(wrap(x._data, OutputNode(call, (k, len(items)))))
            for k, (x, parent) in enumerate(zip(items, parents, strict=True))
        ]
    )
