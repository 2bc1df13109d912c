"""Score the phases of the cell cycle by the expression of marker genes (Tirosh et al. 2016)."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import scanpy as sc
from anndata import AnnData
from numpy.typing import NDArray

from veloshard.preprocessing.normalization import cell_sizes, normalize_counts

log = logging.getLogger(__name__)


# Gene symbols as published. A slash separates the published symbol of a gene from its newer one.
S_GENES = (
    "MCM5", "PCNA", "TYMS", "FEN1", "MCM2", "MCM4", "RRM1", "UNG", "GINS2", "MCM6", "CDCA7", "DTL", "PRIM1", "UHRF1",
    "MLF1IP/CENPU", "HELLS", "RFC2", "RPA2", "NASP", "RAD51AP1", "GMNN", "WDR76", "SLBP", "CCNE2", "UBR7", "POLD3",
    "MSH2", "ATAD2", "RAD51", "RRM2", "CDC45", "CDC6", "EXO1", "TIPIN", "DSCC1", "BLM", "CASP8AP2", "USP1", "CLSPN",
    "POLA1", "CHAF1B", "BRIP1", "E2F8",
)  # fmt: skip


G2M_GENES = (
    "HMGB2", "CDK1", "NUSAP1", "UBE2C", "BIRC5", "TPX2", "TOP2A", "NDC80", "CKS2", "NUF2", "CKS1B", "MKI67", "TMPO",
    "CENPF", "TACC3", "FAM64A/PIMREG", "SMC4", "CCNB2", "CKAP2L", "CKAP2", "AURKB", "BUB1", "KIF11", "ANP32E", "TUBB4B",
    "GTSE1", "KIF20B", "HJURP", "CDCA3", "HN1/JPT1", "CDC20", "TTK", "CDC25C", "KIF2C", "RANGAP1", "NCAPD2", "DLGAP5",
    "CDCA2", "CDCA8", "ECT2", "KIF23", "HMMR", "AURKA", "PSRC1", "ANLN", "LBR", "CKAP5", "CENPE", "CTCF", "NEK2",
    "G2E3", "GAS2L3", "CBX5", "CENPA",
)  # fmt: skip


PHASES = ("G1", "S", "G2M")


# With fewer markers per phase, single genes dominate the score.
MIN_MARKERS = 5


# Markers are compared with other genes of similar expression, for which scanpy uses this number of bins.
MIN_OTHER_GENES = 25


def score_cell_cycle(
    counts: AnnData, cells: Sequence[str] | NDArray[np.str_], *, random_state: int = 0
) -> dict[str, NDArray[Any]]:
    """Return the scores of S and G2/M phase, and the phase, of some cells.

    A score is the mean log1p of normalized spliced counts over the markers of a phase, minus the mean over genes of
    similar expression (Satija et al. 2015, computed by scanpy). Markers are found by gene symbol, whatever the case.

    Parameters
    ----------
    counts : AnnData, shape (n_cells, n_genes)
        Counts as `ingest_counts` returns them.
    cells : sequence of str
        Names of the cells to score. Other cells are ignored.
    random_state : int
        Seed of the choice of genes that markers are compared with.

    Returns
    -------
    dict of str to ndarray, shape (len(cells),)
        `S_score`, `G2M_score` and `phase`, an index of `PHASES`: the phase with the higher score, or G1 if both scores
        are negative. Empty if there are too few markers or other genes.
    """
    scored_counts = counts[cells]
    markers = [find_markers(symbols, scored_counts.var_names) for symbols in (S_GENES, G2M_GENES)]
    n_markers = [len(genes) for genes in markers]
    if min(n_markers) < MIN_MARKERS or scored_counts.n_vars - sum(n_markers) < MIN_OTHER_GENES:
        log.info(
            "no cell cycle scores: %d genes, of which %d are markers of S and %d of G2/M phase by their symbols; "
            "needed are %d markers of each phase and %d other genes",
            *(scored_counts.n_vars, *n_markers, MIN_MARKERS, MIN_OTHER_GENES),
        )
        return {}
    logged = normalize_counts(scored_counts.layers["spliced"], cell_sizes(scored_counts, "spliced")).log1p()
    scored = AnnData(logged, obs=scored_counts.obs[[]], var=scored_counts.var[[]])
    # scanpy seeds NumPy's global generator; its state is restored
    state = np.random.get_state()  # noqa: NPY002
    try:
        sc.tl.score_genes_cell_cycle(scored, s_genes=markers[0], g2m_genes=markers[1], random_state=random_state)
    finally:
        np.random.set_state(state)  # noqa: NPY002
    log.info("scored %d cells by %d markers of S and %d of G2/M phase", scored.n_obs, *n_markers)
    return {
        "S_score": scored.obs["S_score"].to_numpy(),
        "G2M_score": scored.obs["G2M_score"].to_numpy(),
        "phase": scored.obs["phase"].map(PHASES.index).to_numpy(dtype=np.int8),
    }


def find_markers(symbols: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the genes of a dataset that are in a list of symbols, whatever the case.

    Parameters
    ----------
    symbols : iterable of str
        Symbols. A slash separates several symbols of one gene, of which the first that the dataset has is used.
    names : iterable of str
        Names of the dataset's genes. If names differ only by case, the first is used.

    Returns
    -------
    list of str
        Names in the order of the symbols.
    """
    name_of_symbol: dict[str, str] = {}
    for name in names:
        name_of_symbol.setdefault(name.upper(), name)
    markers = (
        next((name_of_symbol[symbol] for symbol in gene.split("/") if symbol in name_of_symbol), None)
        for gene in symbols
    )
    return [name for name in markers if name is not None]
