"""Whether velocities have the units of the moments that they go with: what scaled expression would spoil unseen."""

import logging
from typing import NamedTuple

import numpy as np

from veloshard.moments import first_moments

log = logging.getLogger(__name__)

# Exponents of 18 fits (three methods on six datasets, measured and simulated) are 0.56 to 1.16; of the same fits in
# shares of the genes' range -0.35 to 0.55, of their standard deviation -0.44 to 0.16.  What the fits have times the
# range: 1.47 and more.
WRONG_BELOW, DOUBTED_BELOW, DOUBTED_ABOVE = 0.3, 0.5, 1.35
# fewer genes, or an exponent known worse than so, say nothing
MIN_GENES, MAX_ERROR = 20, 0.25


class Judged(NamedTuple):
    """Whether units are wrong, whether they are doubted at all, and a sentence with the figures."""

    wrong: bool
    doubted: bool
    said: str


def judge(velocity, block):
    """`Judged` of the velocities of a fit, float32 (n_genes, n_cells), NaN for genes without.

    block : `contract.GeneBlock` of these genes.
    """
    spliced, unspliced = (first_moments(counts, block.around) for counts in (block.spliced, block.unspliced))
    exponent, error = growth(velocity, spliced, unspliced)
    if not error <= MAX_ERROR:
        return Judged(False, False, "units are not judged: too few genes, or genes too much alike")
    said = (
        f"the velocities of genes grow with the power {exponent:.2f} (standard error {error:.2f}) of their expression. "
        "In the units of Ms it is near 1, of expression that was scaled gene by gene near 0"
    )
    doubted = not DOUBTED_BELOW <= exponent <= DOUBTED_ABOVE
    return Judged(bool(exponent + 2 * error < WRONG_BELOW), bool(doubted), said)


def warn(velocity, block, *, method):
    """Say in the log what units the velocities of a method seem to have, loudly where these are not those of Ms."""
    judged = judge(velocity, block)
    log.log(logging.WARNING if judged.doubted else logging.INFO, "%s: %s", method, judged.said)


def growth(velocity, spliced, unspliced):
    """Exponent by which velocities grow with expression, from gene to gene, and its standard error.

    If all counts of a gene are multiplied by c, so is its velocity, whatever the model; not so if the model was given
    scaled expression.  The exponent is the sum of the slopes of log sd(v) on log sd(Ms) and log sd(Mu), by least
    squares: one slope would not do, as velocities in units of 1/beta follow Mu and others Ms.

    velocity, spliced, unspliced : (n_genes, n_cells), the latter two moments.  Genes without a spread in all three, and
    those with NaN, are left out.   Returns NaN, NaN for fewer than `MIN_GENES`.
    """
    spread = np.array([values.std(axis=1, dtype=np.float64) for values in (velocity, spliced, unspliced)])
    spread = spread[:, (np.isfinite(spread) & (spread > 0)).all(axis=0)]
    n_genes = spread.shape[1]
    if n_genes < MIN_GENES:
        return np.nan, np.nan
    wanted, *given = np.log(spread)
    design = np.column_stack([np.ones(n_genes), *given])
    inverse = np.linalg.pinv(design.T @ design)
    slopes = inverse @ design.T @ wanted
    variance = np.sum((wanted - design @ slopes) ** 2) / (n_genes - 3)
    both = np.array([0, 1, 1])
    return slopes @ both, np.sqrt(variance * (both @ inverse @ both))
