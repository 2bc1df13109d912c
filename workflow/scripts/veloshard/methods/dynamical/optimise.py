"""The M-step as scVelo does it: one simplex step a stage, each result kept only where the loss falls.

The order of the stages, their starting points and the rules of acceptance decide the result (it is no
minimum of the loss), so they are part of the method: Bergen et al. 2020, scVelo 0.3.  What takes time is
compiled, the assignment of times and the loss; the stages themselves are a few dozen steps a gene.
"""

import math
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
    for alpha in start[ALPHA] * (1.0 + 0.1 * np.linspace(-1.0, 1.0, 5)):
        state = propose(problem, state, _replaced(state.accepted.parameters, (ALPHA,), (alpha,)))
    for free, tolerance in STAGES:
        best = simplex_step(problem, state.accepted, free, tolerance=tolerance, reassign=True)
        state = propose(problem, state, best)

    problem = problem._replace(projected=True)
    state = State(state.accepted, None, False)
    state = propose(problem, state, state.accepted.parameters, adjust_switch=False)
    free, tolerance = STAGES[-1]
    state = propose(problem, state, simplex_step(problem, state.accepted, free, tolerance=tolerance, reassign=False))
    state = propose(problem, state, state.accepted.parameters)
    current = state.current or evaluate(problem, state.accepted.parameters)
    return Fitted(state.accepted, current, problem.ratio)


def evaluate(problem, parameters):
    """`Trial` of parameters at the times they give."""
    assignment = assign_times(problem.gene, problem.around, parameters, problem.projected)
    return Trial(parameters, assignment, assignment.error + penalty(problem.gene, parameters, problem.ratio))


def accept(trial):
    """`State` of a fit that has just accepted a trial."""
    return State(trial, trial, False)


def search_scaling(problem, state, *, sight):
    """Propose four scalings within a fraction `sight` about the present one, with beta changed alike."""
    for scaling in state.accepted.parameters[SCALING] * (1.0 + sight * np.linspace(-1.0, 1.0, 4)):
        now = state.accepted.parameters
        beta = now[BETA] / now[SCALING] * scaling
        state = propose(problem, state, _replaced(now, (BETA, SCALING), (beta, scaling)))
    return state


def propose(problem, state, parameters, *, adjust_switch=True):
    """`State` after a proposal: accepted where it lowers the loss; then, or else, an earlier switch is tried.

    adjust_switch : also try to move the switching time to the last cell on the way up.
    """
    trial = evaluate(problem, parameters)
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
    earlier = evaluate(problem, _replaced(parameters, (SWITCHING_TIME,), (last + time.max() * at_switch,)))
    peak, earlier_peak = (
        unspliced_at(p[SWITCHING_TIME], 0.0, p[ALPHA], p[BETA]) for p in (parameters, earlier.parameters)
    )
    borne = earlier.loss * 0.99 <= min(trial.loss, accepted.loss) or peak * 0.99 < earlier_peak
    return earlier if borne else None


def simplex_step(problem, accepted, free, *, tolerance, reassign):
    """Parameters after one iteration of Nelder-Mead over those at positions `free`.

    reassign : give cells new times at each vertex, or leave them at the accepted ones.
    Initial simplex, coefficients (reflection 1, expansion 2, contraction and shrinkage 1/2) and the test for
    convergence are SciPy's.
    """

    def objective(values):
        parameters = _replaced(accepted.parameters, free, values)
        if reassign:
            loss = evaluate(problem, parameters).loss
        else:
            loss = squared_error(problem.gene, parameters, accepted.assignment.time)
            loss += penalty(problem.gene, parameters, problem.ratio)
        return loss / len(problem.gene.fitted)

    start = accepted.parameters[list(free)]
    points = np.tile(start, (len(free) + 1, 1))
    np.fill_diagonal(points[1:], np.where(start != 0, 1.05 * start, 0.00025))
    values = np.array([objective(point) for point in points])
    order = np.argsort(values, kind="stable")
    points, values = points[order], values[order]
    spread = max(np.abs(points[1:] - points[0]).max(), np.abs(values[1:] - values[0]).max())
    if spread <= tolerance:
        return _replaced(accepted.parameters, free, points[0])

    center = points[:-1].mean(axis=0)
    reflected = 2.0 * center - points[-1]
    value = objective(reflected)
    if value < values[-2]:
        expanded = 3.0 * center - 2.0 * points[-1]
        expanded_value = objective(expanded) if value < values[0] else math.inf
        points[-1], values[-1] = (expanded, expanded_value) if expanded_value < value else (reflected, value)
    else:
        outside = value < values[-1]
        contracted = 0.5 * (center + (reflected if outside else points[-1]))
        contracted_value = objective(contracted)
        if contracted_value <= value if outside else contracted_value < values[-1]:
            points[-1], values[-1] = contracted, contracted_value
        else:
            points[1:] = points[0] + 0.5 * (points[1:] - points[0])
            values[1:] = [objective(point) for point in points[1:]]
    return _replaced(accepted.parameters, free, points[np.argmin(values)])


def _replaced(parameters, free, values):
    """A copy of parameters with those at positions `free` replaced; a switching time of 0 leaves it as it was."""
    new = parameters.copy()
    for position, value in zip(free, values, strict=True):
        if position != SWITCHING_TIME or value != 0:
            new[position] = value
    return new
