"""The emulated array refuses what CuPy's refuses, and gives what CuPy's gives."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from cupy_emulation import launches, reset_launches
from cupy_emulation import namespace as cp


@pytest.fixture
def x() -> Any:
    return cp.arange(6, dtype=cp.float32).reshape(2, 3)


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.array, lambda x: np.zeros(6).reshape(2, 3).__setitem__(0, x[0])],
    ids=["asarray", "array", "setitem"],
)
def test_numpy_gets_no_implicit_copy(x: Any, convert: Any) -> None:
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        convert(x)


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, host: x + host,
        lambda x, host: host + x,
        lambda x, host: x @ host.T,
        lambda x, host: x < host,
        lambda x, host: x == host,
        lambda x, host: cp.maximum(x, host),
        lambda x, host: cp.tanh(host),
        lambda x, host: cp.where(x > 0, x, host),
        lambda x, host: cp.sum(host),
        lambda x, host: cp.concatenate([x, host]),
        lambda x, host: cp.matmul(x, host),
        lambda x, host: x.__iadd__(host),
        lambda x, host: cp.add(x, 1.0, out=host),
        lambda x, host: np.add(x, host),
        lambda x, host: np.concatenate([x, host]),
        lambda x, host: cp.add(np.array(1.0), x),
    ],
)
def test_numpy_arrays_are_refused(x: Any, mix: Any) -> None:
    with pytest.raises(TypeError):
        mix(x, np.ones((2, 3), np.float32))


def test_assigning_a_numpy_array_needs_an_index_array(x: Any) -> None:
    with pytest.raises(ValueError, match=r"non-scalar numpy\.ndarray cannot be used for fill"):
        x[0] = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="non-scalar"):
        x[0] = [1, 2, 3]
    x[[0]] = np.full(3, 7.0)
    assert x[0].tolist() == [7, 7, 7]


def test_python_numbers_are_weak_and_numpy_scalars_are_not(x: Any) -> None:
    assert (x * 2.5).dtype == cp.float32
    assert (2.5 * x).dtype == cp.float32
    assert (x + 2**40).dtype == cp.float32
    assert (x * np.float64(2.5)).dtype == cp.float64
    assert (np.float64(2.5) * x).dtype == cp.float64
    assert (np.float32(2.5) * x).dtype == cp.float32
    assert (cp.arange(3) * 2.5).dtype == cp.float64
    assert (cp.zeros(3, cp.int32) + cp.zeros(3, cp.float32)).dtype == cp.float64
    with pytest.raises(OverflowError):
        cp.zeros(3, cp.int8) + 300


@pytest.mark.parametrize("other", ["text", object(), [1.0, 2.0, 3.0], None])
def test_other_objects_are_no_operands(x: Any, other: Any) -> None:
    with pytest.raises(TypeError):
        x + other


def test_comparison_with_none_is_elementwise(x: Any) -> None:
    assert (x == None).tolist() == [[False] * 3] * 2  # noqa: E711
    assert (x != None).tolist() == [[True] * 3] * 2  # noqa: E711
    with pytest.raises(TypeError):
        hash(x)


def test_numpys_functions_hand_over_where_cupy_has_them(x: Any) -> None:
    for got in (np.sum(x), np.tanh(x), np.where(x > 1, x, x), np.matmul(x, x.T)):
        assert isinstance(got, cp.ndarray)
    with pytest.raises(TypeError):
        np.histogram_bin_edges(x)


class Reflecting:
    """An operand that decides, as a Tensor does."""

    __array_ufunc__ = None

    def __radd__(self, other: Any) -> str:
        return "radd"

    def __rmatmul__(self, other: Any) -> str:
        return "rmatmul"

    def __gt__(self, other: Any) -> str:
        return "gt"


def test_operands_that_want_to_decide_do(x: Any) -> None:
    assert x + Reflecting() == "radd"
    assert x @ Reflecting() == "rmatmul"
    assert (x < Reflecting()) == "gt"


def test_priority_decides_for_those_without_array_ufunc(x: Any) -> None:
    class Higher:
        __array_priority__ = 200

        def __rmul__(self, other: Any) -> str:
            return "rmul"

    assert x * Higher() == "rmul"


@pytest.mark.parametrize(
    "reduce",
    [
        lambda x: x.sum(),
        lambda x: cp.mean(x),
        lambda x: x.max(),
        lambda x: x.argmax(),
        lambda x: x.any(),
        lambda x: cp.vdot(x, x),
        lambda x: x[0] @ x[0],
        lambda x: x[1, 2],
        lambda x: x.ravel()[cp.array(3)],
        lambda x: cp.allclose(x, x),
        lambda x: cp.array_equal(x, x),
        lambda x: x[0, 0] + 1,
        lambda x: cp.linalg.norm(x),
        lambda x: cp.count_nonzero(x),
    ],
)
def test_single_elements_stay_arrays(x: Any, reduce: Any) -> None:
    got = reduce(x)
    assert isinstance(got, cp.ndarray)
    assert got.shape == ()


def test_leaving_the_device_is_explicit(x: Any) -> None:
    assert type(x.get()) is np.ndarray
    assert type(cp.asnumpy(x)) is np.ndarray
    assert x[0, 1].item() == 1.0
    assert float(x[1, 0]) == 3.0
    assert int(x[1, 0]) == 3
    assert bool(x[1, 0])
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(ValueError, match="size 1"):
        x.item()
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    with pytest.raises(TypeError):
        range(cp.array(3))  # type: ignore[call-overload]


def test_host_and_device_do_not_share_memory() -> None:
    host = np.ones(3, np.float32)
    device = cp.asarray(host)
    host[0] = 5
    back = device.get()
    back[1] = 7
    assert device.tolist() == [1, 1, 1]


def test_asarray_returns_the_array_itself(x: Any) -> None:
    assert cp.asarray(x) is x
    assert cp.asarray(x, dtype=cp.float32) is x
    assert cp.array(x) is not x
    assert cp.asarray(x, dtype=cp.float64).dtype == cp.float64
    with pytest.raises(ValueError, match="Unable to avoid copy"):
        cp.asarray(x, dtype=cp.float64, copy=False)


def test_views_share_memory_and_name_their_base(x: Any) -> None:
    base = x.base if x.base is not None else x
    for view in (x.T, x[0], x[:, 1:], x.reshape(3, 2), x[0, 0], x.ravel(), x[None], x.mT, x.view()):
        assert cp.may_share_memory(view, x)
        assert view.base is base
        assert not view.flags.owndata
    for fresh in (x + 1, x.copy(), x[[0, 1]], x.T.reshape(6), x.astype(cp.float32), x.T.ravel()):
        assert not cp.may_share_memory(fresh, x)
        assert fresh.base is None
    x[0, 0][...] = 9
    assert x[0, 0] == 9


def test_results_are_c_contiguous(x: Any) -> None:
    assert not x.T.flags.c_contiguous
    for got in (x.T + 1, cp.tanh(x.T), x.T.copy(), x.T @ x, cp.concatenate([x.T, x.T]), x.T * x.T):
        assert got.flags.c_contiguous
    assert x.T.astype(cp.float64).strides == (8, 24)
    assert x.T.sum(axis=0).flags.c_contiguous


def test_data_is_an_address(x: Any) -> None:
    assert x[1:].data.ptr - x.data.ptr == x.strides[0] == 12
    assert cp.zeros((0, 3)).data.ptr == 0
    assert x.nbytes == 24
    assert x.device.id == 0


def test_integer_arrays_wrap_around_and_integers_do_not() -> None:
    x = cp.arange(3)
    assert x[[1, 3, -1]].tolist() == [1, 0, 2]
    assert x[cp.array([5])].tolist() == [2]
    assert x[np.array([0, 4])].tolist() == [0, 1]
    assert cp.take(x, cp.array([3])).tolist() == [0]
    x[[1, 4]] = 10
    assert x.tolist() == [0, 10, 2]
    for bad in (3, -4):
        with pytest.raises(IndexError):
            x[bad]


@pytest.mark.parametrize("index", [1.0, "a", [1.0], np.array([0.5])])
def test_what_is_no_index(index: Any) -> None:
    with pytest.raises((IndexError, TypeError, ValueError)):
        cp.arange(3)[index]


def test_indices_select_what_numpy_selects() -> None:
    host = np.arange(60.0).reshape(3, 4, 5)
    device = cp.asarray(host)
    mask = host % 3 == 0
    for index in (
        (slice(None), 1),
        (..., None, -1),
        (slice(0, 3, 2), slice(None), 2),
        ([0, 2], slice(None), [1, 1]),
        (slice(None), [[0, 1], [3, 3]]),
        (0, [1, 2], slice(1, 3)),
        mask,
        (slice(None), mask[0]),
        (slice(None), [True, False, True, True]),
        (),
        [],
    ):
        got = device[index]
        assert got.shape == host[index].shape
        assert got.get().tolist() == host[index].tolist()
    on_device = device[cp.asarray(mask)]
    assert on_device.tolist() == host[mask].tolist()


def test_assignment_by_index() -> None:
    host = np.arange(12.0).reshape(3, 4)
    for index, value in (
        ((slice(None), 1), 5.0),
        (([0, 2], [1, 1]), 7.0),
        (host > 4, -1.0),
        (..., 2),
        ((1, slice(1, 3)), np.float32(3)),
    ):
        device, wanted = cp.asarray(host), host.copy()
        device[index] = value
        wanted[index] = value
        assert device.tolist() == wanted.tolist()
    device = cp.zeros((2, 3), cp.float32)
    device[...] = cp.arange(3)
    assert device.tolist() == [[0, 1, 2]] * 2


def test_repeated_places_accumulate_only_in_add_at() -> None:
    x = cp.zeros(3, cp.float32)
    x[cp.array([0, 0, 1])] += 1
    assert x.tolist() == [1, 1, 0]
    cp.add.at(x, cp.array([0, 0, 1]), cp.array([1.0, 2.0, 3.0]))
    assert x.tolist() == [4, 4, 0]
    cp.maximum.at(x, [2, 2], cp.array([5.0, 3.0]))
    assert x.tolist() == [4, 4, 5]
    with pytest.raises(TypeError, match="does not support"):
        cp.add.at(cp.zeros(3, cp.int8), cp.array([0]), 1)
    with pytest.raises(NotImplementedError):
        cp.multiply.at(x, [0], 2)


def test_in_place_operators_keep_shape_and_kind(x: Any) -> None:
    same = x
    x += 1
    x *= cp.float64(2)
    assert x is same
    assert x.dtype == cp.float32
    counts = cp.arange(3)
    with pytest.raises(TypeError, match="same_kind"):
        counts += 0.5
    with pytest.raises(TypeError, match="same_kind"):
        counts /= 2
    with pytest.raises(ValueError, match="Out shape is mismatched"):
        counts += cp.ones((2, 3), int)
    assert counts.tolist() == [0, 1, 2]


def test_out_is_checked(x: Any) -> None:
    out = cp.empty((2, 3), cp.float64)
    assert cp.add(x, 1, out=out) is out
    assert cp.add(x, 1, out) is out
    for bad, error in (
        (cp.empty((3, 2)), ValueError),
        (cp.empty((2, 3), int), TypeError),
        (np.empty((2, 3)), TypeError),
    ):
        with pytest.raises(error):
            cp.exp(x, out=bad)
    with pytest.raises(ValueError, match="both"):
        cp.add(x, x, out, out=out)
    with pytest.raises(ValueError, match="Not supported dtype"):
        cp.dot(x, x.T, out=cp.empty((2, 2)))


def test_empty_holds_what_nobody_relies_on() -> None:
    assert cp.isnan(cp.empty(3, cp.float32)).all()
    assert cp.isnan(cp.empty_like(cp.zeros((2, 2)))).all()
    assert (cp.empty(3, cp.int32) == -1).all()


def test_writing_to_a_broadcast_raises(x: Any) -> None:
    wide = cp.broadcast_to(x[0], (4, 3))
    assert wide.strides == (0, 4)
    with pytest.raises(ValueError, match="read-only"):
        wide += 1


def test_reshaping_in_place_makes_no_copy(x: Any) -> None:
    x.shape = (3, 2)
    assert x.shape == (3, 2)
    with pytest.raises(AttributeError, match="in-place"):
        x.T.shape = (6,)
    with pytest.raises(ValueError, match="without copy"):
        x.T.reshape(6, copy=False)


def test_floating_point_edges_are_silent() -> None:
    zero = cp.zeros(2, cp.float32)
    assert cp.isnan(zero / zero).all()
    assert (cp.log(zero) == -cp.inf).all()
    assert (cp.exp(zero + 1000) == cp.inf).all()
    assert (cp.arange(3) // 0).tolist() == [0, 0, 0]
    assert cp.isnan(cp.zeros((0, 2)).mean(axis=0)).all()
    assert cp.isnan(cp.zeros(1).var(ddof=1)).all()


def test_powers_take_cupys_shortcuts() -> None:
    x = cp.array([1, 2, 3], cp.int32)
    assert (x**2).dtype == cp.int32
    assert (x**2.0).dtype == cp.float64
    assert (x.astype(cp.float32) ** 0.5).dtype == cp.float32
    assert (2**x).tolist() == [2, 4, 8]


def test_copies_and_pickles_are_deep(x: Any) -> None:
    for other in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        other += 1
        assert other.dtype == x.dtype
        assert other.shape == x.shape
    assert x[0, 0] == 0


@pytest.mark.parametrize("bad", ["text", [["a"]], object(), [object()], [1 + 0j, "b"]])
def test_only_numbers_become_arrays(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        cp.array(bad)


def test_nested_arrays_are_stacked_on_the_device(x: Any) -> None:
    assert cp.array([x[0], x[1]]).tolist() == x.tolist()
    assert cp.array([x[0, 0], x[0, 1]]).tolist() == [0, 1]
    with pytest.raises(TypeError, match="Implicit conversion"):
        cp.array([x[0, 0], 1.0])


def test_sizes_are_host_numbers(x: Any) -> None:
    for call in (
        lambda: cp.zeros(x[0, 1]),
        lambda: cp.arange(x[0, 1]),
        lambda: x.reshape(cp.array([3, 2])),
        lambda: cp.repeat(x, cp.array([1, 2])),
    ):
        with pytest.raises(TypeError):
            call()


def test_launches_are_counted_and_views_are_free(x: Any) -> None:
    reset_launches()
    assert launches() == 0
    view = x.T[1:].reshape(4)[None]
    assert launches() == 1  # the reshape of a transpose copies
    assert launches("copy") == 1
    (view + 1) * 2
    x.sum()
    x @ x.T
    assert (launches("ufunc"), launches("reduction"), launches("gemm")) == (2, 1, 1)
    with pytest.raises(ValueError, match="kind"):
        launches("unknown")


def test_memory_in_use_is_counted() -> None:
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    block = cp.zeros(1000, cp.float32)
    view = block[10:]
    assert pool.used_bytes() - before == 4096
    del block
    assert pool.used_bytes() - before == 4096
    del view
    assert pool.used_bytes() == before
    assert pool.total_bytes() >= before + 4096
    pool.free_all_blocks()
    assert pool.total_bytes() == before


def test_device_and_stream() -> None:
    assert cp.cuda.runtime.getDeviceCount() == 1
    assert cp.cuda.is_available()
    with cp.cuda.Device(0) as device, cp.cuda.Stream() as stream:
        device.synchronize()
        stream.synchronize()
    cp.cuda.get_current_stream().synchronize()
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cp.cuda.Device(1)


def test_complex_loops_are_those_of_cupy() -> None:
    z = cp.asarray(np.array([3 + 4j, 0], "complex64"))
    assert cp.abs(z).dtype == "float32"
    assert cp.abs(z).get().tolist() == [5.0, 0.0]
    assert np.allclose(cp.sign(z).get(), [0.6 + 0.8j, 0])
    for function in (cp.logical_not, cp.floor):
        with pytest.raises(TypeError):
            function(z)


def test_expm1_and_log1p_of_complex_numbers_are_made_of_exp_and_log() -> None:
    z = np.array([1e-20 + 1e-18j])
    assert cp.expm1(cp.asarray(z)).get().real[0] == 0
    assert cp.log1p(cp.asarray(z)).get().real[0] != 1e-20


def test_dlpack_says_that_the_memory_is_the_hosts() -> None:
    x = cp.asarray(np.arange(3))
    assert x.__dlpack_device__() == (1, 0)
    shared = np.from_dlpack(x)
    x[...] = 7
    assert shared.tolist() == [7, 7, 7]
    with pytest.raises(BufferError):
        x.__dlpack__(dl_device=(2, 0))
