"""Deliberate faults in what is kept: hooks, containers, draws, files, checkpoints, batches."""

import dataclasses
import sys
from types import SimpleNamespace

import numpy as np
from faults import fault


@fault("test_module_hooks", "module-21")
def a_hook_in_front_cannot_be_removed(nn):
    original = nn.Module._register

    def register(self, kind, hook, prepend=False, **options):
        handle = original(self, kind, hook, prepend, **options)
        if prepend:
            self._hooks[kind] = dict(self._hooks[kind])
        return handle

    nn.Module._register = register


@fault("test_module_hooks", "module-21")
def a_hook_that_is_always_called_is_not(nn):
    original = nn.Module._register

    def register(self, *arguments, **options):
        return original(self, *arguments, **{k: options[k] for k in options if k != "always_call"})

    nn.Module._register = register


@fault("test_module_hooks", "module-22", "module-23")
def the_gradient_that_a_hook_puts_in_place_is_ignored(nn):
    hooks = sys.modules["impl_numpy.module.hooks"]
    original = hooks._replaced

    def replaced(subject, result, seen, grads):
        original(subject, result, list(seen), grads)
        return grads

    hooks._replaced = replaced


@fault("test_module_hooks", "module-24")
def the_prefix_of_a_hook_has_no_dot(nn):
    original = nn.Module.register_state_dict_pre_hook

    def register_state_dict_pre_hook(self, hook):
        def called(module, prefix, keep_vars):
            hook(module, prefix.rstrip("."), keep_vars)

        return original(self, called)

    nn.Module.register_state_dict_pre_hook = register_state_dict_pre_hook


@fault("test_module_collections", "module-20")
def buffers_have_no_prefix(nn):
    original = nn.Module.named_buffers
    nn.Module.named_buffers = lambda self, prefix="", *rest, **options: original(
        self, "", *rest, **options
    )


@fault("test_module_collections", "module-20")
def shared_modules_come_once_in_any_case(nn):
    original = nn.Module._every_module
    nn.Module._every_module = lambda self, prefix, seen: original(
        self, prefix, {} if seen is None else seen
    )


@fault("test_module_collections", "module-25")
def an_insertion_leaves_the_former_names(nn):
    def insert(self, index, module):
        items = list(self._own.items())
        items.insert(self._place(index, len(self) + 1), (str(len(self)), self._made(module)))
        self._own.clear()
        self._own.update(items)

    for owner in (nn.Sequential, nn.ModuleList):
        owner._insert = insert


@fault("test_module_collections", "module-26", "module-27")
def an_update_stops_half_way(nn):
    for owner in (nn.ModuleDict, nn.ParameterDict):
        original = owner.update

        def update(self, entries, original=original):
            if not isinstance(entries, dict) or len(entries) < 2:
                original(self, entries)
                return
            for pair in entries.items():
                original(self, [pair])

        owner.update = update


@fault("test_module_summary", "module-28")
def a_summary_counts_what_is_shared_twice(nn):
    original = nn.summary

    def summary(module, *inputs):
        found = original(module, *inputs)
        rows = [
            row._replace(parameters=sum(p.size for p in part.parameters(recurse=False)))
            for row, part in zip(found.rows, module.modules(), strict=True)
        ]
        total = sum(row.parameters for row in rows)
        return dataclasses.replace(found, rows=rows, total_parameters=total)

    nn.summary = summary


@fault("test_module_summary", "module-28")
def a_summary_leaves_its_hooks(nn):
    module = sys.modules["impl_numpy.module.summary"]
    original = module._watched

    def watched(parts, shapes):
        for part in parts:
            part.register_forward_hook(lambda *_: None)
        return original(parts, shapes)

    module._watched = watched


def without_numpys(module, **changed):
    """Give a module a NumPy in which some functions are others."""
    module.np = SimpleNamespace(**{**vars(np), **changed})


@fault("test_init_matrices", "init-13")
def the_signs_of_an_orthogonal_matrix_are_left(nn):
    without_numpys(nn.init, where=lambda _condition, _negated, q: q)


@fault("test_init_matrices", "init-12")
def accepted_numbers_fill_the_first_places(nn):
    original = nn.init._candidates

    def candidates(count, alpha, beta):
        z, accepted = original(count, alpha, beta)
        order = np.argsort(~accepted, kind="stable")
        return z[order], accepted[order]

    nn.init._candidates = candidates


@fault("test_init_matrices", "init-12")
def numbers_beyond_the_bounds_are_brought_to_them(nn):
    original = nn.init._candidates

    def candidates(count, alpha, beta):
        z, _ = original(count, alpha, beta)
        return z, np.ones(count, bool)

    nn.init._candidates = candidates


@fault("test_init_matrices", "init-14")
def dirac_forgets_the_groups(nn):
    original = nn.init.dirac_

    def dirac_(tensor, groups=1):
        original(tensor, groups)
        return original(tensor)

    nn.init.dirac_ = dirac_


@fault("test_init_matrices", "init-15")
def the_order_of_sparse_rows_is_one_for_all(nn):
    def argsort(numbers, axis, kind):
        first = np.argsort(numbers[:1], axis=axis, kind=kind)
        return np.broadcast_to(first, numbers.shape) if len(numbers) else np.argsort(numbers)

    without_numpys(nn.init, argsort=argsort)


@fault("test_init_matrices", "init-11")
def the_buffer_of_the_generator_is_not_taken_up(nn):
    from impl_numpy import random

    original = random.resume_words

    def resume_words(numbers):
        numbers = np.array(numbers)
        numbers[10] = 4
        original(numbers)

    random.resume_words = resume_words


@fault("test_serialization_shards", "serialization-11")
def an_entry_that_is_left_out_stays(nn):
    from impl_numpy.serialization import files

    original = files._renamed

    def renamed(arrays, names):
        if isinstance(names, dict):
            names = {old: old if new is None else new for old, new in names.items()}
        return original(arrays, names)

    files._renamed = renamed


@fault("test_serialization_shards", "serialization-12")
def a_shard_that_is_just_full_is_too_full(nn):
    from impl_numpy.serialization import files

    original = files._shards
    files._shards = lambda arrays, most: original(arrays, most - 1)


@fault("test_serialization_shards", "serialization-12")
def a_former_index_stays(nn):
    from impl_numpy.serialization import files

    original = files.write
    files.write = lambda operation, path, arrays, texts, _old=(): original(
        operation, path, arrays, texts
    )


@fault("test_serialization_shards", "serialization-12")
def former_shards_stay(nn):
    from impl_numpy.serialization import files

    files._former = lambda index: []


@fault("test_serialization_shards", "serialization-13")
def all_that_shards_hold_is_loaded(nn):
    from impl_numpy.serialization import files

    original = files._read_index

    def read_index(path):
        arrays, texts = original(path)
        folder = files.os.path.dirname(path)
        for name in dict.fromkeys(files._index(path)[0].values()):
            arrays |= files.read("load", files.os.path.join(folder, name))[0]
        return arrays, texts

    files._read_index = read_index


def with_load(nn, **fixed):
    """Have `load_checkpoint` called with other options."""
    original = nn.load_checkpoint
    nn.load_checkpoint = lambda path, **options: original(path, **{**options, **fixed})


@fault(
    "test_serialization_checkpoints test_serialization_shards",
    "serialization-14",
    "serialization-16",
)
def a_checkpoint_is_loaded_without_the_scheduler(nn):
    with_load(nn, scheduler=None)


@fault("test_serialization_checkpoints", "serialization-14", "serialization-16")
def a_checkpoint_is_loaded_without_the_generator(nn):
    with_load(nn, generator=False)


@fault("test_serialization_checkpoints", "serialization-16")
def a_checkpoint_that_fails_is_half_loaded(nn):
    from impl_numpy.serialization import checkpoint

    checkpoint._bound = lambda _function, _argument: lambda: None
    checkpoint._restorer = lambda _module: lambda: None


@fault("test_serialization_checkpoints", "serialization-14", "serialization-15")
def tuples_come_back_as_lists(nn):
    from impl_numpy.serialization import checkpoint

    original = checkpoint._Reader._made

    def made(self, value):
        result = original(self, value)
        return list(result) if isinstance(result, tuple) else result

    checkpoint._Reader._made = made


@fault("test_data", "data-02")
def the_last_batch_is_always_left_out(nn):
    original = nn.data._starts
    nn.data._starts = lambda count, size, _drop_last: original(count, size, True)


@fault("test_data", "data-01", "data-03", "data-07")
def an_order_depends_on_the_one_generator(nn):
    original = nn.data._order
    nn.data._order = lambda count, _bits: original(count, None)


@fault("test_data", "data-04", "data-07")
def the_batch_before_the_start_comes_again(nn):
    original = nn.data._start
    nn.data._start = lambda *arguments: max(0, original(*arguments) - 1)


@fault("test_data", "data-05")
def batches_are_views(nn):
    original = nn.data._rows

    def rows(x, part):
        return x[part] if isinstance(x, np.ndarray) else original(x, part)

    nn.data._rows = rows


@fault("test_data", "data-08")
def padding_stands_in_front(nn):
    original = nn.data._padded

    def padded(members, value, batch_first):
        whole = original([x[::-1] for x in members], value, batch_first)
        return whole[:, ::-1] if batch_first else whole[::-1]

    nn.data._padded = padded


@fault("test_serialization_checkpoints test_serialization_shards", "serialization-14")
def a_checkpoint_is_loaded_without_the_optimizer(nn):
    with_load(nn, optimizer=None)


@fault("test_serialization_shards", "serialization-10")
def metadata_of_one_file_are_lost(nn):
    from impl_numpy.serialization import files

    original = files.write
    files.write = lambda operation, path, arrays, _texts, old=(): original(
        operation, path, arrays, {}, old
    )


@fault("test_data", "data-06", "data-09")
def a_flag_counts_as_a_number_of_rows(nn):
    original = nn.data._size
    nn.data._size = lambda operation, value: original(operation, value if value is not True else 1)


@fault("test_nn_pool", "nn-22")
def padding_may_be_more_than_half_a_kernel(nn):
    from impl_numpy.nn import pool

    original = pool._Pool.__init__

    def __init__(self, kernel_size, stride, padding, **options):
        least = 2 * padding if isinstance(padding, int) and isinstance(kernel_size, int) else 0
        original(self, kernel_size, stride, 0 if least else padding, **options)
        self.padding = padding

    pool._Pool.__init__ = __init__


@fault("test_nn_convolution", "nn-19")
def same_is_taken_with_a_stride(nn):
    from impl_numpy.nn import conv

    original = conv._Forward.__init__

    def __init__(self, *arguments, padding=0, **options):
        original(self, *arguments, padding=0 if padding == "same" else padding, **options)
        self.padding = padding if isinstance(padding, str) else self.padding

    conv._Forward.__init__ = __init__


def explained_otherwise(nn, change):
    original = nn.explain

    def explain(module, *args, **kwargs):
        found = original(module, *args, **kwargs)
        found.rows[:] = [row._replace(**change(row)) for row in found.rows]
        return found

    nn.explain = explain


@fault("test_module_explain", "module-30")
def every_call_is_said_to_be_fused(nn):
    explained_otherwise(nn, lambda row: {"path": "fused", "why": ""})


@fault("test_module_explain", "module-30")
def what_is_kept_is_counted_in_numbers(nn):
    explained_otherwise(nn, lambda row: {"kept": row.kept // 4})


@fault("test_rnn_explain test_module_explain", "rnn-54")
def a_fused_layer_is_said_to_be_composed(nn):
    explained_otherwise(
        nn, lambda row: {"path": "composed", "why": "steps"} if row.nodes > 1 else {}
    )


@fault("test_module_explain", "module-31")
def an_explanation_draws(nn):
    original = nn.explain

    def explain(module, *args, **kwargs):
        found = original(module, *args, **kwargs)
        nn.rand(1)
        return found

    nn.explain = explain


@fault("test_optim_growth", "optim-29")
def a_later_group_gets_no_initial_rate(nn):
    growth, schedulers = nn.optim.growth, nn.optim.lr_scheduler

    def take_up(*several):
        growth.take_up(*several)
        for group in several[0].optimizer.param_groups:
            if group["lr"] == 2.0:
                group["initial_lr"] = 1.0

    schedulers.take_up = take_up


@fault("test_optim_search", "optim-18")
def a_value_must_fall_by_more(nn):
    nn.optim.lbfgs._C1 = 1.2e-4
