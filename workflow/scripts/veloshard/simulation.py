"""Simulate spliced and unspliced counts with known truth: a trunk that branches into two fates, with exact kinetics.

Each cell has a true time between 0 and `DURATION` and, from `BRANCHING_TIME` on, one of two fates. In each fate, a gene
is transcribed at its rate alpha between its two switching times, and not at all outside them. Its unspliced and spliced
abundances follow from the closed solutions in `kinetics.splicing`, applied from switch to switch. The fates share all
switches before `BRANCHING_TIME`, and therefore have the same past.

Counts are Poisson draws with mean size factor x abundance. For unspliced counts, the mean is also multiplied by the
gene's capture efficiency.
"""

from typing import Any, NamedTuple

import anndata
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from veloshard.kinetics.splicing import spliced_at, unspliced_at

# scVelo scales every gene to 20 units of time. Truth and fit then have the same scale. If the process takes four days,
# one unit is about five hours.
DURATION = 20.0


BRANCHING_TIME = 8.0


FATES = ("Fate A", "Fate B")


TRUNK = "Trunk"


BOTH_FATES = "both"


# (kind, fate in which the gene is switched): fraction of the genes, earliest and latest first switch as fractions of
# DURATION. Genes that are switched on and off balance, so that the RNA content per cell stays about the same along the
# process, as normalization by cell size assumes.
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


# Shortest and longest on-period of an `up_down` gene, as fractions of DURATION: about one to three half-lives of the
# RNA, so that many of these genes are switched off long before steady state.
ON_PERIOD = (0.1, 0.3)


# Medians, and standard deviations of the logarithm. A gamma of 0.3 is an RNA half-life of 2.3 units of time: about 11 h
# if the process takes four days (the mammalian median is about 9 h, Schwanhaeusser et al. 2011). The spread of alpha,
# whose unit follows from the depth, makes mean counts per gene span two orders of magnitude.
ALPHA_LOG_SD = 1.0


BETA_MEDIAN, BETA_LOG_SD = 0.6, 0.4


GAMMA_MEDIAN, GAMMA_LOG_SD = 0.3, 0.4


# Concentration of the beta distribution of capture efficiencies. Their standard deviation is about 0.15.
CAPTURE_CONCENTRATION = 10.0


# Each program needs a gene, and the smallest fraction is 0.04.
MIN_GENES = 25


MIN_CELLS = 10


# About ten intermediate matrices are computed for that many cells at once. For 100,000 cells, the truth alone takes
# gigabytes.
CELLS_AT_A_TIME = 1024


class Simulation(NamedTuple):
    """Simulated counts and the truth.

    The unit of abundance is the expected count in a cell with size factor 1. The process takes `DURATION` units of
    time.

    Attributes
    ----------
    spliced, unspliced : csr_array of int32, shape (n_cells, n_genes)
        Poisson counts with means ``size_factor * spliced_abundance`` and
        ``size_factor * unspliced_capture * unspliced_abundance``.
    spliced_abundance, unspliced_abundance : ndarray, shape (n_cells, n_genes)
        s and u at the cell's time, the solution of du/dt = alpha - beta u, ds/dt = beta u - gamma s.
    velocity : ndarray, shape (n_cells, n_genes)
        ds/dt = beta u - gamma s, abundance per unit of time. Counts normalized by cell size estimate s in a unit of
        that cell. An estimate of ds/dt from such counts is therefore this velocity times one positive number per cell,
        which changes neither cosines nor signs.
    time : ndarray, shape (n_cells,)
        Time since the root, on one scale for both fates.
    size_factor : ndarray, shape (n_cells,)
        Log-normal with mean 1.
    lineage : ndarray of str, shape (n_cells,)
        ``TRUNK`` before the branching, then one of ``FATES``.
    cluster : ndarray of str, shape (n_cells,)
        Cluster by true time and fate: two stages of the trunk and two of each fate.
    alpha, beta, gamma : ndarray, shape (n_genes,)
        Rates of transcription while the gene is on (abundance per unit of time), splicing and degradation (per unit of
        time).
    unspliced_capture : ndarray, shape (n_genes,)
        Probability that an unspliced molecule is captured, relative to a spliced one.
    kind : ndarray of str, shape (n_genes,)
        ``up``, ``down`` (on and at steady state at time 0), ``up_down`` or ``late``.
    fate : ndarray of str, shape (n_genes,)
        Fate in which the gene is switched, or ``BOTH_FATES``.
    switch_on, switch_off : ndarray, shape (2, n_genes)
        Switching times in each of ``FATES``, inf for no switch. `switch_on` is 0 for genes that are on from the
        beginning.
    cell_names, gene_names : ndarray of str, shape (n_cells,) and (n_genes,)
        Names of the cells and the genes.
    """

    spliced: sparse.csr_array
    unspliced: sparse.csr_array
    spliced_abundance: NDArray[np.float64]
    unspliced_abundance: NDArray[np.float64]
    velocity: NDArray[np.float64]
    time: NDArray[np.float64]
    size_factor: NDArray[np.float64]
    lineage: NDArray[np.str_]
    cluster: NDArray[np.str_]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    gamma: NDArray[np.float64]
    unspliced_capture: NDArray[np.float64]
    kind: NDArray[np.str_]
    fate: NDArray[np.str_]
    switch_on: NDArray[np.float64]
    switch_off: NDArray[np.float64]
    cell_names: NDArray[np.str_]
    gene_names: NDArray[np.str_]


def simulate(
    rng: np.random.Generator,
    *,
    n_cells: int = 2000,
    n_genes: int = 400,
    depth: float = 2000.0,
    depth_spread: float = 0.3,
    unspliced_capture: float = 0.6,
    noise: float = 0.0,
) -> Simulation:
    """Return simulated counts with their truth.

    Parameters
    ----------
    rng : Generator
        Only source of randomness. The same state gives bitwise identical results.
    n_cells, n_genes : int
        At least `MIN_CELLS` and `MIN_GENES`.
    depth : float
        Mean count per cell over all genes, spliced and unspliced together; > 0.
    depth_spread : float
        Standard deviation of the logarithm of the size factors; >= 0.
    unspliced_capture : float
        Mean over genes of the probability that an unspliced molecule is captured, relative to a spliced one; between
        0 and 1, both excluded.
    noise : float
        Coefficient of variation of each abundance among cells of the same time and fate, independent for each cell,
        gene and layer; >= 0. Counts are Poisson for 0, else negative binomial with dispersion ``noise**2``. The truth
        is the mean, whatever the noise.

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        If an argument is outside its range.
    """
    _check(n_cells, n_genes, depth, depth_spread, unspliced_capture, noise)

    kind, fate, gene_names, switch_on, switch_off = _draw_programs(rng, n_genes)
    relative_alpha = rng.lognormal(0.0, ALPHA_LOG_SD, n_genes)
    beta = rng.lognormal(np.log(BETA_MEDIAN), BETA_LOG_SD, n_genes)
    gamma = rng.lognormal(np.log(GAMMA_MEDIAN), GAMMA_LOG_SD, n_genes)
    captured, lost = CAPTURE_CONCENTRATION * unspliced_capture, CAPTURE_CONCENTRATION * (1 - unspliced_capture)
    capture = rng.beta(captured, lost, n_genes)

    # evenly spaced with jitter, in random order: the order of the cells carries no information about their time
    time = DURATION * rng.permutation((np.arange(n_cells) + rng.random(n_cells)) / n_cells)
    fate_code = rng.integers(len(FATES), size=n_cells)
    # the mean is 1, not the median
    size_factor = rng.lognormal(-(depth_spread**2) / 2, depth_spread, n_cells)

    unspliced, spliced, velocity = (np.empty((n_cells, n_genes)) for _ in range(3))
    for cells in _blocks(n_cells):
        unspliced[cells], spliced[cells] = abundances(
            time[cells, None],
            switch_on[fate_code[cells]],
            switch_off[fate_code[cells]],
            alpha=relative_alpha,
            beta=beta,
            gamma=gamma,
            starts_on=kind == "down",
        )
    # abundances are proportional to alpha, and the depth sets its unit
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
        lineage=np.where(time < BRANCHING_TIME, TRUNK, np.array(FATES)[fate_code]),
        cluster=_annotate(time, fate_code),
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


def abundances(
    time: ArrayLike,
    switch_on: ArrayLike,
    switch_off: ArrayLike,
    *,
    alpha: ArrayLike,
    beta: ArrayLike,
    gamma: ArrayLike,
    starts_on: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the solution of the splicing equations for genes that are on between two switching times.

    All arguments broadcast.

    Parameters
    ----------
    time : array_like
        Time since the root; >= 0.
    switch_on, switch_off : array_like
        Switching times with 0 <= `switch_on` <= `switch_off`, inf for no switch.
    alpha, beta, gamma : array_like
        Rates; > 0. Transcription is at `alpha` between the two switches, and 0 otherwise.
    starts_on : array_like of bool
        True for genes that are at the steady state of induction at time 0 (`switch_on` is 0). Other genes start
        without RNA.

    Returns
    -------
    unspliced, spliced : ndarray
        Abundances, in the broadcast shape of the arguments.
    """
    u_start = np.where(starts_on, alpha / beta, 0.0)
    s_start = np.where(starts_on, alpha / gamma, 0.0)

    on = np.clip(np.minimum(time, switch_off) - switch_on, 0.0, None)
    u_on = unspliced_at(on, u_start, alpha, beta)
    s_on = spliced_at(on, s_start, u_start, alpha, beta, gamma)

    off = np.clip(time - switch_off, 0.0, None)
    return unspliced_at(off, u_on, 0.0, beta), spliced_at(off, s_on, u_on, 0.0, beta, gamma)


def _draw_programs(rng, n_genes):
    """Assign the genes to `PROGRAMS` and draw their switching times: kind, fate, name, switch_on, switch_off."""
    fractions, earliest, latest = np.array(list(PROGRAMS.values())).T
    # rounding the cumulative fractions, not the fractions, makes the numbers add up to n_genes
    ends = np.rint(np.cumsum(fractions) / fractions.sum() * n_genes).astype(int)
    program = np.repeat(np.arange(len(PROGRAMS)), np.diff(ends, prepend=0))
    kind, fate = np.array(list(PROGRAMS))[program].T

    first_switch = DURATION * rng.uniform(earliest[program], latest[program])
    on_period = DURATION * rng.uniform(*ON_PERIOD, n_genes)
    on = np.where(kind == "down", 0.0, first_switch)
    off = np.select([kind == "down", kind == "up_down"], [first_switch, first_switch + on_period], np.inf)

    is_switched = (fate == BOTH_FATES) | (fate == np.array(FATES)[:, None])
    # in the other fate a gene does not change: it stays on if it was on from the beginning, else off
    switch_on = np.where(is_switched | (kind == "down"), on, np.inf)
    switch_off = np.where(is_switched, off, np.inf)

    number = np.concatenate([np.arange(1, (kind == name).sum() + 1) for name in dict.fromkeys(kind)])
    gene_names = np.array([f"{name}_{k:04d}" for name, k in zip(kind, number, strict=True)])
    return kind, fate, gene_names, switch_on, switch_off


def _annotate(time, fate_code):
    """Return the cluster of each cell by its true time and fate."""
    fate_end = np.array(FATES)[fate_code]
    fate_start = np.array([f"{fate} early" for fate in FATES])[fate_code]
    return np.select(
        [time < BRANCHING_TIME / 2, time < BRANCHING_TIME, time < (BRANCHING_TIME + DURATION) / 2],
        ["Progenitor", "Intermediate", fate_start],
        fate_end,
    )


def _draw_counts(rng, abundance, *, size_factor, capture, noise):
    """Return Poisson counts with mean size factor x capture x abundance x gamma variate (mean 1, CV `noise`)."""
    blocks = []
    for cells in _blocks(len(abundance)):
        mean = size_factor[cells, None] * capture * abundance[cells]
        if noise > 0:
            mean *= rng.gamma(noise**-2, noise**2, mean.shape)
        blocks.append(sparse.csr_array(rng.poisson(mean).astype(np.int32)))
    return sparse.vstack(blocks, format="csr")


def _blocks(n_cells):
    """Return consecutive slices of at most `CELLS_AT_A_TIME` cells."""
    return [slice(first, first + CELLS_AT_A_TIME) for first in range(0, n_cells, CELLS_AT_A_TIME)]


def _check(n_cells, n_genes, depth, depth_spread, unspliced_capture, noise):
    """Raise ValueError for an argument outside its range."""
    requirements = [
        (n_cells >= MIN_CELLS, "n_cells", n_cells, f"at least {MIN_CELLS}"),
        (n_genes >= MIN_GENES, "n_genes", n_genes, f"at least {MIN_GENES}, so that each kind and fate has a gene"),
        (0 < depth < np.inf, "depth", depth, "a positive number of counts per cell"),
        (0 <= depth_spread < np.inf, "depth_spread", depth_spread, "0 or more (0: all cells have the same depth)"),
        (0 < unspliced_capture < 1, "unspliced_capture", unspliced_capture, "between 0 and 1"),
        (0 <= noise < np.inf, "noise", noise, "0 or more (0: Poisson counts)"),
    ]
    for met, name, value, expected in requirements:
        if not met:
            raise ValueError(f"simulate: {name} is {value}, expected {expected}")


def simulate_counts(*, seed: int, **options: Any) -> anndata.AnnData:
    """Return simulated counts with their truth as AnnData.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    **options
        Options of `simulate`.

    Returns
    -------
    AnnData, shape (n_cells, n_genes)
        `layers`: spliced, unspliced and the true_velocity. `obs`: true_time, lineage and clusters. `var`: true_alpha,
        true_beta, true_gamma, unspliced_capture, kind and fate.
    """
    truth = simulate(np.random.default_rng(seed), **options)
    return anndata.AnnData(
        obs=pd.DataFrame(
            {
                "clusters": pd.Categorical(truth.cluster),
                "lineage": pd.Categorical(truth.lineage),
                "true_time": truth.time,
            },
            index=truth.cell_names,
        ),
        var=pd.DataFrame(
            {
                "kind": pd.Categorical(truth.kind),
                "fate": pd.Categorical(truth.fate),
                "true_alpha": truth.alpha,
                "true_beta": truth.beta,
                "true_gamma": truth.gamma,
                "unspliced_capture": truth.unspliced_capture,
            },
            index=truth.gene_names,
        ),
        layers={
            "spliced": truth.spliced,
            "unspliced": truth.unspliced,
            "true_velocity": truth.velocity.astype(np.float32),
        },
    )
