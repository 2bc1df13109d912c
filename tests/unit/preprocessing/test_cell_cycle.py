import logging
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse
from veloshard.preprocessing.cell_cycle import G2M_GENES, MIN_MARKERS, PHASES, S_GENES, find_markers, score_cell_cycle

DATA = Path(__file__).parents[4] / "shared" / "data"


def cycling(n_cells=150, n_others=3000, seed=0, convert=str.capitalize):
    """Return counts and phases of cells, a third in each phase. Markers are doubled in their phase, else halved."""
    rng = np.random.default_rng(seed)
    phase = np.repeat([0, 1, 2], n_cells // 3)
    markers = [gene.split("/")[0] for gene in S_GENES + G2M_GENES]
    names = [convert(name) for name in markers] + [f"Gene{k}" for k in range(n_others)]
    mean = np.tile(rng.gamma(2.0, 0.5, len(names)), (n_cells, 1))
    mean[:, : len(S_GENES)] *= np.where(phase == 1, 2, 0.5)[:, None]
    mean[:, len(S_GENES) : len(markers)] *= np.where(phase == 2, 2, 0.5)[:, None]
    adata = anndata.AnnData(layers={"spliced": sparse.csr_matrix(rng.poisson(mean).astype(np.float32))})
    adata.var_names, adata.obs_names = names, [f"cell{k}" for k in range(n_cells)]
    return adata, phase


@pytest.mark.parametrize("convert", [str.upper, str.capitalize])
def test_phase_of_simulated_cells_is_found(convert):
    counts, phase = cycling(convert=convert)
    scores = score_cell_cycle(counts, counts.obs_names)
    assert PHASES == ("G1", "S", "G2M")
    # the sum of 43 genes of mean 1 varies by 15 %, so that phases are several standard deviations apart
    np.testing.assert_array_equal(scores["phase"], phase)
    # a score increases with the markers' log1p, because the other genes do not change
    normalized = counts.layers["spliced"].toarray()
    normalized *= np.median(normalized.sum(axis=1)) / normalized.sum(axis=1, keepdims=True)
    increase = np.log1p(normalized[phase == 1]).mean(axis=0) - np.log1p(normalized[phase == 0]).mean(axis=0)
    score_increase = scores["S_score"][phase == 1].mean() - scores["S_score"][phase == 0].mean()
    # tolerance: variation of some hundreds of genes over fifty cells, 0.5 / sqrt(50 * 300)
    assert score_increase == pytest.approx(increase[: len(S_GENES)].mean(), abs=0.02)


def test_scores_depend_on_the_seed_only():
    counts, _ = cycling()
    one, again, other = (score_cell_cycle(counts, counts.obs_names, random_state=seed) for seed in (0, 0, 1))
    assert one["S_score"].tobytes() == again["S_score"].tobytes()
    assert not np.array_equal(one["S_score"], other["S_score"])


def test_global_random_state_and_counts_are_not_changed():
    counts, _ = cycling()
    state, spliced = np.random.get_state()[1].copy(), counts.layers["spliced"].copy()  # noqa: NPY002
    score_cell_cycle(counts, counts.obs_names, random_state=5)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert (counts.layers["spliced"] != spliced).nnz == 0
    assert list(counts.obs) == []


def test_other_cells_do_not_change_scores():
    counts, _ = cycling()
    cells = counts.obs_names[::2]
    scores, scores_alone = score_cell_cycle(counts, cells), score_cell_cycle(counts[cells].copy(), cells)
    assert len(scores["phase"]) == 75
    np.testing.assert_array_equal(scores["S_score"], scores_alone["S_score"])


def test_too_few_markers_give_no_scores_and_a_log_message(caplog):
    caplog.set_level(logging.INFO)
    counts, _ = cycling()
    n_s = len(S_GENES)
    assert score_cell_cycle(counts[:, n_s - MIN_MARKERS :], counts.obs_names)
    caplog.clear()
    assert score_cell_cycle(counts[:, n_s - MIN_MARKERS + 1 :], counts.obs_names) == {}
    assert "of which 4 are markers of S and 54 of G2/M" in caplog.text
    # there are no other genes to compare markers with
    assert score_cell_cycle(counts[:, : n_s + len(G2M_GENES)], counts.obs_names) == {}


def test_gene_ids_are_not_matched_as_symbols():
    assert find_markers(S_GENES, ["ENSG00000100297.16", "Mcm5.1", "MCM", "ENSG00000132646"]) == []


def test_markers_are_found_by_their_old_and_new_names_whatever_the_case():
    assert find_markers(S_GENES, ["Cenpu", "pcna", "MCM5"]) == ["MCM5", "pcna", "Cenpu"]
    assert find_markers(["MLF1IP/CENPU"], ["CENPU", "MLF1IP", "Mlf1ip"]) == ["MLF1IP"]


def test_marker_lists_have_the_published_lengths():
    assert (len(set(S_GENES)), len(set(G2M_GENES))) == (43, 54)
    assert not set(S_GENES) & set(G2M_GENES)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs the pancreas data")
def test_scores_of_the_pancreas_agree_with_published_ones():
    # the file with the scores has few of the markers; the file with all genes has fifty of its cells
    counts = anndata.read_h5ad(DATA / "pancreas_50cells_allgenes.h5ad")
    published = anndata.read_h5ad(DATA / "pancreas.h5ad").obs.loc[counts.obs_names]
    scores = score_cell_cycle(counts, counts.obs_names)
    for score in ("S_score", "G2M_score"):
        # the genes of similar expression depend on the cells; two seeds agree to 0.987 here
        assert np.corrcoef(scores[score], published[score])[0, 1] > 0.95
