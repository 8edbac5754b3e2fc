"""What torch itself does with our Tensors and Modules: layers, optimizers, files, compilation."""

import copy
import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tolerances import agree

import impl_torch_ext as nn

LAYERS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "Linear": (lambda: torch.nn.Linear(4, 3), (5, 4)),
    "Conv1d": (lambda: torch.nn.Conv1d(4, 3, 2), (5, 4, 6)),
    "BatchNorm1d": (lambda: torch.nn.BatchNorm1d(4), (5, 4)),
    "LayerNorm": (lambda: torch.nn.LayerNorm(4), (5, 4)),
    "MultiheadAttention": (lambda: Attention(), (5, 4)),
    "LSTM": (lambda: First(torch.nn.LSTM(4, 3)), (6, 5, 4)),
    "GRU": (lambda: First(torch.nn.GRU(4, 3)), (6, 5, 4)),
}


class First(torch.nn.Module):
    """The first output of a layer."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class Attention(torch.nn.Module):
    """A sequence that attends to itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.MultiheadAttention(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, x, x)[0]


def gradients(layer: torch.nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return the output and the gradients of the input and the parameters."""
    y = layer(x)
    (y * torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    return [y.detach(), x.grad, *(p.grad for p in layer.parameters())]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_torch_take_our_tensors_and_parameters(name: str) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer = make()
    plain = copy.deepcopy(layer)
    for module in layer.modules():
        for key, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, key, nn.Parameter(parameter.detach().clone()))
    assert all(type(p) is nn.Parameter for p in layer.parameters())
    values = torch.randn(shape)
    got = gradients(layer, nn.tensor(values, requires_grad=True))
    want = gradients(plain, values.clone().requires_grad_())
    for one, other in zip(got, want, strict=True):
        assert torch.equal(one, other)


def test_our_layers_stand_among_those_of_torch() -> None:
    torch.manual_seed(0)
    mixed = torch.nn.Sequential(nn.Linear(4, 3), torch.nn.Tanh(), nn.LayerNorm(3), torch.nn.ReLU())
    plain = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.LayerNorm(3), torch.nn.ReLU()
    )
    plain.load_state_dict(mixed.state_dict())
    values = torch.randn(5, 4)
    got = gradients(mixed, nn.tensor(values, requires_grad=True))
    want = gradients(plain, values.clone().requires_grad_())
    for one, other in zip(got, want, strict=True):
        agree(one, other, "rnn")


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "Adam of several at once": lambda p: torch.optim.Adam(p, lr=0.1, foreach=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_of_torch_change_our_leaves(name: str) -> None:
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    ours = [nn.tensor(start, requires_grad=True), nn.Parameter(start * 2)]
    plain = [start.clone().requires_grad_(), torch.nn.Parameter(start * 2)]
    for parameters in (ours, plain):
        optimizer = OPTIMIZERS[name](parameters)
        for _ in range(4):
            optimizer.zero_grad()
            (parameters[0] * parameters[1]).square().sum().backward()
            optimizer.step()
    for one, other in zip(ours, plain, strict=True):
        assert torch.equal(one, other)
        assert not torch.equal(one, start)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_before_backward_is_noticed(name: str) -> None:
    x = nn.ones((3, 4), requires_grad=True)
    x.grad = torch.ones(3, 4)
    y = (x * x).sum()
    OPTIMIZERS[name]([x]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_files_of_torch_hold_what_torch_alone_can_read() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    x.label = "kept"
    layer = nn.Linear(2, 3)
    file = io.BytesIO()
    torch.save({"x": x, "y": nn.ones(2), "state": layer.state_dict()}, file)
    program = (
        "import io, sys, torch\n"
        "held = torch.load(io.BytesIO(sys.stdin.buffer.read()))\n"
        "assert 'impl_torch_ext' not in sys.modules\n"
        "assert type(held['x']) is type(held['state']['weight']) is torch.Tensor\n"
        "assert held['x'].requires_grad and held['x'].label == 'kept'\n"
        "print(held['x'].tolist(), held['y'].tolist())\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", program], input=file.getvalue(), capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr.decode()
    assert made.stdout.decode().strip() == "[1.0, 2.0] [1.0, 1.0]"
    file.seek(0)
    layer.load_state_dict(torch.load(file)["state"])


def test_pickle_and_copy_give_our_classes() -> None:
    for x in (nn.tensor([1.0, 2.0], requires_grad=True), nn.Parameter(nn.ones(2))):
        x.label = "kept"
        for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x)):
            assert type(again) is type(x)
            assert torch.equal(again, x)
            assert (again.requires_grad, again.label) == (True, "kept")


class Net(nn.Module):
    """Layers and functions that make one graph."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.norm = nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.act(self.a(x)))
        y = nn.ops.maximum(nn.ops.abs(y), nn.ops.clip(y, -0.5, 0.5)) + nn.ops.max(y, axis=0)
        return nn.ops.softmax(nn.ops.take(y, torch.arange(20) % 8, axis=1))


class Looked(nn.Module):
    """Rows of a table through a recurrent layer."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(6, 4), getattr(nn, cell)(4, 5)

    def forward(self, i: torch.Tensor) -> torch.Tensor:
        return self.layer(self.table(i))[0]


# The compiler of torch looks into nodes and results and warns of what it sees there, before it
# leaves a Function to the interpreter.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["one graph", "RNN", "LSTM", "GRU"])
def test_modules_can_be_compiled(name: str) -> None:
    whole = name == "one graph"
    module = Net() if whole else Looked(name)
    generator = torch.Generator().manual_seed(0)
    x = (
        torch.randn(5, 4, generator=generator)
        if whole
        else torch.randint(0, 6, (3, 2), generator=generator)
    )
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=whole)
    results = []
    for call in (module, compiled):
        module.zero_grad()
        y = call(x)
        y.square().sum().backward()
        results.append([y.detach(), *(p.grad for p in module.parameters())])
    for one, other in zip(*results, strict=True):
        agree(other, one, "rnn")
