"""Several samples are combined into one dataset, and genes that are left out are counted."""

from pathlib import Path

import numpy as np
import pytest
from support import layouts
from support.counts import two_clusters
from veloshard.errors import InputError
from veloshard.preprocessing.ingest import ingest_counts


@pytest.fixture
def two_samples(tmp_path):
    """Return paths and counts of two samples of different layouts. Their genes overlap and differ in order."""
    one, _ = layouts.write(layouts.starsolo, tmp_path / "one")
    counts = layouts.random_layers(seed=1)
    other = layouts.kb_nac(tmp_path / "other", counts)
    folder = other / "counts_unfiltered"
    (folder / "cells_x_genes.genes.txt").write_text(
        "\n".join([*layouts.IDS[3:], "ENSNEW1", "ENSNEW2", "ENSNEW3"]) + "\n"
    )
    (folder / "cells_x_genes.genes.names.txt").write_text(
        "\n".join([*layouts.NAMES[3:], "New1", "New2", "Rpl7"]) + "\n"
    )
    return {"one": str(one), "other": str(other)}, layouts.random_layers(), counts


def test_intersection_keeps_genes_of_all_samples(two_samples):
    paths, first, second = two_samples
    combined = ingest_counts(paths, dataset="d")
    assert combined.var["gene_ids"].tolist() == layouts.IDS[3:]
    assert combined.var_names.tolist() == layouts.NAMES[3:]
    assert combined.obs_names.tolist() == [f"{sample}:{name}" for sample in paths for name in layouts.BARCODES]
    assert combined.obs["sample"].tolist() == ["one"] * 6 + ["other"] * 6
    for layer in ("spliced", "unspliced", "ambiguous"):
        expected = np.vstack([first[layer][:, 3:], second[layer][:, :5]])
        np.testing.assert_array_equal(combined.layers[layer].toarray(), expected)
        assert combined.layers[layer].has_canonical_format
    n_left_out = first["spliced"][:, :3].sum() + first["unspliced"][:, :3].sum()
    fraction = n_left_out / (first["spliced"].sum() + first["unspliced"].sum())
    warnings = combined.uns["ingest"]["warnings"].tolist()
    assert (
        f"sample 'one': 3 of 8 genes, with {fraction:.1%} of its counts, are not in all samples: left out" in warnings
    )
    assert combined.uns["ingest"]["format"] == "starsolo, kb_nac"


def test_union_keeps_genes_of_any_sample(two_samples):
    paths, first, second = two_samples
    combined = ingest_counts(paths, dataset="d", join="union")
    assert combined.var["gene_ids"].tolist() == [*layouts.IDS, "ENSNEW1", "ENSNEW2", "ENSNEW3"]
    # two genes that share a name get their ids appended
    assert combined.var_names[2] == "Rpl7_ENSMUSG00000000002"
    assert combined.var_names[-1] == "Rpl7_ENSNEW3"
    expected = np.zeros((12, 11))
    expected[:6, :8], expected[6:, 3:] = first["spliced"], second["spliced"]
    np.testing.assert_array_equal(combined.layers["spliced"].toarray(), expected)


def test_samples_without_a_common_gene_are_refused(two_samples):
    paths, _, _ = two_samples
    genes = Path(paths["other"]) / "counts_unfiltered/cells_x_genes.genes.txt"
    genes.write_text("\n".join(f"human{k}" for k in range(8)) + "\n")
    with pytest.raises(InputError, match=r"no genes in common \(one: ENSMUSG00000000000, other: human0\)"):
        ingest_counts(paths, dataset="d")


def test_cells_of_a_sample_that_is_named_twice_are_counted_as_duplicates(tmp_path):
    two_clusters(n_cells=20, n_genes=30).write_h5ad(tmp_path / "a.h5ad")
    combined = ingest_counts({name: str(tmp_path / "a.h5ad") for name in ("one", "two")}, dataset="d")
    assert combined.uns["ingest"]["duplicate_cells"] == 20
    assert any(
        "20 cells have exactly the counts of another cell" in text for text in combined.uns["ingest"]["warnings"]
    )
    assert combined.obs_names.is_unique


def test_cells_with_few_genes_are_not_counted_as_duplicates(two_samples):
    # the cells have only eight genes
    combined = ingest_counts({"a": two_samples[0]["one"], "b": two_samples[0]["one"]}, dataset="d")
    assert combined.uns["ingest"]["duplicate_cells"] == 0


def test_layer_that_one_sample_lacks_is_dropped(two_samples, tmp_path):
    paths, _, _ = two_samples
    triple, _ = layouts.write(layouts.triples, tmp_path / "triple")
    assert set(ingest_counts({**paths, "third": str(triple)}, dataset="d").layers) == {"spliced", "unspliced"}
