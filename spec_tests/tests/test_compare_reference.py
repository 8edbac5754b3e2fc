"""The comparison's reference and its shadows. Runs where PyTorch is installed."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import pytest

from spec_tests.compare.agreement import allowance, first_divergence
from spec_tests.compare.network import make_network
from spec_tests.compare.reference import SHADOWS, main
from spec_tests.compare.workloads import PADDING, WORKLOADS, Batches, save_arrays

torch = importlib.import_module("torch") if importlib.util.find_spec("torch") else None
pytestmark = pytest.mark.skipif(torch is None, reason="the reference is made with PyTorch")

STEPS = 60
DIGITS = replace(WORKLOADS[2], hidden_size=12, steps=STEPS, lr_drop=40)
PYDOC = replace(WORKLOADS[3], input_size=5, hidden_size=9, classes=7, steps=STEPS, lr_drop=40)
TRUECASE = replace(WORKLOADS[4], input_size=4, hidden_size=5, vocabulary=6, steps=STEPS, lr_drop=40)
WORKLOAD = pytest.mark.parametrize(
    "workload", [DIGITS, PYDOC, TRUECASE], ids=lambda workload: workload.name
)


@pytest.fixture
def reference(tmp_path):
    """A function that makes the reference of a workload on made-up data."""
    generator = np.random.default_rng(0)
    digits = {
        "images": generator.integers(0, 17, (50, 8, 8)) / 16,
        "labels": generator.integers(0, 10, 50),
        "batches": generator.integers(0, 40, (STEPS, 32)),
        "held_out": np.arange(40, 50),
    }
    pydoc = {
        "tokens": generator.integers(0, 7, 400).cumsum() % 7,
        "batches": generator.integers(0, 300, (STEPS, 16)),
        "held_out": np.arange(310, 380),
        "length": np.int64(6),
    }
    there = np.arange(7) < generator.integers(1, 8, (60, 1))
    truecase = {
        "tokens": np.where(there, generator.integers(1, 6, (60, 7)), 0),
        "capitals": np.where(there, generator.integers(0, 2, (60, 7)), PADDING),
        "batches": generator.integers(0, 40, (STEPS, 16)),
        "held_out": np.arange(40, 60),
    }
    save_arrays(tmp_path / "truecase.npz", truecase)
    save_arrays(tmp_path / "digits.npz", digits)
    save_arrays(tmp_path / "pydoc.npz", pydoc)

    def make(workload):
        torch.manual_seed(0)
        network = make_network(torch.nn, workload, torch.float32)
        initial = {f"initial/{name}": value.numpy() for name, value in network.state_dict().items()}
        save_arrays(tmp_path / "initial.npz", initial)
        job = {
            "data": str(tmp_path),
            "out": str(tmp_path),
            "workloads": [workload.as_dict()],
            "initial": {workload.name: str(tmp_path / "initial.npz")},
        }
        (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
        assert main(tmp_path / "job.json") == 0
        with np.load(tmp_path / f"{workload.name}.npz") as stored:
            return (
                network,
                Batches(tmp_path / f"{workload.dataset}.npz", workload.dataset),
                {**stored},
            )

    return make


def train(network, batches, workload, **options):
    """Return the losses of a float32 training that the reference's code has no part in."""
    optimizer = torch.optim.Adam(network.parameters(), lr=workload.lr, **options)
    losses = []
    for step in range(workload.steps):
        inputs, targets = (torch.tensor(array) for array in batches.training(step))
        if step == workload.lr_drop:
            optimizer.param_groups[0]["lr"] /= 10
        optimizer.zero_grad()
        logits = network(inputs.float() if workload.dataset == "digits" else inputs)
        loss = torch.nn.functional.cross_entropy(logits, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


@WORKLOAD
def test_shadows_differ_by_rounding_alone(reference, workload, capsys):
    _, _, arrays = reference(workload)
    assert arrays["shadows"].shape == (SHADOWS, STEPS)
    strayed = np.abs(arrays["shadows"] / arrays["losses"] - 1)
    assert np.all(strayed.max(axis=1) > 0)
    assert np.all(strayed[:, 0] < 1e-6)
    assert np.all(strayed < 1e-3)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said[-1] == {"event": "done"}
    units = sum(message["units"] for message in said if message["event"] == "step")
    assert units == (1 + SHADOWS) * STEPS * workload.weight


@WORKLOAD
def test_a_right_training_never_leaves_the_reference(reference, workload):
    network, batches, arrays = reference(workload)
    losses = train(network, batches, workload)
    allowed = allowance(arrays["losses"], arrays["shadows"])
    assert first_divergence(losses, arrays["losses"], allowed)[0] is None


@WORKLOAD
def test_a_wrong_optimizer_leaves_it(reference, workload):
    network, batches, arrays = reference(workload)
    losses = train(network, batches, workload, eps=1e-6)
    allowed = allowance(arrays["losses"], arrays["shadows"])
    step, _ = first_divergence(losses, arrays["losses"], allowed)
    assert step is not None
    assert step < 10


@WORKLOAD
def test_held_out_results_are_those_of_the_final_parameters(reference, workload, tmp_path):
    network, batches, arrays = reference(workload)
    final = {
        name.removeprefix("final/"): torch.tensor(array)
        for name, array in arrays.items()
        if name.startswith("final/")
    }
    network.double().load_state_dict(final)
    inputs, targets = batches.held_out()
    with torch.no_grad():
        guesses = network(torch.tensor(inputs)).argmax(-1).numpy()
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    accuracy = results["workloads"][workload.name]["final_accuracy"]
    there = targets != PADDING
    assert accuracy == pytest.approx(np.mean(guesses[there] == targets[there]))
