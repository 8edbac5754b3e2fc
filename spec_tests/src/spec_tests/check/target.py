"""What is checked: the object that ``file.py:Class`` or ``package.module:Class`` names."""

import difflib
import importlib
import importlib.util
import inspect
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

PORTABLE, OURS, MADE, TORCH, JAX = "portable", "ours", "made", "torch", "jax"
_MADE = re.compile(r"^(?P<factory>\w+)\(nn\)\.(?P<name>\w+)$")


class TargetError(ValueError):
    """What was named cannot be loaded, or is nothing that can be checked."""


@dataclass(frozen=True)
class Target:
    """A Function to be checked.

    Attributes
    ----------
    obj : object
        The class, or the function with a derivative of its own.
    kind : str
        ``portable``: a plain class; ``ours``: a Function of an implementation; ``torch``: a
        `torch.autograd.Function`; ``jax``: a function that JAX differentiates; ``made``: a function
        of an implementation, which returns a namespace with the class.
    name : str
        What reports call it.
    home : str
        The implementation that a Function of ``ours`` belongs to.
    source : str
        Statements that bind ``target`` to the object, for a script of its own.
    """

    obj: Any
    kind: str
    name: str
    home: str
    source: str

    def on(self, name: str) -> "Target":
        """Return the Function for an implementation: itself, or what the factory makes for it."""
        if self.kind != MADE:
            return self
        made = self.obj(importlib.import_module(name))
        if not hasattr(made, self.name):
            msg = (
                f"target: {self.obj.__name__}({name}) has no "
                f"{self.name}{_nearest(self.name, list(vars(made)))}"
            )
            raise TargetError(msg)
        return replace(self, obj=getattr(made, self.name), kind=OURS, home=name)


def load(text: str) -> Target:
    """Load what ``file.py:Class`` or ``package.module:Class`` names.

    Raises
    ------
    TargetError
        That says what is missing, and the nearest name that is there.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name:
        msg = f"target: {text!r} must be file.py:Class or package.module:Class"
        raise TargetError(msg)
    module = _from_file(Path(place)) if place.endswith(".py") else _module(place)
    made = _MADE.match(name)
    obj: Any = module
    for part in [made["factory"]] if made else name.split("."):
        if not hasattr(obj, part):
            msg = f"target: {place} has no {name}{_nearest(part, _checkable(obj))}"
            raise TargetError(msg)
        obj = getattr(obj, part)
    if made:
        source = _loading(place, made["factory"]) + f"(nn).{made['name']}"
        return Target(obj, MADE, made["name"], "", source)
    return describe(obj, _loading(place, name))


def describe(obj: Any, source: str = "") -> Target:
    """Tell what kind of thing an object is.

    Raises
    ------
    TargetError
        If it is nothing that can be checked.
    """
    name = getattr(obj, "__name__", type(obj).__name__)
    source = source or _own_source(obj)
    bases = inspect.getmro(obj) if isinstance(obj, type) else ()
    if any(base.__module__ == "torch.autograd.function" for base in bases[1:]):
        return Target(obj, TORCH, name, "", source)
    for base in bases[1:]:
        package = base.__module__.partition(".")[0]
        if base.__name__ == "Function" and hasattr(sys.modules.get(package), "spec_capabilities"):
            return Target(obj, OURS, name, package, source)
    if isinstance(obj, type):
        for method in ("forward", "backward"):
            if not callable(getattr(obj, method, None)):
                msg = (
                    f"target: the class {name} has no {method}; a Function has forward and backward"
                )
                raise TargetError(msg)
        return Target(obj, PORTABLE, name, "", source)
    if callable(obj):
        return Target(obj, JAX, name, "", source)
    msg = (
        f"target: {name} is a {type(obj).__name__}; wanted a class with forward and backward, or "
        f"a function"
    )
    raise TargetError(msg)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        folder = path.parent
        names = [other.name for other in folder.glob("*.py")] if folder.is_dir() else []
        msg = f"target: there is no file {path}{_nearest(path.name, names)}"
        raise TargetError(msg)
    # A name that no other module has, and the file's neighbours can be imported as when it is run.
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path)
    if spec is None or spec.loader is None:
        msg = f"target: {path} is no Python file"
        raise TargetError(msg)
    sys.path.insert(0, str(path.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        msg = f"target: {path} raises {type(error).__name__} when it is loaded: {error}"
        raise TargetError(msg) from error
    finally:
        sys.path.pop(0)
    return module


def _module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        msg = f"target: cannot import {name}: {error}"
        raise TargetError(msg) from error
    finally:
        sys.path.pop(0)


def _checkable(obj: Any) -> list[str]:
    return [name for name, value in vars(obj).items() if callable(value) and name[0] != "_"]


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, 1, 0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(sorted(names)[:6])}" if names else ""


def _loading(place: str, name: str) -> str:
    if place.endswith(".py"):
        path = Path(place).resolve()
        return (
            "import runpy, sys\n\n"
            f"sys.path.insert(0, {str(path.parent)!r})\n"
            f"target = runpy.run_path({str(path)!r})[{name.partition('.')[0]!r}]"
            + (f".{name.partition('.')[2]}" if "." in name else "")
        )
    return f"import importlib\ntarget = importlib.import_module({place!r}).{name}"


def _own_source(obj: Any) -> str:
    """Return statements that find an object again: by its module, or by its own text."""
    name, qualified = getattr(obj, "__module__", ""), getattr(obj, "__qualname__", "")
    if "<locals>" not in qualified and qualified and name in sys.modules and name != "__main__":
        path = getattr(sys.modules[name], "__file__", None)
        return _loading(path, qualified) if path else _loading(name, qualified)
    try:
        text = inspect.cleandoc("\n" + inspect.getsource(obj))
    except (OSError, TypeError):
        return f"target = ...  # {qualified or obj!r}: put it here"
    return f"{text}\n\ntarget = {obj.__name__}"
