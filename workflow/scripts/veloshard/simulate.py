"""Counts with known truth: a root that branches into two fates, by exact splicing kinetics.

A cell has a true time between 0 and `DURATION` and, from `BRANCHING_TIME` on, one of two fates.  In each
fate a gene is transcribed at its rate alpha between its two switching times and not at all outside them, so
that its unspliced and spliced abundance follow from chaining the closed form of `veloshard.splicing` from
switch to switch.  The fates share all switches before `BRANCHING_TIME`, hence also the past.

Sequencing then counts molecules: Poisson draws around size factor x abundance, of the unspliced ones only
the share that the protocol captures of that gene.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from veloshard.splicing import spliced_at, unspliced_at

# scVelo aligns every gene to 20 units of time: truth and fit are then read on the same scale.  With a
# differentiation of four days one unit is about five hours.
DURATION = 20.0
BRANCHING_TIME = 8.0

FATES = ("Fate A", "Fate B")
TRUNK = "Trunk"
BOTH_FATES = "both"

# (kind, fate that switches it): share of the genes, earliest and latest first switch as parts of DURATION.
# The shares balance what is lost with the root's genes and won with the others, so that the RNA content of a
# cell stays about the same along the process, as normalisation by size presumes.
PROGRAMS = {
    ("up", BOTH_FATES): (0.12, 0.0, 0.5),
    ("up", FATES[0]): (0.12, 0.4, 0.7),
    ("up", FATES[1]): (0.12, 0.4, 0.7),
    ("down", BOTH_FATES): (0.20, 0.0, 0.7),
    ("down", FATES[0]): (0.04, 0.4, 0.7),
    ("down", FATES[1]): (0.04, 0.4, 0.7),
    ("up_down", BOTH_FATES): (0.12, 0.0, 0.5),
    ("up_down", FATES[0]): (0.06, 0.4, 0.55),
    ("up_down", FATES[1]): (0.06, 0.4, 0.55),
    ("late", FATES[0]): (0.06, 0.7, 0.9),
    ("late", FATES[1]): (0.06, 0.7, 0.9),
}
# Shortest and longest on-period of an `up_down` gene, as parts of DURATION: about one to three half-lives of
# the RNA, so that many such genes are switched off long before they would be at steady state.
ON_PERIOD = (0.1, 0.3)

# Median and standard deviation of the logarithm.  A gamma of 0.3 is an RNA half-life of 2.3 units of time
# (about 11 h of four days; mammalian median about 9 h, Schwanhaeusser et al. 2011).  The spread of alpha,
# whose unit follows from the depth, makes mean counts of genes span two orders of magnitude.
ALPHA_LOG_SD = 1.0
BETA_MEDIAN, BETA_LOG_SD = 0.6, 0.4
GAMMA_MEDIAN, GAMMA_LOG_SD = 0.3, 0.4
# Concentration of the Beta distribution of capture efficiencies: their standard deviation is then about 0.15.
CAPTURE_CONCENTRATION = 10.0

# Every program needs a gene and the share of the smallest is 0.04.
MIN_GENES = 25
MIN_CELLS = 10

# Intermediate matrices, about ten, are made for so many cells at once: at 100,000 cells the truth alone takes
# gigabytes.
CELLS_AT_A_TIME = 1024


class Simulation(NamedTuple):
    """Counts and the truth behind them.

    The unit of an abundance is the expected count in a cell with size factor 1; the process takes `DURATION`
    units of time.

    Attributes
    ----------
    spliced, unspliced : scipy.sparse.csr_array of int32, (n_cells, n_genes)
        Poisson counts with means ``size_factor * spliced_abundance`` and
        ``size_factor * unspliced_capture * unspliced_abundance``.
    spliced_abundance, unspliced_abundance : ndarray, (n_cells, n_genes)
        s and u, the solution of du/dt = alpha - beta u, ds/dt = beta u - gamma s at the cell's time.
    velocity : ndarray, (n_cells, n_genes)
        ds/dt = beta u - gamma s, abundance per unit of time.  Spliced counts divided by a cell's size
        estimate s in a unit of that cell, so an estimate of ds/dt from size-normalised counts is this one
        times one positive number a cell: cosines and signs need no conversion.
    time : ndarray, (n_cells,)
        Since the root, on one scale for both fates.
    size_factor : ndarray, (n_cells,)
        Log-normal, mean 1.
    lineage : ndarray of str, (n_cells,)
        ``TRUNK`` before the branching, then one of ``FATES``.
    cluster : ndarray of str, (n_cells,)
        What an annotator would call the cell: two stages of the trunk and two of each fate.
    alpha, beta, gamma : ndarray, (n_genes,)
        Abundance per unit of time while the gene is on; per unit of time.
    unspliced_capture : ndarray, (n_genes,)
        Chance that an unspliced molecule is seen, relative to a spliced one.
    kind : ndarray of str, (n_genes,)
        ``up``, ``down`` (on and at steady state at time 0), ``up_down`` or ``late``.
    fate : ndarray of str, (n_genes,)
        The fate in which the gene is switched, or ``BOTH_FATES``.
    switch_on, switch_off : ndarray, (2, n_genes)
        Switching times in each of ``FATES``; inf where that never happens.  Genes that are on from the
        beginning have 0 in `switch_on`.
    cell_names, gene_names : ndarray of str, (n_cells,) and (n_genes,)
    """

    spliced: sparse.csr_array
    unspliced: sparse.csr_array
    spliced_abundance: np.ndarray
    unspliced_abundance: np.ndarray
    velocity: np.ndarray
    time: np.ndarray
    size_factor: np.ndarray
    lineage: np.ndarray
    cluster: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    gamma: np.ndarray
    unspliced_capture: np.ndarray
    kind: np.ndarray
    fate: np.ndarray
    switch_on: np.ndarray
    switch_off: np.ndarray
    cell_names: np.ndarray
    gene_names: np.ndarray


def simulate(rng, *, n_cells=2000, n_genes=400, depth=2000.0, depth_spread=0.3, unspliced_capture=0.6, noise=0.0):
    """Draw genes, cells and counts.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of randomness: the same state gives the same bits.
    n_cells, n_genes : int
        At least `MIN_CELLS` and `MIN_GENES`.
    depth : float
        Mean count of a cell over all genes, spliced and unspliced together; > 0.
    depth_spread : float
        Standard deviation of the logarithm of the size factors; >= 0.
    unspliced_capture : float
        Mean over genes of the chance that an unspliced molecule is seen, relative to a spliced one;
        between 0 and 1, both excluded.
    noise : float
        Coefficient of variation of each abundance among cells of the same time and fate, independent for
        every cell, gene and layer; >= 0.  Counts are Poisson at 0, negative binomial with dispersion
        ``noise**2`` above.  The truth is the mean, whatever the noise.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        If an option is outside its range.
    """
    _check(n_cells, n_genes, depth, depth_spread, unspliced_capture, noise)

    kind, fate, gene_names, switch_on, switch_off = _draw_programs(rng, n_genes)
    relative_alpha = rng.lognormal(0.0, ALPHA_LOG_SD, n_genes)
    beta = rng.lognormal(np.log(BETA_MEDIAN), BETA_LOG_SD, n_genes)
    gamma = rng.lognormal(np.log(GAMMA_MEDIAN), GAMMA_LOG_SD, n_genes)
    seen, missed = CAPTURE_CONCENTRATION * unspliced_capture, CAPTURE_CONCENTRATION * (1 - unspliced_capture)
    capture = rng.beta(seen, missed, n_genes)

    # evenly spread with jitter, in random order: the order of the cells must not tell their time
    time = DURATION * rng.permutation((np.arange(n_cells) + rng.random(n_cells)) / n_cells)
    future = rng.integers(len(FATES), size=n_cells)
    # mean 1, not median 1
    size_factor = rng.lognormal(-(depth_spread**2) / 2, depth_spread, n_cells)

    unspliced, spliced, velocity = (np.empty((n_cells, n_genes)) for _ in range(3))
    for cells in _blocks(n_cells):
        unspliced[cells], spliced[cells] = abundances(
            time[cells, None],
            switch_on[future[cells]],
            switch_off[future[cells]],
            alpha=relative_alpha,
            beta=beta,
            gamma=gamma,
            starts_on=kind == "down",
        )
    # abundances are proportional to alpha: the depth sets its unit
    scale = depth / (spliced.mean(axis=0) + capture * unspliced.mean(axis=0)).sum()
    unspliced *= scale
    spliced *= scale
    for cells in _blocks(n_cells):
        velocity[cells] = beta * unspliced[cells] - gamma * spliced[cells]

    return Simulation(
        spliced=_draw_counts(rng, spliced, size_factor=size_factor, capture=1.0, noise=noise),
        unspliced=_draw_counts(rng, unspliced, size_factor=size_factor, capture=capture, noise=noise),
        spliced_abundance=spliced,
        unspliced_abundance=unspliced,
        velocity=velocity,
        time=time,
        size_factor=size_factor,
        lineage=np.where(time < BRANCHING_TIME, TRUNK, np.array(FATES)[future]),
        cluster=_annotate(time, future),
        alpha=scale * relative_alpha,
        beta=beta,
        gamma=gamma,
        unspliced_capture=capture,
        kind=kind,
        fate=fate,
        switch_on=switch_on,
        switch_off=switch_off,
        cell_names=np.array([f"cell_{number:05d}" for number in range(1, n_cells + 1)]),
        gene_names=gene_names,
    )


def abundances(time, switch_on, switch_off, *, alpha, beta, gamma, starts_on):
    """Solve the splicing equations for genes that are on from one switching time to the other.

    All arguments broadcast.

    Parameters
    ----------
    time : array_like
        >= 0.
    switch_on, switch_off : array_like
        Switching times, 0 <= `switch_on` <= `switch_off`; inf where the switch never happens.
    alpha, beta, gamma : array_like
        Rates, > 0; transcription is at `alpha` between the two switches and 0 otherwise.
    starts_on : array_like of bool
        True: at time 0 the gene is at the steady state of being on (and `switch_on` is 0).
        False: it starts without any RNA.

    Returns
    -------
    unspliced, spliced : ndarray
    """
    u_start = np.where(starts_on, alpha / beta, 0.0)
    s_start = np.where(starts_on, alpha / gamma, 0.0)

    on = np.clip(np.minimum(time, switch_off) - switch_on, 0.0, None)
    u_on = unspliced_at(on, u_start, alpha, beta)
    s_on = spliced_at(on, s_start, u_start, alpha, beta, gamma)

    off = np.clip(time - switch_off, 0.0, None)
    return unspliced_at(off, u_on, 0.0, beta), spliced_at(off, s_on, u_on, 0.0, beta, gamma)


def _draw_programs(rng, n_genes):
    """Deal the genes to `PROGRAMS` and draw their switching times.

    Returns kind, fate and name of each gene, (n_genes,), and `switch_on`, `switch_off`, (2, n_genes).
    """
    shares, earliest, latest = np.array(list(PROGRAMS.values())).T
    # rounding the cumulative shares, not the shares, makes the numbers add up to n_genes
    ends = np.rint(np.cumsum(shares) / shares.sum() * n_genes).astype(int)
    program = np.repeat(np.arange(len(PROGRAMS)), np.diff(ends, prepend=0))
    kind, fate = np.array(list(PROGRAMS))[program].T

    first_switch = DURATION * rng.uniform(earliest[program], latest[program])
    on_period = DURATION * rng.uniform(*ON_PERIOD, n_genes)
    on = np.where(kind == "down", 0.0, first_switch)
    off = np.select([kind == "down", kind == "up_down"], [first_switch, first_switch + on_period], np.inf)

    switches = (fate == BOTH_FATES) | (fate == np.array(FATES)[:, None])
    # in the other fate a gene stays as it was: on, if it was on from the beginning, else off
    switch_on = np.where(switches | (kind == "down"), on, np.inf)
    switch_off = np.where(switches, off, np.inf)

    number = np.concatenate([np.arange(1, (kind == name).sum() + 1) for name in dict.fromkeys(kind)])
    gene_names = np.array([f"{name}_{k:04d}" for name, k in zip(kind, number, strict=True)])
    return kind, fate, gene_names, switch_on, switch_off


def _annotate(time, future):
    """Name the stage of each cell by its true time and fate."""
    fate_end = np.array(FATES)[future]
    fate_start = np.array([f"{fate} early" for fate in FATES])[future]
    return np.select(
        [time < BRANCHING_TIME / 2, time < BRANCHING_TIME, time < (BRANCHING_TIME + DURATION) / 2],
        ["Progenitor", "Intermediate", fate_start],
        fate_end,
    )


def _draw_counts(rng, abundance, *, size_factor, capture, noise):
    """Poisson counts around size factor x capture x abundance x a gamma variate of mean 1 and CV `noise`."""
    blocks = []
    for cells in _blocks(len(abundance)):
        mean = size_factor[cells, None] * capture * abundance[cells]
        if noise > 0:
            mean *= rng.gamma(noise**-2, noise**2, mean.shape)
        blocks.append(sparse.csr_array(rng.poisson(mean).astype(np.int32)))
    return sparse.vstack(blocks, format="csr")


def _blocks(n_cells):
    """Slices of at most `CELLS_AT_A_TIME` cells, in order."""
    return [slice(first, first + CELLS_AT_A_TIME) for first in range(0, n_cells, CELLS_AT_A_TIME)]


def _check(n_cells, n_genes, depth, depth_spread, unspliced_capture, noise):
    """Refuse options outside their range."""
    requirements = [
        (n_cells >= MIN_CELLS, "n_cells", n_cells, f"at least {MIN_CELLS}"),
        (n_genes >= MIN_GENES, "n_genes", n_genes, f"at least {MIN_GENES}, one for each kind and fate"),
        (0 < depth < np.inf, "depth", depth, "a positive number of counts a cell"),
        (0 <= depth_spread < np.inf, "depth_spread", depth_spread, "0 or more (0: all cells equally deep)"),
        (0 < unspliced_capture < 1, "unspliced_capture", unspliced_capture, "between 0 and 1"),
        (0 <= noise < np.inf, "noise", noise, "0 or more (0: Poisson counts)"),
    ]
    for met, name, value, expected in requirements:
        if not met:
            raise ValueError(f"simulate: {name} is {value}, expected {expected}")
