"""Deliberate faults in `vmap`, and in what the table of transforms says."""

from faults import fault

from spec_tests.support.mapping import looped, over


def around(nn, change):
    """Put ``change(vmap, fn, in_axes, out_axes)`` in the place of `vmap`."""
    original = nn.vmap

    def vmap(fn, in_axes=0, out_axes=0):
        return change(original, fn, in_axes, out_axes)

    nn.vmap = vmap


def by_slices(nn):
    """Put a loop over the slices in the place of `vmap`, for one axis or one for each argument."""

    def change(vmap, fn, in_axes, out_axes):
        plain = isinstance(out_axes, int) and isinstance(in_axes, int | tuple)
        return looped(nn, fn, in_axes, out_axes) if plain else vmap(fn, in_axes, out_axes)

    around(nn, change)


@fault("test_autograd_vmap", "autograd-50")
def results_are_stacked_in_front(nn):
    around(nn, lambda vmap, fn, in_axes, out_axes: vmap(fn, in_axes, 0))


@fault("test_autograd_vmap", "autograd-50")
def slices_are_taken_in_front(nn):
    def change(vmap, fn, in_axes, out_axes):
        return vmap(fn, 0 if isinstance(in_axes, int) else in_axes, out_axes)

    around(nn, change)


@fault("test_autograd_vmap_gradients", "autograd-51")
def results_under_vmap_are_detached(nn):
    def change(vmap, fn, in_axes, out_axes):
        mapped = vmap(fn, in_axes, out_axes)

        def silent(*args, **kwargs):
            with nn.no_grad():
                return mapped(*args, **kwargs)

        return silent

    around(nn, change)


@fault("test_autograd_vmap_gradients", "autograd-51")
def gradients_of_samples_are_summed(nn):
    def summed(x):
        if not isinstance(x, nn.Tensor) or not x.ndim:
            return x
        return nn.ops.broadcast_to(nn.ops.sum(x, axis=0, keepdims=True, dtype=x.dtype), x.shape)

    def change(vmap, fn, in_axes, out_axes):
        mapped = vmap(fn, in_axes, out_axes)
        # The gradients of samples are those to an argument that every sample shares.
        shared = isinstance(in_axes, tuple) and in_axes[0] is None
        return (lambda *args, **kw: over(mapped(*args, **kw), summed)) if shared else mapped

    around(nn, change)


@fault("test_autograd_vmap_rows test_autograd_vmap", "autograd-52")
def indices_that_are_cut_come_in_reverse(nn):
    def reversed_indices(x):
        index = isinstance(x, nn.Tensor) and x.dtype == nn.int64 and x.ndim
        return nn.ops.flip(x, axis=0) if index else x

    def change(vmap, fn, in_axes, out_axes):
        def alike(*args, **kwargs):
            args = [reversed_indices(x) for x in args]
            return vmap(fn, in_axes, out_axes)(*args, **kwargs)

        return alike

    around(nn, change)


@fault("test_autograd_vmap_functions", "autograd-53", "autograd-54", "autograd-55", "autograd-56")
def vmap_is_a_loop_over_the_slices(nn):
    by_slices(nn)


@fault("test_autograd_vmap", "autograd-57")
def lengths_that_differ_are_cut_to_the_shortest(nn):
    def change(vmap, fn, in_axes, out_axes):
        def cut(*args):
            if in_axes == 0 and args and all(isinstance(x, nn.Tensor) and x.ndim for x in args):
                size = min(x.shape[0] for x in args)
                args = [x[:size] for x in args]
            return vmap(fn, in_axes, out_axes)(*args)

        return cut

    around(nn, change)


@fault("test_autograd_vmap", "autograd-58")
def no_slices_give_nothing(nn):
    def change(vmap, fn, in_axes, out_axes):
        def checked(*args, **kwargs):
            if any(isinstance(x, nn.Tensor) and 0 in x.shape for x in args):
                msg = "vmap: nothing to map over"
                raise ValueError(msg)
            return vmap(fn, in_axes, out_axes)(*args, **kwargs)

        return checked

    around(nn, change)


@fault("test_transforms", "transforms-05")
def a_checkpoint_of_a_module_has_no_gradient_to_it(nn):
    original = nn.checkpoint

    def checkpoint(fn, *args):
        parameters = list(fn.parameters()) if isinstance(fn, nn.Module) else []
        for parameter in parameters:
            parameter.requires_grad_(False)
        try:
            return original(fn, *args)
        finally:
            for parameter in parameters:
                parameter.requires_grad_(True)

    nn.checkpoint = checkpoint


@fault("test_transforms", "transforms-06")
def a_copy_shares_its_parameters(nn):
    nn.Parameter.__deepcopy__ = lambda self, memo: self


@fault("test_transforms", "transforms-02")
def the_second_slice_is_the_first(nn):
    def change(vmap, fn, in_axes, out_axes):
        def alike(x, *rest):
            place = (slice(None),) * (in_axes if isinstance(in_axes, int) else 0) + (slice(1),)
            same = nn.ops.concat([x[place]] * 2, axis=in_axes)
            return vmap(fn, in_axes, out_axes)(same, *rest)

        return alike

    around(nn, change)
