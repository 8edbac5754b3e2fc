"""A Fourier layer: a filter of complex numbers, learnt where a spectrum is.

K(v) = F^-1(R F(v)), equation 4 of Li et al., Fourier neural operator for parametric partial
differential equations, 2021, in one dimension. R holds a matrix for each of the lowest frequencies;
the others are left out. As the coefficients of a function do not depend on the grid that it is
given on, nor does the layer.
"""

from typing import Any


def define(nn: Any) -> type:
    """Return the Module `Fourier` of an implementation."""

    class Fourier(nn.Module):
        """Functions v (N, L, C) on a grid of L points to (N, L, D), by their first K frequencies.

        The complex R (K, C, D) is made from two real parameters, drawn between 0 and `scale`.
        """

        def __init__(self, channels: int, results: int, modes: int, scale: float) -> None:
            super().__init__()
            shape = (modes, channels, results)
            self.real = nn.Parameter(scale * nn.rand(shape))
            self.imag = nn.Parameter(scale * nn.rand(shape))

        def forward(self, v: Any) -> Any:
            length, modes = v.shape[1], self.real.shape[0]
            coefficients = nn.ops.fft.rfft(v, axis=1, norm="forward")[:, :modes]
            by_mode = nn.ops.permute_dims(coefficients, (1, 0, 2))
            mixed = nn.ops.matmul(by_mode, self.real + 1j * self.imag)
            # n= puts zeros in the place of the frequencies that were left out.
            spectrum = nn.ops.permute_dims(mixed, (1, 0, 2))
            return nn.ops.fft.irfft(spectrum, n=length, axis=1, norm="forward")

    return Fourier
