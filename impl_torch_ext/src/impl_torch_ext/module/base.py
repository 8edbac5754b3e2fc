"""Module: an owner of Parameters, buffers and other Modules."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_five,
    check_flag,
    check_floating_dtype,
    check_function,
    shown,
)
from impl_torch_ext.dtypes import dtype_of
from impl_torch_ext.module.hooks import Hooked, children_first
from impl_torch_ext.module.state import LoadResult, checked_state
from impl_torch_ext.tracing import is_sliced

__all__ = ["Module"]


class Module(Hooked):
    """Owner of Parameters, buffers and other Modules, whose `forward` runs when it is called.

    Everything is inherited from `torch.nn.Module` but the errors of registration and of
    `load_state_dict`, which name what is wrong in one line, the arrays that `load_state_dict`
    takes, and the hooks.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if is_sliced(value) and any(
            name in self.__dict__.get(table, ()) for table in ("_parameters", "_buffers")
        ):  # autograd-56
            msg = (
                f"{type(self).__name__}: under vmap {name} cannot be set to what depends on a "
                "slice; return it, or use functional_call"
            )
            raise RuntimeError(msg)
        super().__setattr__(name, value)

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        """Add a parameter, or with None a name that is not iterated.

        Raises
        ------
        KeyError
            If the name is empty, holds a dot or belongs to another attribute.
        TypeError
            If `param` is neither a Parameter nor None.
        """
        self._check_name("register_parameter", name, "_parameters")
        if param is not None and not isinstance(param, torch.nn.Parameter):
            self._refuse("register_parameter", "param must be a Parameter or None", param)
        super().register_parameter(name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer, in `state_dict` if persistent; errors as in `register_parameter`."""
        self._check_name("register_buffer", name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            self._refuse("register_buffer", "tensor must be a Tensor or None", tensor)
        if tensor is not None:
            check_five(f"{type(self).__name__}.register_buffer", tensor.dtype)  # tensor-37
        kept = check_flag("register_buffer", "persistent", persistent)
        super().register_buffer(name, tensor, kept)

    def add_module(self, name: str, module: torch.nn.Module | None) -> None:
        """Add a child; errors as in `register_parameter`."""
        self._check_name("add_module", name, "_modules")
        if module is not None and not isinstance(module, torch.nn.Module):
            self._refuse("add_module", "module must be a Module or None", module)
        super().add_module(name, module)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> LoadResult:
        """Copy values into the present parameters and buffers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor, raw array or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are errors.
        assign : bool
            As in torch.

        Returns
        -------
        named tuple
            `missing_keys` and `unexpected_keys`, two lists; empty after a strict load.

        Raises
        ------
        RuntimeError
            Lists every missing, unexpected and unfit key; nothing has been changed then.
        TypeError
            If `state_dict` is no mapping.
        """
        strict = check_flag("load_state_dict", "strict", strict)
        assign = check_flag("load_state_dict", "assign", assign)
        # What `state_dict` returns, without the hooks that it calls (module-24).
        own: dict[str, Any] = {}
        for path, part in self.named_modules(remove_duplicate=False):
            part._save_to_state_dict(own, f"{path}." if path else "", False)
        state = checked_state(type(self).__name__, own, state_dict, strict)
        self._take(state, getattr(state_dict, "_metadata", None) or {}, assign)
        result = LoadResult(  # module-08
            [key for key in own if key not in state], [key for key in state if key not in own]
        )
        for part in children_first(self):
            for hook in [*part._load_state_dict_post_hooks.values()]:  # module-24
                hook(part, result)
        return result

    def _take(self, state: Mapping[str, Any], metadata: Mapping[str, Any], assign: bool) -> None:
        """Copy values that are checked, as torch does, but with its hooks left for later."""
        faults: list[str] = []
        # Keys that are no str get here with strict=False alone; torch would trip over them.
        known = {key: value for key, value in state.items() if isinstance(key, str)}
        for path, part in self.named_modules(remove_duplicate=False):
            prefix = f"{path}." if path else ""
            about = {**metadata.get(path, {}), "assign_to_params_buffers": assign}
            part._load_from_state_dict(known, prefix, about, False, [], [], faults)
        if faults:
            msg = f"{type(self).__name__}.load_state_dict: {'; '.join(faults)}"
            raise RuntimeError(" ".join(msg.split()))

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert parameters and buffers that are floating; as in torch.

        Raises
        ------
        TypeError
            If the dtype is none of the floating ones; nothing has been changed then.
        """
        came = ", ".join(map(shown, [*args, *kwargs.values()]))
        # torch reads a name as a device's, and knows no dtype of NumPy's.
        args = tuple([dtype_of(value) or value for value in args])
        kwargs = {name: dtype_of(value) or value for name, value in kwargs.items()}
        for value in (*args[:2], kwargs.get("dtype")):
            dtype = value.dtype if isinstance(value, Tensor) else value
            if isinstance(dtype, torch.dtype):
                check_floating_dtype("to", dtype)  # module-19
        msg = f"to: dtype must be float32 or float64, got {came}"
        # torch takes None for nothing to do, and a number for a device.
        if (not kwargs and all(a is None for a in args)) or (
            args and isinstance(args[0], float | complex | np.inexact)
        ):
            raise TypeError(msg)
        try:
            return super().to(*args, **kwargs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(msg) from error

    def apply(self, fn: Callable[[torch.nn.Module], Any]) -> Self:
        """Call `fn` on each module below this one and on itself, and return it."""
        return super().apply(check_function(f"{type(self).__name__}.apply", "fn", fn))

    def get_submodule(self, target: str) -> torch.nn.Module:
        """Return the module of a dotted name; raise an AttributeError if there is none."""
        if not isinstance(target, str):
            self._refuse("get_submodule", "target must be a str", target)
        try:
            return super().get_submodule(target)
        except AttributeError as error:
            msg = f"{type(self).__name__}.get_submodule: there is no Module {target!r}: {error}"
            raise AttributeError(msg) from None

    def get_parameter(self, target: str) -> torch.nn.Parameter:
        """Return the Parameter of a dotted name; raise an AttributeError if there is none."""
        if not isinstance(target, str):
            self._refuse("get_parameter", "target must be a str", target)
        try:
            return super().get_parameter(target)
        except AttributeError as error:
            msg = f"{type(self).__name__}.get_parameter: there is no Parameter {target!r}: {error}"
            raise AttributeError(msg) from None

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer of a dotted name; raise an AttributeError if there is none."""
        if not isinstance(target, str):
            self._refuse("get_buffer", "target must be a str", target)
        try:
            return super().get_buffer(target)
        except AttributeError as error:
            msg = f"{type(self).__name__}.get_buffer: there is no buffer {target!r}: {error}"
            raise AttributeError(msg) from None

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Yield names, which begin with `prefix`, and Parameters, in order of registration.

        Parameters
        ----------
        prefix : str
        recurse : bool
            Whether those of the Modules below are among them.
        remove_duplicate : bool
            Whether one of several names comes once, under its first.
        """
        self._check_prefix("named_parameters", prefix)
        return super().named_parameters(prefix, recurse, remove_duplicate)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield names and buffers; as `named_parameters`."""
        self._check_prefix("named_buffers", prefix)
        return super().named_buffers(prefix, recurse, remove_duplicate)

    def named_modules(
        self, prefix: Any = "", remove_duplicate: Any = True, memo: Any = None
    ) -> Iterator[tuple[str, torch.nn.Module]]:
        """Yield this Module, called `prefix`, and those below it; as `named_parameters`.

        `memo` is torch's, which has it before the others; this order is taken too.
        """
        if prefix is None or isinstance(prefix, set):  # module-20
            flag = True if memo is None else memo
            memo, prefix = prefix, "" if remove_duplicate is True else remove_duplicate
            remove_duplicate = flag
        self._check_prefix("named_modules", prefix)
        return super().named_modules(memo, prefix, remove_duplicate)

    def _check_prefix(self, method: str, prefix: Any) -> None:
        if not isinstance(prefix, str):
            self._refuse(method, "prefix must be a str", prefix)

    def _refuse(self, method: str, wanted: str, came: Any) -> NoReturn:
        msg = f"{type(self).__name__}.{method}: {wanted}, got {type(came).__name__}"
        raise TypeError(msg)

    def _check_name(self, method: str, name: str, table: str) -> None:
        if not isinstance(name, str):
            self._refuse(method, "a name must be a str", name)
        if table not in self.__dict__:
            return  # torch says what is wrong.
        fault = (
            "must not be empty"
            if not name
            else "must not hold a dot"
            if "." in name
            else "is taken by another attribute"
            if hasattr(self, name) and name not in self.__dict__[table]
            else None
        )
        if fault:  # module-04
            msg = f"{type(self).__name__}.{method}: the name {name!r} {fault}"
            raise KeyError(msg)
