"""The program that runs another's model: what it hands over, what it takes back, and what it says of what is wrong."""

import importlib.util
from pathlib import Path

import h5py
import numpy as np
import pytest
from counted import made_up
from veloshard import exchange
from veloshard.preprocess import prepare

PROGRAM = Path(__file__).parents[2] / "workflow/scripts/run_model.py"
MODEL = """
import numpy as np

def fit(cells, *, folder, random_state=0, **returned):
    velocity = cells.layers["Mu"] - cells.layers["Ms"]
    broken = velocity.copy()
    broken[3, 1] = np.nan
    found = {"layers": {"velocity": velocity}, "obs": {"place": cells.obsm["X_embedding"][:, 0]}}
    return found | {
        "nothing": {},
        "strange": {"genes": ["x", *cells.var_names[1:]]},
        "few": {"layers": {"velocity": velocity[:, 1:]}},
        "unknown": {"velocities": velocity},
        "no velocity": {"layers": {"speed": velocity}},
        "nowhere finite": {"layers": {"velocity": velocity * np.nan}},
        "numbers for a mask": {"var": {"velocity_genes": np.ones(cells.n_vars)}},
        "broken sample": {"samples": iter([velocity, broken])},
        "two samples": {"samples": iter([velocity, velocity])},
        "a curve": {"history": {"loss": [3, 2, 1], "held_out": [2, 1]}},
        "an error": {},
    }[returned.get("case", "nothing")] | ({} if returned.get("case") != "an error" else 1 / 0)
"""


@pytest.fixture(scope="module")
def prepared():
    counts = made_up(60, 15)
    counts.uns["ingest"] = {}
    return counts, prepare(counts, dataset="test", n_pcs=5, n_neighbors=10)


@pytest.fixture
def program(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("run_model", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/made_up.py").write_text(MODEL)
    monkeypatch.setattr(module, "MODELS", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    return module


@pytest.fixture
def run(program, prepared, tmp_path):
    """Function that runs the model on the cells, or on a control, and returns the paths of what it wrote."""

    def run(case="nothing", control=None, **options):
        counts, data = prepared
        embedding = np.column_stack([data.obsm["X_pca"][:, :2], data.obsm["X_pca"][:, 2]])
        attributes = {"control": control} if control else {}
        exchange.save_cells("cells.h5", data, counts, embedding=embedding, clusters="clusters", **attributes)
        paths = {name: tmp_path / f"{name}.h5" for name in ("result", "samples")}
        program.main(
            model="made_up", cells="cells.h5", options={"case": case, **options}, folder=tmp_path / "kept", **paths
        )
        return paths

    return run


def test_what_comes_back_is_a_fit(run, prepared):
    _, data = prepared
    modelled = exchange.load_modelled(run()["result"])
    fit = exchange.as_fit(modelled, cells=data.obs_names, genes=data.var_names)
    assert (fit.genes["status"] == "ok").all()
    assert fit.genes["velocity_genes"].all()
    np.testing.assert_allclose(modelled.of_cells["place"], data.obsm["X_pca"][:, 0], rtol=1e-6)
    assert f"numpy {np.__version__}" in modelled.versions


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("strange", "strange .*x"),
        ("few", r"layers\['velocity'\] has shape .60, 14., not .60, 15."),
        ("unknown", r"returned \['velocities'\]"),
        ("no velocity", "no layer 'velocity'"),
        ("nowhere finite", "no finite velocity"),
        ("numbers for a mask", "must be true or false"),
        ("broken sample", "sample 1 has .* or no finite numbers"),
        ("an error", "division by zero"),
    ],
)
def test_what_breaks_the_contract_is_refused(run, case, said):
    with pytest.raises((ValueError, ZeroDivisionError), match=said):
        run(case)


def test_an_option_for_samples_promises_some(run):
    with pytest.raises(ValueError, match="returned no samples"):
        run(n_samples=4)


def test_samples_are_kept_but_of_controls(run):
    for control, wanted in ((None, 2), ("permuted", None)):
        with h5py.File(run("two samples", control=control)["samples"]) as file:
            assert (len(file["velocity"]) if "velocity" in file else None) == wanted


def test_curves_need_not_be_of_one_length(run, tmp_path):
    run("a curve")
    assert (tmp_path / "kept/history.csv").read_text().splitlines()[-1] == "2,1,"


def test_that_nothing_is_found_in_a_control_is_a_finding(run):
    assert exchange.load_reason(run("an error", control="permuted")["result"]) == "division by zero"
    assert exchange.load_reason(run(control="permuted")["result"]) == ""


def test_a_control_that_could_not_be_made_is_passed_on(program, tmp_path):
    with h5py.File("cells.h5", "w") as file:
        file.attrs.update(control="thinned", reason="counts are no whole numbers")
    program.main(
        model="made_up", cells="cells.h5", options={}, result=tmp_path / "result.h5", samples=tmp_path / "samples.h5",
        folder=tmp_path / "kept",
    )  # fmt: skip
    assert exchange.load_reason(tmp_path / "result.h5") == "counts are no whole numbers"
