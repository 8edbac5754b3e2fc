"""Chapter serialization: files of the right form that say what nobody wrote."""

from pathlib import Path
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.assertions import refuses

# Each stands in the header once, and what takes its place is as long.
ALTERED = {
    "a kind of value": (rb"{\"tuple\": [", rb"{\"zuple\": ["),
    "a kind before all others": (rb"{\"tuple\": [", rb"{\"above\": ["),
    "metadata that are no strings": (rb"{\"by\": \"me\"}", rb"{\"by\": 123456}"),
    "metadata that are no mapping": (rb"{\"by\": \"me\"}", rb"[\"by\", \"me\"]"),
    "an array that is not there": (
        rb"optimizer.state.0.exp_avg\"",
        rb"optimizer.state.0.exp_abc\"",
    ),
}


@clause("serialization-16")
@pytest.mark.parametrize("what", ALTERED)
def test_what_nobody_wrote_is_refused(nn: Any, tmp_path: Path, what: str) -> None:
    path = tmp_path / "checkpoint.safetensors"
    module = nn.Linear(2, 1)
    optimizer = nn.optim.Adam(module.parameters(), lr=0.5, betas=(0.75, 0.875))
    module(nn.ones((1, 2))).sum().backward()
    optimizer.step()
    nn.save_checkpoint(path, module=module, optimizer=optimizer, metadata={"by": "me"})
    right = path.read_bytes()
    was, now = ALTERED[what]
    assert len(was) == len(now)
    assert was in right
    path.write_bytes(right.replace(was, now))
    before = str(module.state_dict()), str(optimizer.state_dict())
    with refuses(ValueError, "load_checkpoint", str(path)):
        nn.load_checkpoint(path, module=module, optimizer=optimizer)
    assert (str(module.state_dict()), str(optimizer.state_dict())) == before
