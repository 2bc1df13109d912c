import logging
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse
from veloshard.cell_cycle import G2M_GENES, LEAST_MARKERS, PHASES, S_GENES, genes_of, score_cell_cycle

DATA = Path(__file__).parents[3] / "shared" / "data"


def cycling(n_cells=150, n_others=3000, seed=0, named=str.capitalize):
    """Counts of as many cells in G1, S and G2/M: markers are twice the others in their phase, half elsewhere."""
    rng = np.random.default_rng(seed)
    phase = np.repeat([0, 1, 2], n_cells // 3)
    markers = [gene.split("/")[0] for gene in S_GENES + G2M_GENES]
    names = [named(name) for name in markers] + [f"Gene{k}" for k in range(n_others)]
    mean = np.tile(rng.gamma(2.0, 0.5, len(names)), (n_cells, 1))
    mean[:, : len(S_GENES)] *= np.where(phase == 1, 2, 0.5)[:, None]
    mean[:, len(S_GENES) : len(markers)] *= np.where(phase == 2, 2, 0.5)[:, None]
    adata = anndata.AnnData(layers={"spliced": sparse.csr_matrix(rng.poisson(mean).astype(np.float32))})
    adata.var_names, adata.obs_names = names, [f"cell{k}" for k in range(n_cells)]
    return adata, phase


@pytest.mark.parametrize("named", [str.upper, str.capitalize])
def test_the_phase_of_simulated_cells_is_found(named):
    counts, phase = cycling(named=named)
    scores = score_cell_cycle(counts, counts.obs_names)
    assert PHASES == ("G1", "S", "G2M")
    # the sum of 43 genes of mean 1 scatters by 15 %: phases are several standard deviations apart
    np.testing.assert_array_equal(scores["phase"], phase)
    # a score rises with the markers' log1p, as the other genes stay
    of_size = counts.layers["spliced"].toarray()
    of_size *= np.median(of_size.sum(axis=1)) / of_size.sum(axis=1, keepdims=True)
    rise = np.log1p(of_size[phase == 1]).mean(axis=0) - np.log1p(of_size[phase == 0]).mean(axis=0)
    raised = scores["S_score"][phase == 1].mean() - scores["S_score"][phase == 0].mean()
    # that is by the scatter of some hundreds of genes over fifty cells, 0.5 / sqrt(50 * 300)
    assert raised == pytest.approx(rise[: len(S_GENES)].mean(), abs=0.02)


def test_the_seed_decides():
    counts, _ = cycling()
    one, again, other = (score_cell_cycle(counts, counts.obs_names, random_state=seed) for seed in (0, 0, 1))
    assert one["S_score"].tobytes() == again["S_score"].tobytes()
    assert not np.array_equal(one["S_score"], other["S_score"])


def test_the_global_generator_and_the_counts_stay_as_they_are():
    counts, _ = cycling()
    before, held = np.random.get_state()[1].copy(), counts.layers["spliced"].copy()  # noqa: NPY002
    score_cell_cycle(counts, counts.obs_names, random_state=5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert (counts.layers["spliced"] != held).nnz == 0
    assert list(counts.obs) == []


def test_cells_that_were_left_out_do_not_count():
    counts, _ = cycling()
    cells = counts.obs_names[::2]
    found, alone = score_cell_cycle(counts, cells), score_cell_cycle(counts[cells].copy(), cells)
    assert len(found["phase"]) == 75
    np.testing.assert_array_equal(found["S_score"], alone["S_score"])


def test_too_few_markers_give_no_scores_and_the_log_says_so(caplog):
    caplog.set_level(logging.INFO)
    counts, _ = cycling()
    n_s = len(S_GENES)
    assert score_cell_cycle(counts[:, n_s - LEAST_MARKERS :], counts.obs_names)
    caplog.clear()
    assert score_cell_cycle(counts[:, n_s - LEAST_MARKERS + 1 :], counts.obs_names) == {}
    assert "4 are markers of S and 54 of G2/M" in caplog.text
    # markers alone have nothing to be compared with
    assert score_cell_cycle(counts[:, : n_s + len(G2M_GENES)], counts.obs_names) == {}


def test_ids_are_not_taken_for_symbols():
    assert genes_of(S_GENES, ["ENSG00000100297.16", "Mcm5.1", "MCM", "ENSG00000132646"]) == []


def test_markers_are_found_by_their_old_and_new_names_whatever_the_case():
    assert genes_of(S_GENES, ["Cenpu", "pcna", "MCM5"]) == ["MCM5", "pcna", "Cenpu"]
    assert genes_of(["MLF1IP/CENPU"], ["CENPU", "MLF1IP", "Mlf1ip"]) == ["MLF1IP"]


def test_the_lists_are_the_published_ones():
    assert (len(set(S_GENES)), len(set(G2M_GENES))) == (43, 54)
    assert not set(S_GENES) & set(G2M_GENES)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason="needs the pancreas data")
def test_scores_of_the_pancreas_agree_with_those_that_came_with_it():
    # the file with the scores has few of the markers; that with all genes holds fifty of its cells
    counts = anndata.read_h5ad(DATA / "pancreas_50cells_allgenes.h5ad")
    published = anndata.read_h5ad(DATA / "pancreas.h5ad").obs.loc[counts.obs_names]
    found = score_cell_cycle(counts, counts.obs_names)
    for score in ("S_score", "G2M_score"):
        # of other cells, other genes are of like expression: two seeds here agree to 0.987
        assert np.corrcoef(found[score], published[score])[0, 1] > 0.95
