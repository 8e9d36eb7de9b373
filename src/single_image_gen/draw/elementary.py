"""Sine, cosine, exponential and logarithm, the same to the last bit on every platform.

IEEE 754 defines + - * / and sqrt to the bit, but C libraries differ in the last bits of everything
else. A last bit of an angle becomes another rounding somewhere in a dataset of a million images, so
these are computed by + - * / alone: Taylor series after a reduction of the argument, with an error
below 1e-15, relative to the result (to 1 for sine and cosine).
"""

from __future__ import annotations

import math

_RADIAN = math.pi / 180
_LN2 = 0.6931471805599453  # written out, not computed by a C library
_SQRT_HALF = math.sqrt(0.5)

# Highest power first, for Horner's scheme.
_SIN = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(8, -1, -1))
_COS = tuple((-1) ** k / math.factorial(2 * k) for k in range(9, -1, -1))
_EXP = tuple(1 / math.factorial(k) for k in range(14, -1, -1))
_ATANH = tuple(1 / n for n in range(23, 0, -2))


def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def sin_cos(degrees: float) -> tuple[float, float]:
    """(sine, cosine) of an angle in degrees."""
    quarters = math.floor(degrees / 90 + 0.5)
    x = (degrees - 90 * quarters) * _RADIAN  # within 45 degrees of zero
    sin, cos = x * _polynomial(_SIN, x * x), _polynomial(_COS, x * x)
    return ((sin, cos), (cos, -sin), (-sin, -cos), (-cos, sin))[quarters % 4]


def exp(x: float) -> float:
    """E to the power x, for |x| up to 700."""
    halvings = math.floor(x / _LN2 + 0.5)
    return math.ldexp(_polynomial(_EXP, x - halvings * _LN2), halvings)


def log(x: float) -> float:
    """The natural logarithm of x > 0."""
    mantissa, exponent = math.frexp(x)
    if mantissa < _SQRT_HALF:
        mantissa, exponent = 2 * mantissa, exponent - 1
    # log m = 2 atanh((m - 1) / (m + 1)), whose argument is at most 0.172
    ratio = (mantissa - 1) / (mantissa + 1)
    return 2 * ratio * _polynomial(_ATANH, ratio * ratio) + exponent * _LN2
