"""What the chapter ``optim`` is compared on: options, gradients, schedules and functions.

Every number is a multiple of a power of two, so that one reference in float64 serves both dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spec_tests.oracle.draws import Draws

Options = dict[str, Any]

SEED = 20261127
SHAPES: dict[str, tuple[int, ...]] = {"matrix": (2, 3), "vector": (3,)}
STEPS = 100
# The steps after which the parameters are stored.
SEEN = (1, 2, 10, 50, 100)
# Steps of a schedule; the first number is that before any step.
EPOCHS = 30

_SGD: dict[str, Options] = {
    "SGD_plain": {"lr": 0.125},
    "SGD_momentum": {"lr": 0.125, "momentum": 0.75},
    "SGD_dampening": {"lr": 0.125, "momentum": 0.75, "dampening": 0.5},
    "SGD_nesterov": {"lr": 0.125, "momentum": 0.75, "nesterov": True},
    "SGD_decay": {"lr": 0.125, "weight_decay": 0.25},
    "SGD_maximize": {"lr": 0.125, "maximize": True},
    "SGD_several": {
        "lr": 0.125,
        "momentum": 0.75,
        "dampening": 0.25,
        "weight_decay": 0.125,
        "maximize": True,
    },
    "SGD_nesterovs": {
        "lr": 0.125,
        "momentum": 0.75,
        "weight_decay": 0.125,
        "nesterov": True,
        "maximize": True,
    },
}
_ADAM: dict[str, Options] = {
    "Adam_plain": {"lr": 0.125},
    "Adam_betas": {"lr": 0.125, "betas": (0.75, 0.875)},
    "Adam_eps": {"lr": 0.125, "eps": 0.25},
    "Adam_decay": {"lr": 0.125, "weight_decay": 0.25},
    "Adam_amsgrad": {"lr": 0.125, "betas": (0.75, 0.875), "amsgrad": True},
    "Adam_maximize": {"lr": 0.125, "maximize": True},
    "Adam_decoupled": {"lr": 0.125, "weight_decay": 0.25, "decoupled_weight_decay": True},
    "Adam_several": {
        "lr": 0.125,
        "betas": (0.75, 0.875),
        "eps": 0.25,
        "weight_decay": 0.25,
        "amsgrad": True,
        "maximize": True,
    },
}
_ADAMW: dict[str, Options] = {
    "AdamW_plain": {},
    "AdamW_betas": {"lr": 0.125, "betas": (0.75, 0.875)},
    "AdamW_decay": {"lr": 0.125, "weight_decay": 0.25},
    "AdamW_amsgrad": {"lr": 0.125, "betas": (0.75, 0.875), "amsgrad": True},
    "AdamW_maximize": {"lr": 0.125, "weight_decay": 0.25, "maximize": True},
    "AdamW_several": {
        "lr": 0.125,
        "betas": (0.75, 0.875),
        "eps": 0.25,
        "weight_decay": 0.25,
        "amsgrad": True,
        "maximize": True,
    },
}
_RMSPROP: dict[str, Options] = {
    "RMSprop_plain": {},
    "RMSprop_alpha": {"lr": 0.0625, "alpha": 0.75},
    "RMSprop_eps": {"lr": 0.0625, "eps": 0.25},
    "RMSprop_decay": {"lr": 0.0625, "alpha": 0.75, "weight_decay": 0.25},
    "RMSprop_momentum": {"lr": 0.0625, "alpha": 0.75, "momentum": 0.5},
    "RMSprop_centered": {"lr": 0.0625, "alpha": 0.75, "eps": 0.25, "centered": True},
    "RMSprop_maximize": {"lr": 0.0625, "alpha": 0.75, "maximize": True},
    "RMSprop_several": {
        "lr": 0.0625,
        "alpha": 0.75,
        "eps": 0.25,
        "weight_decay": 0.25,
        "momentum": 0.5,
        "centered": True,
        "maximize": True,
    },
}
_ADAGRAD: dict[str, Options] = {
    "Adagrad_plain": {},
    "Adagrad_slowing": {"lr": 0.125, "lr_decay": 0.25},
    "Adagrad_decay": {"lr": 0.125, "weight_decay": 0.25},
    "Adagrad_accumulated": {"lr": 0.125, "initial_accumulator_value": 2.0},
    "Adagrad_eps": {"lr": 0.125, "eps": 0.25},
    "Adagrad_maximize": {"lr": 0.125, "maximize": True},
    "Adagrad_several": {
        "lr": 0.125,
        "lr_decay": 0.25,
        "weight_decay": 0.25,
        "initial_accumulator_value": 2.0,
        "eps": 0.25,
        "maximize": True,
    },
}
ROWS = _SGD | _ADAM | _ADAMW | _RMSPROP | _ADAGRAD

# States of these are exchanged; the gradients and starts are those of ``optimizers.npz``.
EXCHANGED: dict[str, Options] = {
    "SGD_maximize": {"lr": 0.1, "momentum": 0.5, "maximize": True},
    "Adam_amsgrad": {"lr": 0.05, "betas": (0.75, 0.9), "eps": 1e-3, "amsgrad": True},
    "Adam_decoupled": {"lr": 0.05, "weight_decay": 0.25, "decoupled_weight_decay": True},
    "AdamW_plain": {"lr": 0.05, "weight_decay": 0.25},
    "RMSprop_plain": {"lr": 0.05, "alpha": 0.75, "eps": 1e-3},
    "RMSprop_centered": {"lr": 0.05, "momentum": 0.5, "eps": 0.125, "centered": True},
    "Adagrad_plain": {"lr": 0.05, "lr_decay": 0.25, "initial_accumulator_value": 0.5},
}


def start() -> dict[str, np.ndarray]:
    """Return the values of the parameters before the first step."""
    draws = Draws(SEED)
    return {name: _quarters(draws.uniform(shape, -2, 2, "float64")) for name, shape in _shapes()}


def gradients() -> dict[str, np.ndarray]:
    """Return the gradients of every step, which shrink so that the largest square stays behind."""
    draws = Draws(SEED + 1)
    size = 2.0 ** -(np.arange(STEPS) // 25)
    return {
        name: _quarters(draws.uniform((STEPS, *shape), -2, 2, "float64"))
        * size.reshape(-1, *(1 for _ in shape))
        for name, shape in _shapes()
    }


def _shapes() -> list[tuple[str, tuple[int, ...]]]:
    return list(SHAPES.items())


def _quarters(array: np.ndarray) -> np.ndarray:
    """Round to multiples of 1/64."""
    rounded: np.ndarray = np.round(array * 64) / 64
    return rounded


# The functions that LBFGS descends: the start, the options, and how many steps.
DESCENTS: dict[str, tuple[str, Options, int]] = {
    "quadratic": ("quadratic", {"max_iter": 1, "lr": 0.5}, 10),
    "quadratic_at_once": ("quadratic", {"max_iter": 10}, 2),
    "quadratic_short_memory": ("quadratic", {"max_iter": 1, "lr": 0.5, "history_size": 2}, 10),
    "quadratic_evaluations": ("quadratic", {"max_iter": 10, "max_eval": 3, "lr": 0.5}, 3),
    "quadratic_flat": ("quadratic", {"lr": 0.5, "tolerance_grad": 0.25}, 3),
    "quadratic_slow": ("quadratic", {"lr": 0.5, "tolerance_change": 0.25}, 3),
    "quadratic_level": ("quadratic", {"lr": 0.0625, "tolerance_change": 0.0625}, 3),
    "rosenbrock": ("rosenbrock", {"max_iter": 1, "lr": 0.125}, 10),
    "rosenbrock_searched": (
        "rosenbrock",
        {"max_iter": 1, "max_eval": 25, "line_search_fn": "strong_wolfe"},
        10,
    ),
    "rosenbrock_searched_far": (
        "rosenbrock",
        {"max_iter": 1, "max_eval": 25, "lr": 0.0078125, "line_search_fn": "strong_wolfe"},
        8,
    ),
    "rosenbrock_searched_near": (
        "rosenbrock",
        {"max_iter": 1, "max_eval": 25, "lr": 16.0, "line_search_fn": "strong_wolfe"},
        4,
    ),
    "rosenbrock_searched_between": (
        "rosenbrock",
        {"max_iter": 1, "max_eval": 25, "lr": 3.0, "line_search_fn": "strong_wolfe"},
        8,
    ),
    "rosenbrock_searched_briefly": (
        "rosenbrock",
        {"max_iter": 3, "max_eval": 5, "lr": 0.03125, "line_search_fn": "strong_wolfe"},
        4,
    ),
    "rosenbrock_searched_cut": (
        "rosenbrock",
        {"max_iter": 2, "max_eval": 3, "lr": 16.0, "line_search_fn": "strong_wolfe"},
        2,
    ),
    "rosenbrock_searched_cut_far": (
        "rosenbrock",
        {"max_iter": 2, "max_eval": 3, "lr": 0.0078125, "line_search_fn": "strong_wolfe"},
        4,
    ),
    "quadratic_searched": (
        "quadratic",
        {"max_iter": 1, "max_eval": 25, "lr": 0.0625, "line_search_fn": "strong_wolfe"},
        6,
    ),
    "rosenbrock_searched_at_once": (
        "rosenbrock",
        {"max_iter": 4, "max_eval": 12, "history_size": 3, "line_search_fn": "strong_wolfe"},
        2,
    ),
}
# Whose states are stored, and after how many steps.
WRITERS = ("quadratic_short_memory", "rosenbrock_searched")
WRITTEN = 4
STARTS: dict[str, tuple[np.ndarray, ...]] = {
    "quadratic": (np.array([[1.5, -2.0, 0.75], [-0.5, 1.0, 2.0]]), np.array([-1.0, 0.5, 2.5])),
    "rosenbrock": (np.array(-1.25), np.array(1.0)),
}
CURVATURES = (np.array([[1.0, 2.0, 4.0], [0.5, 3.0, 1.0]]), np.array([2.0, 1.5, 0.25]))


def quadratic(total: Callable[[Any], Any], constant: Callable[[Any], Any], x: Any, y: Any) -> Any:
    """Return half the weighted squares, with a term that ties both parameters together."""
    a, b = (constant(array) for array in CURVATURES)
    tied = (x + y) * (x + y)
    return total(a * x * x) * 0.5 + total(b * y * y) * 0.5 + total(tied) * 0.25


def rosenbrock(_: Callable[[Any], Any], __: Callable[[Any], Any], x: Any, y: Any) -> Any:
    """Return Rosenbrock's function of two numbers."""
    return (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x)


FUNCTIONS: dict[str, Callable[..., Any]] = {"quadratic": quadratic, "rosenbrock": rosenbrock}


def halving(epoch: int) -> float:
    """Return a factor for LambdaLR."""
    return float(0.5 ** (epoch // 4))


def waving(epoch: int) -> float:
    """Return another factor for LambdaLR."""
    return 1.0 + 0.25 * (epoch % 3)


# One scheduler after the other, each a name and its arguments; all take a step each time.
Chain = list[tuple[str, Options]]
SCHEDULES: dict[str, Chain] = {
    "StepLR": [("StepLR", {"step_size": 4})],
    "StepLR_gamma": [("StepLR", {"step_size": 7, "gamma": 0.5})],
    "MultiStepLR": [("MultiStepLR", {"milestones": [3, 20, 8, 8]})],
    "MultiStepLR_gamma": [("MultiStepLR", {"milestones": [1, 29], "gamma": 0.5})],
    "ExponentialLR": [("ExponentialLR", {"gamma": 0.875})],
    "LinearLR": [("LinearLR", {})],
    "LinearLR_factors": [
        ("LinearLR", {"start_factor": 0.75, "end_factor": 0.25, "total_iters": 12})
    ],
    "CosineAnnealingLR": [("CosineAnnealingLR", {"T_max": 12})],
    "CosineAnnealingLR_eta": [("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.0625})],
    "LambdaLR": [("LambdaLR", {"lr_lambda": halving})],
    "LambdaLR_groups": [("LambdaLR", {"lr_lambda": [halving, waving]})],
    "OneCycleLR": [("OneCycleLR", {"max_lr": 2.0, "total_steps": 31})],
    "OneCycleLR_epochs": [
        ("OneCycleLR", {"max_lr": [2.0, 1.0], "epochs": 8, "steps_per_epoch": 4})
    ],
    "OneCycleLR_linear": [
        (
            "OneCycleLR",
            {
                "max_lr": 2.0,
                "total_steps": 32,
                "pct_start": 0.25,
                "anneal_strategy": "linear",
                "base_momentum": [0.5, 0.625],
                "max_momentum": 0.75,
                "div_factor": 8.0,
                "final_div_factor": 64.0,
            },
        )
    ],
    "OneCycleLR_phases": [
        ("OneCycleLR", {"max_lr": 2.0, "total_steps": 32, "three_phase": True, "pct_start": 0.4})
    ],
    "OneCycleLR_alone": [
        ("OneCycleLR", {"max_lr": 2.0, "total_steps": 32, "cycle_momentum": False})
    ],
    "a chain": [
        ("LinearLR", {"start_factor": 0.25, "total_iters": 6}),
        ("ExponentialLR", {"gamma": 0.875}),
        ("StepLR", {"step_size": 9, "gamma": 0.5}),
    ],
}
# SequentialLR: its schedulers and milestones.
SEQUENCES: dict[str, tuple[Chain, list[int]]] = {
    "SequentialLR": (
        [
            ("LinearLR", {"start_factor": 0.25, "total_iters": 5}),
            ("CosineAnnealingLR", {"T_max": 10, "eta_min": 0.03125}),
            ("ExponentialLR", {"gamma": 0.75}),
        ],
        [6, 19],
    ),
    "SequentialLR_others": (
        [
            ("LambdaLR", {"lr_lambda": halving}),
            ("StepLR", {"step_size": 3, "gamma": 0.5}),
            ("MultiStepLR", {"milestones": [2, 5]}),
        ],
        [9, 21],
    ),
}
# Constructed with ``last_epoch=RESUMED`` on groups that have their initial_lr.
RESUMED = 3
RESUMPTIONS = (
    "StepLR",
    "MultiStepLR",
    "ExponentialLR",
    "LinearLR_factors",
    "CosineAnnealingLR",
    "LambdaLR",
)
PLATEAUS: dict[str, Options] = {
    "defaults": {},
    "patience": {"factor": 0.5, "patience": 2},
    "max": {"mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.25},
    "max_abs": {
        "mode": "max",
        "factor": 0.5,
        "patience": 1,
        "threshold": 0.5,
        "threshold_mode": "abs",
    },
    "abs": {"factor": 0.5, "patience": 0, "threshold": 0.5, "threshold_mode": "abs"},
    "cooldown": {"factor": 0.25, "patience": 1, "cooldown": 3},
    "floor": {"factor": 0.5, "patience": 0, "min_lr": [0.25, 0.03125]},
    "eps": {"factor": 0.5, "patience": 0, "eps": 0.0625, "min_lr": 0.03125},
}


def metrics(mode: str) -> list[float]:
    """Return what a plateau is told at each step: better, at rest, worse, with noise and a nan."""
    draws = Draws(SEED + 2).uniform((EPOCHS,), -0.5, 0.5, "float64")
    falling = np.maximum(4.0 - 0.5 * np.arange(EPOCHS), 1.5) + np.arange(EPOCHS) // 20
    told = np.round((falling + draws) * 64) / 64
    told[17] = np.nan
    return [float(number if mode == "min" else 8 - number) for number in told]


RATES = (0.5, 0.25)
# Which algorithm a schedule is tried on, and its options; Adam's betas are cycled.
SCHEDULED: Mapping[str, Options] = {"SGD": {"momentum": 0.5}, "Adam": {"betas": (0.5, 0.75)}}
