"""exp and log without calls or branches, so that a loop over an array becomes vector instructions.

Only sums, products and shifts of bits in a fixed order: the same bits on any processor, whatever its vectors, within
two units in the last place of the exact value.  NaN in, NaN out.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LOG2_E = 1.4426950408889634
# ln 2 in two parts: multiples of the first up to 2^11 are exact
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
# A number of this size has no bits after the binary point: adding it rounds, and leaves the integer in the low bits.
ROUNDER = 1.5 * 2.0**52
# Below it a result would not be a normal number.
SMALLEST_EXPONENT = -708.0
EXPONENT_BIAS = 1023
MANTISSA_BITS = 52
# Bits of sqrt(1/2): mantissas are taken from there to sqrt(2).
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


@intrinsic
def _bits_of(context, value):
    """The bits of a float64 as int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _from_bits(context, bits):
    """The float64 with the bits of an int64."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(forceinline=True, error_model="numpy")
def exp(x):
    """e^x for x <= 0; where that is less than 1e-307, 1e-307."""
    x = SMALLEST_EXPONENT if x < SMALLEST_EXPONENT else x
    shifted = x * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    # |r| <= ln(2) / 2, where fourteen terms of the series suffice
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
    """Natural logarithm of a normal number x > 0."""
    bits = _bits_of(x)
    n = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
    f = _from_bits(bits - (n << MANTISSA_BITS)) - 1.0
    # log(1 + f) = 2 artanh(z), |z| <= 0.172, where twelve terms of the series suffice
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
    found = n * LN2_HIGH + (f - (z * (f - square * series) - n * LN2_LOW))
    return found if x == x else x
