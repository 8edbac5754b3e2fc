"""Deliberate faults in attention."""

import math
from types import SimpleNamespace

import numpy as np
from faults import fault


@fault("test_nn_attention", "nn-33")
def what_a_mask_shuts_is_multiplied_by_zero(nn):
    from impl_numpy.nn import attention

    def where(shut, zero, x):
        return x * nn.tensor((~shut).astype(x.dtype)) + zero

    attention.ops = SimpleNamespace(**{**vars(nn.ops), "where": where})


@fault("test_nn_attention", "nn-33")
def who_may_look_nowhere_looks_everywhere(nn):
    from impl_numpy.nn import attention

    original = attention._weigh

    def weigh(scores, shut):
        if shut is not None:
            scores = np.where(shut, scores.dtype.type(-1e30), scores)
        return original(scores, None)

    attention._weights.forward = weigh


@fault("test_nn_attention", "nn-32")
def scores_are_divided_by_the_root_of_all_heads(nn):
    owner = nn.MultiheadAttention
    original = owner._attended

    def attended(self, q, *rest):
        return original(self, q * math.sqrt(self.head_dim / self.embed_dim), *rest)

    owner._attended = attended


@fault("test_nn_attention", "nn-32")
def masks_shut_the_places_put_behind(nn):
    owner = nn.MultiheadAttention
    original = owner._joined

    def joined(self, *masks):
        shut, added = original(self, *masks)
        more = int(self.bias_k is not None) + int(self.add_zero_attn)
        if more and shut is not None:
            shut[..., -more:] = shut[..., :-more].any(axis=-1, keepdims=True)
        return shut, added

    owner._joined = joined


@fault("test_nn_attention", "nn-32")
def the_dropped_weights_are_drawn_key_by_key(nn):
    from impl_numpy.nn import attention

    original = attention.drawn

    def drawn(shape, p):
        return original((*shape[:-2], *shape[:-3:-1]), p).swapaxes(-1, -2)

    attention.drawn = drawn


@fault("test_nn_attention", "nn-32")
def zeros_stand_before_the_learnt_place(nn):
    owner = nn.MultiheadAttention
    original = owner._attended

    def attended(self, q, k, v, *masks):
        output, weights = original(self, q, k, v, *masks)
        if self.bias_k is None or not self.add_zero_attn:
            return output, weights
        *_, size = weights.shape
        return output, weights[..., [*range(size - 2), size - 1, size - 2]]

    owner._attended = attended


@fault("test_nn_attention test_nn_rows", "nn-32")
def the_weights_of_the_first_head_are_taken_for_the_mean(nn):
    owner = nn.MultiheadAttention
    original = owner.forward

    def forward(self, *inputs, average_attn_weights=True, **options):
        output, weights = original(self, *inputs, average_attn_weights=False, **options)
        if average_attn_weights and weights is not None:
            weights = weights[..., 0, :, :]
        return output, weights

    owner.forward = forward


@fault("test_nn_attention", "nn-34")
def a_mask_of_integers_is_taken_for_numbers(nn):
    owner = nn.MultiheadAttention
    original = owner._masks

    def masks(self, padding, pairs, *rest):
        found = [
            nn.ops.astype(mask, nn.float32)
            if isinstance(mask, nn.Tensor) and mask.dtype in (nn.int32, nn.int64)
            else mask
            for mask in (padding, pairs)
        ]
        return original(self, *found, *rest)

    owner._masks = masks
