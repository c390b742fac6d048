"""Folder, hardware and checkpoints of a run."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from BYOL.config.common_fields import fixed_setting
from BYOL.config.fields import setting
from BYOL.config.shared_help import ACCELERATOR

Resume = bool | Literal["auto"]
CompileSetting = Literal["auto", "on", "off"]


@dataclass(frozen=True)
class RunSettings:
    """Folder, hardware and checkpoints of a run."""

    title: ClassVar[str] = "run"

    preset: str = setting(
        "auto",
        "Recipe that sets the other defaults, such as auto, small or paper-300. auto chooses "
        "settings that fit the images, the machine and the time limit. The others are digits, "
        "small (up to 96 px), 32px-minutes (without a GPU), 32px-100, 32px-200, 32px-400, "
        "32px-800, solo-cifar, lightly-cifar, 128px (64 to 128 px), few (fewer than 10,000 "
        "images), grey, many-channel, pretrained, vit, convnext, paper-40, paper-100, paper-300, "
        "paper-1000, paper-gn-ws, mulan-200 and mulan-800. BYOL/config/presets.py and "
        "BYOL/config/recipe.py state the source of their values.",
        basic=True,
    )
    out: str | None = setting(
        None,
        "Folder of the run, which must not exist yet. The default is a folder in runs/ named "
        "after the data and the time.",
        unswept="the sweep gives every run a folder",
        private=True,
        place="output",
        home=True,
        basic=True,
    )
    resume: Resume = setting(
        False,
        "Resume from the last checkpoint in --out. With the value auto, the run starts if there "
        "is no checkpoint yet, and without --out its folder is runs/NAME. A run that receives "
        "SIGTERM, SIGINT, SIGHUP or SIGUSR1 finishes its step, saves a checkpoint and ends with "
        "exit code 75. The same command with --resume auto then continues it and produces the "
        "same weights bit for bit. A second signal stops at once.",
        unswept="a sweep always resumes",
        private=True,
        basic=True,
    )
    seed: int = fixed_setting(
        0, "Random seed.", low=0, high=2**63 - 1, unswept="seeds are in seeds", basic=True
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting(
        "auto", ACCELERATOR, private=True, basic=True
    )
    devices: int = setting(
        1,
        "Number of processes on this machine, each with its own device.",
        low=1,
        unswept="a run of a sweep has one device; start byol sweep once for each device",
        basic=True,
    )
    nodes: int = setting(
        1,
        "Number of machines.",
        low=1,
        unswept="a run of a sweep has one device; start byol sweep once for each device",
    )
    deterministic: bool = setting(
        False,
        "Use only operations with reproducible results. On a CPU results are always reproducible.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = setting(
        "auto",
        "Numeric precision of training. auto selects bf16 where the hardware is faster in it.",
    )
    compile: CompileSetting = setting(
        "auto",
        "Compile the network with torch.compile. auto compiles where the run is long enough to "
        "save more time than compilation takes.",
    )
    grad_checkpointing: bool = setting(
        False,
        "Recompute activations in the backward pass to save memory. Larger backbones or batches "
        "fit, at about a third more time.",
    )
    sync_batchnorm: bool = setting(
        True, "Compute batch normalization statistics over all processes.", on_resume="incomplete"
    )
    checkpoint_every: int = setting(1, "Epochs between checkpoints.", low=1, chosen="length")
    checkpoint_steps: int = setting(
        0, "Optimizer steps between checkpoints within an epoch (0 disables them).", low=0
    )
    checkpoint_minutes: float = setting(
        10.0, "Minutes between checkpoints within an epoch (0 disables them).", low=0
    )
    checkpoint_keep: int = setting(
        2,
        "Number of latest checkpoints to keep. The best one by online k-NN is kept in addition.",
        low=1,
    )
    logger: str = setting(
        "csv,tensorboard",
        "Where curves are logged, separated by commas: csv and tensorboard (files in logs/), wandb "
        "(Weights & Biases) and mlflow. The last two also receive settings and results.",
        place="network",
    )
    project: str | None = setting(
        None,
        "Project at Weights & Biases and experiment in MLflow. The default is byol.",
        place="network",
    )
    length_changes: list[int] = setting(
        help=(
            "Recorded corrections of the length of a run with --minutes; not to be specified. They "
            "are pairs of an optimizer step and the number of steps planned from it on."
        ),
        factory=list,
        low=0,
        chosen="length",
        unswept="a run records it",
    )
    recipe: dict[str, Any] = setting(
        help=(
            "Recorded choices of the preset auto; not to be specified. config.yaml stores here "
            "the facts that the settings were derived from, and the reasons."
        ),
        factory=dict,
    )

    @property
    def specified(self) -> frozenset[str]:
        """The names of the settings that the user has specified; empty if that is unknown."""
        return frozenset(self.recipe.get("specified", ()))

    @property
    def undecided(self) -> bool:
        """Whether the preset is auto and its settings have not been chosen yet."""
        return self.preset == "auto" and "specified" in self.recipe and "facts" not in self.recipe
