"""Elementwise functions, with CuPy's choice of the loop that computes them.

CuPy has a list of type signatures for each function and takes the first one that all operands can
be cast to. Python numbers are weak: they do not take part when an array's kind is at least theirs
(`cupy.add(x_float32, 2.5)` stays float32). NumPy scalars are strong. NumPy arrays are refused.
"""

from __future__ import annotations

from typing import Any

from .counters import record
from .host import np
from .storage import Storage, check_cast, get_dtype, new, raw

_INTEGERS = "bBhHiIlLqQ"
_FLOATS = "efd"
_COMPLEX = "FD"
_KIND_SCORE = {"b": 0, "i": 1, "u": 1, "f": 2, "c": 2}
_WEAK = {int: 1, float: 2, complex: 2}


class ufunc:
    """An elementwise function of ``nin`` operands.

    Parameters
    ----------
    name : str
        Name under which CuPy knows it.
    function : numpy.ufunc
        What computes it.
    loops : sequence of str
        Type signatures such as ``"ff->f"``, in CuPy's order.
    out_loops : sequence of str, optional
        Those among which an explicit ``dtype=`` chooses, where CuPy has others for that.
    scatter : str, optional
        Name of the operation that `at` performs.
    strong_ints : bool
        Whether Python ints next to integer arrays take part in the choice, as in comparisons: an
        int32 array may well be compared with 2**40.
    """

    def __init__(
        self,
        name: str,
        function: Any,
        loops: tuple[str, ...],
        out_loops: tuple[str, ...] | None = None,
        scatter: str | None = None,
        strong_ints: bool = False,
    ) -> None:
        self.name = self.__name__ = name
        self.types = list(loops)
        self._function = function
        self._loops = [_parse(loop) for loop in loops]
        self._out_loops = self._loops if out_loops is None else [_parse(loop) for loop in out_loops]
        self._scatter = scatter
        self._strong_ints = strong_ints
        self._cache: dict[Any, Any] = {}
        self.nin = len(self._loops[0][0])
        self.nout = len(self._loops[0][1])
        self.nargs = self.nin + self.nout

    def __repr__(self) -> str:
        return f"<ufunc '{self.name}'>"

    def __call__(
        self, *args: Any, out: Any = None, dtype: Any = None, casting: str = "same_kind"
    ) -> Any:
        """Apply the function to arrays and numbers, element by element.

        Parameters
        ----------
        *args : ndarray or number
            The operands, then the outputs if ``out`` is not given.
        out : ndarray or tuple of ndarray, optional
            Where to write; of the result's shape, and of a dtype that the result can be cast to by
            ``casting``.
        dtype : dtype, optional
            The result's dtype: the loop is chosen by it.
        casting : str
            NumPy's name of a casting rule.

        Returns
        -------
        ndarray or tuple of ndarray
            C-contiguous when new.
        """
        nin = self.nin
        if len(args) != nin:
            args, out = self._split(args, out)
        key = dtype if dtype is not None else tuple([_kind(x) for x in args])
        try:
            loop = self._cache[key]
        except KeyError:
            loop = self._cache[key] = self.resolve(args, dtype)
        inputs = [_operand(x, t) for x, t in zip(args, loop[0], strict=True)]
        record("ufunc")
        if out is not None:
            return self._into(inputs, loop[1], out, casting)
        with np.errstate(all="ignore"):
            value = self._function(*inputs, order="C")
        if self.nout == 1:
            return new(_as(value, loop[1][0]))
        return tuple([new(_as(v, t)) for v, t in zip(value, loop[1], strict=True)])

    def resolve(self, args: tuple[Any, ...], dtype: Any = None) -> Any:
        """Return the dtypes of the loop that computes ``args``, as ``(inputs, outputs)``.

        Raises
        ------
        TypeError
            If an operand is no array or number, or no loop takes the operands.
        """
        if dtype is not None:
            dtype = get_dtype(dtype)
            for loop in self._out_loops:
                if all(t == dtype for t in loop[1]):
                    return loop
            msg = f"Wrong type ({dtype}) of arguments for {self.name}"
            raise TypeError(msg)
        types, weaks = zip(*[_type_of(x) for x in args], strict=True)
        weaks = _usable_weaks(types, weaks)
        if self._strong_ints and any(
            t.kind in "iu" for t, w in zip(types, weaks, strict=True) if not w
        ):
            weaks = tuple([None if w is int else w for w in weaks])
        loop = self._first_loop(types, weaks)
        if loop is None:
            msg = f"Wrong type ({types}) of arguments for {self.name}"
            raise TypeError(msg)
        return loop

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        """Apply the function in place at ``a[indices]``; repeated indices accumulate."""
        if self._scatter is None:
            msg = f"`{self.name}.at` is not supported yet"
            raise NotImplementedError(msg)
        a._scatter_op(indices, b, self._scatter)

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        """Apply the function to all pairs of elements of two arrays."""
        a, b = raw(A, "A"), raw(B, "B")
        left = A.reshape(a.shape + (1,) * b.ndim)
        return self(left, B.reshape((1,) * a.ndim + b.shape), **kwargs)

    def reduce(
        self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Sum (of ``add``) or multiply (of ``multiply``) along an axis; CuPy has no other."""
        if self.name == "cupy_add":
            return array.sum(axis, dtype, out, keepdims)
        if self.name == "cupy_multiply":
            return array.prod(axis, dtype, out, keepdims)
        msg = f"`{self.name}.reduce` is not supported yet"
        raise NotImplementedError(msg)

    def accumulate(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        """Accumulate along an axis by ``add`` or ``multiply``; CuPy has no other."""
        if self.name == "cupy_add":
            return array.cumsum(axis, dtype, out)
        if self.name == "cupy_multiply":
            return array.cumprod(axis, dtype, out)
        msg = f"`{self.name}.accumulate` is not supported yet"
        raise NotImplementedError(msg)

    def _split(self, args: tuple[Any, ...], out: Any) -> tuple[tuple[Any, ...], Any]:
        if not self.nin <= len(args) <= self.nargs:
            msg = (
                f"Wrong number of arguments for {self.name!r}. It must be either {self.nin} or "
                f"{self.nargs} (with outputs), but given {len(args)}."
            )
            raise TypeError(msg)
        if out is not None:
            msg = "Cannot specify 'out' as both a positional and keyword argument"
            raise ValueError(msg)
        outs = args[self.nin :]
        return args[: self.nin], outs if any(o is not None for o in outs) else None

    def _first_loop(self, types: tuple[Any, ...], weaks: tuple[Any, ...]) -> Any:
        for loop in self._loops:
            if all(
                np.can_cast(given, wanted) or (weak and _weak_fits(weak, wanted))
                for given, wanted, weak in zip(types, loop[0], weaks, strict=True)
            ):
                return loop
        return None

    def _into(self, inputs: list[Any], types: tuple[Any, ...], out: Any, casting: str) -> Any:
        outs = out if isinstance(out, tuple) else (out,)
        if len(outs) != self.nout:
            msg = "The 'out' tuple must have exactly one entry per ufunc output"
            raise ValueError(msg)
        shape = np.broadcast_shapes(*[x.shape for x in inputs])
        for o, t in zip(outs, types, strict=True):
            if o is None:
                continue
            if not isinstance(o, Storage):
                msg = f"Output arguments type must be cupy.ndarray, got {type(o)}"
                raise TypeError(msg)
            if o._array.shape != shape:
                msg = f"Out shape is mismatched: expected {shape}, got {o._array.shape}"
                raise ValueError(msg)
            check_cast(t, o._array.dtype, casting, "output operand")
        with np.errstate(all="ignore"):
            if self.nout == 1 and outs[0]._array.dtype == types[0]:
                self._function(*inputs, out=outs[0]._array, casting="unsafe")
                return outs[0]
            values = self._function(*inputs)
        values = values if self.nout > 1 else (values,)
        done = []
        for o, value, t in zip(outs, values, types, strict=True):
            if o is None:
                done.append(new(_as(value, t)))
            else:
                np.copyto(o._array, value, casting="unsafe")
                done.append(o)
        return done[0] if self.nout == 1 else tuple(done)


def _parse(loop: str) -> Any:
    inputs, outputs = loop.split("->")
    return tuple(map(np.dtype, inputs)), tuple(map(np.dtype, outputs))


def _kind(x: Any) -> Any:
    if isinstance(x, Storage):
        return x._array.dtype
    if type(x) is int and x >= 2**63:
        return "wide int"
    return type(x)


def _type_of(x: Any) -> tuple[Any, Any]:
    if isinstance(x, Storage):
        return x._array.dtype, None
    kind = type(x)
    if kind is bool:
        return np.dtype(bool), None
    if kind is int:
        return np.dtype(np.uint64 if x >= 2**63 else np.int64), int
    if kind is float:
        return np.dtype(np.float64), float
    if kind is complex:
        return np.dtype(np.complex128), complex
    if isinstance(x, np.generic) and x.dtype.char in "?bhilqBHILQefdFD":
        return x.dtype, None
    msg = f"Unsupported type {kind}"
    raise TypeError(msg)


def _usable_weaks(types: tuple[Any, ...], weaks: tuple[Any, ...]) -> tuple[Any, ...]:
    scalars = [_WEAK[w] for w in weaks if w]
    arrays = [_KIND_SCORE[t.kind] for t, w in zip(types, weaks, strict=True) if not w]
    if scalars and arrays and max(arrays) >= max(scalars):
        return weaks
    return (None,) * len(weaks)


def _weak_fits(weak: Any, wanted: Any) -> bool:
    try:
        return bool(np.result_type(weak(0), wanted) == wanted)
    except TypeError:
        return False


def _operand(x: Any, dtype: Any) -> Any:
    if isinstance(x, Storage):
        array = x._array
        return array if array.dtype == dtype else _quiet_cast(array, dtype)
    with np.errstate(all="ignore"):
        return np.array(x, dtype)


def _quiet_cast(array: Any, dtype: Any) -> Any:
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def _as(value: Any, dtype: Any) -> Any:
    if type(value) is np.ndarray and value.dtype == dtype:
        return value
    return np.asarray(value, dtype)


def _unary(types: str, to: str = "") -> tuple[str, ...]:
    return tuple(f"{t}->{to or t}" for t in types)


def _binary(types: str, to: str = "") -> tuple[str, ...]:
    return tuple(f"{t}{t}->{to or t}" for t in types)


_COMPARISON = ("??->?", "qq->?", "QQ->?", "qQ->?", "Qq->?", "ee->?", "ff->?", "dd->?")
_REAL = _INTEGERS + _FLOATS
_ALL = _REAL + _COMPLEX
_DIVISION = ("qq->d", "qQ->d", "Qq->d", "QQ->d", *_binary(_FLOATS + _COMPLEX))


def _make(names: str, loops: tuple[str, ...], **kwargs: Any) -> None:
    first, *aliases = names.split()
    UFUNCS[first] = ufunc(f"cupy_{first}", getattr(np, first), loops, **kwargs)
    for alias in aliases:
        UFUNCS[alias] = UFUNCS[first]


def _make_arithmetic() -> None:
    for name, scatter in (("add", "add"), ("multiply", None), ("maximum", "max")):
        _make(name, _binary("?" + _ALL), scatter=scatter)
    _make("minimum", _binary("?" + _ALL), scatter="min")
    _make("subtract", _binary("?" + _ALL), scatter="sub")
    _make("fmax", _binary("?" + _ALL))
    _make("fmin", _binary("?" + _ALL))
    _make("true_divide divide", _DIVISION, out_loops=_binary(_FLOATS + _COMPLEX))
    _make("power pow", ("??->b", *_binary(_ALL)))
    for name in ("floor_divide", "remainder mod", "fmod"):
        _make(name, _binary(_REAL))
    _make("float_power", ("dd->d", "FF->D", "DD->D"))
    _make("arctan2 atan2", _binary(_FLOATS))
    for name in ("logaddexp", "logaddexp2", "hypot", "copysign", "nextafter", "heaviside"):
        _make(name, _binary(_FLOATS))


def _make_logic() -> None:
    for name in ("equal", "not_equal"):
        _make(name, (*_COMPARISON, "FF->?", "DD->?"), strong_ints=True)
    for name in ("less", "less_equal", "greater", "greater_equal"):
        _make(name, _COMPARISON, strong_ints=True)
    _make("logical_and", _COMPARISON, strong_ints=True)
    _make("logical_or", _COMPARISON, strong_ints=True)
    _make("logical_xor", _binary("?" + _REAL, "?"))
    _make("logical_not", _unary("?" + _REAL, "?"))
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        _make(name, _binary("?" + _INTEGERS), scatter=name.removeprefix("bitwise_"))
    _make("left_shift bitwise_left_shift", _binary(_INTEGERS))
    _make("right_shift bitwise_right_shift", _binary(_INTEGERS))
    _make("invert bitwise_not bitwise_invert", _unary("?" + _INTEGERS))
    for name in ("isfinite", "isinf", "isnan"):
        _make(name, _unary(_FLOATS + _COMPLEX, "?"))
    _make("signbit", _unary(_FLOATS, "?"))


def _make_unary() -> None:
    _make("absolute abs", (*_unary("?" + _REAL), "F->f", "D->d"))
    _make("negative", _unary("?" + _ALL))
    _make("positive", _unary("?" + _ALL))
    for name in ("sign", "square", "reciprocal", "conjugate conj"):
        _make(name, _unary(_ALL))
    for name in ("ceil", "floor", "trunc"):
        _make(name, _unary("?" + _REAL))
    for name in "sqrt exp exp2 log log2 log10 sin cos tan sinh cosh tanh rint".split():
        _make(name, _unary(_FLOATS + _COMPLEX))
    for name, naive in (("expm1", _expm1), ("log1p", _log1p)):
        UFUNCS[name] = ufunc(f"cupy_{name}", naive, _unary(_FLOATS + _COMPLEX))
    for name in ("arcsin asin", "arccos acos", "arctan atan", "arcsinh asinh", "arccosh acosh"):
        _make(name, _unary(_FLOATS + _COMPLEX))
    _make("arctanh atanh", _unary(_FLOATS + _COMPLEX))
    for name in ("cbrt", "fabs", "deg2rad radians", "rad2deg degrees"):
        _make(name, _unary(_FLOATS))
    _make("modf", tuple(f"{t}->{t}{t}" for t in _FLOATS))
    _make("frexp", tuple(f"{t}->{t}i" for t in _FLOATS))
    _make("divmod", tuple(f"{t}{t}->{t}{t}" for t in _REAL))


def _expm1(x: Any, **kwargs: Any) -> Any:
    # CuPy's header for complex numbers takes 1 from the power, whose small digits are lost.
    return np.expm1(x, **kwargs) if x.dtype.kind != "c" else _finish(np.exp(x) - 1, **kwargs)


def _log1p(x: Any, **kwargs: Any) -> Any:
    return np.log1p(x, **kwargs) if x.dtype.kind != "c" else _finish(np.log(x + 1), **kwargs)


def _clip(x: Any, low: Any, high: Any, **kwargs: Any) -> Any:
    # Not numpy.clip, so that bounds that are NaN act as in CuPy's kernel: comparisons with them
    # are false.
    inner = np.where(x < low, low, np.where(x > high, high, x))
    value = np.where(low > high, high, inner).astype(x.dtype)
    return _finish(value, **kwargs)


def _where(condition: Any, x: Any, y: Any, **kwargs: Any) -> Any:
    return _finish(np.where(condition, x, y), **kwargs)


def _finish(value: Any, out: Any = None, order: str = "C", casting: str = "same_kind") -> Any:
    if out is None:
        return np.ascontiguousarray(value).reshape(value.shape)
    np.copyto(out, value, casting="unsafe")
    return out


UFUNCS: dict[str, ufunc] = {}
"""Every elementwise function of the emulation that CuPy has as a ufunc, by CuPy's name."""

_make_arithmetic()
_make_logic()
_make_unary()

CLIP = ufunc("cupy_clip", _clip, tuple(f"{t}{t}{t}->{t}" for t in "?" + _REAL))
WHERE = ufunc("cupy_where", _where, tuple(f"?{t}{t}->{t}" for t in "?" + _ALL))
