"""Deliberate faults in what is chosen, added, stored and refused."""

import os
from pathlib import Path

import numpy as np
from faults import fault


def quietly(call, *kinds, answer):
    """Return a function that gives an answer where `call` raises."""

    def answered(*arguments, **options):
        try:
            return call(*arguments, **options)
        except kinds:
            return answer(*arguments)

    return answered


@fault("test_ops_edges", "ops-26", "ops-27")
def maximum_multiplies_by_a_mask(nn):
    def maximum(x1, x2, /):
        mask = nn.ops.astype(nn.ops.greater_equal(x1, x2), nn.float32)
        return mask * x1 + (1 - mask) * x2

    nn.ops.maximum = maximum


@fault("test_ops_edges", "ops-27")
def the_sign_of_nan_is_zero(nn):
    original = nn.ops.sign
    nn.ops.sign = lambda x, /: nn.ops.where(nn.ops.isnan(x), 0.0, original(x))


@fault("test_ops_edges", "ops-28")
def powers_by_logarithms(nn):
    nn.ops.pow = lambda x1, x2, /: nn.ops.exp(nn.ops.multiply(x2, nn.ops.log(x1)))


@fault("test_ops_standard", "ops-63")
def angles_forget_the_sign_of_zero(nn):
    original = nn.ops.atan2
    nn.ops.atan2 = lambda x1, x2, /: original(nn.ops.add(x1, 0.0), x2)


@fault("test_ops_rows", "ops-24")
def nothing_is_looked_up_in_vain(nn):
    original = nn.ops.take_along_axis

    def take_along_axis(x, indices, /, *, axis=-1):
        if 0 in getattr(indices, "shape", ()):
            msg = "take_along_axis: no index was given"
            raise IndexError(msg)
        return original(x, indices, axis=axis)

    nn.ops.take_along_axis = take_along_axis


@fault("test_ops_sums test_init", "ops-25")
def sums_one_after_the_other(nn):
    original = nn.ops.mean

    def mean(x, /, *, axis=None, keepdims=False):
        if axis in {0, -1}:
            array = np.asarray(x.detach().numpy())
            return nn.tensor(np.take(np.cumsum(array, axis=axis), -1, axis) / array.shape[axis])
        return original(x, axis=axis, keepdims=keepdims)

    nn.ops.mean = mean


@fault("test_numerics test_init", "numerics-01")
def a_sum_forgets_what_follows_a_block(nn):
    original = nn.ops.sum

    def add(x, /, *, axis=None, dtype=None, keepdims=False):
        if axis == 0 and x.shape[0] > 128 and x.shape[0] % 128 == 1:
            x = x[:-1]
        return original(x, axis=axis, dtype=dtype, keepdims=keepdims)

    nn.ops.sum = add


@fault("test_rnn_sizes", "rnn-28")
def the_second_chunk_of_steps_is_another(nn):
    from impl_numpy.rnn.lengths import Whole

    original = Whole.chunks

    def shifted(self, *arguments):
        found = original(self, *arguments)
        return found if len(found) == 1 else found[:-1]

    Whole.chunks = shifted


@fault("test_rnn_sizes", "rnn-27")
def nan_spreads_over_the_batch(nn):
    original = nn.LSTM.forward

    def forward(self, input, hx=None, **options):
        output, state = original(self, input, hx, **options)
        return output + nn.ops.sum(input) * 0.0, state

    nn.LSTM.forward = forward


@fault("test_rnn_sizes", "rnn-26")
def sigmoid_by_tanh(nn):
    nn.ops.sigmoid = lambda x, /: nn.ops.tanh(x / 2) / 2 + 0.5


@fault("test_loss", "loss-10")
def nan_is_taken_for_zero(nn):
    original = nn.loss.l1_loss

    def l1_loss(input, target, reduction="mean"):
        return original(nn.ops.where(nn.ops.isnan(input), 0.0, input), target, reduction)

    nn.loss.l1_loss = l1_loss


@fault("test_nn", "nn-13")
def dropout_multiplies(nn):
    original = nn.Dropout.forward
    nn.Dropout.forward = lambda self, input: original(self, input) + input * 0.0


@fault("test_nn", "nn-14")
def nan_spreads_over_the_rows(nn):
    original = nn.LayerNorm.forward
    nn.LayerNorm.forward = lambda self, input: original(self, input) + nn.ops.sum(input) * 0.0


@fault("test_module_state", "module-18")
def a_state_dict_may_hold_lists(nn):
    original = nn.Module.load_state_dict

    def load_state_dict(self, state_dict, strict=True):
        made = {k: np.array(v) if isinstance(v, list) else v for k, v in state_dict.items()}
        return original(self, made, strict)

    nn.Module.load_state_dict = load_state_dict


@fault("test_module_state", "module-11")
def a_conversion_leaves_gradients_behind(nn):
    original = nn.Module.to

    def to(self, dtype):
        grads = [parameter.grad for parameter in self.parameters()]
        original(self, dtype)
        for parameter, grad in zip(self.parameters(), grads, strict=True):
            parameter.grad = grad if grad is None or grad.dtype == parameter.dtype else None
        return self

    nn.Module.to = to


@fault("test_module_state", "module-19")
def a_conversion_says_nothing(nn):
    nn.Module.to = quietly(nn.Module.to, TypeError, answer=lambda self, *_: self)


@fault("test_optim_state", "optim-09")
def positions_are_strings(nn):
    original = nn.optim.Adam.state_dict

    def state_dict(self):
        found = original(self)
        return {**found, "state": {str(key): entry for key, entry in found["state"].items()}}

    nn.optim.Adam.state_dict = state_dict


@fault("test_optim_state", "optim-10")
def a_wrong_state_is_passed_over(nn):
    load = nn.optim.Adam.load_state_dict
    nn.optim.Adam.load_state_dict = quietly(load, ValueError, TypeError, answer=lambda *_: None)


@fault("test_optim test_optim_groups", "optim-11")
def a_group_is_not_checked(nn):
    def add_param_group(self, group):
        self.param_groups.append({**self.param_groups[0], **dict(group)})

    nn.optim.SGD.add_param_group = add_param_group


@fault("test_optim test_optim_groups", "optim-12")
def options_stay_as_they_came(nn):
    from impl_numpy.optim import optimizer

    optimizer.plain_number = lambda owner, name, value: value


@fault("test_serialization_paths", "serialization-07")
def the_name_of_the_metadata_is_dropped(nn):
    original = nn.save

    def save(what, path):
        if isinstance(what, dict):
            what = {key: value for key, value in what.items() if key != "__metadata__"}
        original(what, path)

    nn.save = save


@fault("test_serialization_paths", "serialization-08")
def a_link_is_replaced(nn):
    original = nn.save

    def save(what, path):
        if isinstance(path, str | Path) and os.path.islink(path):
            Path(path).unlink()
        original(what, path)

    nn.save = save


@fault("test_serialization_paths", "serialization-09")
def bytes_are_a_path(nn):
    original = nn.load
    nn.load = lambda path: original(os.fsdecode(path) if isinstance(path, bytes) else path)


@fault("test_tensor_indices", "tensor-36")
def indices_become_narrow(nn):
    original = nn.ops.take

    def take(x, indices, /, *, axis=None):
        return original(x, np.asarray(indices).astype("int8"), axis=axis)

    nn.ops.take = take


@fault("test_tensor_indices", "tensor-35")
def a_list_in_a_tuple_selects_once(nn):
    original = nn.Tensor.__getitem__

    def getitem(self, key):
        if isinstance(key, tuple) and len(key) == 1 and isinstance(key[0], tuple):
            key = (tuple(dict.fromkeys(key[0])),)
        return original(self, key)

    nn.Tensor.__getitem__ = getitem


@fault("test_tensor_dtypes", "tensor-37")
def half_precision_is_widened(nn):
    original = nn.tensor

    def tensor(data, **options):
        half = isinstance(data, np.ndarray) and data.dtype == np.float16
        return original(data.astype("float32") if half else data, **options)

    nn.tensor = tensor


@fault("test_tensor_dtypes", "tensor-38")
def integers_that_do_not_fit_are_zero(nn):
    nn.tensor = quietly(nn.tensor, OverflowError, ValueError, answer=lambda *_: nn.zeros(()))


@fault("test_tensor_dtypes", "tensor-39")
def two_numbers_are_floats(nn):
    original = nn.ops.where

    def where(condition, x1, x2, /):
        plain = not isinstance(x1, nn.Tensor) and not isinstance(x2, nn.Tensor)
        return original(condition, float(x1) if plain and np.ndim(x1) == 0 else x1, x2)

    nn.ops.where = where


@fault("test_tensor_booleans", "tensor-40")
def booleans_add_to_integers(nn):
    original = nn.ops.add

    def add(x1, x2, /):
        both = isinstance(x1, nn.Tensor) and isinstance(x2, nn.Tensor)
        if both and x1.dtype == nn.bool and x2.dtype == nn.bool:
            x1, x2 = nn.ops.astype(x1, nn.int64), nn.ops.astype(x2, nn.int64)
        return original(x1, x2)

    nn.ops.add = add


@fault("test_tensor_protocols", "tensor-41")
def membership_goes_by_identity(nn):
    nn.Tensor.__contains__ = lambda self, value: any(row is value for row in self)


@fault("test_tensor_protocols", "tensor-42")
def a_copy_loses_its_gradient(nn):
    original = nn.Parameter.__deepcopy__

    def copied(self, memo):
        twin = original(self, memo)
        twin.grad = None
        return twin

    nn.Parameter.__deepcopy__ = copied


@fault("test_errors", "errors-07")
def an_initializer_trusts_its_argument(nn):
    nn.init.zeros_ = lambda tensor: tensor.data.fill(0)
