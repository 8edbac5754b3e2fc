"""The chapter ``serialization``: checkpoints, their layout, and loading them whole or not."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws, folder, load
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy

RATE, SEED = 0.25, 11
STATE = {"steps": 3, "best": math.inf, "marks": {2: "low"}, "span": (0.5, None), "on": [True, []]}


class Halving:
    """A scheduler of the user's own: it keeps whatever it is given."""

    def __init__(self, optimizer: Any, state: dict[str, Any] | None = None) -> None:
        self.optimizer, self.state = optimizer, dict(state or {"steps": 0})
        self.refuses = False

    def step(self) -> None:
        """Set the rate of the step that follows."""
        self.optimizer.param_groups[0]["lr"] = RATE / (1 + self.state["steps"])
        self.state["steps"] += 1

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it back."""
        if self.refuses:
            self.refuses = False
            msg = "mine"
            raise LookupError(msg)
        self.state = dict(state)


def parts(nn: Any, dtype: str = "float32", seed: int = 3) -> dict[str, Any]:
    """Return a network, its optimizer and its scheduler, as a checkpoint takes them."""
    nn.manual_seed(seed)
    options = {"dtype": getattr(nn, dtype)}
    module = nn.Sequential(nn.Linear(3, 4, **options), nn.Tanh(), nn.Linear(4, 1, **options))
    optimizer = nn.optim.Adam(module.parameters(), lr=RATE, betas=(0.75, 0.875), eps=1e-3)
    return {"module": module, "optimizer": optimizer, "scheduler": Halving(optimizer)}


def train(nn: Any, training: dict[str, Any], dtype: str, steps: int) -> None:
    """Take steps, each with a batch from the generator."""
    for _ in range(steps):
        x = nn.rand((5, 3), dtype=getattr(nn, dtype))
        training["optimizer"].zero_grad()
        error = training["module"](x) - x[:, :1] * x[:, 1:2]
        (error * error).mean().backward()
        training["scheduler"].step()
        training["optimizer"].step()


def held(nn: Any, training: dict[str, Any]) -> Any:
    """Return all that a checkpoint would change, bit for bit."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        if isinstance(value, nn.Tensor):
            array = to_numpy(nn, value)
            return array.dtype.name, array.shape, array.tobytes()
        return value

    states = {name: plain(dict(part.state_dict())) for name, part in training.items()}
    return states, plain(nn.get_rng_state())


def contents(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a safetensors file by its format alone: the arrays and the metadata."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    dtypes = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "BOOL": "?"}
    arrays = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        part = data[8 + length + begin : 8 + length + end]
        arrays[name] = np.frombuffer(part, dtypes[entry["dtype"]]).reshape(entry["shape"])
    return arrays, metadata


@clause("serialization-14")
def test_training_that_is_stopped_and_resumed(nn: Any, dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    through = parts(nn, dtype)
    train(nn, through, dtype, 2)
    position = {"epoch": 1, "places": [2, (3, "a")], "loss": math.nan, 7: None}
    given = {"position": position, "metadata": {"by": "me", "über": "日本"}}
    assert nn.save_checkpoint(path, **through, **given) is None
    train(nn, through, dtype, 2)
    resumed = parts(nn, dtype, seed=8)
    train(nn, resumed, dtype, 1)
    objects = [id(p) for p in resumed["module"].parameters()]
    back = nn.load_checkpoint(path, **resumed)
    assert back == (back.position, back.metadata)
    assert back.metadata == given["metadata"]
    assert math.isnan(back.position.pop("loss"))
    assert back.position == {"epoch": 1, "places": [2, (3, "a")], 7: None}
    assert [id(p) for p in resumed["module"].parameters()] == objects
    train(nn, resumed, dtype, 2)
    assert held(nn, resumed) == held(nn, through)


@clause("serialization-14", "serialization-15")
def test_training_that_was_stopped_elsewhere(nn: Any, dtype: str) -> None:
    training = parts(nn, dtype)
    back = nn.load_checkpoint(folder / f"checkpoint_{dtype}.safetensors", **training)
    assert back.position == {"epoch": 1, "batch": 4}
    assert back.metadata == {"written by": "torch"}
    scheduler = training["scheduler"]
    want = {"steps": 4, "best": math.inf, "marks": {2: "low"}, "span": (0.5, None)}
    assert scheduler.state == want
    draws = Draws(SEED)
    draws.units(4 * 15)
    exactly(nn, nn.get_rng_state(), draws.state())
    train(nn, training, dtype, 4)
    known = load("checkpoint")[dtype]
    for name, value in training["module"].state_dict().items():
        agrees(nn, value, known[name], "optim", call=f"{name} after the steps that follow")


@clause("serialization-15")
def test_the_layout(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = parts(nn)
    train(nn, training, "float32", 1)
    training["scheduler"] = Halving(None, STATE | {"rate": np.float64(1e-8), "mean": nn.ones((2,))})
    nn.save_checkpoint(path, **training, position=[1, -math.inf], metadata={"a": "b"})
    arrays, texts = contents(path)
    entries = [
        f"optimizer.state.{k}.{e}" for k in range(4) for e in ("step", "exp_avg", "exp_avg_sq")
    ]
    module = [f"module.{name}" for name in training["module"].state_dict()]
    assert set(arrays) == {*module, *entries, "scheduler.mean", "generator"}
    for name, value in training["module"].state_dict().items():
        exactly(nn, value, arrays[f"module.{name}"])
    exactly(nn, nn.get_rng_state(), arrays["generator"])
    state = training["optimizer"].state_dict()["state"]
    exactly(nn, state[1]["exp_avg"], arrays["optimizer.state.1.exp_avg"])
    exactly(nn, state[1]["step"], arrays["optimizer.state.1.step"], dtype="float32")
    names = ["format", "version", "parts", "optimizer", "scheduler", "position", "metadata"]
    assert sorted(texts) == sorted(names)
    assert (texts["format"], texts["version"]) == ("nn-checkpoint", "1")
    assert json.loads(texts["parts"]) == ["module", "optimizer", "scheduler", "generator"]
    assert json.loads(texts["position"]) == [1, {"float": "-inf"}]
    assert json.loads(texts["metadata"]) == {"a": "b"}
    assert json.loads(texts["scheduler"]) == {
        "dict": [
            ["steps", 3],
            ["best", {"float": "inf"}],
            ["marks", {"dict": [[2, "low"]]}],
            ["span", {"tuple": [0.5, None]}],
            ["on", [True, []]],
            ["rate", 1e-8],
            ["mean", {"array": "scheduler.mean"}],
        ]
    }
    ((first, states), (second, groups)) = json.loads(texts["optimizer"])["dict"]
    assert (first, second) == ("state", "param_groups")
    assert states["dict"][0][0] == 0
    assert ["exp_avg", {"array": "optimizer.state.0.exp_avg"}] in states["dict"][0][1]["dict"]
    group = dict(groups[0]["dict"])
    assert group["betas"] == {"tuple": [0.75, 0.875]}
    assert group["params"] == [0, 1, 2, 3]


@clause("serialization-15")
def test_a_state_comes_back_as_it_was(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    values = np.array([1.5, -2.0], np.float32)
    whole = STATE | {"big": 2**70, "small": 0.1, "none": None, "text": '"\n日本', "one": 1.0}
    for mean in (nn.tensor(values), nn.tensor(values).data, values):
        scheduler = Halving(None, whole | {"list": [mean, {"deep": mean}]})
        nn.save_checkpoint(path, scheduler=scheduler, generator=False)
        assert set(contents(path)[0]) == {"scheduler.list.0", "scheduler.list.1.deep"}
        other = Halving(None)
        nn.load_checkpoint(path, scheduler=other)
        first, second = other.state.pop("list")
        assert isinstance(first, nn.Tensor)
        exactly(nn, first, values)
        exactly(nn, second["deep"], values)
        assert other.state == whole
        assert list(other.state) == list(whole)
        assert isinstance(other.state["one"], float)
        assert isinstance(other.state["span"], tuple)


@clause("serialization-14")
def test_parts_of_a_checkpoint(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = parts(nn)
    nn.save_checkpoint(path, **training)
    before = held(nn, training)
    other = parts(nn, seed=9)
    nn.manual_seed(4)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    back = nn.load_checkpoint(path, module=other["module"], generator=False)
    assert (back.position, back.metadata) == (None, {})
    exactly(nn, nn.get_rng_state(), state)
    assert held(nn, other)[0]["module"] == before[0]["module"]
    nn.load_checkpoint(path)
    assert held(nn, training) == before
    nn.save_checkpoint(path, module=training["module"], generator=False)
    nn.manual_seed(4)
    nn.load_checkpoint(str(path), module=training["module"])
    exactly(nn, nn.get_rng_state(), state)
    for name in ("optimizer", "scheduler"):
        with refuses(ValueError, "load_checkpoint", str(path), name):
            nn.load_checkpoint(path, **{name: training[name]})
    with refuses(FileNotFoundError, "nowhere"):
        nn.load_checkpoint(tmp_path / "nowhere")


@clause("serialization-14", "serialization-15", "serialization-10")
def test_what_no_checkpoint_holds(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = parts(nn)
    nn.save_checkpoint(path, **training)
    before = path.read_bytes()
    array = nn.ones((2,))
    bad: list[tuple[type[Exception], tuple[str, ...], dict[str, Any]]] = [
        (TypeError, ("module", "int"), {"module": 3}),
        (TypeError, ("optimizer", "str"), {"optimizer": "Adam"}),
        (TypeError, ("scheduler", "float"), {"scheduler": 1.5}),
        (TypeError, ("metadata", "int"), {"metadata": {"a": 1}}),
        (TypeError, ("position", "object"), {"position": object()}),
        (TypeError, ("position",), {"position": {"at": array}}),
        (TypeError, ("scheduler", "a.1", "set"), {"scheduler": Halving(None, {"a": [0, {1}]})}),
        (TypeError, ("scheduler", "float"), {"scheduler": Halving(None, {"a": {1.5: 0}})}),
        (
            ValueError,
            ("scheduler.a.b",),
            {"scheduler": Halving(None, {"a.b": array, "a": {"b": array}})},
        ),
    ]
    for error, fragments, options in bad:
        with refuses(error, "save_checkpoint", *fragments):
            nn.save_checkpoint(path, **options)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    for options in ({"module": 3}, {"optimizer": "Adam"}, {"scheduler": 1.5}):
        with refuses(TypeError, "load_checkpoint", *options):
            nn.load_checkpoint(path, **options)
    with refuses(TypeError, "load_checkpoint", "int"):
        nn.load_checkpoint(3)


@clause("serialization-16")
@pytest.mark.parametrize("fault", ["module", "optimizer", "scheduler", "generator"])
def test_a_checkpoint_that_does_not_fit_changes_nothing(
    nn: Any, tmp_path: Path, fault: str
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = parts(nn)
    train(nn, training, "float32", 1)
    nn.save_checkpoint(path, **training)
    other = parts(nn, seed=9)
    train(nn, other, "float32", 2)
    error: type[Exception] = RuntimeError
    if fault == "module":
        other["module"].append(nn.Linear(1, 1))
    if fault == "optimizer":
        other["optimizer"], error = nn.optim.SGD(other["module"].parameters(), lr=0.5), ValueError
    if fault == "scheduler":
        other["scheduler"].refuses, error = True, LookupError
    if fault == "generator":
        error = ValueError
        altered(path, "generator")
    before = held(nn, other)
    with refuses((error, TypeError) if fault != "scheduler" else error):
        nn.load_checkpoint(path, **other)
    assert held(nn, other) == before


def altered(path: Path, name: str) -> None:
    """Write a byte that no state of the generator has over the last word of an entry."""
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[:8], "little")
    _, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    data[8 + length + end - 8] = 99
    path.write_bytes(data)


@clause("serialization-16")
@pytest.mark.parametrize("fault", ["truncated", "no checkpoint", "another version", "no JSON"])
def test_files_that_are_no_checkpoints(nn: Any, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    training = parts(nn)
    train(nn, training, "float32", 1)
    before = held(nn, training)
    shutil.copy(folder / "checkpoint_float32.safetensors", path)
    good = path.read_bytes()
    if fault == "truncated":
        path.write_bytes(good[:-1])
    if fault == "no checkpoint":
        nn.save(training["module"], path)
    if fault == "another version":
        path.write_bytes(good.replace(b'"version":"1"', b'"version":"9"'))
    if fault == "no JSON":
        path.write_bytes(good.replace(b'{\\"dict\\": [[\\"steps', b'(\\"dict\\": [[\\"steps'))
    assert path.read_bytes() != good
    with refuses(ValueError, "load_checkpoint", str(path)):
        nn.load_checkpoint(path, **training)
    assert held(nn, training) == before
