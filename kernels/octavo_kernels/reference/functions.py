"""tanh and erfc by the polynomials of every backend (cpu/src/vector/math.h), so that results are equal bit for bit.

Coefficients: Cephes 2.8 single precision (S. L. Moshier), highest power first. exp stands in numbers.py.
"""

from __future__ import annotations

import torch

from .numbers import exp, f32, fma

_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
# 1 - erf(a): below 1, in 1 / a^2 from 1 to 2, and in 1 / a^2 above.
_ERFC_INNER = (
    *(7.853861353153693e-5, -8.010193625184903e-4, 5.188327685732524e-3, -2.685381193529856e-2),
    *(1.128358514861418e-1, -3.761262582423300e-1, 1.128379165726710e0),
)
_ERFC_MIDDLE = (
    *(2.326819970068386e-2, -1.387039388740657e-1, 3.687424674597105e-1, -5.824733027278666e-1),
    *(6.210004621745983e-1, -4.944515323274145e-1, 3.404879937665872e-1, -2.741127028184656e-1),
    5.638259427386472e-1,
)
_ERFC_OUTER = (
    *(-1.047766399936249e1, 1.297719955372516e1, -7.495518717768503e0, 2.921019019210786e0),
    *(-1.015265279202700e0, 4.218463358204948e-1, -2.820767439740514e-1, 5.641895067754075e-1),
)


def _polynomial(x: torch.Tensor, coefficients: tuple[float, ...]) -> torch.Tensor:
    y = f32(coefficients[0]).expand(x.shape)
    for coefficient in coefficients[1:]:
        y = fma(y, x, f32(coefficient))
    return y


def tanh(x: torch.Tensor) -> torch.Tensor:
    """Within 2 ulp: a polynomial below 0.625, above it 1 - 2 / (e^2|x| + 1)."""
    a, square = x.abs(), x * x
    small = fma(_polynomial(square, _TANH) * square, x, x)
    large = f32(1) - f32(2) / (exp(a + a) + f32(1))
    return torch.where(a < f32(0.625), small, torch.copysign(large, x))


def erfc_of_positive(a: torch.Tensor) -> torch.Tensor:
    """1 - erf(a) for a >= 0: a polynomial below 1, above it e^-a^2 / a times one in 1 / a^2."""
    near = fma(-a, _polynomial(a * a, _ERFC_INNER), f32(1))
    safe = torch.maximum(a, f32(1))
    inverse = f32(1) / safe
    square = inverse * inverse
    tail = torch.where(a < f32(2), _polynomial(square, _ERFC_MIDDLE), _polynomial(square, _ERFC_OUTER))
    return torch.where(a < f32(1), near, exp(-(safe * safe)) * inverse * tail)
