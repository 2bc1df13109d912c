"""Run a task with the model `differentiable`, for tests/models/test_differentiable.py.

    differentiable_velocity.py SCRIPTS TASK CELLS FOLDER

Runs in the environment of the model, and writes FOLDER/answers.json.
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
from scipy.integrate import solve_ivp
from scipy.sparse import csr_matrix

TASKS = {}


def task(function):
    """Register a task by its name."""
    TASKS[function.__name__] = function
    return function


@task
def closed_form(model, cells, folder):
    """Return the largest error of u and s against an integrator, for rates far apart, close and equal."""
    jax.config.update("jax_enable_x64", True)
    errors = {}
    times = np.linspace(0, 20, 60)
    for beta, gamma in [(0.6, 0.3), (0.3, 2.0), (0.5, 0.5), (0.5, 0.5 + 1e-7), (0.5, 0.52), (0.5, 0.4)]:
        kinetics = model.Kinetics(beta, gamma, 1.0, 0.2, *(np.array([[value]]) for value in (3.0, 4.0, 11.0)))
        closed = np.array(model.abundances(kinetics, times, np.full((len(times), 1), 0.7)))[:, :, 0]

        def derivative(time, state, beta=beta, gamma=gamma):
            alpha = 0.2 + 0.7 * 3.0 * (4.0 < time <= 11.0)
            return [alpha - beta * state[0], beta * state[0] - gamma * state[1]]

        integrated = solve_ivp(
            derivative, (0, 20), [0.2 / beta, 0.2 / gamma], t_eval=times, rtol=1e-10, atol=1e-10, max_step=0.05
        ).y
        errors[f"{beta} {gamma}"] = float(np.abs(closed - integrated).max())
    gradients = {
        str(gap): jax.grad(lambda gamma: model.step_response(3.0, 0.5, gamma)[1])(0.5 + gap)
        for gap in (-1e-3, 0.0, 1e-3)
    }
    return {"errors": errors, "gradients": {gap: float(value) for gap, value in gradients.items()}}


@task
def gradients(model, cells, folder):
    """Return norms of the gradients of both losses, and finite differences, for each array of the encoder."""
    jax.config.update("jax_enable_x64", True)
    params, batch = untrained(model, cells)

    def loss(params, part):
        return model.loss_parts(params, batch, prior_weight=0.1)[part]

    gradient_of_part = {part: jax.grad(loss)(params, part)["encoder"] for part in ("reconstruction", "consistency")}
    rng = np.random.default_rng(3)
    answers = {}
    for name, values in params["encoder"].items():
        direction = rng.normal(size=values.shape)
        for part, gradient in gradient_of_part.items():

            def loss_after(step, part=part, name=name, values=values, direction=direction):
                encoder = params["encoder"] | {name: values + step * direction}
                return float(loss({"encoder": encoder, "genes": params["genes"]}, part))

            finite = (loss_after(1e-6) - loss_after(-1e-6)) / 2e-6
            exact = float(np.sum(gradient[name] * direction))
            answers[f"{part} {name}"] = {
                "norm": float(np.linalg.norm(gradient[name])),
                "exact": exact,
                "finite": finite,
            }
    return answers


def untrained(model, cells):
    """Return parameters before any training, in double precision, and a batch."""
    spliced, unspliced = cells.layers["Ms"], cells.layers["Mu"]
    scales = model.scales_of(unspliced, spliced)
    data = model.as_cells(unspliced, spliced, scales, csr_matrix(cells.obsp["distances"]))
    rng = np.random.default_rng(0)
    start = model.find_starts(data, rng, n_curves=2, prior_weight=0.1)["potential"]
    encoder = model.initial_encoder(rng, data.inputs.shape[1], n_hidden=8, n_curves=2)
    params = jax.tree.map(
        lambda values: np.asarray(values, dtype=np.float64), {"encoder": encoder, "genes": start.genes}
    )
    batch = model.batch_of(data, model.with_neighbors(rng, data, np.arange(100)))
    return params, tuple(np.asarray(values, dtype=np.float64) for values in batch)


@task
def learning(model, cells, folder):
    """Return times of each cell by three untrained encoders, and after training them without pretraining."""
    spliced, unspliced = cells.layers["Ms"], cells.layers["Mu"]
    scales = model.scales_of(unspliced, spliced)
    data = model.as_cells(unspliced, spliced, scales, csr_matrix(cells.obsp["distances"]))
    answers = {"untrained": [], "trained": []}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        encoder = model.initial_encoder(rng, data.inputs.shape[1], n_hidden=16, n_curves=2)
        # kinetics from the potential, but a random encoder: it learns only through the equations
        start = model.find_starts(data, rng, n_curves=2, prior_weight=0.1)["potential"]
        params = {"encoder": encoder, "genes": start.genes}
        answers["untrained"].append(model.encode(encoder, data.inputs)[0].tolist())
        trained, _ = model.train(
            {"potential": params},
            data,
            rng,
            weights={"consistency": 0.3},
            prior_weight=0.1,
            n_steps=300,
            batch_size=128,
            learning_rate=0.03,
            patience=10,
        )
        answers["trained"].append(model.encode(trained["encoder"], data.inputs)[0].tolist())
    return answers


@task
def reloading(model, cells, folder):
    """Return whether a saved model, after loading, gives the velocities of its fit."""
    result = model.fit(cells, folder=folder, velocity="fitted", n_steps=50, batch_size=64, n_hidden=8)
    params, scales, genes = model.load(folder)
    subset = cells[:50, list(genes)]
    reloaded = model.evaluate(params, scales, subset.layers["Mu"], subset.layers["Ms"])
    return {
        "same": bool(np.allclose(reloaded["velocity"], result["layers"]["velocity"][:50], rtol=1e-4, atol=1e-5)),
        "genes": bool(np.array_equal(genes, result["genes"])),
    }


if __name__ == "__main__":
    scripts, name, cells, folder = sys.argv[1:]
    sys.path.insert(0, scripts)
    import run_model

    folder = Path(folder)
    answers = TASKS[name](run_model.load_model("differentiable"), run_model.load_cells(cells), folder)
    (folder / "answers.json").write_text(json.dumps(answers))
