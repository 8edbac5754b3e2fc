"""Carry training from one implementation to another, and from and to torch.nn.

Each writer trains for an epoch and writes a checkpoint. Each reader reads each checkpoint, writes
it again, which must give the same bits, and trains for another epoch, which must give the same
losses to rounding. torch.nn is the fifth: its own layers, optimizer and scheduler, with the files,
the batches and the dropout masks of impl_torch_ext.

    python across.py --impl impl_numpy --folder files --stage write
    python across.py --impl torch --folder files --stage write
    python across.py --impl impl_jax_vjp --folder files --stage read
    python across.py --folder files --stage table

Each of the first three runs in its own environment; ``nox -s across`` runs all of them.
"""

import argparse
import hashlib
import importlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import digits
import numpy as np

EPOCHS = 2
# The largest difference of a loss, over the losses' size, that is still rounding, in float32.
ROUNDING = 1e-5


def torch_side() -> Any:
    """Return torch.nn under the names that `digits` uses."""
    import torch
    from torch.nn import functional

    import impl_torch_ext

    class OneCycleLR(torch.optim.lr_scheduler.OneCycleLR):
        """torch's own, which takes on and hands out the state that the specification describes."""

        def state_dict(self) -> dict[str, Any]:
            twin = impl_torch_ext.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1, 0.9)
            options = {"max_lr": digits.MAX_LR, "total_steps": self.total_steps}
            make: Any = impl_torch_ext.optim.lr_scheduler.OneCycleLR
            own: dict[str, Any] = make(twin, **options).state_dict()
            return own | {
                "last_epoch": self.last_epoch,
                "_last_lr": list(map(float, self._last_lr)),
            }

        def load_state_dict(self, state: dict[str, Any]) -> None:
            super().load_state_dict({key: state[key] for key in ("last_epoch", "_last_lr")})

    return SimpleNamespace(
        Sequential=torch.nn.Sequential,
        Conv2d=torch.nn.Conv2d,
        BatchNorm2d=torch.nn.BatchNorm2d,
        ReLU=torch.nn.ReLU,
        MaxPool2d=torch.nn.MaxPool2d,
        AvgPool2d=torch.nn.AvgPool2d,
        Flatten=torch.nn.Flatten,
        Linear=torch.nn.Linear,
        # torch draws its masks from a generator of its own.
        Dropout=impl_torch_ext.Dropout,
        loss=SimpleNamespace(cross_entropy=functional.cross_entropy),
        optim=SimpleNamespace(
            SGD=torch.optim.SGD,
            lr_scheduler=SimpleNamespace(OneCycleLR=OneCycleLR),
            clip_grad_norm_=torch.nn.utils.clip_grad_norm_,
        ),
        data=impl_torch_ext.data,
        tensor=torch.tensor,
        no_grad=torch.no_grad,
        load=impl_torch_ext.load,
        manual_seed=impl_torch_ext.manual_seed,
        save_checkpoint=impl_torch_ext.save_checkpoint,
        load_checkpoint=impl_torch_ext.load_checkpoint,
    )


def bits(nn: Any, path: Path) -> str:
    """Return a digest of every entry of a file: names, dtypes, shapes and bits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(nn.load(path).items()):
        array = np.ascontiguousarray(tensor.numpy())
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def write(nn: Any, name: str, folder: Path) -> None:
    """Train for an epoch and write the checkpoint."""
    training = digits.Training(nn, epochs=EPOCHS)
    training.run_epoch()
    training.save(folder / f"{name}.safetensors")


def read(nn: Any, name: str, folder: Path) -> None:
    """Read every checkpoint, write it again, and train on."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        if "_read_by_" in path.stem:
            continue
        training = digits.Training(nn, epochs=EPOCHS, seed=1)
        training.seed = 0
        training.load(path)
        again = folder / f"{path.stem}_read_by_{name}.safetensors"
        training.save(again)
        same = bits(nn, path) == bits(nn, again)
        training.run_epoch()
        found[path.stem] = {"same bits": same, "losses": training.losses}
    (folder / f"{name}.json").write_text(json.dumps(found), encoding="utf-8")


def table(folder: Path) -> bool:
    """Print a cell for every writer and reader; return whether all are as they should be."""
    results = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    names, fine = list(results), True
    print("losses after another epoch differ from the writer's own by, at most:")
    print(f"{'read by':16}" + "".join(f"{writer:>16}" for writer in names) + "  (writer)")
    for reader in names:
        cells = []
        for writer in names:
            got = results[reader][writer]
            own = np.array(results[writer][writer]["losses"])
            off = np.abs(np.array(got["losses"]) - own).max() / np.abs(own).max()
            right = got["same bits"] and off <= ROUNDING
            fine = fine and right
            cells.append(f"{off:.1e}{'' if right else ' WRONG'}")
        print(f"{reader:16}" + "".join(f"{cell:>16}" for cell in cells))
    print("every checkpoint was written again with the same bits" if fine else "something differs")
    return fine


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--impl", help="a module, such as impl_numpy, or torch")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--stage", choices=("write", "read", "table"), required=True)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if given.stage == "table":
        raise SystemExit(0 if table(given.folder) else 1)
    nn = torch_side() if given.impl == "torch" else importlib.import_module(given.impl)
    (write if given.stage == "write" else read)(nn, given.impl, given.folder)
