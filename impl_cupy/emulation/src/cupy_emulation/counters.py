"""What a GPU would have been asked to do: operations counted, bytes held.

Every emulated operation reports itself here. One call of an elementwise function, a reduction, a
copy or a matrix product counts as one launch, which is the least that CuPy needs for it; views
(slices, transposes, reshapes of contiguous arrays) count as none.
"""

from __future__ import annotations

KINDS = ("raw", "ufunc", "reduction", "gemm", "copy", "other")

_counts = dict.fromkeys(KINDS, 0)
_kernels: dict[str, int] = {}
_ALIGNMENT = 512


class Memory:
    """Bytes held by arrays that own their data, rounded up to 512 as in CuPy's pool."""

    used = 0
    total = 0

    @classmethod
    def allocate(cls, nbytes: int) -> None:
        """Count ``nbytes`` more."""
        cls.used += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        cls.total = max(cls.total, cls.used)

    @classmethod
    def free(cls, nbytes: int) -> None:
        """Count ``nbytes`` fewer."""
        cls.used -= -(-nbytes // _ALIGNMENT) * _ALIGNMENT

    @classmethod
    def trim(cls) -> None:
        """Forget the blocks that are not in use, as ``free_all_blocks`` does."""
        cls.total = cls.used


def record(kind: str) -> None:
    """Count one launch of a kind in `KINDS`."""
    _counts[kind] += 1


def record_kernel(name: str) -> None:
    """Count one launch of the kernel ``name`` of a ``RawModule``."""
    _counts["raw"] += 1
    _kernels[name] = _kernels.get(name, 0) + 1


def record_elementwise(name: str) -> None:
    """Count one launch of the ``ElementwiseKernel`` ``name``."""
    _counts["ufunc"] += 1
    _kernels[name] = _kernels.get(name, 0) + 1


def kernel_launches() -> dict[str, int]:
    """Return by name how often each kernel of a source ran since the last `reset_launches`."""
    return dict(_kernels)


def launches(kind: str | None = None) -> int:
    """Return the number of launches since the start or the last `reset_launches`.

    Parameters
    ----------
    kind : str, optional
        ``"raw"`` (kernels of a ``RawModule``), ``"ufunc"`` (each element by itself),
        ``"reduction"``, ``"gemm"`` (matrix products), ``"copy"`` (also to and from the host) or
        ``"other"`` (indexing, sorting). All of them together when left out.

    Raises
    ------
    ValueError
        If ``kind`` is none of these.
    """
    if kind is None:
        return sum(_counts.values())
    if kind not in _counts:
        msg = f"launches: kind must be one of {', '.join(KINDS)}, got {kind!r}"
        raise ValueError(msg)
    return _counts[kind]


def reset_launches() -> None:
    """Set every count of launches to zero."""
    for kind in KINDS:
        _counts[kind] = 0
    _kernels.clear()
