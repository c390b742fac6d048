"""Where a run lies, on what it runs, and when it is saved."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from BYOL.config.fields import setting

Resume = bool | Literal["auto"]


@dataclass(frozen=True)
class RunSettings:
    """Where a run lies, on what it runs, and when it is saved."""

    title: ClassVar[str] = "run"

    preset: str = setting(
        "auto",
        "A recipe: auto (what fits the images, the machine and the time), digits, small (up "
        "to 96 px), 32px-minutes (no GPU), 32px-100, -200, -400, -800, solo-cifar, "
        "lightly-cifar, 128px (64 to 128 px), few (under 10,000 images), grey, many-channel, "
        "pretrained, vit, convnext, paper-40, -100, -300, -1000, or paper-gn-ws. "
        "BYOL/config/presets.py and BYOL/config/recipe.py say where their numbers come from.",
        basic=True,
    )
    out: str | None = setting(
        None,
        "The run's folder, made new. Without it: runs/ and a name with the time.",
        unswept="the sweep gives every run a folder",
        private=True,
        place="output",
        home=True,
        basic=True,
    )
    resume: Resume = setting(
        False,
        "Go on from the last checkpoint in ``out``. auto: start, or go on where there is one; "
        "without ``out`` the folder is runs/NAME then. A run that gets SIGTERM, SIGINT, "
        "SIGHUP or SIGUSR1 finishes its step, saves and ends with exit code 75: the same line "
        "with --resume auto goes on, to the same weights bit for bit. A second signal stops "
        "at once.",
        unswept="a sweep always resumes",
        private=True,
        basic=True,
    )
    seed: int = setting(
        0,
        "Of everything random.",
        low=0,
        high=2**63 - 1,
        on_resume="fixed",
        unswept="seeds are in seeds",
        basic=True,
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting(
        "auto",
        "Cpu, gpu, mps or auto.",
        private=True,
        basic=True,
    )
    devices: int = setting(
        1,
        "Processes on this machine, each with a device of its own.",
        low=1,
        unswept="a run of a sweep has one device; start byol sweep once for each device",
        basic=True,
    )
    nodes: int = setting(
        1,
        "Machines.",
        low=1,
        unswept="a run of a sweep has one device; start byol sweep once for each device",
        basic=True,
    )
    deterministic: bool = setting(
        False,
        "Use only operations that give the same bits every time (a CPU always does).",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        "Fp32, bf16, fp16, or auto: bf16 where the hardware multiplies it.",
    )
    compile: Literal["auto", "on", "off"] = setting(
        "auto",
        "On, off, or auto: on where a run is long enough to earn back the minutes it takes.",
        basic=True,
    )
    grad_checkpointing: bool = setting(
        False,
        "Keep less of the forward pass and compute it again in the backward pass: large "
        "backbones fit with larger batches, at about a third more time.",
    )
    sync_batchnorm: bool = setting(
        True,
        "Batch statistics over all processes.",
        on_resume="incomplete",
    )
    checkpoint_every: int = setting(
        1,
        "Epochs between checkpoints.",
        low=1,
        chosen="length",
    )
    checkpoint_steps: int = setting(
        0,
        "Optimizer steps between checkpoints within an epoch (0: none).",
        low=0,
    )
    checkpoint_minutes: float = setting(
        10.0,
        "Minutes after which there is one within an epoch (0: none).",
        low=0,
    )
    checkpoint_keep: int = setting(
        2,
        "How many of the last are kept; the best by the online k-NN is kept too.",
        low=1,
    )
    wandb: str | None = setting(
        None,
        "A project at Weights & Biases that gets settings and curves too.",
        place="network",
    )
    recipe: dict[str, Any] = setting(
        help=(
            "Not to be specified: config.yaml records in it what the preset auto was resolved "
            "from, and why it chose what it did."
        ),
        factory=dict,
    )
