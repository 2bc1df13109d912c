"""Optimization stages of solver `scvelo`: one Nelder-Mead iteration per stage, accepted if it lowers the loss.

The order of the stages, their starting points and the acceptance rules determine the result, which is not a minimum of
the loss. They are therefore part of the method (Bergen et al. 2020, scVelo 0.3). The time assignment and the loss take
nearly all of the time and are compiled. The stages are Python code with a few dozen evaluations per gene.
"""

import math
from functools import partial
from typing import NamedTuple

import numpy as np

from veloshard.kinetics.methods.dynamical.gene import ALPHA, BETA, GAMMA, SCALING, SWITCHING_TIME, Assignment, Gene
from veloshard.kinetics.methods.dynamical.loss import penalty, squared_error
from veloshard.kinetics.methods.dynamical.time_assignment import assign_times
from veloshard.kinetics.splicing import unspliced_at
from veloshard.neighborhood import Neighborhood

# Free parameters and tolerance of each simplex stage. Line searches over the scaling and over alpha come before.
STAGES = (
    ((SWITCHING_TIME, ALPHA), 1e-4),
    ((SWITCHING_TIME, BETA, SCALING), 1e-4),
    ((ALPHA, GAMMA), 1e-2),
    ((SWITCHING_TIME,), 1e-4),
    ((SWITCHING_TIME, ALPHA, BETA, GAMMA), 1e-2),
)


class Problem(NamedTuple):
    """Data and settings that define the loss.

    Attributes
    ----------
    gene : Gene
        The data.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    ratio : float
        Steady-state ratio; deviations of gamma/beta from it are penalized. NaN for no penalty.
    projected : bool
        Assign times by projection on the curve if beta < gamma, instead of by inversion of the solution.
    """

    gene: Gene
    neighborhood: Neighborhood
    ratio: float
    projected: bool


class Trial(NamedTuple):
    """Evaluated parameters.

    Attributes
    ----------
    parameters : ndarray of float64, shape (5,)
        Parameters of the gene.
    assignment : Assignment
        Times of the cells.
    loss : float
        Squared error at these times, plus the penalty.
    """

    parameters: np.ndarray
    assignment: Assignment
    loss: float


class State(NamedTuple):
    """State of the optimization.

    Attributes
    ----------
    accepted : Trial
        Accepted parameters, with the times and the loss at their acceptance.
    current : Trial or None
        The accepted parameters, evaluated for the present `Problem`; None if they were not evaluated yet.
    switch_refused : bool
        True if an earlier switch was evaluated for these parameters and refused.
    """

    accepted: Trial
    current: Trial | None
    switch_refused: bool


class Optimum(NamedTuple):
    """Result of all stages.

    Attributes
    ----------
    accepted : Trial
        Accepted parameters, with the times and the loss at their acceptance.
    current : Trial
        The accepted parameters, evaluated after the last stage.
    ratio : float
        Steady-state ratio of the penalty.
    """

    accepted: Trial
    current: Trial
    ratio: float


def minimize(gene, neighborhood, parameters):
    """Run all stages for one gene.

    Parameters
    ----------
    gene : Gene
        The data.
    neighborhood : veloshard.neighborhood.Neighborhood
        Neighborhoods of the cells.
    parameters : ndarray of float64, shape (5,)
        Initial parameters.

    Returns
    -------
    Optimum
        Accepted parameters and their evaluation.
    """
    problem = Problem(gene, neighborhood, ratio=math.nan, projected=False)
    state = accept(evaluate(problem, parameters))
    state = search_scaling(problem, state, width=0.5)
    state = search_scaling(problem, state, width=0.1)
    start = state.accepted.parameters
    problem = problem._replace(ratio=start[GAMMA] / start[BETA])
    n_fitted = len(gene.fitted)
    for alpha in start[ALPHA] * (1.0 + 0.1 * np.linspace(-1.0, 1.0, 5)):
        parameters = replaced(state.accepted.parameters, (ALPHA,), (alpha,))
        state = propose(problem, state, evaluate_or_reuse(problem, state, parameters))
    for free, tolerance in STAGES:
        best = simplex_step(
            partial(evaluate_or_reuse, problem, state), state.accepted.parameters, free, tolerance, n_fitted
        )
        state = propose(problem, state, best)

    problem = problem._replace(projected=True)
    state = State(state.accepted, None, False)
    state = propose(problem, state, evaluate_or_reuse(problem, state, state.accepted.parameters), adjust_switch=False)
    free, tolerance = STAGES[-1]
    at_times = partial(evaluate_at_times, problem, state.accepted.assignment)
    best = simplex_step(at_times, state.accepted.parameters, free, tolerance, n_fitted)
    state = propose(problem, state, evaluate_or_reuse(problem, state, best.parameters))
    state = propose(problem, state, evaluate_or_reuse(problem, state, state.accepted.parameters))
    return Optimum(state.accepted, evaluate_or_reuse(problem, state, state.accepted.parameters), problem.ratio)


def evaluate(problem, parameters):
    """Return the `Trial` of parameters, with times assigned at these parameters."""
    assignment = assign_times(problem.gene, problem.neighborhood, parameters, problem.projected)
    return Trial(parameters, assignment, assignment.error + penalty(problem.gene, parameters, problem.ratio))


def evaluate_or_reuse(problem, state, parameters):
    """Return the `Trial` of parameters, without a new evaluation if the state has it."""
    if state.current is not None and np.array_equal(parameters, state.accepted.parameters):
        return state.current
    return evaluate(problem, parameters)


def evaluate_at_times(problem, assignment, parameters):
    """Return the `Trial` of parameters at the times of an earlier assignment."""
    loss = squared_error(problem.gene, parameters, assignment.time)
    return Trial(parameters, assignment, loss + penalty(problem.gene, parameters, problem.ratio))


def accept(trial):
    """Return the `State` after a trial is accepted."""
    return State(trial, trial, False)


def search_scaling(problem, state, *, width):
    """Return the `State` after proposing four scalings within the relative `width`, at constant beta/scaling."""
    for scaling in state.accepted.parameters[SCALING] * (1.0 + width * np.linspace(-1.0, 1.0, 4)):
        accepted = state.accepted.parameters
        beta = accepted[BETA] / accepted[SCALING] * scaling
        parameters = replaced(accepted, (BETA, SCALING), (beta, scaling))
        state = propose(problem, state, evaluate_or_reuse(problem, state, parameters))
    return state


def propose(problem, state, trial, *, adjust_switch=True):
    """Return the `State` after a trial, which is accepted if it lowers the loss.

    Parameters
    ----------
    problem : Problem
        Data and settings.
    state : State
        State before the trial.
    trial : Trial
        Proposed parameters.
    adjust_switch : bool
        Also try to move the switching time to the last cell in induction: that of the trial if it lowers the loss,
        else that of the accepted parameters.

    Returns
    -------
    State
        The unchanged state if nothing was accepted or evaluated.
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
    """Return the `Trial` that switches off at the last cell in induction, or None if it is refused.

    It is accepted if the loss increases by at most about 1 %, or if the peak of u decreases by less than about 1 %.
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
    acceptable = earlier.loss * 0.99 <= min(trial.loss, accepted.loss) or peak * 0.99 < earlier_peak
    return earlier if acceptable else None


def simplex_step(trial_at, start, free, tolerance, n_fitted):
    """Return the best `Trial` after one Nelder-Mead iteration.

    The initial simplex, the coefficients (reflection 1, expansion 2, contraction and shrinkage 1/2) and the convergence
    test are those of SciPy. The objective is the loss per fitted cell.

    Parameters
    ----------
    trial_at : callable
        Function that returns the `Trial` of parameters.
    start : ndarray of float64, shape (5,)
        Parameters of the first vertex.
    free : tuple of int
        Indices of the parameters to vary.
    tolerance : float
        Spread of vertices and objective at which the initial simplex has converged.
    n_fitted : int
        Number of fitted cells.

    Returns
    -------
    Trial
        The vertex with the lowest loss.
    """

    def objective(trial):
        return trial.loss / n_fitted

    def trial_at_point(point):
        return trial_at(replaced(start, free, point))

    origin = start[list(free)]
    points = np.tile(origin, (len(free) + 1, 1))
    np.fill_diagonal(points[1:], np.where(origin != 0, 1.05 * origin, 0.00025))
    trials = [trial_at_point(point) for point in points]
    order = np.argsort([objective(trial) for trial in trials], kind="stable")
    points, trials = points[order], [trials[k] for k in order]
    values = np.array([objective(trial) for trial in trials])
    spread = max(np.abs(points[1:] - points[0]).max(), np.abs(values[1:] - values[0]).max())
    if spread <= tolerance:
        return trials[0]

    center, worst = points[:-1].mean(axis=0), points[-1]
    reflected = trial_at_point(2.0 * center - worst)
    if objective(reflected) < values[-2]:
        trials[-1] = reflected
        if objective(reflected) < values[0]:
            expanded = trial_at_point(3.0 * center - 2.0 * worst)
            trials[-1] = expanded if objective(expanded) < objective(reflected) else reflected
    else:
        outside = objective(reflected) < values[-1]
        contracted = trial_at_point(0.5 * (center + (2.0 * center - worst if outside else worst)))
        if objective(contracted) <= objective(reflected) if outside else objective(contracted) < values[-1]:
            trials[-1] = contracted
        else:
            trials[1:] = [trial_at_point(points[0] + 0.5 * (point - points[0])) for point in points[1:]]
    return trials[np.argmin([objective(trial) for trial in trials])]


def replaced(parameters, free, values):
    """Return a copy of parameters with those at the indices `free` replaced; a switching time of 0 is ignored."""
    modified = parameters.copy()
    for position, value in zip(free, values, strict=True):
        if position != SWITCHING_TIME or value != 0:
            modified[position] = value
    return modified
