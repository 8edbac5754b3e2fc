"""Parameter, Module and its containers (module.md), without backward hooks and summary."""

import collections
import functools

import numpy as np

from impl_hips import dtypes
from impl_hips.tensor import Handle, Tensor

LoadResult = collections.namedtuple("LoadResult", "missing_keys unexpected_keys")


class Parameter(Tensor):
    """A leaf that a Module owns (module-02)."""

    def __init__(self, data, requires_grad=True):
        array = data.data if isinstance(data, Tensor) else data
        if not isinstance(array, np.ndarray):
            msg = f"Parameter takes a Tensor or an array, got {type(data).__name__}"
            raise TypeError(msg)
        super().__init__(array, requires_grad)


class Module:
    """What owns Parameters, buffers and other Modules, and is called."""

    def __init__(self):
        for name in ("_parameters", "_buffers", "_modules", "_pre", "_post"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_transient", set())
        self.training = True

    def __call__(self, *args, **kwargs):
        """Run `forward` with the hooks of module-14."""
        for hook in list(self._pre.values()):
            answer = hook(self, args)
            if answer is not None:
                args = answer if isinstance(answer, tuple) else (answer,)
        output = self.forward(*args, **kwargs)
        for hook in list(self._post.values()):
            answer = hook(self, args, output)
            output = output if answer is None else answer
        return output

    def forward(self, *args, **kwargs):
        """Every Module brings its own."""
        msg = f"{type(self).__name__}: the Module has no forward"
        raise NotImplementedError(msg)

    def _entries(self, name):
        try:
            return self.__dict__[name]
        except KeyError:
            msg = f"{type(self).__name__}: call super().__init__() before assigning"
            raise AttributeError(msg) from None

    def __setattr__(self, name, value):
        kinds = {"_parameters": Parameter, "_modules": Module}
        for kind, cls in kinds.items():
            if isinstance(value, cls):
                self._entries(kind)
                for other in ("_parameters", "_buffers", "_modules"):
                    if other != kind:
                        self._entries(other).pop(name, None)
                self.__dict__.pop(name, None)
                self._entries(kind)[name] = value
                return
        for kind in ("_parameters", "_modules", "_buffers"):
            if name in self.__dict__.get(kind, {}):
                if value is not None and not (kind == "_buffers" and isinstance(value, Tensor)):
                    what = {"_parameters": "Parameter", "_modules": "Module", "_buffers": "Tensor"}
                    msg = (
                        f"{type(self).__name__}.{name} is a {what[kind]}; "
                        f"got {type(value).__name__}"
                    )
                    raise TypeError(msg)
                self._entries(kind)[name] = value
                return
        object.__setattr__(self, name, value)

    def __getattr__(self, name):
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(kind, {}):
                return self.__dict__[kind][name]
        msg = f"{type(self).__name__} has no attribute {name!r}"
        raise AttributeError(msg)

    def __delattr__(self, name):
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(kind, {}):
                del self.__dict__[kind][name]
                return
        object.__delattr__(self, name)

    def __dir__(self):
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def _check_name(self, name, kind):
        if not isinstance(name, str):
            msg = f"{type(self).__name__}: a name must be a string, got {type(name).__name__}"
            raise TypeError(msg)
        taken = hasattr(self, name) and name not in self._entries(kind)
        if not name or "." in name or taken:
            why = "is empty" if not name else "holds a dot" if "." in name else "is taken"
            msg = f"{type(self).__name__}: the name {name!r} {why}"
            raise KeyError(msg)

    def register_parameter(self, name, parameter):
        """Register a Parameter, or None (module-04)."""
        self._entries("_parameters")
        self._check_name(name, "_parameters")
        if parameter is not None and not isinstance(parameter, Parameter):
            msg = f"register_parameter: wants a Parameter, got {type(parameter).__name__}"
            raise TypeError(msg)
        self._parameters[name] = parameter

    def register_buffer(self, name, tensor, persistent=True):
        """Register a buffer (module-04)."""
        self._entries("_buffers")
        self._check_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            msg = f"register_buffer: wants a Tensor, got {type(tensor).__name__}"
            raise TypeError(msg)
        self._buffers[name] = tensor
        (self._transient.discard if persistent else self._transient.add)(name)

    def add_module(self, name, module):
        """Register a Module, or None."""
        self._entries("_modules")
        self._check_name(name, "_modules")
        if module is not None and not isinstance(module, Module):
            msg = f"add_module: wants a Module, got {type(module).__name__}"
            raise TypeError(msg)
        self._modules[name] = module

    register_module = add_module

    def named_modules(self, prefix="", remove_duplicate=True, _seen=None):
        """Yield names and Modules, parents first."""
        seen = set() if _seen is None else _seen
        if remove_duplicate and id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                below = f"{prefix}.{name}" if prefix else name
                yield from child.named_modules(below, remove_duplicate, seen)

    def modules(self):
        """Yield the Modules."""
        return (module for _, module in self.named_modules())

    def named_children(self):
        """Yield names and children."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self):
        """Yield the children."""
        return (child for _, child in self.named_children())

    def _named(self, kind, prefix, recurse, remove_duplicate):
        seen = set()
        modules = self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]
        for above, module in modules:
            for name, tensor in module.__dict__[kind].items():
                if tensor is None or (remove_duplicate and id(tensor) in seen):
                    continue
                seen.add(id(tensor))
                yield (f"{above}.{name}" if above else name), tensor

    def named_parameters(self, prefix="", recurse=True, remove_duplicate=True):
        """Yield names and Parameters, each once (module-06)."""
        return self._named("_parameters", prefix, recurse, remove_duplicate)

    def named_buffers(self, prefix="", recurse=True, remove_duplicate=True):
        """Yield names and buffers."""
        return self._named("_buffers", prefix, recurse, remove_duplicate)

    def parameters(self, recurse=True):
        """Yield the Parameters."""
        return (tensor for _, tensor in self.named_parameters(recurse=recurse))

    def buffers(self, recurse=True):
        """Yield the buffers."""
        return (tensor for _, tensor in self.named_buffers(recurse=recurse))

    def _states(self):
        for above, module in self.named_modules(remove_duplicate=False):
            for kind in ("_parameters", "_buffers"):
                for name, tensor in module.__dict__[kind].items():
                    if tensor is not None and not (
                        kind == "_buffers" and name in module._transient
                    ):
                        yield (f"{above}.{name}" if above else name), tensor

    def state_dict(self):
        """Return names and detached Tensors (module-07)."""
        return collections.OrderedDict((name, tensor.detach()) for name, tensor in self._states())

    def load_state_dict(self, state, strict=True):
        """Copy values in, all or nothing (module-08, module-09)."""
        if not isinstance(state, collections.abc.Mapping):
            msg = f"load_state_dict takes a mapping, got {type(state).__name__}"
            raise TypeError(msg)
        own = dict(self._states())
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        faults = [f"missing {name}" for name in missing] if strict else []
        faults += [f"unexpected {name}" for name in unexpected] if strict else []
        new = {}
        for name, tensor in own.items():
            if name in state:
                array = (
                    getattr(state[name], "data", None)
                    if isinstance(state[name], Tensor)
                    else state[name]
                )
                fault = _misfit(tensor, array)
                faults += [f"{name}: {fault}"] if fault else []
                new[name] = array
        if faults:
            msg = f"load_state_dict: {type(self).__name__}: {'; '.join(faults)}"
            raise RuntimeError(msg)
        for name, array in new.items():
            own[name].data[...] = array
        return LoadResult(missing, unexpected)

    def train(self, mode=True):
        """Set `training` below (module-10)."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self):
        """Set `training` to False."""
        return self.train(False)

    def requires_grad_(self, flag=True):
        """Say it of all Parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(flag)
        return self

    def zero_grad(self):
        """Make every `grad` None."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, fn):
        """Call `fn` on every Module, children first."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, dtype):
        """Convert the floating Parameters and buffers (module-11)."""
        dtype = dtypes.named("to", dtype)
        if dtype.kind != "f":
            msg = f"to: the dtype must be floating, got {dtype}"
            raise TypeError(msg)
        for tensor in [*self.parameters(), *self.buffers()]:
            if tensor.dtype.kind == "f":
                gradient = tensor.grad
                tensor.grad = None
                tensor.data = tensor.data.astype(dtype)
                tensor.grad = None if gradient is None else Tensor(gradient.data.astype(dtype))
        return self

    def double(self):
        """Convert to float64."""
        return self.to(np.dtype("float64"))

    def float(self):
        """Convert to float32."""
        return self.to(np.dtype("float32"))

    def get_submodule(self, target):
        """Find by a dotted name (module-12)."""
        return functools.reduce(_child, target.split(".") if target else [], self)

    def get_parameter(self, target):
        """Find a Parameter by its dotted name."""
        return self._find("_parameters", "Parameter", target)

    def get_buffer(self, target):
        """Find a buffer by its dotted name."""
        return self._find("_buffers", "buffer", target)

    def _find(self, kind, what, target):
        above, _, name = target.rpartition(".")
        module = self.get_submodule(above)
        if module.__dict__[kind].get(name) is None:
            msg = f"get_{what.lower()}: {type(module).__name__} has no {what} {name!r}"
            raise AttributeError(msg)
        return module.__dict__[kind][name]

    def register_forward_pre_hook(self, hook, *, prepend=False):
        """Call `hook(module, args)` first (module-14)."""
        return Handle(self._pre, hook, prepend)

    def register_forward_hook(self, hook, *, prepend=False):
        """Call `hook(module, args, output)` last (module-14)."""
        return Handle(self._post, hook, prepend)

    def extra_repr(self):
        """Say what `repr` shows beside the class."""
        return ""

    def __repr__(self):
        name, extra = type(self).__name__, self.extra_repr()
        if not self._modules:
            return f"{name}({extra})"
        lines = [extra] if extra else []
        for key, child in self._modules.items():
            lines += f"({key}): {child!r}".split("\n")
        return "\n".join([f"{name}(", *(f"  {line}" for line in lines), ")"])


def _child(module, name):
    child = module._modules.get(name)
    if child is None:
        msg = f"{type(module).__name__} has no child {name!r}"
        raise AttributeError(msg)
    return child


def _misfit(tensor, array):
    if not isinstance(array, np.ndarray) or array.dtype.newbyteorder("=").name not in (
        "bool int32 int64 float32 float64".split()
    ):
        return f"takes a Tensor or an array, got {getattr(array, 'dtype', type(array).__name__)}"
    if array.shape != tensor.shape:
        return f"must have shape {tensor.shape}, got {array.shape}"
    if tensor.dtype.kind != "f" and array.dtype.kind == "f":
        return f"{array.dtype} does not go into {tensor.dtype}"
    return ""


class Sequential(Module):
    """Modules that are called in order (module-13)."""

    def __init__(self, *modules):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            for name, module in modules[0].items():
                self.add_module(name, module)
        else:
            for place, module in enumerate(modules):
                self.add_module(str(place), module)

    def forward(self, input):
        """Hand on from one to the next."""
        for module in self:
            input = module(input)
        return input

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules.values()))

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return _at(self, index)

    def append(self, module):
        """Add a Module at the end."""
        self.add_module(str(len(self)), module)
        return self


class ModuleList(Module):
    """Modules by number (module-13)."""

    def __init__(self, modules=()):
        super().__init__()
        self.extend(modules or ())

    def __len__(self):
        return len(self._modules)

    def __iter__(self):
        return iter(list(self._modules.values()))

    def __getitem__(self, index):
        return ModuleList(list(self)[index]) if isinstance(index, slice) else _at(self, index)

    def append(self, module):
        """Add a Module at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules):
        """Add several."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self, index, module):
        """Add one before another."""
        if not isinstance(module, Module):
            msg = f"ModuleList: takes Modules, got {type(module).__name__}"
            raise TypeError(msg)
        modules = list(self)
        modules.insert(index, module)
        self._modules.clear()
        self.extend(modules)


def _at(container, index):
    modules = list(container)
    if not -len(modules) <= index < len(modules):
        name, length = type(container).__name__, len(modules)
        msg = f"{name}: index {index} is out of range, the length is {length}"
        raise IndexError(msg)
    return modules[index]


def functional_call(module, params, *args, **kwargs):
    """Call a Module with other Parameters and buffers in their places (autograd-19)."""
    places = {}
    for above, owner in module.named_modules(remove_duplicate=False):
        for kind in ("_parameters", "_buffers"):
            for name in owner.__dict__[kind]:
                places[f"{above}.{name}" if above else name] = (owner.__dict__[kind], name)
    wrong = [name for name in params if name not in places]
    if wrong:
        msg = f"functional_call: {type(module).__name__} has no {', '.join(wrong)}"
        raise KeyError(msg)
    before = {name: places[name][0][places[name][1]] for name in params}
    try:
        for name, tensor in params.items():
            entries, key = places[name]
            entries[key] = tensor
        return module(*args, **kwargs)
    finally:
        for name, tensor in before.items():
            entries, key = places[name]
            entries[key] = tensor
