"""Checks of the arguments of :class:`BYOL.byol.BYOL`, alone and together."""

import math
import operator
from collections.abc import Sequence

import numpy as np

from BYOL._console import printable
from BYOL.errors import UserError
from BYOL.model.group_norm import NORMS

TARGETS = ("ema", "online", "fixed", "teacher")
TARGET_NORMS = ("batch", "running")


def check_sizes(**sizes: int) -> None:
    """Raise a UserError if one of ``sizes`` is no whole number from 1 up."""
    for name, value in sizes.items():
        whole = not isinstance(value, bool) and hasattr(value, "__index__")
        if not whole or operator.index(value) < 1:
            raise UserError(
                f"{name}={printable(repr(value))} is out of range: give a whole number from 1 up"
            )


def check_flags(**flags: bool) -> None:
    """Raise a UserError if one of ``flags`` is neither true nor false: "False" is a text."""
    for name, value in flags.items():
        if not isinstance(value, bool | np.bool_):
            raise UserError(f"{name}={printable(repr(value))} is no flag: give True or False")


def check_tau(t: float) -> float:
    """Return ``t`` as a number, or raise a UserError if it is not in [0, 1]."""
    try:
        number = math.nan if isinstance(t, str | bool) else float(t)
    except (TypeError, ValueError, RuntimeError):
        number = math.nan
    if not 0 <= number <= 1:
        raise UserError(f"t={printable(repr(t))} is out of range: τ is a number from 0 to 1")
    return number


def check_names(target: str, norm: str, target_norm: str) -> None:
    """Raise a UserError for an unknown name."""
    names = {
        "target": (target, TARGETS),
        "norm": (norm, NORMS),
        "target_norm": (target_norm, TARGET_NORMS),
    }
    for name, (choice, accepted) in names.items():
        if choice not in accepted:
            raise UserError(f"{name}={choice!r} is unknown: choose one of {', '.join(accepted)}")


def check_view_predictors(kinds: Sequence[str], predictor: str) -> None:
    """Check the ``kinds`` of views that have a predictor of their own.

    Raises:
        UserError: a name is not a word or occurs twice, or ``predictor`` has no weights.
    """
    words = isinstance(kinds, Sequence) and not isinstance(kinds, str)
    if not words or not all(isinstance(kind, str) and kind.isidentifier() for kind in kinds):
        raise UserError(
            f"view_predictors={kinds!r} is no list of names: give kinds of views, such as "
            "('small', 'cutout')"
        )
    if len(set(kinds)) < len(kinds):
        raise UserError(f"view_predictors={kinds!r} names a kind of views twice")
    if kinds and predictor == "none":
        raise UserError(
            f"view_predictors={kinds!r} and predictor='none' exclude each other: the identity has "
            "no weights that kinds of views could have of their own"
        )


def check_combinations(
    *,
    closed_form: bool,
    moving: bool,
    predictor: str,
    target: str,
    norm: str,
    target_norm: str,
    pretrained: bool,
) -> None:
    """Raise a UserError for arguments that exclude each other.

    Args:
        closed_form: ``closedFormPredicator``.
        moving: ``EAvg``.
        predictor: name of the predictor.
        target: name of the target, before ``EAvg`` is taken into account.
        norm: normalisation of the online network.
        target_norm: statistics of the target.
        pretrained: whether training starts from timm's weights.
    """
    if not moving and target in ("fixed", "teacher"):
        raise UserError(
            f"EAvg=False and target={target!r} exclude each other: without a moving average the "
            "target is the online network"
        )
    if target == "teacher" and (closed_form or predictor not in ("none", "linear", "mlp")):
        raise UserError(
            f"target='teacher' and predictor={predictor!r} exclude each other: choose one of "
            "none, linear, mlp"
        )
    if closed_form and predictor not in ("mlp", "optimal"):
        raise UserError(
            f"closedFormPredicator=True and predictor={predictor!r} exclude each other: it is the "
            "optimal predictor"
        )
    if target_norm == "running" and (target != "ema" or not moving):
        raise UserError(
            "target_norm='running' needs target='ema': its statistics follow those of the online "
            "network"
        )
    if norm != "bn" and pretrained:
        raise UserError(
            f"norm={norm!r} and pretrained=True exclude each other: the pretrained weights need "
            "their batch-norms"
        )
