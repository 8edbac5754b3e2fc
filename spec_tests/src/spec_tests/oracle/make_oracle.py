"""Compute the reference results of layers, losses and optimizers with torch.nn in float64.

Run it with the versions that ``data/provenance.json`` names::

    python make_oracle.py

Every input is rounded to float32 or float64 first, and the float64 reference is computed from
the rounded numbers. Keys read ``case/dtype/field``; ``gradients/<output>`` are the gradients
when only that output has a cotangent, ``gradients/all`` when all have.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import save_file
from stored import folder, store
from torch import nn

SEED = 20261123
DTYPES = ("float32", "float64")
T, N, I, H = 5, 3, 4, 5  # noqa: E741 - the letters of the rnn chapter

Arrays = dict[str, Any]


def main() -> None:
    """Write every file of reference results, and where they come from."""
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    folder.mkdir(exist_ok=True)
    parts: list[Callable[[np.random.Generator], Arrays]] = [
        cells,
        layers,
        long_sequences,
        linear,
        losses,
        optimizers,
    ]
    for number, part in enumerate(parts):
        tree = part(np.random.default_rng([SEED, number]))
        store(part.__name__, dict(flatten(tree)))
    write_checkpoints(np.random.default_rng([SEED, len(parts)]))
    write_provenance()


def cells(random: np.random.Generator) -> Arrays:
    """One step of each cell: values, and gradients to input, state and parameters."""
    made: dict[str, Callable[[], Any]] = {
        "RNN_tanh": lambda: nn.RNNCell(I, H),
        "RNN_relu": lambda: nn.RNNCell(I, H, nonlinearity="relu"),
        "LSTM": lambda: nn.LSTMCell(I, H),
        "GRU": lambda: nn.GRUCell(I, H),
    }
    tree: Arrays = {}
    for name, make in made.items():
        states = ("h", "c") if name == "LSTM" else ("h",)
        for dtype in DTYPES:
            inputs = {"x": draw(random, (N, I), dtype)}
            inputs |= {state: draw(random, (N, H), dtype) for state in states}
            parameters = parameters_of(make(), random, dtype)
            cotangents = {state: draw(random, (N, H), dtype) for state in states}
            one_sample = {key: array[0] for key, array in inputs.items()}
            tree[f"{name}/{dtype}"] = {
                "inputs": inputs,
                "parameters": parameters,
                "cotangents": cotangents,
                **differentiated(call_cell, make(), inputs, parameters, cotangents),
                "without_state": call_cell(
                    filled(make(), parameters), {"x": torch.tensor(inputs["x"]).double()}
                ),
                "one_sample": differentiated(
                    call_cell,
                    make(),
                    one_sample,
                    parameters,
                    {key: array[0] for key, array in cotangents.items()},
                ),
            }
    return tree


def layers(random: np.random.Generator) -> Arrays:
    """T steps of each layer: values, gradients, and the gradient of a gradient penalty."""
    tree: Arrays = {}
    for name, make in LAYERS.items():
        states = ("h0", "c0") if name == "LSTM" else ("h0",)
        for dtype in DTYPES:
            inputs = {"x": draw(random, (T, N, I), dtype)}
            inputs |= {state: draw(random, (1, N, H), dtype) for state in states}
            parameters = parameters_of(make(I, H), random, dtype)
            cotangents = {"output": draw(random, (T, N, H), dtype)}
            for state in states:
                cotangents[f"{state[0]}_n"] = draw(random, (1, N, H), dtype)
            one_sample = {key: array[:, 0] for key, array in inputs.items()}
            tree[f"{name}/{dtype}"] = {
                "inputs": inputs,
                "parameters": parameters,
                "cotangents": cotangents,
                **differentiated(call_layer, make(I, H), inputs, parameters, cotangents),
                "penalty": penalised(make(I, H), inputs, parameters, cotangents),
                "without_state": call_layer(
                    filled(make(I, H), parameters), {"x": torch.tensor(inputs["x"]).double()}
                ),
                "without_bias": differentiated(
                    call_layer,
                    make(I, H, bias=False),
                    inputs,
                    {key: array for key, array in parameters.items() if "weight" in key},
                    cotangents,
                ),
                "one_sample": differentiated(
                    call_layer,
                    make(I, H),
                    one_sample,
                    parameters,
                    {key: array[:, 0] for key, array in cotangents.items()},
                ),
            }
    return tree


def long_sequences(random: np.random.Generator) -> Arrays:
    """2000 steps with contracting weights: some values, and every gradient.

    The inputs and cotangents are positive multiples of 1/64, so that sums over all steps do
    not cancel and the numbers are the same in both dtypes.
    """
    steps, width, hidden = 2000, 2, 3
    shown = np.array([0, 1, 999, 1998, 1999])
    x = random.integers(8, 64, (steps, 1, width)) / 64
    cotangents = {
        "output": random.integers(8, 64, (steps, 1, hidden)) / 64,
        "h_n": np.ones((1, 1, hidden)),
    }
    tree: Arrays = {
        "x": x.astype(np.float32),
        "shown": shown,
        "cotangents": {key: array.astype(np.float32) for key, array in cotangents.items()},
    }
    for name in ("RNN_tanh", "LSTM", "GRU"):
        make = LAYERS[name]
        for dtype in DTYPES:
            parameters = {
                key: random.uniform(0.08, 0.4, tuple(array.shape)).astype(dtype)
                for key, array in make(width, hidden).named_parameters()
            }
            result = differentiated(
                call_layer, make(width, hidden), {"x": x}, parameters, cotangents
            )
            output = result["outputs"].pop("output").detach().numpy()
            gradients = result["gradients"]["all"]
            tree[f"{name}/{dtype}"] = {
                "parameters": parameters,
                "outputs": {**result["outputs"], "shown": output[shown]},
                "gradients": {**gradients, "x": gradients["x"].numpy()[shown]},
            }
    return tree


def linear(random: np.random.Generator) -> Arrays:
    """``Linear`` on a matrix and on a stack of them, and ``Embedding`` with repeated indices."""
    tree: Arrays = {}
    for dtype in DTYPES:
        for name, shape in {"matrix": (3, 4), "stack": (2, 3, 4)}.items():
            inputs = {"x": draw(random, shape, dtype)}
            parameters = parameters_of(nn.Linear(4, 5), random, dtype)
            cotangents = {"y": draw(random, (*shape[:-1], 5), dtype)}
            weight = {"weight": parameters["weight"]}
            tree[f"{name}/{dtype}"] = {
                "inputs": inputs,
                "parameters": parameters,
                "cotangents": cotangents,
                **differentiated(call_linear, nn.Linear(4, 5), inputs, parameters, cotangents),
                "without_bias": differentiated(
                    call_linear, nn.Linear(4, 5, bias=False), inputs, weight, cotangents
                ),
            }
        indices = np.array([[1, 4, 1], [0, 2, 1]])
        layer = nn.Embedding(5, 3, padding_idx=2)
        parameters = parameters_of(layer, random, dtype)
        cotangent = draw(random, (2, 3, 3), dtype)
        y = filled(layer, parameters)(torch.tensor(indices))
        (gradient,) = torch.autograd.grad(y, [layer.weight], torch.tensor(cotangent).double())
        tree[f"embedding/{dtype}"] = {
            "indices": indices,
            "weight": parameters["weight"],
            "cotangent": cotangent,
            "y": y,
            "gradient": gradient,
        }
    return tree


def losses(random: np.random.Generator) -> Arrays:
    """Values, gradients, and gradients of the sum of the squared gradients."""
    tree: Arrays = {}
    for dtype in DTYPES:
        inputs = {"input": draw(random, (3, 4), dtype), "target": draw(random, (3, 4), dtype)}
        tree[f"mse/{dtype}"] = {
            "inputs": inputs,
            **reduced(nn.functional.mse_loss, inputs, {}, draw(random, (3, 4), dtype)),
        }
        shapes = {"classes": (4, 5), "one_sample": (5,), "positions": (3, 4, 2), "large": (2, 3)}
        for name, shape in shapes.items():
            axis = 0 if len(shape) == 1 else 1
            targets_shape = shape[:axis] + shape[axis + 1 :]
            logits = draw(random, shape, dtype)
            if name == "large":
                logits = np.array([[1000, -1000, 0], [-1000, 1000, 999]], dtype)
            targets = random.integers(0, shape[axis], targets_shape)
            tree[f"cross_entropy_{name}/{dtype}"] = {
                "inputs": {"input": logits},
                "target": targets,
                **reduced(
                    nn.functional.cross_entropy,
                    {"input": logits},
                    {"target": torch.tensor(targets)},
                    draw(random, targets_shape, dtype),
                ),
            }
    return tree


def optimizers(random: np.random.Generator) -> Arrays:
    """Ten steps of two parameters under given gradients, by ``torch.optim``."""
    made: dict[str, tuple[Any, Arrays]] = {
        "SGD_plain": (torch.optim.SGD, {"lr": 0.1}),
        "SGD_momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
        "SGD_dampening": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.75, "dampening": 0.5}),
        "SGD_nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        "SGD_decay": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.25}),
        "Adam_plain": (torch.optim.Adam, {"lr": 0.01}),
        "Adam_options": (
            torch.optim.Adam,
            {"lr": 0.05, "betas": (0.75, 0.9), "eps": 1e-3, "weight_decay": 0.25},
        ),
    }
    shapes = {"matrix": (3, 2), "vector": (4,)}
    tree: Arrays = {}
    for dtype in DTYPES:
        start = {key: draw(random, shape, dtype) for key, shape in shapes.items()}
        gradients = {key: draw(random, (10, *shape), dtype) for key, shape in shapes.items()}
        tree[f"given/{dtype}"] = {"start": start, "gradients": gradients}
        for name, (algorithm, options) in made.items():
            parameters = {key: nn.Parameter(torch.tensor(a).double()) for key, a in start.items()}
            optimizer = algorithm(parameters.values(), **options)
            path: dict[str, list[np.ndarray]] = {key: [] for key in shapes}
            for step in range(10):
                for key, parameter in parameters.items():
                    parameter.grad = torch.tensor(gradients[key][step]).double()
                optimizer.step()
                for key, parameter in parameters.items():
                    path[key].append(parameter.detach().numpy().copy())
            tree[f"{name}/{dtype}"] = {key: np.stack(steps) for key, steps in path.items()}
    return tree


def write_checkpoints(random: np.random.Generator) -> None:
    """Save a torch model by the safetensors library, and what it answers to some indices."""
    tree: Arrays = {}
    indices = random.integers(0, 7, (4, 2))
    for dtype in DTYPES:
        model = Tagger()
        parameters = parameters_of(model, random, dtype)
        saved = {key: torch.tensor(array) for key, array in parameters.items()}
        save_file(saved, folder / f"tagger_{dtype}.safetensors")
        tree[dtype] = {
            "indices": indices,
            "logits": filled(model, parameters)(torch.tensor(indices)),
        }
    store("tagger", dict(flatten(tree)))


class Tagger(nn.Module):
    """An Embedding, an LSTM and a Linear, in torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.lstm = nn.LSTM(3, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, indices: torch.Tensor) -> torch.Tensor:
        """Map indices (T, N) to logits (T, N, 2)."""
        return self.head(self.lstm(self.embedding(indices))[0])


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "RNN_tanh": nn.RNN,
    "RNN_relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "LSTM": nn.LSTM,
    "GRU": nn.GRU,
}


def call_cell(cell: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Call a cell with its state, if there is one, and name what it returns."""
    if isinstance(cell, nn.LSTMCell):
        h, c = cell(inputs["x"], (inputs["h"], inputs["c"]) if "h" in inputs else None)
        return {"h": h, "c": c}
    return {"h": cell(inputs["x"], inputs.get("h"))}


def call_layer(layer: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Call a layer with its state, if there is one, and name what it returns."""
    if isinstance(layer, nn.LSTM):
        state = (inputs["h0"], inputs["c0"]) if "h0" in inputs else None
        output, (h_n, c_n) = layer(inputs["x"], state)
        return {"output": output, "h_n": h_n, "c_n": c_n}
    output, h_n = layer(inputs["x"], inputs.get("h0"))
    return {"output": output, "h_n": h_n}


def call_linear(layer: nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Call a layer of one input and one output."""
    return {"y": layer(inputs["x"])}


def differentiated(
    call: Callable[..., dict[str, torch.Tensor]],
    module: nn.Module,
    inputs: Arrays,
    parameters: Arrays,
    cotangents: Arrays,
) -> Arrays:
    """Return the outputs, and the gradients for each cotangent alone and for all of them."""
    filled(module, parameters)
    leaves = {key: leaf(array) for key, array in inputs.items()}
    outputs = call(module, leaves)
    wanted = leaves | dict(module.named_parameters())
    sets = {"all": tuple(cotangents)}
    if len(cotangents) > 1:
        sets |= {key: (key,) for key in cotangents}
    gradients = {}
    for name, chosen in sets.items():
        gradients = torch.autograd.grad(
            [outputs[key] for key in chosen],
            list(wanted.values()),
            [torch.tensor(cotangents[key]).double() for key in chosen],
            retain_graph=True,
            allow_unused=True,
        )
        gradients[name] = {
            key: torch.zeros_like(value) if gradient is None else gradient
            for (key, value), gradient in zip(wanted.items(), gradients, strict=True)
        }
    return {"outputs": outputs, "gradients": gradients}


def penalised(layer: nn.Module, inputs: Arrays, parameters: Arrays, cotangents: Arrays) -> Arrays:
    """Return the sum of the squared gradients to all inputs, and its own gradients."""
    filled(layer, parameters)
    leaves = {key: leaf(array) for key, array in inputs.items()}
    outputs = call_layer(layer, leaves)
    first = torch.autograd.grad(
        [outputs[key] for key in cotangents],
        list(leaves.values()),
        [torch.tensor(array).double() for array in cotangents.values()],
        create_graph=True,
    )
    penalty = sum((gradient**2).sum() for gradient in first)
    wanted = leaves | dict(layer.named_parameters())
    gradients = torch.autograd.grad(penalty, list(wanted.values()), allow_unused=True)
    gradients = {
        key: torch.zeros_like(value) if gradient is None else gradient
        for (key, value), gradient in zip(wanted.items(), gradients, strict=True)
    }
    return {"value": penalty, "gradients": gradients}


def reduced(function: Any, inputs: Arrays, options: Arrays, cotangent: np.ndarray) -> Arrays:
    """Return value, gradients and gradients of their squares' sum for each reduction."""
    tree: Arrays = {"cotangent": cotangent}
    for reduction in ("mean", "sum", "none"):
        leaves = {key: leaf(array) for key, array in inputs.items()}
        value = function(**leaves, **options, reduction=reduction)
        weights = torch.tensor(cotangent).double() if reduction == "none" else None
        first = torch.autograd.grad(value, list(leaves.values()), weights, create_graph=True)
        penalty = sum((gradient**2).sum() for gradient in first)
        second = torch.autograd.grad(penalty, list(leaves.values()))
        tree[reduction] = {
            "value": value,
            "gradients": dict(zip(leaves, first, strict=True)),
            "second": dict(zip(leaves, second, strict=True)),
        }
    return tree


def draw(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return numbers of order one, rounded to the dtype."""
    return np.asarray(random.uniform(-1.5, 1.5, shape)).astype(dtype)


def parameters_of(module: nn.Module, random: np.random.Generator, dtype: str) -> Arrays:
    """Return numbers of a usual size for every parameter of the module."""
    return {
        key: random.uniform(-0.7, 0.7, tuple(value.shape)).astype(dtype)
        for key, value in module.named_parameters()
    }


def filled(module: nn.Module, parameters: Arrays) -> nn.Module:
    """Give the module these parameters, in float64."""
    module.load_state_dict({key: torch.tensor(a).double() for key, a in parameters.items()})
    return module


def leaf(array: np.ndarray) -> torch.Tensor:
    """Return a float64 leaf with the values of the array."""
    return torch.tensor(array).double().requires_grad_()


def flatten(tree: Arrays, prefix: str = "") -> Iterable[tuple[str, np.ndarray]]:
    """Yield the arrays of dicts in dicts, their keys joined by slashes."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}/")
        else:
            yield prefix + key, value.detach().numpy() if torch.is_tensor(value) else value


def write_provenance() -> None:
    """Write down what made the files."""
    facts = {
        "made by": ["make_oracle.py", "make_init_vectors.py"],
        "date": date.today().isoformat(),
        "seed": SEED,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
        "machine": platform.machine(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "reference dtype": "float64",
    }
    (folder / "provenance.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
