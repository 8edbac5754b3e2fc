"""Hooks of Modules: how they are kept, and how those of backward come onto the tape.

A call of a Module with backward hooks puts two nodes on the tape that pass gradients on as they
are: one behind its outputs, one before its inputs. The pass asks a `BackwardCall` there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..checks import check_callable, check_flag, shown
from ..engine import Handle, check_answer
from ..tape import MODE, WHOLE, Node, Traced, edge_of, unwrap, wrap

Hook = Callable[..., Any]
Grads = list[Any]


class Hooked(NamedTuple):
    """A hook of a Module: what it is called at, what it is called with, and when."""

    kind: str
    hook: Hook
    with_kwargs: bool = False
    always_call: bool = False


# The hooks of a Module, of every kind, in the order in which they are called.
Table = dict[int, Hooked]


def of_kind(table: Table, kind: str) -> list[Hooked]:
    """Return the hooks of a kind."""
    return [entry for entry in list(table.values()) if entry.kind == kind]


def call_hooked(module: Any, forward: Hook, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call `forward` with the hooks of a Module around it."""
    call = _Call(module, args, kwargs)
    try:
        return call.run(forward)
    except Exception:
        call.fail()
        raise


class _Call:
    """One call of a Module with hooks: its arguments, and the output so far."""

    def __init__(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._module = module
        self._args, self._kwargs = args, kwargs
        self._output: Any = None
        self._waiting = of_kind(module._module_hooks, "forward")

    def run(self, forward: Hook) -> Any:
        """Return the output after all hooks."""
        table = self._module._module_hooks
        for entry in of_kind(table, "forward_pre"):
            self._before(entry)
        backward = BackwardCall.of(self._module)
        if backward is not None:
            self._args = backward.enter(self._args)
        self._output = forward(*self._args, **self._kwargs)
        # Those that a hook or `forward` itself has added meanwhile are called too.
        self._waiting = of_kind(table, "forward")
        while self._waiting:
            self._after(self._waiting.pop(0))
        return self._output if backward is None else backward.leave(self._output)

    def _before(self, entry: Hooked) -> None:
        if not entry.with_kwargs:
            answer = entry.hook(self._module, self._args)
            if answer is not None:
                self._args = answer if isinstance(answer, tuple) else (answer,)
            return
        answer = entry.hook(self._module, self._args, self._kwargs)
        if answer is not None:
            if not (isinstance(answer, tuple) and list(map(type, answer)) == [tuple, dict]):
                msg = (
                    f"{type(self._module).__name__}: a forward pre-hook with kwargs must return "
                    f"None or a tuple (args, kwargs), got {shown(answer)}"
                )
                raise RuntimeError(msg)  # module-21
            self._args, self._kwargs = answer

    def _after(self, entry: Hooked) -> None:
        given = (self._args, self._kwargs) if entry.with_kwargs else (self._args,)
        answer = entry.hook(self._module, *given, self._output)
        if answer is not None:
            self._output = answer

    def fail(self) -> None:
        """Call those of the hooks left that are always called."""  # module-21
        for entry in self._waiting:
            if entry.always_call:
                try:
                    self._after(entry)
                except Exception:
                    continue  # The first exception is the one that goes on.


class _Passing:
    """The rule of a node whose outputs are its inputs."""

    name = "hooks of a Module"
    # No operation: what looks at graphs sees through it.
    passes = True

    def pull(self, _saved: Any, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients as they came."""
        return grads

    def derive(self, _node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients as they came."""
        return grads


_PASSING = _Passing()


def _passed(values: Sequence[Any], hook: Hook) -> tuple[list[Any], list[int]]:
    """Put a node behind the values that require grad, which asks a hook for their gradients.

    Returns
    -------
    list
        The values, with those that the node has made in their places.
    list of int
        These places.
    """
    edges = {place: edge_of(v) for place, v in enumerate(values) if isinstance(v, Traced)}
    found = {place: edge for place, edge in edges.items() if edge is not None}
    passed, places = list(values), list(found)
    if places:
        targets, slots = zip(*found.values(), strict=True)
        node = Node(_PASSING, None, targets, slots, len(places))
        node.hooks = {WHOLE: {0: hook}}
        for slot, place in enumerate(places):
            passed[place] = wrap(unwrap(values[place]), node, slot)
    return passed, places


class BackwardCall:
    """The backward hooks of one call of a Module, and where its gradients stand.

    It knows the nodes as little as they know their results, so there is no circle.
    """

    def __init__(self, module: Any) -> None:
        self._module = module
        self._hooks = of_kind(module._module_hooks, "backward")
        self._pre_hooks = of_kind(module._module_hooks, "backward_pre")
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._count = self._width = 0

    @classmethod
    def of(cls, module: Any) -> "BackwardCall | None":
        """Return the record of a call, or None where there are no hooks or nothing is recorded."""
        call = cls(module) if MODE.enabled else None
        return call if call is not None and (call._hooks or call._pre_hooks) else None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments, followed by the node before the inputs."""
        passed, self._inputs = _passed(args, self._at_inputs)
        self._count = len(args)
        self._refuse_where(self._inputs)
        return tuple(passed)

    def leave(self, output: Any) -> Any:
        """Return the output, with the node behind the outputs."""
        several = isinstance(output, tuple)
        passed, self._outputs = _passed(output if several else (output,), self._at_outputs)
        self._width = len(passed)
        self._refuse_where(self._outputs)
        if not several:
            return passed[0]
        return type(output)(*passed) if hasattr(output, "_fields") else tuple(passed)

    def _refuse_where(self, places: list[int]) -> None:
        if places and MODE.capture is not None and MODE.capture.compiles:  # autograd-20
            msg = (
                f"{type(self._module).__name__}: a Module with backward hooks cannot be called in "
                "a compiled function, which would not call them; remove them, or use no_grad"
            )
            raise RuntimeError(msg)

    def _at_outputs(self, memory: dict[Any, Any], grads: Grads) -> Grads:
        """Let the hooks before the Module's backward see the gradients of its outputs."""
        arrived = self._spread(grads, self._outputs, self._width)
        for entry in self._pre_hooks:
            answer = entry.hook(self._module, arrived)
            if answer is not None:
                arrived = self._checked("backward pre-hook", answer, arrived)
        if self._inputs:
            memory[self] = arrived
        else:
            self._called((None,) * self._count, arrived)  # module-22
        return [arrived[place] for place in self._outputs]

    def _at_inputs(self, memory: dict[Any, Any], grads: Grads) -> Grads:
        """Let the hooks see the gradients of the inputs, in a pass that came by the outputs."""
        arrived = memory.pop(self, None)
        if arrived is None:
            return grads
        answer = self._called(self._spread(grads, self._inputs, self._count), arrived)
        return [answer[place] for place in self._inputs]

    def _called(self, grads: tuple[Any, ...], arrived: tuple[Any, ...]) -> tuple[Any, ...]:
        for entry in self._hooks:
            answer = entry.hook(self._module, grads, arrived)
            if answer is not None:
                grads = self._checked("backward hook", answer, grads)
        return grads

    def _spread(self, grads: Grads, places: list[int], count: int) -> tuple[Any, ...]:
        there = dict(zip(places, grads, strict=True))
        return tuple([there.get(place) for place in range(count)])

    def _checked(self, what: str, answer: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return what a hook put in place of gradients, None where there was none."""
        name = f"{type(self._module).__name__}: the {what}"
        if not isinstance(answer, tuple):
            msg = f"{name} must return a tuple or None, got {type(answer).__name__}"
            raise TypeError(msg)
        if len(answer) != len(grads):
            msg = f"{name} must return {len(grads)} entries, got {len(answer)}"
            raise ValueError(msg)
        for new, grad in zip(answer, grads, strict=True):
            if grad is not None:
                check_answer(name, new, grad)
        pairs = zip(answer, grads, strict=True)
        return tuple([None if grad is None else new for new, grad in pairs])


class HookMethods:
    """The methods of a Module that register hooks."""

    _module_hooks: Table

    def _register_hook(self, kind: str, hook: Hook, prepend: Any = False, **options: Any) -> Handle:
        if MODE.capture is not None:
            MODE.capture.note(self)  # autograd-30
        name = f"register_{'full_' if kind.startswith('backward') else ''}{kind}_hook"
        check_callable(name, "hook", hook)
        first = check_flag(name, "prepend", prepend)
        flags = {key: check_flag(name, key, value) for key, value in options.items()}
        return Handle(self._module_hooks, Hooked(kind, hook, **flags), first)

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> Handle:
        """Call ``hook(module, args)`` before `forward`; it may return other args.

        Parameters
        ----------
        hook : callable
            With `with_kwargs` it is called as ``hook(module, args, kwargs)``, and returns None or a
            tuple ``(args, kwargs)``; anything else raises `RuntimeError`.
        prepend : bool
            Whether it comes before the hooks that are there.
        """
        options = {"with_kwargs": with_kwargs}
        return self._register_hook("forward_pre", hook, prepend, **options)

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> Handle:
        """Call ``hook(module, args, output)`` after `forward`; it may return another output.

        Parameters
        ----------
        hook : callable
            With `with_kwargs` it is called as ``hook(module, args, kwargs, output)``.
        prepend : bool
            Whether it comes before the hooks that are there.
        always_call : bool
            Whether it is called too where something before it has raised, with the output so far.
        """
        options = {"with_kwargs": with_kwargs, "always_call": always_call}
        return self._register_hook("forward", hook, prepend, **options)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call ``hook(module, grad_input, grad_output)`` in `backward`, once for each call.

        Both are tuples, of an entry for each positional argument and for each output: a gradient,
        or None. What the hook returns, unless None, takes the place of `grad_input`. In what
        `nn.jit` compiles a Module that has one is refused.
        """
        return self._register_hook("backward", hook, prepend)

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> Handle:
        """Call ``hook(module, grad_output)`` before the Module's backward pass.

        What it returns, unless None, takes the place of `grad_output`.
        """
        return self._register_hook("backward_pre", hook, prepend)

    def register_state_dict_pre_hook(self, hook: Hook) -> Handle:
        """Call ``hook(module, prefix, keep_vars)`` before `state_dict` reads this Module."""
        return self._register_hook("state_dict_pre", hook)

    def register_load_state_dict_post_hook(self, hook: Hook) -> Handle:
        """Call ``hook(module, incompatible_keys)`` after a load that raised nothing."""
        return self._register_hook("load_state_dict_post", hook)
