"""Functions exp and log without calls or branches, so that loops over arrays compile to vector instructions.

Both use only sums, products and bit shifts in a fixed order. Results are bitwise identical on all processors, whatever
the width of their vectors, and within two units in the last place of the exact value. NaN gives NaN.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LOG2_E = 1.4426950408889634


# ln 2 as the sum of two numbers. Multiples of the first are exact up to a factor of 2^11.
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10


# A number of this size has no bits after the binary point. Adding it rounds to an integer, which is in the low bits.
ROUNDER = 1.5 * 2.0**52


# The exponential of a smaller number would not be a normal number.
SMALLEST_EXPONENT = -708.0


EXPONENT_BIAS = 1023


MANTISSA_BITS = 52


# Bits of sqrt(1/2). Mantissas are between sqrt(1/2) and sqrt(2).
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


@intrinsic
def _bits_of(context, value):
    """Return the bits of a float64 as int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _from_bits(context, bits):
    """Return the float64 that has the bits of an int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(forceinline=True, error_model="numpy")
def exp(x):
    """Return e^x for x <= 0, and e^-708 for x < -708."""
    x = SMALLEST_EXPONENT if x < SMALLEST_EXPONENT else x
    shifted = x * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    # |r| <= ln(2) / 2, for which fourteen terms of the series are enough
    series = 1.0 / 6227020800.0
    series = series * r + 1.0 / 479001600.0
    series = series * r + 1.0 / 39916800.0
    series = series * r + 1.0 / 3628800.0
    series = series * r + 1.0 / 362880.0
    series = series * r + 1.0 / 40320.0
    series = series * r + 1.0 / 5040.0
    series = series * r + 1.0 / 720.0
    series = series * r + 1.0 / 120.0
    series = series * r + 1.0 / 24.0
    series = series * r + 1.0 / 6.0
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    return series * _from_bits((_bits_of(shifted) + EXPONENT_BIAS) << MANTISSA_BITS)


@njit(forceinline=True, error_model="numpy")
def log(x):
    """Return the natural logarithm of a normal number x > 0."""
    bits = _bits_of(x)
    n = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
    f = _from_bits(bits - (n << MANTISSA_BITS)) - 1.0
    # log(1 + f) = 2 artanh(z) with |z| <= 0.172, for which twelve terms of the series are enough
    z = f / (2.0 + f)
    square = z * z
    series = 2.0 / 23.0
    series = series * square + 2.0 / 21.0
    series = series * square + 2.0 / 19.0
    series = series * square + 2.0 / 17.0
    series = series * square + 2.0 / 15.0
    series = series * square + 2.0 / 13.0
    series = series * square + 2.0 / 11.0
    series = series * square + 2.0 / 9.0
    series = series * square + 2.0 / 7.0
    series = series * square + 2.0 / 5.0
    series = series * square + 2.0 / 3.0
    logarithm = n * LN2_HIGH + (f - (z * (f - square * series) - n * LN2_LOW))
    return logarithm if x == x else x
