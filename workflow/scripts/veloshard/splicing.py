"""The closed-form solution of the splicing equations: its only copy.

du/dt = alpha - beta u,  ds/dt = beta u - gamma s  (La Manno et al. 2018, Bergen et al. 2020), at
rates that stay constant for the whole time `tau`.  Rates are per unit of time and > 0, `tau` is in the same
unit and >= 0, abundances are in any common unit; a NaN in gives a NaN out (and NumPy's warning).  `unspliced_at`
and `spliced_at` are NumPy ufuncs, which broadcast over arrays; `state_at` is for kernels.
"""

from numba import float64, njit, vectorize

from veloshard.elementary import exp

# Rates nearer to each other than this fraction of beta count as equal up to a series: the difference of their
# decays would lose more digits than the series has terms for.
NEAR = 1e-3


@njit(forceinline=True, error_model="numpy")
def state_at(tau, u0, s0, alpha, beta, gamma):
    """(u, s) at `tau` after the state was (u0, s0); exact also where gamma meets beta.

    u = u0 e^(-beta tau) + alpha/beta (1 - e^(-beta tau)),
    s = s0 e^(-gamma tau) + alpha/gamma (1 - e^(-gamma tau)) + (alpha - beta u0) q,  with the difference
    quotient q = (e^(-gamma tau) - e^(-beta tau)) / (gamma - beta), whose limit is -tau e^(-beta tau).
    """
    decay_u, decay_s = exp(-beta * tau), exp(-gamma * tau)
    gap = gamma - beta
    if abs(gap) > NEAR * beta:
        quotient = (decay_s - decay_u) / gap
    else:
        # sinh(x)/x e^(-mean rate tau) with x = gap tau / 2
        square = (0.5 * gap * tau) ** 2
        series = 1.0 + square / 6.0 * (1.0 + square / 20.0 * (1.0 + square / 42.0))
        quotient = -tau * exp(-0.5 * (beta + gamma) * tau) * series
    u = u0 * decay_u + alpha / beta * (1.0 - decay_u)
    s = s0 * decay_s + alpha / gamma * (1.0 - decay_s) + (alpha - beta * u0) * quotient
    return u, s


# With their types given, ufuncs are compiled when this file is imported: threads may not compile them.


@vectorize([float64(*4 * [float64])], cache=True)
def unspliced_at(tau, u0, alpha, beta):
    """Unspliced abundance `tau` after it was `u0`."""
    return state_at(tau, u0, 0.0, alpha, beta, 2.0 * beta)[0]


@vectorize([float64(*6 * [float64])], cache=True)
def spliced_at(tau, s0, u0, alpha, beta, gamma):
    """Spliced abundance `tau` after the state was (`u0`, `s0`)."""
    return state_at(tau, u0, s0, alpha, beta, gamma)[1]
