"""Modules and Parameters. A Module is a `torch.nn.Module`: what takes one takes ours."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.tensor import from_array, from_numpy

__all__ = ["Module", "Parameter", "functional_call", "positive_int"]


class Parameter(torch.nn.Parameter):
    """A Tensor that a Module counts among its parameters when it is assigned to an attribute.

    Parameters
    ----------
    data : Tensor, raw array or numpy.ndarray
        A Tensor is not copied: the Parameter shares its memory.
    requires_grad : bool

    Raises
    ------
    ValueError
        If ``data`` is not floating and ``requires_grad`` is true.
    """

    def __new__(cls, data: Tensor | np.ndarray, requires_grad: bool = True) -> "Parameter":
        if isinstance(data, np.ndarray):
            data = from_numpy("Parameter", data)
        if not isinstance(data, Tensor):
            msg = f"Parameter: data must be a Tensor or an array, got {type(data).__name__}"
            raise TypeError(msg)
        if requires_grad and not data.is_floating_point():
            msg = f"Parameter: only floating Tensors can require grad, got dtype {data.dtype}"
            raise ValueError(msg)
        return torch.Tensor._make_subclass(cls, data.detach(), requires_grad)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return Parameter, (self.detach(), self.requires_grad)


class Module(torch.nn.Module):
    """Owner of Parameters, buffers and other Modules, with a ``forward`` that runs when it is
    called.

    Everything is inherited from `torch.nn.Module` but the errors of registration and of
    `load_state_dict`, which name what is wrong in one line, and the arrays that `load_state_dict`
    takes.
    """

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        """Add a parameter, or with None a name that is not iterated.

        Raises
        ------
        KeyError
            If the name is empty, holds a dot or belongs to another attribute.
        TypeError
            If ``param`` is neither a Parameter nor None.
        """
        self._check_name("register_parameter", name, "_parameters")
        super().register_parameter(name, param)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer, in ``state_dict`` if persistent; errors as in `register_parameter`."""
        self._check_name("register_buffer", name, "_buffers")
        super().register_buffer(name, tensor, persistent)

    def add_module(self, name: str, module: torch.nn.Module | None) -> None:
        """Add a child; errors as in `register_parameter`."""
        self._check_name("add_module", name, "_modules")
        super().add_module(name, module)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Copy values into the present parameters and buffers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor, raw array or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are errors.
        assign : bool
            As in torch.

        Raises
        ------
        RuntimeError
            Lists every missing, unexpected and misshapen key; nothing has been changed then.
        TypeError
            If a value is no array; nothing has been changed then either.
        """
        name = type(self).__name__
        own = self.state_dict()
        given = {
            key: _array(name, key, value) if isinstance(own.get(key), Tensor) else value
            for key, value in state_dict.items()
        }
        faults = [f"missing {key!r}" for key in own if key not in given] if strict else []
        faults += [f"unexpected {key!r}" for key in given if key not in own] if strict else []
        faults += [
            f"{key!r} must have shape {tuple(own[key].shape)}, got {tuple(value.shape)}"
            for key, value in given.items()
            if isinstance(own.get(key), Tensor)
            and isinstance(value, Tensor)
            and value.shape != own[key].shape
        ]
        if faults:
            msg = f"{name}.load_state_dict: {'; '.join(faults)}"
            raise RuntimeError(msg)
        # Keys that are no str get here with strict=False alone; torch would trip over them.
        known = {key: value for key, value in given.items() if isinstance(key, str)}
        return super().load_state_dict(known, strict, assign)

    def _check_name(self, what: str, name: str, kind: str) -> None:
        if kind not in self.__dict__ or not isinstance(name, str):
            return  # torch says what is wrong with these.
        fault = (
            "must not be empty"
            if not name
            else "must not hold a dot"
            if "." in name
            else "is taken by another attribute"
            if hasattr(self, name) and name not in self.__dict__[kind]
            else None
        )
        if fault:
            msg = f"{type(self).__name__}.{what}: the name {name!r} {fault}"
            raise KeyError(msg)


def functional_call(
    module: torch.nn.Module, params: Mapping[str, Tensor], *args: Any, **kwargs: Any
) -> Any:
    """Call ``module`` with other values in the place of its parameters and buffers.

    Parameters
    ----------
    module : Module
        As before afterwards, also if the call raises.
    params : mapping of str to Tensor
        By dotted name; what is left out keeps its own value, or the one given for another name of
        the same Tensor. Of several names of one attribute the first in the order of
        ``named_parameters`` counts.
    *args, **kwargs
        Arguments of the call.

    Raises
    ------
    KeyError
        If the module has no parameter or buffer of a name.
    TypeError
        If a value is no Tensor.
    """
    slots = {
        f"{path}.{name}" if path else name: (table, name)
        for path, owner in module.named_modules(remove_duplicate=False)
        for table in (owner._parameters, owner._buffers)
        for name, own in table.items()
        if own is not None
    }
    unknown = [name for name in params if name not in slots]
    if unknown:
        msg = (
            f"functional_call: {type(module).__name__} has no parameter or buffer "
            f"{', '.join(map(repr, unknown))}"
        )
        raise KeyError(msg)
    for key, value in params.items():
        if not isinstance(value, Tensor):
            msg = f"functional_call: {key!r} must be a Tensor, got {type(value).__name__}"
            raise TypeError(msg)
    named: dict[tuple[int, str], Tensor] = {}
    tied: dict[int, Tensor] = {}
    for key, (table, name) in slots.items():
        if key in params:
            named.setdefault((id(table), name), params[key])
            tied.setdefault(id(table[name]), params[key])
    swaps = [
        (table, name, named.get((id(table), name), tied[id(table[name])]))
        for table, name in slots.values()
        if id(table[name]) in tied
    ]
    # Whole tables, because forward may assign to buffers that are not in params.
    before = [
        (table, dict(table))
        for owner in module.modules()
        for table in (owner._parameters, owner._buffers)
    ]
    try:
        for table, name, value in swaps:
            table[name] = value
        return module(*args, **kwargs)
    finally:
        for table, content in before:
            table.clear()
            table.update(content)


def positive_int(module: str, argument: str, value: Any) -> int:
    """Return ``value``, or raise what a layer's constructor has to say about it.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is not positive.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        msg = f"{module}: {argument} must be a positive int, got {value!r}"
        raise TypeError(msg)
    if number < 1:
        msg = f"{module}: {argument} must be a positive int, got {number}"
        raise ValueError(msg)
    return number


def _array(name: str, key: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        return from_numpy(f"{name}.load_state_dict: {key!r}", value)
    if isinstance(value, Tensor):
        return from_array(value)
    msg = (
        f"{name}.load_state_dict: {key!r} must be a Tensor or an array, got {type(value).__name__}"
    )
    raise TypeError(msg)
