"""The M-step as scVelo does it: one simplex step a stage, each result kept only where the loss falls.

The order of the stages, their starting points and the rules of acceptance decide the result (it is no
minimum of the loss), so they are part of the method: Bergen et al. 2020, scVelo 0.3.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from veloshard.methods.dynamical.assign import assign_times
from veloshard.methods.dynamical.gene import (
    ALPHA,
    BETA,
    GAMMA,
    SCALING,
    SWITCHING_TIME,
    Assignment,
    copy_assignment,
    empty_assignment,
)
from veloshard.methods.dynamical.loss import squared_error
from veloshard.splicing import unspliced_at

# Entries of `State.scalars`.
LOSS, RATIO, CURRENT_LOSS, CURRENT_KNOWN, ALTERNATIVE_REFUSED, PROJECTED = range(6)


class State(NamedTuple):
    """The fit of a gene as it stands; its arrays are written into.

    parameters : (5,), accepted.   accepted : the assignment accepted with them, its loss in scalars[LOSS].
    current : the assignment that the accepted parameters give in the present mode of assignment.
    candidate, alternative : working memory.   distances : (n_cells, 2) working memory.
    scalars : loss; steady-state ratio (NaN: not yet set); loss of `current`; whether `current` is known;
        whether an earlier switch has been refused for the accepted state; whether times are projected.
    """

    parameters: np.ndarray
    accepted: Assignment
    current: Assignment
    candidate: Assignment
    alternative: Assignment
    distances: np.ndarray
    scalars: np.ndarray


@njit(cache=True, error_model="numpy")
def start_state(gene, around, parameters):
    """`State` at the initial parameters."""
    n_cells = len(gene.unspliced)
    state = State(
        parameters.copy(),
        empty_assignment(n_cells),
        empty_assignment(n_cells),
        empty_assignment(n_cells),
        empty_assignment(n_cells),
        np.empty((n_cells, 2)),
        np.array([0.0, math.nan, 0.0, 0.0, 0.0, 0.0]),
    )
    loss = evaluate(gene, around, state, parameters, state.accepted)
    state.scalars[LOSS] = loss
    set_current(state, state.accepted, loss)
    return state


@njit(cache=True, error_model="numpy")
def evaluate(gene, around, state, parameters, assignment):
    """Loss of parameters at the times they give; writes those into `assignment`."""
    projected = state.scalars[PROJECTED] == 1.0
    assign_times(gene, around, parameters, projected, state.distances, assignment)
    return squared_error(gene, parameters, assignment.time, state.scalars[RATIO])


@njit(cache=True, error_model="numpy")
def set_current(state, assignment, loss):
    """Remember what the accepted parameters give, so that a rejected step costs no second evaluation."""
    copy_assignment(assignment, state.current)
    state.scalars[CURRENT_LOSS] = loss
    state.scalars[CURRENT_KNOWN] = 1.0
    state.scalars[ALTERNATIVE_REFUSED] = 0.0


@njit(cache=True, error_model="numpy")
def project_from_now_on(state):
    """Assign times by projection on the curve instead of by the inverse of the solution."""
    state.scalars[PROJECTED] = 1.0
    state.scalars[CURRENT_KNOWN] = 0.0
    state.scalars[ALTERNATIVE_REFUSED] = 0.0


@njit(cache=True, error_model="numpy")
def propose(gene, around, state, parameters, adjust_switch):
    """Accept parameters where they lower the loss; then, or else, try an earlier switch.

    adjust_switch : also try to move the switching time to the last cell on the way up, and take that where the
        loss rises by at most 1 % or the peak of u by more than that.
    """
    scalars = state.scalars
    loss = evaluate(gene, around, state, parameters, state.candidate)
    better = loss < scalars[LOSS]
    if adjust_switch and state.accepted.induced.any():
        if better:
            switched = try_earlier_switch(gene, around, state, parameters, state.candidate, loss)
        else:
            if scalars[CURRENT_KNOWN] == 0.0:
                set_current(state, state.current, evaluate(gene, around, state, state.parameters, state.current))
            if scalars[ALTERNATIVE_REFUSED] == 1.0:
                return
            stay, loss_now = state.parameters.copy(), scalars[CURRENT_LOSS]
            switched = try_earlier_switch(gene, around, state, stay, state.current, loss_now)
            if not switched:
                scalars[ALTERNATIVE_REFUSED] = 1.0
        if switched:
            return
    if better:
        accept(state, parameters, state.candidate, loss)


@njit(cache=True, error_model="numpy")
def accept(state, parameters, assignment, loss):
    """Make parameters and their assignment the state of the fit."""
    state.parameters[:] = parameters
    copy_assignment(assignment, state.accepted)
    state.scalars[LOSS] = loss
    set_current(state, assignment, loss)


@njit(cache=True, error_model="numpy")
def try_earlier_switch(gene, around, state, parameters, assignment, loss):
    """Switch off at the last cell that is on the way up, if the fit bears it; says whether it was done."""
    time, switching_time = assignment.time, parameters[SWITCHING_TIME]
    last = longest = -math.inf
    n_at_switch = 0
    for cell in range(len(time)):
        if state.accepted.induced[cell] and time[cell] > last:
            last = time[cell]
        longest = max(longest, time[cell])
        n_at_switch += time[cell] == switching_time
    if not 0 < last < switching_time:
        return False
    earlier = parameters.copy()
    earlier[SWITCHING_TIME] = last + longest / len(time) * n_at_switch
    earlier_loss = evaluate(gene, around, state, earlier, state.alternative)
    peak = unspliced_at(switching_time, 0.0, parameters[ALPHA], parameters[BETA])
    earlier_peak = unspliced_at(earlier[SWITCHING_TIME], 0.0, parameters[ALPHA], parameters[BETA])
    if earlier_loss * 0.99 <= min(loss, state.scalars[LOSS]) or peak * 0.99 < earlier_peak:
        accept(state, earlier, state.alternative, earlier_loss)
        return True
    return False


@njit(cache=True, error_model="numpy")
def objective(gene, around, state, free, values, reassign):
    """Mean squared error with some parameters replaced, at the accepted times or at those they give."""
    parameters = replaced(state.parameters, free, values)
    if reassign:
        return evaluate(gene, around, state, parameters, state.candidate) / len(gene.fitted)
    return squared_error(gene, parameters, state.accepted.time, state.scalars[RATIO]) / len(gene.fitted)


@njit(cache=True, error_model="numpy")
def replaced(parameters, free, values):
    """A copy of parameters with those at positions `free` replaced; a switching time of 0 is left as it was."""
    new = parameters.copy()
    for k in range(len(free)):
        if not (free[k] == SWITCHING_TIME and values[k] == 0):
            new[free[k]] = values[k]
    return new


@njit(cache=True, error_model="numpy")
def simplex_step(gene, around, state, free, tolerance, reassign):
    """One iteration of Nelder-Mead over the parameters at positions `free`, from the accepted ones.

    Initial simplex, coefficients (reflection 1, expansion 2, contraction and shrinkage 1/2) and the test for
    convergence are SciPy's.  Returns the best vertex.
    """
    n = len(free)
    points, values = np.empty((n + 1, n)), np.empty(n + 1)
    for k in range(n + 1):
        points[k] = state.parameters[free]
        if k > 0:
            x = points[k, k - 1]
            points[k, k - 1] = 1.05 * x if x != 0 else 0.00025
        values[k] = objective(gene, around, state, free, points[k], reassign)
    order = np.argsort(values, kind="mergesort")
    points, values = points[order], values[order]
    if np.max(np.abs(points[1:] - points[0])) <= tolerance and np.max(np.abs(values[1:] - values[0])) <= tolerance:
        return points[0]

    center = np.zeros(n)
    for k in range(n):
        center += points[k]
    center /= n
    reflected = 2.0 * center - points[n]
    value = objective(gene, around, state, free, reflected, reassign)
    shrink = False
    if value < values[0]:
        expanded = 3.0 * center - 2.0 * points[n]
        expanded_value = objective(gene, around, state, free, expanded, reassign)
        if expanded_value < value:
            points[n], values[n] = expanded, expanded_value
        else:
            points[n], values[n] = reflected, value
    elif value < values[n - 1]:
        points[n], values[n] = reflected, value
    elif value < values[n]:
        contracted = 1.5 * center - 0.5 * points[n]
        contracted_value = objective(gene, around, state, free, contracted, reassign)
        shrink = not contracted_value <= value
        if not shrink:
            points[n], values[n] = contracted, contracted_value
    else:
        contracted = 0.5 * center + 0.5 * points[n]
        contracted_value = objective(gene, around, state, free, contracted, reassign)
        shrink = not contracted_value < values[n]
        if not shrink:
            points[n], values[n] = contracted, contracted_value
    if shrink:
        for k in range(1, n + 1):
            points[k] = points[0] + 0.5 * (points[k] - points[0])
            values[k] = objective(gene, around, state, free, points[k], reassign)
    return points[np.argmin(values)]


@njit(cache=True, error_model="numpy")
def run_stage(gene, around, state, free, tolerance, reassign):
    """One simplex step over some parameters, and the proposal of what it found."""
    best = simplex_step(gene, around, state, free, tolerance, reassign)
    propose(gene, around, state, replaced(state.parameters, free, best), True)


@njit(cache=True, error_model="numpy")
def search_scaling(gene, around, state, sight):
    """Propose four scalings within a fraction `sight` about the present one, with beta changed alike."""
    for scaling in state.parameters[SCALING] * (1.0 + sight * np.linspace(-1.0, 1.0, 4)):
        parameters = state.parameters.copy()
        parameters[BETA] = parameters[BETA] / parameters[SCALING] * scaling
        parameters[SCALING] = scaling
        propose(gene, around, state, parameters, True)


@njit(cache=True, error_model="numpy")
def optimise(gene, around, state):
    """All stages of the fit; writes into `state`."""
    search_scaling(gene, around, state, 0.5)
    search_scaling(gene, around, state, 0.1)
    state.scalars[RATIO] = state.parameters[GAMMA] / state.parameters[BETA]

    for alpha in state.parameters[ALPHA] * (1.0 + 0.1 * np.linspace(-1.0, 1.0, 5)):
        parameters = state.parameters.copy()
        parameters[ALPHA] = alpha
        propose(gene, around, state, parameters, True)
    run_stage(gene, around, state, np.array([SWITCHING_TIME, ALPHA]), 1e-4, True)
    run_stage(gene, around, state, np.array([SWITCHING_TIME, BETA, SCALING]), 1e-4, True)
    run_stage(gene, around, state, np.array([ALPHA, GAMMA]), 1e-2, True)
    run_stage(gene, around, state, np.array([SWITCHING_TIME]), 1e-4, True)
    run_stage(gene, around, state, np.array([SWITCHING_TIME, ALPHA, BETA, GAMMA]), 1e-2, True)

    project_from_now_on(state)
    propose(gene, around, state, state.parameters.copy(), False)
    run_stage(gene, around, state, np.array([SWITCHING_TIME, ALPHA, BETA, GAMMA]), 1e-2, False)
    propose(gene, around, state, state.parameters.copy(), True)
