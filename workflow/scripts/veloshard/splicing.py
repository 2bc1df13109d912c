"""The closed-form solution of the splicing equations: its only copy.

du/dt = alpha - beta u,  ds/dt = beta u - gamma s  (La Manno et al. 2018, Bergen et al. 2020), at
rates that stay constant for the whole time `tau`.  All functions are NumPy ufuncs: they broadcast over
arrays from Python and take scalars inside numba kernels.  Rates are per unit of time and > 0, `tau` is in
the same unit and >= 0, abundances are in any common unit; a NaN in gives a NaN out.
"""

import math

from numba import float64, vectorize

# With their types given, ufuncs are compiled when this file is imported: threads may not compile them.


@vectorize([float64(*4 * [float64])], cache=True)
def unspliced_at(tau, u0, alpha, beta):
    """Unspliced abundance `tau` after it was `u0`: u0 e^(-beta tau) + alpha/beta (1 - e^(-beta tau))."""
    decay = math.exp(-beta * tau)
    return u0 * decay + alpha / beta * (1.0 - decay)


@vectorize([float64(*6 * [float64])], cache=True)
def spliced_at(tau, s0, u0, alpha, beta, gamma):
    """Spliced abundance `tau` after the state was (`u0`, `s0`); exact also where gamma meets beta.

    s0 e^(-gamma tau) + alpha/gamma (1 - e^(-gamma tau)) + (alpha - beta u0) q,  with the difference
    quotient q = (e^(-gamma tau) - e^(-beta tau)) / (gamma - beta), whose limit is -tau e^(-beta tau).
    """
    gap = abs(gamma - beta)
    slow = math.exp(-min(beta, gamma) * tau)
    # expm1 keeps all digits of the quotient however close the two rates are
    quotient = slow * math.expm1(-gap * tau) / gap if gap > 0 else -tau * slow
    decay = slow if gamma < beta else math.exp(-gamma * tau)
    return s0 * decay + alpha / gamma * (1.0 - decay) + (alpha - beta * u0) * quotient
