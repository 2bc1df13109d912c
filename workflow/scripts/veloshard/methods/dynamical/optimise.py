"""The M-step as scVelo does it: one simplex step a stage, each result kept only where the loss falls.

The order of the stages, their starting points and the rules of acceptance decide the result (it is no
minimum of the loss), so they are part of the method: Bergen et al. 2020, scVelo 0.3.  What takes time is
compiled, the assignment of times and the loss; the stages themselves are a few dozen steps a gene.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from veloshard.methods.dynamical.assign import assign_times
from veloshard.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, Assignment, Gene
from veloshard.methods.dynamical.loss import penalty, squared_error
from veloshard.moments import Neighborhood
from veloshard.splicing import unspliced_at

# What the stages vary, after scalings and alpha were tried on a line, and the tolerances of their simplex.
STAGES = (
    ((SWITCHING_TIME, ALPHA), 1e-4),
    ((SWITCHING_TIME, BETA, SCALING), 1e-4),
    ((ALPHA, GAMMA), 1e-2),
    ((SWITCHING_TIME,), 1e-4),
    ((SWITCHING_TIME, ALPHA, BETA, GAMMA), 1e-2),
)


class Problem(NamedTuple):
    """What is minimised at a stage.

    ratio : gamma/beta from which departures are penalised, NaN for none.
    projected : times by projection on the curve where beta < gamma, instead of inverting the solution.
    """

    gene: Gene
    around: Neighborhood
    ratio: float
    projected: bool


class Trial(NamedTuple):
    """Parameters (5,), the times they give the cells, and the loss at those."""

    parameters: np.ndarray
    assignment: Assignment
    loss: float


class State(NamedTuple):
    """The fit as it stands.

    accepted : parameters with times and loss from when they were accepted.
    current : the same parameters with the times they give now; None where that is not known.
    switch_refused : an earlier switch was tried on them and refused.
    """

    accepted: Trial
    current: Trial | None
    switch_refused: bool


class Fitted(NamedTuple):
    """Result of the fit: the accepted trial, the times its parameters give, and the penalised ratio."""

    accepted: Trial
    current: Trial
    ratio: float


def minimise(gene, around, parameters):
    """`Fitted` of a gene from its initial parameters (5,), through all stages."""
    problem = Problem(gene, around, ratio=math.nan, projected=False)
    state = accept(evaluate(problem, parameters))
    state = search_scaling(problem, state, sight=0.5)
    state = search_scaling(problem, state, sight=0.1)
    start = state.accepted.parameters
    problem = problem._replace(ratio=start[GAMMA] / start[BETA])
    n_fitted = len(gene.fitted)
    for alpha in start[ALPHA] * (1.0 + 0.1 * np.linspace(-1.0, 1.0, 5)):
        parameters = replaced(state.accepted.parameters, (ALPHA,), (alpha,))
        state = propose(problem, state, trial_of(problem, state, parameters))
    for free, tolerance in STAGES:
        best = simplex_step(partial(trial_of, problem, state), state.accepted.parameters, free, tolerance, n_fitted)
        state = propose(problem, state, best)

    problem = problem._replace(projected=True)
    state = State(state.accepted, None, False)
    state = propose(problem, state, trial_of(problem, state, state.accepted.parameters), adjust_switch=False)
    free, tolerance = STAGES[-1]
    frozen = partial(frozen_trial, problem, state.accepted.assignment)
    best = simplex_step(frozen, state.accepted.parameters, free, tolerance, n_fitted)
    state = propose(problem, state, trial_of(problem, state, best.parameters))
    state = propose(problem, state, trial_of(problem, state, state.accepted.parameters))
    return Fitted(state.accepted, trial_of(problem, state, state.accepted.parameters), problem.ratio)


def evaluate(problem, parameters):
    """`Trial` of parameters at the times they give."""
    assignment = assign_times(problem.gene, problem.around, parameters, problem.projected)
    return Trial(parameters, assignment, assignment.error + penalty(problem.gene, parameters, problem.ratio))


def trial_of(problem, state, parameters):
    """`Trial` of parameters; the one at hand if they are those that the state has."""
    if state.current is not None and np.array_equal(parameters, state.accepted.parameters):
        return state.current
    return evaluate(problem, parameters)


def frozen_trial(problem, assignment, parameters):
    """`Trial` of parameters at times that were assigned before."""
    loss = squared_error(problem.gene, parameters, assignment.time)
    return Trial(parameters, assignment, loss + penalty(problem.gene, parameters, problem.ratio))


def accept(trial):
    """`State` of a fit that has just accepted a trial."""
    return State(trial, trial, False)


def search_scaling(problem, state, *, sight):
    """Propose four scalings within a fraction `sight` about the present one, with beta changed alike."""
    for scaling in state.accepted.parameters[SCALING] * (1.0 + sight * np.linspace(-1.0, 1.0, 4)):
        now = state.accepted.parameters
        beta = now[BETA] / now[SCALING] * scaling
        parameters = replaced(now, (BETA, SCALING), (beta, scaling))
        state = propose(problem, state, trial_of(problem, state, parameters))
    return state


def propose(problem, state, trial, *, adjust_switch=True):
    """`State` after a trial: accepted where it lowers the loss; then, or else, an earlier switch is tried.

    adjust_switch : also try to move the switching time to the last cell on the way up.
    """
    better = trial.loss < state.accepted.loss
    if adjust_switch and state.accepted.assignment.induced.any():
        if not better and state.switch_refused:
            return state
        if not better and state.current is None:
            state = state._replace(current=evaluate(problem, state.accepted.parameters))
        switched = earlier_switch(problem, state.accepted, trial if better else state.current)
        if switched is not None:
            return accept(switched)
        if not better:
            return state._replace(switch_refused=True)
    return accept(trial) if better else state


def earlier_switch(problem, accepted, trial):
    """`Trial` that switches off at the last cell on the way up, or None if the fit does not bear it.

    It does where the loss rises by at most 1 %, or the peak of u by more than that.
    """
    time, parameters = trial.assignment.time, trial.parameters
    switching_time = parameters[SWITCHING_TIME]
    last = time[accepted.assignment.induced].max()
    if not 0 < last < switching_time:
        return None
    at_switch = np.mean(time == switching_time)
    earlier = evaluate(problem, replaced(parameters, (SWITCHING_TIME,), (last + time.max() * at_switch,)))
    peak, earlier_peak = (
        unspliced_at(p[SWITCHING_TIME], 0.0, p[ALPHA], p[BETA]) for p in (parameters, earlier.parameters)
    )
    borne = earlier.loss * 0.99 <= min(trial.loss, accepted.loss) or peak * 0.99 < earlier_peak
    return earlier if borne else None


def simplex_step(trial_at, start, free, tolerance, n_fitted):
    """Best `Trial` after one iteration of Nelder-Mead over the parameters at positions `free`.

    trial_at : function that makes a `Trial` of parameters.   start : parameters (5,).
    Initial simplex, coefficients (reflection 1, expansion 2, contraction and shrinkage 1/2) and the test for
    convergence are SciPy's; the objective is the loss of a fitted cell.
    """

    def value_of(trial):
        return trial.loss / n_fitted

    def trial_of_point(point):
        return trial_at(replaced(start, free, point))

    origin = start[list(free)]
    points = np.tile(origin, (len(free) + 1, 1))
    np.fill_diagonal(points[1:], np.where(origin != 0, 1.05 * origin, 0.00025))
    trials = [trial_of_point(point) for point in points]
    order = np.argsort([value_of(trial) for trial in trials], kind="stable")
    points, trials = points[order], [trials[k] for k in order]
    values = np.array([value_of(trial) for trial in trials])
    spread = max(np.abs(points[1:] - points[0]).max(), np.abs(values[1:] - values[0]).max())
    if spread <= tolerance:
        return trials[0]

    center, worst = points[:-1].mean(axis=0), points[-1]
    reflected = trial_of_point(2.0 * center - worst)
    if value_of(reflected) < values[-2]:
        trials[-1] = reflected
        if value_of(reflected) < values[0]:
            expanded = trial_of_point(3.0 * center - 2.0 * worst)
            trials[-1] = expanded if value_of(expanded) < value_of(reflected) else reflected
    else:
        outside = value_of(reflected) < values[-1]
        contracted = trial_of_point(0.5 * (center + (2.0 * center - worst if outside else worst)))
        if value_of(contracted) <= value_of(reflected) if outside else value_of(contracted) < values[-1]:
            trials[-1] = contracted
        else:
            trials[1:] = [trial_of_point(points[0] + 0.5 * (point - points[0])) for point in points[1:]]
    return trials[np.argmin([value_of(trial) for trial in trials])]


def replaced(parameters, free, values):
    """A copy of parameters with those at positions `free` replaced; a switching time of 0 leaves it as it was."""
    new = parameters.copy()
    for position, value in zip(free, values, strict=True):
        if position != SWITCHING_TIME or value != 0:
            new[position] = value
    return new
