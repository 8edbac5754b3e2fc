"""`ElementwiseKernel`: an operation in CUDA C++ on single elements, compiled by g++ as one loop."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from .compiler import load_loop
from .counters import record_elementwise
from .host import np
from .storage import Storage, get_dtype, new

_C_NAMES = {
    "?": "bool",
    "b": "signed char",
    "B": "unsigned char",
    "h": "short",
    "H": "unsigned short",
    "i": "int",
    "I": "unsigned int",
    "l": "long long",
    "q": "long long",
    "L": "unsigned long long",
    "Q": "unsigned long long",
    "f": "float",
    "d": "double",
}
_NAME = re.compile(r"[A-Za-z_]\w*")


class _Parameter(NamedTuple):
    """One parameter: its name, and its dtype or the letter that stands for one."""

    name: str
    dtype: Any
    letter: str


class ElementwiseKernel:
    """An operation on the elements of arrays that broadcast, such as ``"y = a * x"``.

    Parameters
    ----------
    in_params, out_params : str
        Such as ``"T x, bool mask"``: a dtype or a letter that stands for one, and a name.
    operation : str
        What is done with an element, in CUDA C++.
    name : str
        The kernel's name.
    reduce_dims : bool
        Taken, and of no effect here.
    preamble : str
        What comes before the kernel, in CUDA C++.
    no_return, return_tuple : bool
        Whether a call returns None, or a tuple even of one array.
    **kwargs : object
        `options` as for `RawModule`; CuPy's others are not emulated.

    Raises
    ------
    NotImplementedError
        For `raw` parameters, and for options of CuPy that are not emulated.
    ValueError
        If the name is no name, or a parameter is called i.
    """

    def __init__(
        self,
        in_params: str,
        out_params: str,
        operation: str,
        name: str = "kernel",
        reduce_dims: bool = True,
        preamble: str = "",
        no_return: bool = False,
        return_tuple: bool = False,
        **kwargs: Any,
    ) -> None:
        self._options = kwargs.pop("options", ())
        if kwargs:
            msg = f"ElementwiseKernel: the emulation does not know {sorted(kwargs)}"
            raise NotImplementedError(msg)
        if _NAME.fullmatch(name) is None:
            msg = f'Invalid kernel name: "{name}"'
            raise ValueError(msg)
        self.name = self.__name__ = name
        self._ins, self._outs = _parsed(in_params), _parsed(out_params)
        if any(parameter.name == "i" for parameter in (*self._ins, *self._outs)):
            msg = "Can not use 'i' as a parameter name"
            raise ValueError(msg)
        self.nin, self.nout = len(self._ins), len(self._outs)
        self.nargs = self.nin + self.nout
        self.operation, self.preamble = operation, preamble
        self.reduce_dims = reduce_dims
        self.no_return, self.return_tuple = no_return, return_tuple
        self._compiled: dict[tuple[Any, ...], tuple[Callable[..., None], list[Any]]] = {}

    def __call__(self, *args: Any) -> Any:
        """Run the operation.

        Parameters
        ----------
        *args : ndarray or number
            The inputs, and the outputs if they are there already. A number is of the type that its
            parameter has from the arrays.

        Returns
        -------
        ndarray, tuple of ndarray or None

        Raises
        ------
        TypeError
            If the number of arguments is wrong, or dtypes do not fit the parameters.
        ValueError
            If there is no array, the shapes do not broadcast, or an output has another shape.
        """
        if len(args) != self.nin and len(args) != self.nargs:
            msg = (
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {len(args)}."
            )
            raise TypeError(msg)
        arrays = [x._array if isinstance(x, Storage) else _number(x) for x in args]
        shape = _common_shape(arrays)
        # An operand with one element alone is the same for all.
        key = tuple([(x.dtype, x.size == 1) if type(x) is np.ndarray else type(x) for x in arrays])
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self._compile(args)
        run, out_types = found
        outs = args[self.nin :]
        for array in arrays[self.nin :]:
            if array.shape != shape:
                msg = "Out shape is mismatched"
                raise ValueError(msg)
        if not outs:
            made = [np.empty(shape, dtype) for dtype in out_types]
            arrays += made
            outs = tuple([new(array) for array in made])
        if arrays[-1].size:
            self._run(run, shape, arrays)
        if self.no_return:
            return None
        return outs[0] if self.nout == 1 and not self.return_tuple else outs

    def _run(self, run: Callable[..., None], shape: tuple[int, ...], arrays: list[Any]) -> None:
        record_elementwise(self.name)
        given = [_laid_out(x, shape) for x in arrays[: self.nin]]
        written = arrays[self.nin :]
        whole = [w if w.flags.c_contiguous else np.empty(w.shape, w.dtype) for w in written]
        run(whole[0].size, *[_place(x) for x in (*given, *whole)])
        for target, made in zip(written, whole, strict=True):
            if made is not target:
                np.copyto(target, made)

    def _compile(self, args: tuple[Any, ...]) -> tuple[Callable[..., None], list[Any]]:
        """Return the loop for these arguments' types, and the outputs' dtypes."""
        letters = self._letters(args)
        kinds: list[Any] = [ctypes.c_longlong]
        heads, reads = [], []
        for position, parameter in enumerate((*self._ins, *self._outs)):
            dtype = parameter.dtype or letters[parameter.letter]
            word, name = _C_NAMES[dtype.char], parameter.name
            if position < self.nin and not isinstance(args[position], Storage):
                heads.append(f"const {word} {name}")
                kinds.append(np.ctypeslib.as_ctypes_type(dtype))
                continue
            is_input = position < self.nin
            heads.append(f"{'const ' * is_input}{word} *_raw_{name}")
            # An input is read once and always, or g++ would not see that it may be.
            what = f"const {word} {name}" if is_input else f"{word} &{name}"
            place = "0" if is_input and args[position]._array.size == 1 else "i"
            reads.append(f"{what} = _raw_{name}[{place}];")
            kinds.append(ctypes.c_void_p)
        types = "".join(f"typedef {_C_NAMES[t.char]} {k};\n" for k, t in sorted(letters.items()))
        run = load_loop(
            f"{types}{self.preamble}",
            ", ".join(["long long _size", *heads]),
            "\n".join([*reads, self.operation, ";"]),
            self._options,
        )
        run.argtypes, run.restype = kinds, None
        return run, [parameter.dtype or letters[parameter.letter] for parameter in self._outs]

    def _letters(self, args: tuple[Any, ...]) -> dict[str, Any]:
        """Return the dtype that each letter stands for, by the arrays among the arguments."""
        letters: dict[str, Any] = {}
        given = [*args[self.nin :], *args[: self.nin]]
        parameters = [*self._outs[: len(args) - self.nin], *self._ins]
        for parameter, argument in zip(parameters, given, strict=True):
            if not isinstance(argument, Storage):
                if parameter in self._outs:
                    msg = "Output arguments must be cupy.ndarray"
                    raise TypeError(msg)
                continue
            dtype = argument._array.dtype
            wanted = parameter.dtype or letters.setdefault(parameter.letter, dtype)
            if dtype != wanted:
                msg = f"Type is mismatched. {parameter.name} {dtype} {wanted} {parameter.letter}"
                raise TypeError(msg)
        return letters


def _parsed(text: str) -> tuple[_Parameter, ...]:
    parameters = []
    for part in text.split(",") if text else ():
        words = part.split()
        if len(words) < 2:
            msg = f"Syntax error: {part}"
            raise Exception(msg)
        if len(words) > 2:
            msg = f"ElementwiseKernel: the emulation does not know {' '.join(words[:-2])!r}"
            raise NotImplementedError(msg)
        kind, name = words
        is_letter = len(kind) == 1
        parameters.append(
            _Parameter(name, None if is_letter else get_dtype(kind), kind if is_letter else "")
        )
    return tuple(parameters)


def _number(x: Any) -> Any:
    if not isinstance(x, (bool, int, float, np.generic)):
        msg = f"Unsupported type {type(x)}"
        raise TypeError(msg)
    return x


def _common_shape(arrays: list[Any]) -> tuple[int, ...]:
    shapes = [x.shape for x in arrays if type(x) is np.ndarray]
    if not shapes:
        msg = "Loop size is undecided."
        raise ValueError(msg)
    first: tuple[int, ...] = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    return tuple(np.broadcast_shapes(*shapes))


def _laid_out(x: Any, shape: tuple[int, ...]) -> Any:
    """Return an operand's elements one behind the other, or the number that it is."""
    if type(x) is not np.ndarray:
        return x
    if (x.shape == shape or x.size == 1) and x.flags.c_contiguous:
        return x
    return np.array(np.broadcast_to(x, shape), order="C")


def _place(x: Any) -> Any:
    """Return where an array's elements begin, as ctypes takes it, or a number as it is."""
    if type(x) is not np.ndarray:
        return x
    # Quicker than ``x.ctypes.data``, but for arrays that may be written alone.
    return ctypes.byref(ctypes.c_char.from_buffer(x)) if x.flags.writeable else x.ctypes.data
