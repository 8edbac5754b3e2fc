"""The chapter ``module``: which way a call takes, and why."""

import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, tensor, to_numpy

pytestmark = pytest.mark.sampled(4)

FIELDS = ("name", "kind", "inputs", "outputs", "path", "kernel", "why", "nodes", "kept")


def functions(nn: Any) -> tuple[Any, Any]:
    """Return two Functions: one that keeps what it makes, one that keeps nothing."""

    class Cubed(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            made = x * x
            ctx.save_for_backward(made)
            return made * x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return 3 * ctx.saved_tensors[0] * grad

    class Halved(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x / 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad / 2

    return Cubed, Halved


def module_of(nn: Any, call: Any, **children: Any) -> Any:
    """Return a Module whose `forward` is a function of it and the arguments."""

    class Made(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, child in children.items():
                setattr(self, name, child)

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return call(self, *args, **kwargs)

    return Made()


def coherent(row: Any) -> None:
    """Check what holds of every row."""
    assert tuple(row._fields) == FIELDS
    assert row.path in ("fused", "composed", "children", "none"), row
    assert (row.nodes == 0) == (row.path in ("children", "none")), row
    assert bool(row.kernel) == (row.nodes > 0), row
    assert bool(row.why) == (row.path == "composed"), row
    for text in (row.kernel, row.why):
        assert isinstance(text, str), row
        assert text == text.strip(), row
        assert "\n" not in text, row
    for number in (row.nodes, row.kept):
        assert type(number) is int, row
        assert number >= 0, row


@clause("module-29")
def test_the_rows_are_the_calls_in_their_order(nn: Any) -> None:
    layer = nn.Linear(4, 4)

    def call(self: Any, x: Any, scale: Any, *, last: Any) -> Any:
        del scale, last
        x = self.body(x)
        return {"x": x}, [self.again(x), None]

    body = nn.Sequential(nn.Linear(3, 4), nn.Flatten(0, 1))
    module = module_of(nn, call, unused=nn.ReLU(), body=body, again=layer, tied=layer)
    made = nn.explain(module, nn.ones((2, 2, 3)), 3.0, last=nn.zeros((5,), dtype=nn.int64))
    x, y, z = ((2, 2, 3), nn.float32), ((2, 2, 4), nn.float32), ((4, 4), nn.float32)
    assert [row[:4] for row in made.rows] == [
        ("", "Made", (x, None, ((5,), nn.int64)), (None, (z, None))),
        ("body", "Sequential", (x,), z),
        ("body.0", "Linear", (x,), y),
        ("body.1", "Flatten", (y,), z),
        ("again", "Linear", (z,), z),
    ]
    assert type(made.rows) is list
    for row in made.rows:
        coherent(row)


@clause("module-29")
def test_each_call_of_one_module_has_a_row(nn: Any) -> None:
    def call(self: Any, x: Any) -> Any:
        for _ in range(3):
            x = self.layer(x)
        return x

    rows = nn.explain(module_of(nn, call, layer=nn.Linear(2, 2)), nn.ones((1, 2))).rows
    assert [row.name for row in rows] == ["", "layer", "layer", "layer"]
    assert rows[0].path == "children"
    assert len({row[4:] for row in rows[1:]}) == 1


@clause("module-29")
def test_a_call_that_raised_has_a_row(nn: Any) -> None:
    cubed, halved = functions(nn)

    def fails(_: Any, x: Any) -> Any:
        msg = f"{x.shape}"
        raise LookupError(msg)

    def call(self: Any, x: Any) -> Any:
        x = cubed.apply(x)
        with pytest.raises(LookupError):
            self.fails(x)
        return halved.apply(self.works(x))

    module = module_of(nn, call, fails=module_of(nn, fails), works=nn.Tanh())
    rows = nn.explain(module, nn.ones((3,))).rows
    for row in rows:
        coherent(row)
    entry = ((3,), nn.float32)
    assert [(row.name, row.inputs, row.outputs, row.path) for row in rows] == [
        ("", (entry,), entry, "composed"),
        ("fails", (entry,), None, "none"),
        ("works", (entry,), entry, "fused"),
    ]
    assert rows[0].nodes == 2


@clause("module-29")
def test_an_explanation_reads_as_a_table(nn: Any) -> None:
    layer = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.LSTM(2, 2))
    made = nn.explain(layer, nn.ones((4, 1, 3)))
    lines = str(made).splitlines()
    for row in made.rows:
        wanted = (row.name, row.kind, row.path, row.kernel, row.why)
        assert any(all(text in line for text in wanted) for line in lines), row


@clause("module-29")
def test_arguments_are_replaced_by_leaves_that_require_grad(nn: Any) -> None:
    seen: list[Any] = []

    def call(self: Any, x: Any, *, others: Any) -> Any:
        given = [x, others["a"], others["b"][0]]
        seen.append([(t.requires_grad, t.is_leaf, to_numpy(nn, t)) for t in given])
        seen.append((nn.is_grad_enabled(), self.training, others["b"][1].requires_grad))
        assert others["x"] is x
        return x * others["a"]

    module = module_of(nn, call).eval()
    leaf = tensor(nn, np.arange(3.0))
    x, a, b = leaf * 2, nn.ones((3,)), nn.full((2,), 5.0)
    nn.ops.sum(x).backward(retain_graph=True)
    before = to_numpy(nn, leaf.grad).copy()
    with nn.no_grad():
        rows = nn.explain(module, x, others={"a": a, "b": [b, nn.arange(3)], "x": x}).rows
        assert not nn.is_grad_enabled()
    (of_x, of_a, of_b), flags = seen
    for got, want in ((of_x, x), (of_a, a), (of_b, b)):
        assert got[:2] == (True, True)
        exactly(nn, got[2], to_numpy(nn, want))
    assert flags == (True, False, False)
    assert not a.requires_grad
    exactly(nn, leaf.grad, before)
    nn.ops.sum(x).backward()
    exactly(nn, leaf.grad, 2 * before)
    assert rows[0].nodes == 1
    assert rows[0].path == "fused"


@clause("module-30")
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_nodes_are_the_functions_that_were_applied(nn: Any, steps: int) -> None:
    cubed, halved = functions(nn)

    def call(_: Any, x: Any) -> Any:
        for step in range(steps):
            x = (halved if step % 2 else cubed).apply(x)
        return x

    (row,) = nn.explain(module_of(nn, call), nn.ones((4,))).rows
    coherent(row)
    assert row.nodes == steps
    assert row.path == ("fused" if steps == 1 else "composed")
    assert row.kernel.count("Cubed") == 1
    assert row.kernel.count("Halved") == (steps > 1)
    assert steps == 1 or row.kernel.index("Cubed") < row.kernel.index("Halved")


@clause("module-30")
def test_what_other_modules_record_counts_there(nn: Any) -> None:
    cubed, halved = functions(nn)
    inner = module_of(nn, lambda _, x: halved.apply(cubed.apply(x)))

    def around(self: Any, x: Any) -> Any:
        return halved.apply(self.inner(halved.apply(halved.apply(x))))

    def beside(self: Any, x: Any) -> Any:
        return halved.apply(self.inner(x))

    found = {}
    for name, call in (
        ("around", around),
        ("beside", beside),
        ("through", lambda self, x: self.inner(self.inner(x))),
    ):
        rows = nn.explain(module_of(nn, call, inner=inner), nn.ones((4,))).rows
        found[name] = [(row.path, row.nodes) for row in rows]
        for row in rows:
            coherent(row)
    assert found == {
        "around": [("composed", 3), ("composed", 2)],
        "beside": [("composed", 1), ("composed", 2)],
        "through": [("children", 0), ("composed", 2), ("composed", 2)],
    }


@clause("module-30")
def test_the_path_none(nn: Any) -> None:
    cubed, _ = functions(nn)

    def unrecorded(_: Any, x: Any) -> Any:
        with nn.no_grad():
            return cubed.apply(x)

    cases = {
        "Identity": nn.Identity(),
        "Dropout in evaluation": nn.Dropout(0.5).eval(),
        "another shape": module_of(nn, lambda _, x: nn.ops.reshape(x, (2, 2, 2))),
        "another order": module_of(nn, lambda _, x: nn.ops.permute_dims(x, (1, 0))),
        "Flatten": nn.Flatten(0),
        "under no_grad": module_of(nn, unrecorded),
        "a constant": module_of(nn, lambda _, __: nn.ones((3,))),
    }
    for name, module in cases.items():
        (row,) = nn.explain(module, nn.ones((2, 4))).rows
        assert (row.path, row.nodes, row.kernel, row.why) == ("none", 0, "", ""), name
    moved = module_of(nn, lambda _, x: nn.ops.reshape(cubed.apply(x.T), (8,)))
    (row,) = nn.explain(moved, nn.ones((2, 4))).rows
    assert (row.path, row.nodes) == ("fused", 1)


@clause("module-30")
def test_the_bytes_that_are_kept(nn: Any) -> None:
    cubed, halved = functions(nn)
    x = nn.zeros((1000,), dtype=nn.float64)
    for module, kept in (
        (module_of(nn, lambda _, x: cubed.apply(x)), 8000),
        (module_of(nn, lambda _, x: cubed.apply(halved.apply(cubed.apply(x)))), 16000),
        (module_of(nn, lambda _, x: halved.apply(halved.apply(x))), 0),
        (nn.Identity(), 0),
    ):
        (row,) = nn.explain(module, x).rows
        assert row.kept == kept
    # A weight lives anyway, the input lives on for it.
    layer = nn.Linear(500, 500)
    (row,) = nn.explain(layer, nn.zeros((2, 500))).rows
    assert 2 * 500 * 4 <= row.kept <= 4 * 500 * 4
    (row,) = nn.explain(layer.requires_grad_(False), nn.zeros((2, 500))).rows
    assert row.nodes >= 1
    assert row.kept <= 2 * 500 * 4


# An option or argument of each, beside the call without it.
OPTIONS: dict[str, Any] = {
    "Linear bias": (("Linear", (3, 4), {}), ("Linear", (3, 4), {"bias": False}), "linear"),
    "Conv1d padding_mode": (
        ("Conv1d", (3, 4, 2), {"padding": 1}),
        ("Conv1d", (3, 4, 2), {"padding": 1, "padding_mode": "circular"}),
        "conv",
    ),
    "Conv1d groups": (
        ("Conv1d", (3, 3, 2), {}),
        ("Conv1d", (3, 3, 2), {"groups": 3}),
        "conv",
    ),
    "LayerNorm elementwise_affine": (
        ("LayerNorm", (3,), {}),
        ("LayerNorm", (3,), {"elementwise_affine": False}),
        "linear",
    ),
    "BatchNorm1d track_running_stats": (
        ("BatchNorm1d", (3,), {}),
        ("BatchNorm1d", (3,), {"track_running_stats": False}),
        "conv",
    ),
    "GELU approximate": (("GELU", (), {}), ("GELU", (), {"approximate": "tanh"}), "linear"),
    "MaxPool1d return_indices": (
        ("MaxPool1d", (2,), {}),
        ("MaxPool1d", (2,), {"return_indices": True}),
        "conv",
    ),
    "AvgPool1d count_include_pad": (
        ("AvgPool1d", (2,), {"padding": 1}),
        ("AvgPool1d", (2,), {"padding": 1, "count_include_pad": False}),
        "conv",
    ),
}


@clause("module-30")
@pytest.mark.parametrize("case", list(OPTIONS))
def test_an_option_that_leads_off_the_fused_path_is_named(nn: Any, case: str) -> None:
    plain, optional, form = OPTIONS[case]
    x = nn.ones({"linear": (5, 3), "conv": (2, 3, 6)}[form])
    rows = []
    for name, args, options in (plain, optional):
        (row,) = nn.explain(getattr(nn, name)(*args, **options), x).rows
        coherent(row)
        assert row.nodes > 0
        rows.append(row)
    for row, other in (rows, rows[::-1]):
        if row.path == "composed" and other.path == "fused":
            assert case.partition(" ")[2] in row.why


@clause("module-30")
def test_an_argument_that_leads_off_the_fused_path_is_named(nn: Any) -> None:
    layer, x = nn.MultiheadAttention(4, 2), nn.ones((3, 2, 4))
    calls: dict[str, Any] = {
        "": {"need_weights": False},
        "need_weights": {},
        "attn_mask": {"need_weights": False, "attn_mask": nn.zeros((3, 3))},
        "key_padding_mask": {
            "need_weights": False,
            "key_padding_mask": nn.zeros((2, 3), dtype=nn.bool),
        },
    }
    found = {key: nn.explain(layer, x, x, x, **given).rows[0] for key, given in calls.items()}
    for key, row in found.items():
        coherent(row)
        assert row.nodes > 0
        if key and row.path == "composed" and found[""].path == "fused":
            assert key in row.why


def held(nn: Any, module: Any) -> dict[str, tuple[Any, Any, Any]]:
    """Return each Parameter and buffer with copies of its values and its grad, empty for none."""
    found = {}
    for name, entry in [*module.named_parameters(), *module.named_buffers()]:
        grad = np.zeros((0,)) if entry.grad is None else to_numpy(nn, entry.grad).copy()
        found[name] = (entry, to_numpy(nn, entry).copy(), grad)
    return found


@clause("module-31")
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_as_it_was(nn: Any, fails: bool) -> None:
    def call(self: Any, x: Any) -> Any:
        y = self.body(x)
        self.steps = self.steps + 1
        if fails:
            msg = "mine"
            raise LookupError(msg)
        return y

    module = module_of(
        nn, call, body=nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    )
    module.register_buffer("steps", nn.zeros((1,)))
    module.training = False
    module.body[0].bias.requires_grad_(False)
    called: list[str] = []
    module.body[0].register_full_backward_hook(lambda *_: called.append("backward"))
    module.body[0].register_forward_hook(lambda *_: called.append("forward"))
    x = tensor(nn, np.arange(15.0, dtype=np.float32).reshape(5, 3))
    nn.ops.sum(module.body(x)).backward()
    called.clear()
    before = held(nn, module)
    flags = [(part.training, id(part)) for part in module.modules()]
    wants = [parameter.requires_grad for parameter in module.parameters()]
    at_x = to_numpy(nn, x.grad).copy()
    nn.manual_seed(7)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    if fails:
        with pytest.raises(LookupError, match="mine"):
            nn.explain(module, x)
    else:
        rows = nn.explain(module, x).rows
        assert [row.kind for row in rows][2:] == ["Linear", "BatchNorm1d", "Dropout"]
        # Dropout in training multiplies.
        assert rows[-1].nodes > 0
    assert called == ["forward"]
    after = held(nn, module)
    assert list(after) == list(before)
    for name, (entry, values, grad) in after.items():
        assert entry is before[name][0], name
        exactly(nn, values, before[name][1], call=name)
        exactly(nn, grad, before[name][2], call=f"grad of {name}")
    assert [(part.training, id(part)) for part in module.modules()] == flags
    assert [parameter.requires_grad for parameter in module.parameters()] == wants
    exactly(nn, nn.get_rng_state(), state)
    exactly(nn, x.grad, at_x)
    assert nn.is_grad_enabled()


@clause("module-31")
def test_nothing_of_the_call_stays(nn: Any) -> None:
    layer = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    seen: list[Any] = []

    class Mark:
        pass

    class Marked(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark = Mark()
            seen.append(weakref.ref(ctx.mark))
            return x + 1

        @staticmethod
        def backward(_: Any, grad: Any) -> Any:
            return grad

    module = module_of(nn, lambda self, x: Marked.apply(self.layer(x)), layer=layer)
    made = nn.explain(module, nn.ones((2, 3)))
    gc.collect()
    assert [mark() for mark in seen] == [None]
    assert len(made.rows) == 4
    # A hook of its own that stayed could not be pickled.
    exactly(nn, pickle.loads(pickle.dumps(layer))[0].bias, to_numpy(nn, layer[0].bias))


@clause("module-31", "errors-06")
def test_what_cannot_be_explained(nn: Any) -> None:
    for wrong in (3, None, nn.Linear, lambda x: x):
        with refuses(TypeError, "explain", (type(wrong).__name__, str(wrong), "Linear")):
            nn.explain(wrong, nn.ones((2, 3)))
