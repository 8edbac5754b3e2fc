"""A stand-in for CuPy on a machine without a GPU, where no GPU code runs.

`namespace` stands where ``import cupy as cp`` would. Arrays live in NumPy buffers, elementwise
functions run in NumPy, and the kernels given to ``RawModule`` are compiled by g++ from the same
text that NVRTC gets and run over the whole grid.

What the stand-in is strict about, as CuPy 14 is (each rule has a test in
``tests/``):

- only CuPy's names and keywords exist; others raise AttributeError or TypeError;
- nothing is converted: NumPy arrays raise TypeError in operators, functions and assignments
  without an index array, ``numpy.asarray`` of an emulated array raises TypeError, Python numbers
  and NumPy scalars are accepted in elementwise functions (Python's are weak, NumPy's are not);
- reductions, and an index that picks one element, give 0-d arrays, never scalars;
- results are C-contiguous; slices, transposes and reshapes of contiguous arrays are views with
  ``base`` set;
- integer arrays used as indices wrap around, integers raise IndexError; repeated places accumulate
  only with ``cp.add.at``;
- ``out=`` and in-place operators need the exact shape and a dtype of the same kind;
- a matrix that `linalg` cannot solve is no error and gives nonsense, unless ``cupyx.errstate``
  says otherwise; stacks are not broadcast, eigenvalues of general matrices come in no order;
- a kernel gets an array of its parameter's dtype, and a NumPy scalar (or Python number of 64 bits)
  of its parameter's type, or TypeError is raised before anything runs; limits of grid, block and
  shared memory are CUDA's.

What it is stricter about than a GPU: ``empty`` is full of NaN (integers: all bits set), writing
into the result of ``broadcast_to`` raises ValueError, and the wrong number of kernel arguments
raises TypeError.

What it leaves out: more than one device or stream, random numbers, ``ReductionKernel``,
``raw`` parameters and complex arrays of ``ElementwiseKernel``, ``fuse`` and
``__cuda_array_interface__`` (it would hand out host memory as a device's). DLPack says that it is
the host's memory.

For tests: `launches` counts operations a GPU would have launched, in all or by kind,
`kernel_launches` those of each kernel, and `reset_launches` starts anew. The command
``python -m cupy_emulation.sanitize`` runs another with kernels compiled under
AddressSanitizer; see `sanitize`.

Environment variables: ``CUPY_EMULATION_CACHE`` (folder of compiled kernels),
``CUPY_EMULATION_SANITIZE`` (``address``), ``CUPY_EMULATION_ORDER`` (``reverse`` runs blocks and
threads last to first: a kernel whose result changes has a race).
"""

from . import namespace
from .counters import kernel_launches, launches, reset_launches

__all__ = ["kernel_launches", "launches", "namespace", "reset_launches"]
