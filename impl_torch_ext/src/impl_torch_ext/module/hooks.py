"""What hooks of a Module are, when they are called, and what they may return."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.modules import module as torchs
from torch.utils.hooks import RemovableHandle

from impl_torch_ext.checks import check_flag, check_function, shown
from impl_torch_ext.tracing import in_graph

__all__ = ["Hooked", "children_first"]

# What torch calls for every Module.
_of_all = (
    torchs._global_forward_hooks,
    torchs._global_forward_pre_hooks,
    torchs._global_backward_hooks,
    torchs._global_backward_pre_hooks,
)
_tracing = torch._C._get_tracing_state

# One gradient for each argument or output, None for what has none.
_Entries: TypeAlias = tuple[Any, ...]


class Hooked(torch.nn.Module):
    """A Module of torch's whose hooks are those of the specification.

    torch warns where a hook that is always called fails and where no argument requires grad, and
    its backward hooks see gradients of arguments that require none.
    """

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call a function after each call of the Module.

        Parameters
        ----------
        hook : function
            `hook(module, args, output)`, with `with_kwargs=True` `hook(module, args, kwargs,
            output)`; returns None or what takes the place of the output.
        prepend : bool
            Whether it comes before the hooks that are there.
        with_kwargs : bool
        always_call : bool
            Whether it also runs where something before it has raised, with the output so far.

        Returns
        -------
        handle
            With a method `remove`.

        Raises
        ------
        TypeError
            If `hook` cannot be called.
        """
        name = self._checked_hook("register_forward_hook", hook)
        return super().register_forward_hook(
            hook,
            prepend=check_flag(name, "prepend", prepend),
            with_kwargs=check_flag(name, "with_kwargs", with_kwargs),
            always_call=check_flag(name, "always_call", always_call),
        )

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call a function before each call of the Module.

        `hook(module, args)` returns None, or replaced args: a tuple or a single value; with
        `with_kwargs=True` `hook(module, args, kwargs)` returns None or a tuple of both. The rest is
        as in `register_forward_hook`.
        """
        name = self._checked_hook("register_forward_pre_hook", hook)
        return super().register_forward_pre_hook(
            hook,
            prepend=check_flag(name, "prepend", prepend),
            with_kwargs=check_flag(name, "with_kwargs", with_kwargs),
        )

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call a function in `backward` when the gradients of the Module's inputs are known.

        Parameters
        ----------
        hook : function
            `hook(module, grad_input, grad_output)`: tuples with an entry for each positional
            argument and for each output, None where there is no gradient. It returns None, or a
            tuple that takes the place of `grad_input`.
        prepend : bool
            Whether it comes before the hooks that are there.

        Returns
        -------
        handle
            With a method `remove`.

        Raises
        ------
        TypeError
            If `hook` cannot be called.
        """
        name = self._checked_hook("register_full_backward_hook", hook)
        return super().register_full_backward_hook(hook, check_flag(name, "prepend", prepend))

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call a function in `backward` before the pass through the Module.

        `hook(module, grad_output)` returns None, or a tuple that takes the place of `grad_output`;
        what it puts in place of None is ignored. The rest is as in `register_full_backward_hook`.
        """
        name = self._checked_hook("register_full_backward_pre_hook", hook)
        return super().register_full_backward_pre_hook(hook, check_flag(name, "prepend", prepend))

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, prefix, keep_vars)` before `state_dict` reads this Module."""
        self._checked_hook("register_state_dict_pre_hook", hook)
        return super().register_state_dict_pre_hook(hook)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, incompatible_keys)` after a load that raised nothing.

        The hook may change the two lists, which `load_state_dict` returns.
        """
        self._checked_hook("register_load_state_dict_post_hook", hook)
        return super().register_load_state_dict_post_hook(hook)

    def _checked_hook(self, method: str, hook: Any) -> str:
        """Return what the method's messages begin with, or raise if the hook is no function."""
        name = f"{type(self).__name__}.{method}"
        check_function(name, "hook", hook)
        return name

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        own = (
            self._forward_hooks
            or self._forward_pre_hooks
            or self._backward_hooks
            or self._backward_pre_hooks
        )
        # torch's own way is one call more, which counts where a Module does little.
        if not (own or _of_all[0] or _of_all[1] or _of_all[2] or _of_all[3]):
            return (self._slow_forward if _tracing() else self.forward)(*args, **kwargs)
        if not own or self._is_full_backward_hook is False or torch.compiler.is_compiling():
            return super()._call_impl(*args, **kwargs)
        return _called(self, args, kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        # Numbers of hooks from another process: a new hook must not take one of theirs.
        numbers = (n for key, table in state.items() if key.endswith("_hooks") for n in table)
        RemovableHandle.next_id = max(RemovableHandle.next_id, *(n + 1 for n in numbers), 0)


def without_hooks(call: Any) -> Any:
    """Return `forward` of a Module whose call does nothing else now, all else as it is."""
    cls = type(call)
    if not isinstance(call, Hooked) or cls.__call__ is not torch.nn.Module.__call__:
        return call
    if cls._call_impl is not Hooked._call_impl or call._compiled_call_impl is not None:
        return call
    own = call._forward_hooks or call._forward_pre_hooks
    own = own or call._backward_hooks or call._backward_pre_hooks
    if own or any(_of_all) or _tracing() or torch.compiler.is_compiling():
        return call
    return call.forward


def children_first(
    module: torch.nn.Module, seen: set[int] | None = None
) -> Iterator[torch.nn.Module]:
    """Yield the Modules below one and itself, once each, children before parents."""
    seen = set() if seen is None else seen
    if id(module) not in seen:
        seen.add(id(module))
        for child in module.children():
            yield from children_first(child, seen)
        yield module


def _called(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run `forward` with all hooks, also those that torch has for every Module."""
    output, done, follower = None, set[int](), _Follower.of(module)
    try:
        for number, hook in _listed(torchs._global_forward_pre_hooks, module._forward_pre_hooks):
            if number in module._forward_pre_hooks_with_kwargs:
                args, kwargs = _both(module, hook(module, args, kwargs), args, kwargs)
            elif (came := hook(module, args)) is not None:
                args = came if isinstance(came, tuple) else (came,)
        args = follower.enter(args) if follower else args
        forward = module._slow_forward if _tracing() else module.forward
        output = forward(*args, **kwargs)
        for number, hook in _listed(torchs._global_forward_hooks, module._forward_hooks):
            done.add(number)
            output = _after(module, number, hook, args, kwargs, output)
        return follower.leave(output) if follower else output
    except Exception:
        always = {
            **torchs._global_forward_hooks_always_called,
            **module._forward_hooks_always_called,
        }
        for number, hook in _listed(torchs._global_forward_hooks, module._forward_hooks):
            if number in always and number not in done:  # module-21
                with suppress(Exception):
                    output = _after(module, number, hook, args, kwargs, output)
        raise


def _listed(*tables: Mapping[int, Any]) -> list[tuple[int, Any]]:
    return [item for table in tables for item in table.items()]


def _after(module: Any, number: int, hook: Any, args: Any, kwargs: Any, output: Any) -> Any:
    """Call a forward hook and return what is the output then."""
    wide = (
        number in module._forward_hooks_with_kwargs
        or number in torchs._global_forward_hooks_with_kwargs
    )
    came = hook(module, args, kwargs, output) if wide else hook(module, args, output)
    return output if came is None else came


def _both(module: Any, came: Any, args: Any, kwargs: Any) -> Any:
    """Return the arguments that a forward pre-hook with keywords leaves."""
    if came is None:
        return args, kwargs
    if not (
        isinstance(came, tuple)
        and len(came) == 2
        and isinstance(came[0], tuple | list)
        and isinstance(came[1], Mapping)
    ):
        msg = (
            f"{type(module).__name__}: a forward pre-hook with keywords must return None or a "
            f"tuple (args, kwargs), got {shown(came)}"
        )
        raise RuntimeError(msg)
    return tuple(came[0]), dict(came[1])


class _Passed(torch.autograd.Function):
    """The same Tensors; `deliver` gets their gradients and returns what goes on."""

    @staticmethod
    def forward(_deliver: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tensors

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: tuple[Tensor, ...]) -> None:
        ctx.set_materialize_grads(False)
        ctx.deliver = inputs[0]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return (None, *ctx.deliver(grads))

    @staticmethod
    def jvp(_ctx: Any, *tangents: Any) -> tuple[Any, ...]:
        return tuple(t if t is None else t.view_as(t) for t in tangents[1:])

    @staticmethod
    def vmap(_info: Any, in_dims: tuple[Any, ...], deliver: Any, *tensors: Tensor) -> Any:
        return _Passed.apply(deliver, *tensors), in_dims[1:]


_pass = in_graph(_Passed)


class _Follower:
    """One call of a Module, whose backward pass calls the hooks."""

    def __init__(self, module: Any, before: Sequence[Any], after: Sequence[Any]) -> None:
        self.module, self.before, self.after = module, before, after
        self.inputs, self.outputs = 0, 0
        self.input_places, self.output_places = list[int](), list[int]()
        self.grad_output: _Entries | None = None

    @classmethod
    def of(cls, module: Any) -> "_Follower | None":
        """Return one for a call that backward hooks follow."""
        before, after = module._get_backward_pre_hooks(), module._get_backward_hooks()[0]
        return cls(module, before, after) if (before or after) and torch.is_grad_enabled() else None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments, so that `_left` gets their gradients."""
        self.inputs, self.input_places = len(args), _places(args)
        return _passed(args, self.input_places, self._left)

    def leave(self, result: Any) -> Any:
        """Return the output, so that `_arrived` gets its gradients."""
        if not isinstance(result, Tensor | tuple):
            return result
        outputs = result if isinstance(result, tuple) else (result,)
        self.outputs, self.output_places = len(outputs), _places(outputs)
        if not self.output_places:
            return result
        passed = _passed(outputs, self.output_places, self._arrived)
        if not isinstance(result, tuple):
            return passed[0]
        if type(result) is tuple:
            return passed
        return type(result)(*passed) if hasattr(result, "_fields") else type(result)(passed)

    def _arrived(self, grads: Sequence[Any]) -> list[Any]:
        """Take the gradients of the output."""
        entries = _spread(grads, self.output_places, self.outputs)
        for hook in self.before:
            entries = self._replaced("pre-hook", hook(self.module, entries), entries)
        self.grad_output = entries
        if not self.input_places:  # module-22
            self._left(())
        return [entries[i] for i in self.output_places]

    def _left(self, grads: Sequence[Any]) -> Sequence[Any]:
        """Take the gradients of the inputs."""
        grad_output, self.grad_output = self.grad_output, None
        if grad_output is None:  # A second derivative that does not pass the output.
            return grads
        entries = _spread(grads, self.input_places, self.inputs)
        for hook in self.after:
            came = hook(self.module, entries, grad_output)
            entries = self._replaced("hook", came, entries)
        return [entries[i] for i in self.input_places]

    def _replaced(self, kind: str, came: Any, there: _Entries) -> _Entries:
        """Return what a hook leaves, or raise if it does not fit."""
        if came is None:
            return there
        wanted = f"{type(self.module).__name__}: a backward {kind} must return None or a tuple of"
        if not isinstance(came, tuple):
            msg = f"{wanted} {len(there)} gradients, got {shown(came)}"
            raise TypeError(msg)
        if len(came) != len(there):
            msg = f"{wanted} {len(there)} gradients, got {len(came)}"
            raise ValueError(msg)
        for new, old in zip(came, there, strict=True):
            if old is None:
                continue
            if not isinstance(new, Tensor) or new.dtype != old.dtype:
                got = new.dtype if isinstance(new, Tensor) else shown(new)
                msg = f"{wanted} gradients of dtype {old.dtype}, got {got}"
                raise TypeError(msg)
            if new.shape != old.shape:
                msg = f"{wanted} gradients of shape {tuple(old.shape)}, got {tuple(new.shape)}"
                raise ValueError(msg)
        return tuple(None if old is None else new for new, old in zip(came, there, strict=True))


def _places(values: Sequence[Any]) -> list[int]:
    return [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]


def _passed(values: Sequence[Any], places: Sequence[int], deliver: Any) -> tuple[Any, ...]:
    """Return the values, those at `places` as results of one node."""
    if not places:
        return tuple(values)
    passed = list(values)
    for i, x in zip(places, _pass(deliver, *(values[i] for i in places)), strict=True):
        passed[i] = x
    return tuple(passed)


def _spread(grads: Sequence[Any], places: Sequence[int], count: int) -> _Entries:
    entries: list[Any] = [None] * count
    for i, grad in zip(places, grads, strict=True):
        entries[i] = grad
    return tuple(entries)
