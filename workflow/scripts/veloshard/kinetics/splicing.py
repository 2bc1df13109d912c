"""Closed-form solution of the splicing equations. The project has no other copy of it.

du/dt = alpha - beta u and ds/dt = beta u - gamma s (La Manno et al. 2018, Bergen et al. 2020), with rates that are
constant during the time `tau`. Rates are per unit of time and positive. `tau` is in the same unit and at least 0.
Abundances are in any common unit. NaN in an argument gives NaN in the result, with NumPy's warning.

`unspliced_at` and `spliced_at` are NumPy ufuncs that broadcast over arrays. `state_at` is for compiled kernels.
"""

from numba import float64, njit, vectorize

from veloshard.numba_support.vector_math import exp

# Below this relative difference of beta and gamma, a series replaces the difference quotient of the two exponentials,
# which would lose more digits than the truncated series does.
NEAR = 1e-3


@njit(forceinline=True, error_model="numpy")
def state_at(tau, u0, s0, alpha, beta, gamma):
    """Return unspliced and spliced abundance at time `tau` after the state (u0, s0).

    u = u0 e^(-beta tau) + alpha/beta (1 - e^(-beta tau)),
    s = s0 e^(-gamma tau) + alpha/gamma (1 - e^(-gamma tau)) + (alpha - beta u0) q,
    q = (e^(-gamma tau) - e^(-beta tau)) / (gamma - beta), with the limit -tau e^(-beta tau) for gamma = beta.

    Parameters
    ----------
    tau : float
        Time since the state (u0, s0), at least 0.
    u0, s0 : float
        Unspliced and spliced abundance at time 0.
    alpha : float
        Transcription rate, in abundance per time; 0 when transcription is off.
    beta, gamma : float
        Splicing and degradation rate, per time.

    Returns
    -------
    u, s : float
        Unspliced and spliced abundance.
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


# Explicit signatures compile the ufuncs on import. Without them the first call compiles, which is not safe in threads.


@vectorize([float64(*4 * [float64])], cache=True)
def unspliced_at(tau, u0, alpha, beta):
    """Return the unspliced abundance at time `tau` after it was `u0`.

    Parameters
    ----------
    tau : array_like of float
        Time since the abundance was `u0`, at least 0.
    u0 : array_like of float
        Unspliced abundance at time 0.
    alpha : array_like of float
        Transcription rate, in abundance per time; 0 when transcription is off.
    beta : array_like of float
        Splicing rate, per time.

    Returns
    -------
    ndarray of float64
        Unspliced abundance, in the broadcast shape of the arguments; NaN where an argument is NaN.
    """
    return state_at(tau, u0, 0.0, alpha, beta, 2.0 * beta)[0]


@vectorize([float64(*6 * [float64])], cache=True)
def spliced_at(tau, s0, u0, alpha, beta, gamma):
    """Return the spliced abundance at time `tau` after the state (u0, s0).

    Parameters
    ----------
    tau : array_like of float
        Time since the state (u0, s0), at least 0.
    s0, u0 : array_like of float
        Spliced and unspliced abundance at time 0.
    alpha : array_like of float
        Transcription rate, in abundance per time; 0 when transcription is off.
    beta, gamma : array_like of float
        Splicing and degradation rate, per time.

    Returns
    -------
    ndarray of float64
        Spliced abundance, in the broadcast shape of the arguments; NaN where an argument is NaN.
    """
    return state_at(tau, u0, s0, alpha, beta, gamma)[1]
