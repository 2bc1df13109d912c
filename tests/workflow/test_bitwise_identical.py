"""Results are bitwise identical for any number of shards and threads."""

import pytest

THREADED = (
    "fit_genes", "compute_velocity_graph", "merge_fits", "compute_confidence", "compute_velocity_embedding",
    "assemble_result", "compute_pseudotime", "rank_genes", "test_differential_kinetics", "run_negative_controls",
)  # fmt: skip


def results(folder):
    """Return the content of every result by its path, without benchmarks and shards."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"benchmarks", "fit_shards", "velocity_graph_shards"} & set(path.parts)
    }


@pytest.mark.parametrize(
    ("split", "cells_per_shard", "threads"),
    [({"genes_per_shard": 1000}, 1000, 2), ({"genes_per_shard": 9}, 60, 1)],
)
def test_results_do_not_depend_on_shards_and_threads(
    small_run, small_config, run_workflow, tmp_path, split, cells_per_shard, threads
):
    config = small_config(**split, graph={"cells_per_shard": cells_per_shard})
    set_threads = [f"{rule}={threads}" for rule in THREADED]
    process = run_workflow(config, tmp_path, "--set-threads", *set_threads)
    assert process.returncode == 0, process.stdout + process.stderr

    expected, actual = results(small_run), results(tmp_path / "results")
    assert {"fit.h5", "velocity.h5ad", "genes.csv", "cells.csv", "stream.png"} <= {
        path.rsplit("/")[-1] for path in expected
    }
    assert expected.keys() == actual.keys()
    assert [path for path in expected if expected[path] != actual[path]] == []
