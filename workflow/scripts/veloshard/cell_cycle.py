"""In which phase of the cell cycle each cell is, by the expression of marker genes (Tirosh et al. 2016)."""

import logging

import numpy as np
import scanpy as sc
from anndata import AnnData

from veloshard.preprocess import full_depth, normalise

log = logging.getLogger(__name__)

# As published; where a gene has been renamed since, its names in the order of their age.
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
# With fewer of a list, single genes decide.
LEAST_MARKERS = 5
# Markers are compared with others of like expression, in so many bins by scanpy's default.
LEAST_OTHERS = 25


def score_cell_cycle(counts, cells, *, random_state=0):
    """Scores of S and G2/M phase, and the phase, of some cells.

    counts : AnnData (n_cells, n_genes) of counts, as `ingest.ingest` returns it; left as it is.
    cells : (n_kept_cells,), names of the cells to score; others do not count.
    random_state : int, seed of the choice of genes that markers are compared with.

    Returns a dict of arrays (n_kept_cells,): `S_score` and `G2M_score`, mean log1p of normalised spliced counts over a
    phase's markers less that over genes of like expression (Satija et al. 2015, by scanpy); `phase`, int8, of
    `PHASES`: that of the higher score, G1 where both are negative.  Empty where too few genes are
    there, by their symbols in capitals or not.
    """
    kept = counts[cells]
    markers = [genes_of(listed, kept.var_names) for listed in (S_GENES, G2M_GENES)]
    found = [len(genes) for genes in markers]
    if min(found) < LEAST_MARKERS or kept.n_vars - sum(found) < LEAST_OTHERS:
        log.info(
            "no cell cycle scores: of %d genes, %d are markers of S and %d of G2/M phase by their symbols; "
            "%d of each and %d others are needed",
            *(kept.n_vars, *found, LEAST_MARKERS, LEAST_OTHERS),
        )
        return {}
    logged = normalise(kept.layers["spliced"], full_depth(kept, "spliced")).log1p()
    scored = AnnData(logged, obs=kept.obs[[]], var=kept.var[[]])
    # scanpy seeds NumPy's global generator, which is put back to where it was
    before = np.random.get_state()  # noqa: NPY002
    try:
        sc.tl.score_genes_cell_cycle(scored, s_genes=markers[0], g2m_genes=markers[1], random_state=random_state)
    finally:
        np.random.set_state(before)  # noqa: NPY002
    log.info("scored %d cells by %d markers of S and %d of G2/M phase", kept.n_obs, *found)
    return {
        "S_score": scored.obs["S_score"].to_numpy(),
        "G2M_score": scored.obs["G2M_score"].to_numpy(),
        "phase": scored.obs["phase"].map(PHASES.index).to_numpy(dtype=np.int8),
    }


def genes_of(listed, names):
    """Those of the dataset's genes whose name is on a list, in the list's order, whatever their case.

    listed : names, several of one gene joined by a slash.   names : (n_genes,).
    Of several genes of one name the first counts.
    """
    by_symbol = {}
    for name in names:
        by_symbol.setdefault(name.upper(), name)
    found = [next((by_symbol[one] for one in gene.split("/") if one in by_symbol), None) for gene in listed]
    return [name for name in found if name is not None]
