"""What the results of a run say about its teacher: cost, training images and licence."""

from collections.abc import Mapping
from typing import Any

from BYOL._console import counted, visible
from BYOL.evaluation.baselines import TEACHER


def teacher_name(evaluation: Mapping[str, Any]) -> str:
    """Return the name of the teacher, without the folders of a path; "" without a teacher."""
    name = str((evaluation.get("teacher") or {}).get("name") or "")
    return visible(name.rstrip("/").rpartition("/")[2], kept="")


def teacher_note(evaluation: Mapping[str, Any]) -> str:
    """Return sentences about the teacher of an evaluation or of a run; "" without one."""
    facts = evaluation.get("teacher") or {}
    if not facts:
        return ""
    cost = f"{float(facts.get('seconds') or 0):.0f} s for {int(facts.get('images') or 0):,} images"
    earlier = ", by an earlier run" if facts.get("reused") else ""
    return (
        f"{TEACHER}: the frozen features of {teacher_name(evaluation)} itself at "
        f"{facts.get('size')} px, which the training predicts ({cost}{earlier}). It was trained on "
        f"{visible(str(facts.get('trained_on') or 'unknown images'), kept='')}; the licence of its "
        f"weights is {visible(str(facts.get('licence') or 'unknown'), kept='')}."
    )


def agreement_note(results: Mapping[str, Any]) -> str:
    """Return a sentence about how well the trained network predicts its teacher; "" without one."""
    facts = results.get("teacher") or {}
    value, kind = facts.get("agreement"), str(facts.get("agreement_on") or "")
    if not isinstance(value, int | float) or kind not in ("test", "held-out", "training"):
        return ""
    return (
        f"Agreement of the predictions with {teacher_name(results)}: mean cosine {value:.3f} on "
        f"{counted(int(facts.get('agreement_images') or 0), f'{kind} image')}."
    )
