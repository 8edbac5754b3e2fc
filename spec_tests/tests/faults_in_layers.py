"""Deliberate faults in layers: convolutions, pools, norms, activations."""

import math

import numpy as np
from faults import fault


@fault("test_nn_convolution test_nn_rows", "nn-12", "nn-17")
def dilation_is_ignored_in_the_gradient_of_the_input(nn):
    from impl_numpy.nn import bilinear

    def near(windows):
        """Return as many windows whose places are neighbours."""
        spans = zip(windows.after, windows.reach, windows.kernel, strict=True)
        after = tuple([q - r + k for q, r, k in spans])
        return windows._replace(dilation=(1,) * len(after), after=after)

    def with_neighbours(original):
        def vjp(grad, needs, *operands):
            *rest, geometry = operands
            close = geometry._replace(windows=near(geometry.windows))
            wrong = original(grad, needs, *rest, close)
            return (wrong[0], *original(grad, needs, *rest, geometry)[1:])

        return vjp

    for maps in bilinear.MAPS.values():
        for rule in (maps.correlated, maps.correlated_biased):
            rule.vjp = with_neighbours(rule.vjp)


@fault("test_nn_convolution test_nn_rows", "nn-12", "nn-17")
def groups_are_exchanged(nn):
    from impl_numpy.nn import conv

    original = conv._Forward.forward

    def forward(self, input):
        shift = self.in_channels // self.groups
        if self.groups > 1:
            input = nn.ops.roll(input, shift, axis=-1 - self._axes)
        return original(self, input)

    conv._Forward.forward = forward


@fault("test_nn_convolution test_nn_rows", "nn-12", "nn-17")
def same_puts_the_odd_zero_in_front(nn):
    from impl_numpy.nn import conv

    original = conv._Forward._edges
    conv._Forward._edges = lambda self: original(self)[::-1]


@fault("test_nn_convolution test_nn_rows", "nn-12", "nn-18")
def reflection_repeats_the_edge(nn):
    from impl_numpy.nn import window

    original = window._beyond

    def beyond(length, before, after, mode):
        if mode != "reflect":
            return original(length, before, after, mode)
        return np.pad(np.arange(length), (before, after), "symmetric")

    window._beyond = beyond


@fault("test_nn_convolution test_nn_rows", "nn-12", "nn-18")
def what_stands_outside_has_no_gradient(nn):
    from impl_numpy.nn import window

    def cut(x, axis, before, after, _mode):
        x = np.moveaxis(x, axis, 0)
        return np.moveaxis(x[before : len(x) - after].copy(), 0, axis)

    window._folded.forward = cut


@fault("test_nn_convolution test_nn_rows", "nn-20")
def the_kernel_of_a_transposed_convolution_is_turned_round(nn):
    from impl_numpy.nn import bilinear

    def turned(original):
        def forward(y, weight, *rest):
            axes = tuple(range(2, weight.ndim))
            return original(y, np.flip(weight, axes), *rest)

        return forward

    for maps in bilinear.MAPS.values():
        for rule in (maps.transposed, maps.transposed_biased):
            rule.forward = turned(rule.forward)


@fault("test_nn_rows", "nn-12")
def output_padding_is_a_border_of_zeros(nn):
    from impl_numpy.nn import conv

    original = conv._Transposed.forward

    def forward(self, input, output_size=None):
        more, self.output_padding = self.output_padding, (0,) * self._axes
        try:
            y = original(self, input, output_size)
        finally:
            self.output_padding = more
        if output_size is not None:
            return y
        lead = [(0, 0)] * (y.ndim - self._axes)
        return nn.ops.pad(y, [*lead, *[(0, n) for n in more]])

    conv._Transposed.forward = forward


@fault("test_nn_initial", "nn-02")
def the_bound_of_a_convolution_forgets_the_groups(nn):
    from impl_numpy.nn import conv

    original = conv._Convolution._uniform

    def uniform(self, name, shape, bound, dtype):
        original(self, name, shape, bound / math.sqrt(self.groups), dtype)

    conv._Convolution._uniform = uniform


@fault("test_nn_rows", "nn-12")
def count_include_pad_is_ignored(nn):
    from impl_numpy.nn import pool

    original = pool._AvgPool.forward

    def forward(self, input):
        self.count_include_pad = True
        return original(self, input)

    pool._AvgPool.forward = forward


@fault("test_nn_rows", "nn-12")
def ceil_mode_has_a_window_too_many(nn):
    from impl_numpy.nn import pool

    original = pool._Pool._windows

    def windows(self, x):
        found = original(self, x)
        if not self.ceil_mode:
            return found
        after = []
        for size, span, step, p in zip(
            found.sizes, found.reach, found.stride, found.before, strict=True
        ):
            count = -(-(size + 2 * p - span) // step) + 1
            after.append((count - 1) * step + span - size - p)
        return found._replace(after=tuple(after))

    pool._Pool._windows = windows


@fault("test_nn_pool test_nn_rows", "nn-21")
def of_equals_the_last_has_the_gradient(nn):
    from impl_numpy.nn import pool, pooled

    original = pooled.places_of

    def places(x, best, windows):
        axes = tuple(range(2, x.ndim))
        turned = windows._replace(before=windows.after, after=windows.before)
        found = original(np.flip(x, axes), np.flip(best, axes), turned)
        last = math.prod(windows.sizes) - 1
        return np.flip(np.where(found < 0, found, last - found), axes)

    pool.places_of = pooled.places_of = places
    pooled._plain = lambda best, windows: False


@fault("test_nn_pool test_nn_rows", "nn-21")
def nan_is_passed_over_by_a_pool(nn):
    from impl_numpy.nn import pooled

    def largest(x, windows):
        whole = pooled.framed(x, windows.before, windows.after, -math.inf)
        parts = [whole[pooled.tap(windows, k, windows.counts)] for k in np.ndindex(windows.kernel)]
        return np.fmax.reduce(parts)

    for rule in pooled.max_pools.values():
        rule.forward = largest


@fault("test_nn_pool test_nn_rows", "nn-21")
def positions_count_the_padding(nn):
    from impl_numpy.nn import pool

    original = pool._MaxPool.forward

    def forward(self, input):
        result = original(self, input)
        if not self.return_indices:
            return result
        y, found = result
        return y, found + pool.per_axis("", "", self.padding, self._axes, 0)[-1]

    pool._MaxPool.forward = forward


@fault("test_nn_pool test_nn_rows", "nn-23")
def adaptive_windows_do_not_overlap(nn):
    original = nn.AdaptiveAvgPool2d.forward

    def forward(self, input):
        y = original(self, input)
        (high, wide), (rows, columns) = input.shape[-2:], y.shape[-2:]
        bounds = [
            [(i * size // n, max((i + 1) * size // n, i * size // n + 1)) for i in range(n)]
            for size, n in ((high, rows), (wide, columns))
        ]
        lines = [
            nn.ops.stack(
                [nn.ops.mean(input[..., a:b, c:d], axis=(-2, -1)) for c, d in bounds[1]], axis=-1
            )
            for a, b in bounds[0]
        ]
        return nn.ops.stack(lines, axis=-2)

    nn.AdaptiveAvgPool2d.forward = forward


def with_function(owner, change):
    """Have a norm apply another function, which `change` makes of its own."""
    owner._function.apply = change(owner._function.apply)


@fault("test_nn_norm test_nn_rows", "nn-26")
def a_batch_is_normalized_with_the_unbiased_variance(nn):
    def change(original):
        def apply(x, weight, bias, *, axes, eps):
            count = math.prod([x.shape[k] for k in axes])
            share = (count - 1) / max(count, 1)
            y, mean, var = original(x, None, None, axes=axes, eps=eps * share)
            y = y * math.sqrt(max(share, 0.0))
            y = y if weight is None else y * weight
            return y if bias is None else y + bias, mean, var

        return apply

    for owner in (nn.BatchNorm1d, nn.BatchNorm2d):
        with_function(owner, change)


def with_note(change):
    """Have batch norms note statistics in another way."""
    from impl_numpy.nn import norm

    norm._BatchNorm._note = change(norm._BatchNorm._note)


@fault("test_nn_norm test_nn_rows", "nn-27")
def the_running_variance_is_biased(nn):
    with_note(
        lambda original: (
            lambda self, mean, var, count: original(self, mean, var * ((count - 1) / count), count)
        )
    )


@fault("test_nn_norm test_nn_rows", "nn-27")
def momentum_is_turned_round(nn):
    def change(original):
        def note(self, mean, var, count):
            momentum = self.momentum
            self.momentum = None if momentum is None else 1 - momentum
            original(self, mean, var, count)
            self.momentum = momentum

        return note

    with_note(change)


@fault("test_nn_norm test_nn_rows", "nn-27")
def buffers_are_replaced_by_new_ones(nn):
    def change(original):
        def note(self, mean, var, count):
            for name in ("running_mean", "running_var"):
                setattr(self, name, nn.tensor(getattr(self, name)))
            original(self, mean, var, count)

        return note

    with_note(change)


@fault("test_nn_norm test_nn_rows", "nn-26")
def evaluation_uses_the_batch(nn):
    for owner in (nn.BatchNorm1d, nn.BatchNorm2d):
        original = owner.forward

        def forward(self, input, original=original):
            mean = self.running_mean
            if not self.training:
                self.running_mean = None
            try:
                return original(self, input)
            finally:
                self.running_mean = mean

        owner.forward = forward


@fault("test_nn_norm", "nn-25")
def groups_are_made_of_every_so_manyth_channel(nn):
    def change(original):
        def apply(x, weight, bias, *, axes, eps):
            n, groups, count, size = x.shape
            mixed = nn.ops.permute_dims(x.reshape((n, count, groups, size)), (0, 2, 1, 3))
            y, mean, var = original(mixed, None, None, axes=axes, eps=eps)
            y = nn.ops.permute_dims(y, (0, 2, 1, 3)).reshape(x.shape)
            y = y if weight is None else y * weight
            return y if bias is None else y + bias, mean, var

        return apply

    with_function(nn.GroupNorm, change)


@fault("test_nn_norm", "nn-24")
def the_eps_of_a_root_mean_square_is_that_of_other_norms(nn):
    def forward(self, input):
        return self._over_last_axes(input, 1e-5 if self.eps is None else self.eps, centred=False)

    nn.RMSNorm.forward = forward


@fault("test_nn_activation test_nn_rows", "nn-28")
def the_slope_at_zero_is_one(nn):
    original = nn.PReLU.forward

    def forward(self, input):
        y = original(self, input)
        return nn.ops.where(input >= 0, input, y)

    nn.PReLU.forward = forward


@fault("test_nn_activation test_nn_rows", "nn-29")
def the_threshold_of_softplus_is_that_of_the_input(nn):
    def softplus(x, beta, threshold):
        soft = nn.ops.softplus(x * float(beta)) / float(beta)
        return nn.ops.where(x > threshold, x, soft)

    nn.Softplus._function = staticmethod(softplus)


@fault("test_nn_activation", "nn-30")
def the_gate_is_the_first_half(nn):
    original = nn.GLU._function

    def glu(x, dim):
        axis = dim + x.ndim if dim < 0 else dim
        if axis < x.ndim and x.shape[axis] % 2 == 0:
            x = nn.ops.roll(x, x.shape[axis] // 2, axis=axis)
        return original(x, dim)

    nn.GLU._function = staticmethod(glu)


@fault("test_nn_activation", "nn-31")
def the_sizes_of_unflatten_stand_the_other_way_round(nn):
    original = nn.Unflatten.forward

    def forward(self, input):
        sizes = self.unflattened_size
        self.unflattened_size = tuple(sizes)[::-1]
        try:
            return original(self, input)
        finally:
            self.unflattened_size = sizes

    nn.Unflatten.forward = forward


@fault("test_nn_activation", "nn-15")
def the_bias_of_bilinear_gets_no_gradient(nn):
    original = nn.Bilinear.forward

    def forward(self, input1, input2):
        bias, self.bias = self.bias, None
        try:
            y = original(self, input1, input2)
        finally:
            self.bias = bias
        return y if bias is None else y + bias.detach()

    nn.Bilinear.forward = forward


@fault("test_nn_activation test_nn_rows", "nn-16")
def the_shortening_of_rows_is_recorded(nn):
    original = nn.Embedding.forward

    def forward(self, input):
        if self.max_norm is None:
            return original(self, input)
        longest, self.max_norm = self.max_norm, None
        try:
            y = original(self, input)
        finally:
            self.max_norm = longest
        norms = nn.ops.sum(nn.ops.abs(y) ** self.norm_type, axis=-1, keepdims=True)
        norms = norms ** (1 / self.norm_type)
        shorter = longest / (norms + 1e-7)
        with nn.no_grad():
            original(self, input)
        return y * nn.ops.where(norms > longest, shorter, 1.0)

    nn.Embedding.forward = forward


@fault("test_nn_activation", "nn-16")
def rows_are_shortened_by_the_euclidean_norm(nn):
    from impl_numpy.nn import embedding

    original = embedding._shorten
    embedding._shorten = lambda weight, rows, longest, _order: original(weight, rows, longest, 2.0)


@fault("test_nn_activation test_nn_rows", "nn-16")
def padding_counts_for_every_row(nn):
    original = nn.Embedding.forward

    def forward(self, input):
        y = original(self, input)
        if not self.scale_grad_by_freq or self.padding_idx is None:
            return y
        index = np.asarray(input.numpy())
        times = np.bincount(index.ravel(), minlength=self.num_embeddings)
        share = (times / (times + times[self.padding_idx]).clip(1))[index][..., None]
        part = nn.tensor(share.astype(y.dtype))
        return y * part + (y * (1 - part)).detach()

    nn.Embedding.forward = forward
