"""Chapter function: what an instance of a Function keeps while a program holds it."""

import gc
import weakref
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.inputs import normal


@clause("function-26", "function-03")
@pytest.mark.parametrize("end", ["dropped", "backward", "never recorded"])
def test_an_instance_that_is_held_holds_no_arrays(nn: Any, dtype: str, end: str) -> None:
    references: list[Any] = []

    class Saving(nn.Function):
        def forward(self, x: Any) -> Any:
            made = x * 2
            references.append(weakref.ref(made))
            self.save_for_backward(made)
            return made * x

        def backward(self, grad: Any) -> Any:
            (made,) = self.saved_tensors
            return 2 * made * grad

    x = nn.tensor(normal((3,), dtype), requires_grad=end != "never recorded")
    function = Saving()
    y = function(x)
    if end == "backward":
        nn.ops.sum(y).backward()
    del y
    gc.collect()
    assert len(references) == 1
    assert references[0]() is None, f"{function} holds what it saved"
