"""Deliberate faults in the functions of the array API standard."""

import numpy as np
from faults import fault


@fault("test_ops_edges test_ops_elements", "ops-33")
def round_goes_away_from_0_at_ties(nn):
    original = nn.ops.floor
    nn.ops.round = lambda x, /: original(nn.ops.add(x, 0.5))


@fault("test_ops_edges test_ops_elements", "ops-34")
def remainders_have_the_sign_of_the_first(nn):
    nn.ops.remainder = lambda x1, x2, /: x1 - nn.ops.trunc(nn.ops.divide(x1, x2)) * x2


@fault("test_ops_elements", "ops-35")
def a_right_shift_forgets_the_sign(nn):
    original = nn.ops.bitwise_right_shift
    nn.ops.bitwise_right_shift = lambda x1, x2, /: original(nn.ops.abs(x1), x2)


@fault("test_ops_elements", "ops-36")
def logarithms_of_a_sum_with_1(nn):
    nn.ops.log1p = lambda x, /: nn.ops.log(nn.ops.add(x, 1.0))


@fault("test_ops_edges", "ops-37")
def silu_multiplies_infinity_by_0(nn):
    nn.ops.silu = lambda x, /: nn.ops.multiply(x, nn.ops.sigmoid(x))


@fault("test_ops_moving test_ops_edges", "ops-38")
def products_divide_by_their_elements(nn):
    # The product by logarithms has the slope prod / x.
    original = nn.ops.prod

    def prod(x, /, *, axis=None, dtype=None, keepdims=False):
        sizes = nn.ops.sum(nn.ops.log(nn.ops.abs(x)), axis=axis, keepdims=keepdims)
        if not x.requires_grad:
            return original(x, axis=axis, dtype=dtype, keepdims=keepdims)
        sign = nn.ops.prod(nn.ops.sign(x.detach()), axis=axis, keepdims=keepdims)
        return nn.ops.multiply(sign, nn.ops.exp(sizes))

    nn.ops.prod = prod


@fault("test_ops_moving", "ops-39")
def variances_from_squares(nn):
    def var(x, /, *, axis=None, correction=0.0, keepdims=False):
        mean = nn.ops.mean(x, axis=axis, keepdims=keepdims)
        return nn.ops.mean(x * x, axis=axis, keepdims=keepdims) - mean * mean

    nn.ops.var = var


@fault("test_ops_edges", "ops-39", "ops-40")
def roots_have_infinite_slopes_at_0(nn):
    from impl_numpy.ops import reduction

    reduction._root = reduction.RULES["sqrt"]


@fault("test_ops_moving", "ops-41")
def nan_counts_as_0(nn):
    original = nn.ops.all
    nn.ops.all = lambda x, /, **options: original(nn.ops.greater(nn.ops.abs(x), 0), **options)


@fault("test_ops_moving", "ops-42")
def diff_of_order_0_forgets_what_follows(nn):
    original = nn.ops.diff
    nn.ops.diff = lambda x, /, *, n=1, **options: x if n == 0 else original(x, n=n, **options)


@fault("test_ops_moving", "ops-43")
def several_rolls_of_one_axis_are_one(nn):
    original = nn.ops.roll

    def roll(x, /, shift, *, axis=None):
        if isinstance(axis, tuple) and len(set(axis)) < len(axis):
            return original(x, shift[0], axis=axis[0])
        return original(x, shift, axis=axis)

    nn.ops.roll = roll


@fault("test_ops_moving", "ops-44")
def vecdot_stretches_its_axis(nn):
    nn.ops.vecdot = lambda x1, x2, /, *, axis=-1: nn.ops.sum(x1 * x2, axis=axis)


@fault("test_ops_moving", "ops-45")
def what_is_taken_along_an_axis_does_not_accumulate(nn):
    from impl_numpy.ops import indexing

    indexing.repeats = lambda *_: False


@fault("test_ops_moving", "ops-46")
def one_hot_counts_from_the_end(nn):
    original = nn.ops.one_hot

    def one_hot(x, /, num_classes, *, dtype=None, axis=-1):
        array = np.asarray(getattr(x, "data", x))
        turned = array % num_classes if array.dtype.kind == "i" and (array == -1).any() else x
        return original(turned, num_classes, dtype=dtype, axis=axis)

    nn.ops.one_hot = one_hot


@fault("test_ops_namespace", "ops-47")
def linspace_adds_its_steps(nn):
    original = nn.ops.linspace

    def linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True):
        made = original(start, stop, num, dtype=dtype, device=device, endpoint=endpoint)
        if num < 3:
            return made
        steps = np.full(num, made.numpy()[1] - made.numpy()[0], made.dtype)
        steps[0] = start
        return nn.tensor(np.cumsum(steps))

    nn.ops.linspace = linspace


@fault("test_ops_namespace", "ops-48")
def from_dlpack_cuts_the_gradient(nn):
    original = nn.ops.from_dlpack

    def from_dlpack(x, /, *, device=None, copy=None):
        return original(x, device=device, copy=copy).detach()

    nn.ops.from_dlpack = from_dlpack


@fault("test_ops_order", "ops-49")
def descending_order_is_ascending_order_turned(nn):
    original = nn.ops.argsort

    def argsort(x, /, *, axis=-1, descending=False, stable=True):
        order = original(x, axis=axis, stable=stable)
        return nn.ops.flip(order, axis=axis) if descending else order

    nn.ops.argsort = argsort


@fault("test_ops_order", "ops-50")
def a_number_is_sought_as_an_integer(nn):
    original = nn.ops.searchsorted

    def searchsorted(x1, x2, /, *, side="left", sorter=None):
        whole = int(x2) if isinstance(x2, float) and x2 == x2 else x2
        return original(x1, whole, side=side, sorter=sorter)

    nn.ops.searchsorted = searchsorted


@fault("test_ops_order", "ops-51")
def nan_is_one_value(nn):
    nn.ops.unique_values = lambda x, /: nn.tensor(np.unique(getattr(x, "data", x)))


@fault("test_ops_order", "ops-52")
def jit_does_not_say_what_it_cannot(nn):
    def jit(function):
        def compiled(*arguments):
            msg = "a value is not known"
            raise RuntimeError(msg)

        return compiled

    nn.jit = jit


@fault("test_ops_namespace", "ops-30")
def the_version_is_another(nn):
    nn.ops.__array_api_version__ = "2024.12"


@fault("test_ops_namespace", "ops-31")
def any_device_will_do(nn):
    original = nn.ops.zeros
    nn.ops.zeros = lambda shape, *, dtype=None, device=None: original(shape, dtype=dtype)


@fault("test_ops_namespace", "ops-32")
def integers_meet_float32_in_float64(nn):
    nn.ops.result_type = np.result_type


@fault("test_ops_places", "ops-55")
def einsum_without_an_arrow_keeps_the_order_of_the_letters(nn):
    original = nn.ops.einsum

    def einsum(subscripts, /, *operands):
        result = original(subscripts, *operands)
        return nn.ops.matrix_transpose(result) if subscripts == "ji" else result

    nn.ops.einsum = einsum


@fault("test_ops_places", "ops-56")
def put_reads_what_it_covers(nn):
    original = nn.ops.put
    nn.ops.put = lambda x, key, values, /: original(x, key, values) + 0 * nn.ops.sum(nn.asarray(x))


@fault("test_ops_places", "ops-57")
def scatter_add_goes_along_the_first_axis(nn):
    original = nn.ops.scatter_add

    def scatter_add(x, indices, values, /, *, axis=-1):
        result = original(x, indices, values, axis=axis)
        return result if axis else nn.ops.flip(result, axis=0)

    nn.ops.scatter_add = scatter_add


@fault("test_ops_places", "ops-58")
def ids_of_segments_are_brought_into_range(nn):
    original = nn.ops.segment_sum

    def segment_sum(x, segment_ids, /, num_segments):
        ids = np.asarray(segment_ids)
        if ids.dtype.kind in "iu" and isinstance(num_segments, int):
            segment_ids = np.clip(ids, 0, max(num_segments - 1, 0))
        return original(x, segment_ids, num_segments)

    nn.ops.segment_sum = segment_sum
