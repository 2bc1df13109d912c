"""Several samples become one dataset, and what does not fit together is counted."""

from pathlib import Path

import layouts
import numpy as np
import pytest
from counted import made_up
from veloshard.errors import InputError
from veloshard.ingest import ingest


@pytest.fixture
def two(tmp_path):
    """Paths of two samples of different layouts, whose genes overlap and are in another order, and their counts."""
    one, _ = layouts.write(layouts.starsolo, tmp_path / "one")
    counts = layouts.made_up(seed=1)
    other = layouts.kb_nac(tmp_path / "other", counts)
    folder = other / "counts_unfiltered"
    (folder / "cells_x_genes.genes.txt").write_text(
        "\n".join([*layouts.IDS[3:], "ENSNEW1", "ENSNEW2", "ENSNEW3"]) + "\n"
    )
    (folder / "cells_x_genes.genes.names.txt").write_text(
        "\n".join([*layouts.NAMES[3:], "New1", "New2", "Rpl7"]) + "\n"
    )
    return {"one": str(one), "other": str(other)}, layouts.made_up(), counts


def test_genes_of_all_samples(two):
    paths, first, second = two
    joined = ingest(paths, dataset="d")
    assert joined.var["gene_ids"].tolist() == layouts.IDS[3:]
    assert joined.var_names.tolist() == layouts.NAMES[3:]
    assert joined.obs_names.tolist() == [f"{sample}:{name}" for sample in paths for name in layouts.BARCODES]
    assert joined.obs["sample"].tolist() == ["one"] * 6 + ["other"] * 6
    for layer in ("spliced", "unspliced", "ambiguous"):
        expected = np.vstack([first[layer][:, 3:], second[layer][:, :5]])
        np.testing.assert_array_equal(joined.layers[layer].toarray(), expected)
        assert joined.layers[layer].has_canonical_format
    lost = first["spliced"][:, :3].sum() + first["unspliced"][:, :3].sum()
    share = lost / (first["spliced"].sum() + first["unspliced"].sum())
    warnings = joined.uns["ingest"]["warnings"].tolist()
    assert f"sample 'one': 3 of 8 genes, with {share:.1%} of its counts, are not in all samples: left out" in warnings
    assert joined.uns["ingest"]["format"] == "starsolo, kb_nac"


def test_genes_of_any_sample(two):
    paths, first, second = two
    joined = ingest(paths, dataset="d", join="union")
    assert joined.var["gene_ids"].tolist() == [*layouts.IDS, "ENSNEW1", "ENSNEW2", "ENSNEW3"]
    # a name that two genes share is told by their ids
    assert joined.var_names[2] == "Rpl7_ENSMUSG00000000002"
    assert joined.var_names[-1] == "Rpl7_ENSNEW3"
    expected = np.zeros((12, 11))
    expected[:6, :8], expected[6:, 3:] = first["spliced"], second["spliced"]
    np.testing.assert_array_equal(joined.layers["spliced"].toarray(), expected)


def test_samples_without_a_common_gene_are_refused(two):
    paths, _, _ = two
    genes = Path(paths["other"]) / "counts_unfiltered/cells_x_genes.genes.txt"
    genes.write_text("\n".join(f"human{k}" for k in range(8)) + "\n")
    with pytest.raises(InputError, match=r"no genes in common \(one: ENSMUSG00000000000, other: human0\)"):
        ingest(paths, dataset="d")


def test_a_sample_that_is_named_twice_is_noticed(tmp_path):
    made_up(n_cells=20, n_genes=30).write_h5ad(tmp_path / "a.h5ad")
    joined = ingest({name: str(tmp_path / "a.h5ad") for name in ("one", "two")}, dataset="d")
    assert joined.uns["ingest"]["duplicate_cells"] == 20
    assert any("20 cells have exactly the counts of another" in text for text in joined.uns["ingest"]["warnings"])
    assert joined.obs_names.is_unique


def test_poor_cells_may_be_alike_by_chance(two):
    # of eight genes, too few to tell
    joined = ingest({"a": two[0]["one"], "b": two[0]["one"]}, dataset="d")
    assert joined.uns["ingest"]["duplicate_cells"] == 0


def test_a_missing_layer_of_one_sample_is_that_of_none(two, tmp_path):
    paths, _, _ = two
    triple, _ = layouts.write(layouts.triples, tmp_path / "triple")
    assert set(ingest({**paths, "third": str(triple)}, dataset="d").layers) == {"spliced", "unspliced"}
