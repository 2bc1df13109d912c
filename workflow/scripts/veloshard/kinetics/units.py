"""Check that velocities have the units of the moments, which fails for velocities of scaled expression."""

import logging
from typing import NamedTuple

import numpy as np

from veloshard.preprocessing.moments import first_moments

log = logging.getLogger(__name__)


# Exponents of 18 fits (three methods on six measured and simulated datasets) are 0.56 to 1.16. With the same velocities
# divided by the range of each gene they are -0.35 to 0.55, divided by its standard deviation -0.44 to 0.16, and
# multiplied by the range 1.47 or more.
WRONG_BELOW, DOUBTFUL_BELOW, DOUBTFUL_ABOVE = 0.3, 0.5, 1.35


# The check is not conclusive with fewer genes or a larger standard error of the exponent.
MIN_GENES, MAX_ERROR = 20, 0.25


class ScalingCheck(NamedTuple):
    """Result of `check_scaling`.

    Attributes
    ----------
    wrong : bool
        True if the velocities cannot be in the units of the moments.
    doubtful : bool
        True if the exponent is outside the usual range.
    message : str
        A sentence with the exponent and its standard error.
    """

    wrong: bool
    doubtful: bool
    message: str


def check_scaling(velocity, block):
    """Check if velocities are in the units of the moments.

    Parameters
    ----------
    velocity : ndarray of float32, shape (n_genes, n_cells)
        Velocities; NaN for genes without.
    block : veloshard.contract.GeneBlock
        Normalized counts of these genes.

    Returns
    -------
    ScalingCheck
        Neither wrong nor doubtful if the exponent cannot be estimated.
    """
    spliced, unspliced = (first_moments(counts, block.neighborhood) for counts in (block.spliced, block.unspliced))
    exponent, error = scaling_exponent(velocity, spliced, unspliced)
    if not error <= MAX_ERROR:
        return ScalingCheck(False, False, "units are not checked: too few genes, or genes of too similar expression")
    message = (
        f"the velocities of genes grow with the power {exponent:.2f} (standard error {error:.2f}) of their expression. "
        "In the units of Ms it is near 1, of expression that was scaled gene by gene near 0"
    )
    doubtful = not DOUBTFUL_BELOW <= exponent <= DOUBTFUL_ABOVE
    return ScalingCheck(bool(exponent + 2 * error < WRONG_BELOW), bool(doubtful), message)


def warn_about_scaling(velocity, block, *, method):
    """Log the result of `check_scaling`, as a warning if it is doubtful.

    Parameters
    ----------
    velocity : ndarray of float32, shape (n_genes, n_cells)
        Velocities; NaN for genes without.
    block : veloshard.contract.GeneBlock
        Normalized counts of these genes.
    method : str
        Name of the method, for the message.
    """
    check = check_scaling(velocity, block)
    log.log(logging.WARNING if check.doubtful else logging.INFO, "%s: %s", method, check.message)


def scaling_exponent(velocity, spliced, unspliced):
    """Estimate the exponent by which the velocities of genes grow with their expression.

    If all counts of a gene are multiplied by c, any model multiplies its velocity by c, unless it takes scaled
    expression. The exponent is the sum of the two slopes of log sd(v) on log sd(Ms) and log sd(Mu), by least squares.
    A single slope does not suffice, because velocities with beta as unit of time follow Mu and others follow Ms.

    Parameters
    ----------
    velocity : ndarray of float, shape (n_genes, n_cells)
        Velocities. Genes with NaN are left out.
    spliced, unspliced : ndarray of float, shape (n_genes, n_cells)
        First moments. Genes that are constant in one of the three arrays are left out.

    Returns
    -------
    exponent, error : float
        The exponent and its standard error; NaN for fewer than `MIN_GENES` genes.
    """
    spread = np.array([values.std(axis=1, dtype=np.float64) for values in (velocity, spliced, unspliced)])
    spread = spread[:, (np.isfinite(spread) & (spread > 0)).all(axis=0)]
    n_genes = spread.shape[1]
    if n_genes < MIN_GENES:
        return np.nan, np.nan
    response, *predictors = np.log(spread)
    design = np.column_stack([np.ones(n_genes), *predictors])
    inverse = np.linalg.pinv(design.T @ design)
    slopes = inverse @ design.T @ response
    variance = np.sum((response - design @ slopes) ** 2) / (n_genes - 3)
    both = np.array([0, 1, 1])
    return slopes @ both, np.sqrt(variance * (both @ inverse @ both))
