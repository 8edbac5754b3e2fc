"""What properties ask of a Function, whatever it is written for: NumPy arrays in and out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Values = Sequence[Any]
Arrays = list[np.ndarray]
Slopes = list[np.ndarray | None]


class NotAsked(Exception):
    """The question makes no sense here; the message says why."""


class Application:
    """One forward, and what pulls gradients back through it.

    Attributes
    ----------
    outputs : list of numpy.ndarray
        Copies of the results.
    follows : list of bool
        Which of the results require grad.
    one : bool
        Whether the result was one array and no tuple.
    """

    outputs: Arrays
    follows: list[bool]
    one: bool

    def pull(self, cotangents: Sequence[np.ndarray | None]) -> Slopes:
        """Return the gradient of each input, None where there is none; may be called again."""
        raise NotImplementedError


class Subject:
    """A Function on one backend.

    Attributes
    ----------
    label : str
        The implementation, ``torch`` or ``jax``.
    name : str
        The Function's.
    arrays_change : bool
        Whether arrays of the backend can be written into.
    strided : bool
        Whether arrays of the backend have strides.
    """

    label = ""
    name = ""
    arrays_change = True
    strided = True

    def apply(self, values: Values, wanted: Sequence[bool]) -> Application:
        """Run forward on values, of which those that are `wanted` require grad."""
        raise NotImplementedError

    def second(
        self, values: Values, wanted: Sequence[bool], cotangents: Arrays, directions: Arrays
    ) -> tuple[Slopes, Slopes]:
        """Differentiate ``sum_k <gradient_k, direction_k>`` by the inputs and by the cotangents.

        The second is the derivative of the outputs in the directions, by going backward twice.
        """
        raise NotImplementedError

    def push(self, values: Values, wanted: Sequence[bool], directions: Arrays) -> Arrays:
        """Return the outputs' derivatives in the directions, by a rule that the Function brings."""
        raise NotAsked("it brings no rule for derivatives forward")

    def after_writing(
        self, values: Values, wanted: Sequence[bool], cotangents: Arrays, what: str
    ) -> Slopes:
        """Return the gradients when inputs, or outputs, are made NaN before backward."""
        raise NotAsked("arrays of this backend cannot be written into")

    def intermediates(self, values: Values, wanted: Sequence[bool]) -> list[str]:
        """Return the names of what was saved and is neither an input nor an output."""
        raise NotAsked("what was saved cannot be seen on this backend")

    def mutations(self, values: Values, wanted: Sequence[bool], cotangents: Arrays) -> list[str]:
        """Return what forward and backward changed of the arrays that they were given."""
        raise NotAsked("arrays of this backend cannot be written into")

    def jitted(self) -> "Subject":
        """Return the Function under the backend's compiler."""
        raise NotAsked("this backend has no jit that is asked for")

    def mapped(self, values: Values, axes: Sequence[int | None]) -> Arrays:
        """Return the outputs for each element of the first axis of some values, by `vmap`."""
        raise NotAsked("this backend has no vmap")

    def live(self) -> int:
        """Return how many bytes of arrays are alive, or their number."""
        raise NotAsked("this backend does not tell what is alive")

    def script(self, body: str) -> str:
        """Return a script of a body that uses ``forward``, ``gradients`` and ``second``."""
        raise NotImplementedError


def unasked(error: Exception) -> str | None:
    """Return why a derivative was refused on purpose, if an exception says so."""
    return "marked once_differentiable" if "once_differentiable" in str(error) else None
