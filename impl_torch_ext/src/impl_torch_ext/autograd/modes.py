"""Whether operations are recorded."""

from typing import Any

import torch

__all__ = ["enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]

is_grad_enabled = torch.is_grad_enabled
set_grad_enabled = torch.set_grad_enabled


class _Reentrant:
    """A context whose every exit restores the state before its own entrance."""

    prev: bool

    def __init__(self) -> None:
        super().__init__()
        self._before: list[bool] = []

    def __enter__(self) -> None:
        super().__enter__()  # type: ignore[misc]
        self._before.append(self.prev)

    def __exit__(self, *error: Any) -> None:
        self.prev = self._before.pop()
        super().__exit__(*error)  # type: ignore[misc]


class no_grad(_Reentrant, torch.no_grad):
    """Context manager and decorator that records nothing inside, and afterwards as before."""


class enable_grad(_Reentrant, torch.enable_grad):
    """Context manager and decorator that records inside, and afterwards as before."""
