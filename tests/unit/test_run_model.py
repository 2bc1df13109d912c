"""Tests of the program that runs another group's model: its input, its output and its errors."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest
from support.counts import two_clusters
from veloshard.io.model_io import as_fit, load_failure_reason, load_model_output
from veloshard.preprocessing.model_input import save_model_input
from veloshard.preprocessing.prepare import prepare_data

PROGRAM = Path(__file__).parents[2] / "workflow/scripts/run_model.py"
MODEL = """
import numpy as np

def fit(cells, *, folder, random_state=0, case="complete", **options):
    velocity = cells.layers["Mu"] - cells.layers["Ms"]
    not_finite = velocity.copy()
    not_finite[3, 1] = np.nan
    result = {"layers": {"velocity": velocity}, "obs": {"coordinate": cells.obsm["X_embedding"][:, 0]}}
    return result | {
        "complete": {},
        "unknown gene": {"genes": ["x", *cells.var_names[1:]]},
        "repeated gene": {"genes": [cells.var_names[1], *cells.var_names[1:]]},
        "missing gene": {"layers": {"velocity": velocity[:, 1:]}},
        "unknown part": {"velocities": velocity},
        "no velocity": {"layers": {"speed": velocity}},
        "not finite": {"layers": {"velocity": velocity * np.nan}},
        "numbers instead of a mask": {"var": {"velocity_genes": np.ones(cells.n_vars)}},
        "draw that is not finite": {"samples": iter([velocity, not_finite])},
        "draw without a gene": {"samples": iter([velocity[:, 1:]])},
        "two draws": {"samples": iter([velocity, velocity])},
        "training curves": {"history": {"loss": [3, 2, 1], "held_out": [2, 1]}},
        "error": {},
    }[case] | ({} if case != "error" else 1 / 0)
"""


@pytest.fixture(scope="module")
def prepared():
    counts = two_clusters(60, 15)
    counts.uns["ingest"] = {}
    return counts, prepare_data(counts, dataset="test", n_pcs=5, n_neighbors=10)


@pytest.fixture
def program(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("run_model", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/toy.py").write_text(MODEL)
    monkeypatch.setattr(module, "MODELS", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return module


@pytest.fixture
def run(program, prepared, tmp_path):
    """Return a function that runs the model on a dataset or a negative control, and returns the paths of its output."""

    def run(case="complete", control=None, **options):
        counts, data = prepared
        embedding = np.column_stack([data.obsm["X_pca"][:, :2], data.obsm["X_pca"][:, 2]])
        attributes = {"control": control} if control else {}
        save_model_input("model_input.h5", data, counts, embedding=embedding, clusters="clusters", **attributes)
        paths = {name: tmp_path / f"{name}.h5" for name in ("result", "samples")}
        program.main(
            model="toy",
            cells="model_input.h5",
            options={"case": case, **options},
            folder=tmp_path / "kept",
            **paths,
        )
        return paths

    return run


def test_output_of_a_model_becomes_a_fit(run, prepared):
    _, data = prepared
    output = load_model_output(run()["result"])
    fit = as_fit(output, cells=data.obs_names, genes=data.var_names)
    assert (fit.genes["status"] == "ok").all()
    assert fit.genes["velocity_genes"].all()
    np.testing.assert_allclose(output.cell_columns["coordinate"], data.obsm["X_pca"][:, 0], rtol=1e-6)
    assert f"numpy {np.__version__}" in output.versions


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown gene", "genes that it was not given: x"),
        ("repeated gene", "some genes twice"),
        ("missing gene", r"layers\['velocity'\] has shape .60, 14., not .60, 15."),
        ("unknown part", r"returned \['velocities'\]"),
        ("no velocity", "no layer 'velocity'"),
        ("not finite", "no finite velocity"),
        ("numbers instead of a mask", "must be boolean"),
        ("draw that is not finite", "draw 1 is not finite"),
        ("draw without a gene", "draw 0 has shape .60, 14., not .60, 15."),
        ("error", "division by zero"),
    ],
)
def test_output_that_breaks_the_contract_is_refused(run, case, message):
    with pytest.raises((ValueError, ZeroDivisionError), match=message):
        run(case)


def test_option_n_samples_requires_draws(run):
    with pytest.raises(ValueError, match="returned no samples"):
        run(n_samples=4)


def test_posterior_draws_are_written_except_for_negative_controls(run):
    for control, expected in ((None, 2), ("permuted", None)):
        with h5py.File(run("two draws", control=control)["samples"]) as file:
            assert (len(file["velocity"]) if "velocity" in file else None) == expected


def test_training_curves_may_differ_in_length(run, tmp_path):
    run("training curves")
    assert (tmp_path / "kept/history.csv").read_text().splitlines()[-1] == "2,1,"


def test_failure_on_a_negative_control_is_recorded(run):
    assert load_failure_reason(run("error", control="permuted")["result"]) == "division by zero"
    assert load_failure_reason(run(control="permuted")["result"]) == ""


def test_reason_of_a_missing_negative_control_is_passed_on(program, tmp_path):
    with h5py.File("model_input.h5", "w") as file:
        file.attrs.update(control="thinned", reason="counts are no whole numbers")
    program.main(
        model="toy",
        cells="model_input.h5",
        options={},
        result=tmp_path / "model_output.h5",
        samples=tmp_path / "posterior_samples.h5",
        folder=tmp_path / "kept",
    )
    assert load_failure_reason(tmp_path / "model_output.h5") == "counts are no whole numbers"
