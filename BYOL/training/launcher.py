"""The processes of a run: how many there are, which of them this one is, and who has started them.

The settings ``--devices`` and ``--nodes`` decide how many processes a run has. The environment is
compared with them: torchrun, SLURM's srun or Lightning has started as many processes, or each
process is a run of its own. Variables that another program has left in the environment decide
nothing.
"""

import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from BYOL._distributed import set_process
from BYOL.errors import SettingsError

log = logging.getLogger(__name__)
_SET_BY_LIGHTNING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
_GRACE = 20  # seconds that a process has to report that another one has died
_INTERACTIVE = ("bash", "interactive", "sh", "zsh")  # names of SLURM jobs that are a shell


@dataclass(frozen=True)
class Launcher:
    """The program that has started this process.

    Args:
        name: ``torchrun``, ``srun`` or ``Lightning``; empty if it is none of these.
        tasks: number of processes that it has started.
        rank: number of this process among them, from 0.
    """

    name: str = ""
    tasks: int = 1
    rank: int = 0


def started_elsewhere(devices: int, nodes: int) -> bool:
    """Return whether torchrun or srun, and not Lightning, starts the processes of a run."""
    launcher = find_launcher(devices)
    return launcher.name in ("torchrun", "srun") and launcher.tasks == devices * nodes


def find_launcher(devices: int) -> Launcher:
    """Return the launcher of this process, from its environment.

    Args:
        devices: processes of the run on this machine, for the rank under Lightning.
    """
    tasks = _number("WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" in os.environ and tasks:
        return Launcher("torchrun", tasks, _number("RANK") or 0)
    if tasks and _number("LOCAL_RANK") is not None:
        rank = _node_rank() * devices + (_number("LOCAL_RANK") or 0)
        return Launcher("Lightning", tasks, rank)
    if tasks := _srun_tasks():
        return Launcher("srun", tasks, _number("SLURM_PROCID") or 0)
    return Launcher()


def _node_rank() -> int:
    return _number("NODE_RANK") or _number("GROUP_RANK") or 0


def _srun_tasks() -> int | None:
    """Return the number of tasks of this job step; None if srun has not started this process.

    A batch script has the variables of its job, SLURM_NTASKS included, and is a single process. A
    step has SLURM_STEP_NUM_TASKS as well. A rank above 0 exists in steps only.
    """
    if os.environ.get("SLURM_JOB_NAME") in _INTERACTIVE:
        return None
    if _number("SLURM_PROCID"):
        return _number("SLURM_STEP_NUM_TASKS") or _number("SLURM_NTASKS")
    return _number("SLURM_STEP_NUM_TASKS")


def _number(name: str) -> int | None:
    """Return the whole number of an environment variable; None if it is missing or another text."""
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def resolve_processes(devices: int, nodes: int, specified: frozenset[str]) -> tuple[int, int]:
    """Decide which process of which run this one is; nothing has been written before.

    Under torchrun, ``devices`` and ``nodes`` are those of torchrun unless they are specified. A run
    of one process ignores all other processes: each of them is a run of its own.

    Args:
        devices: number of processes on this machine.
        nodes: number of machines.
        specified: the names of the settings that the user has specified.

    Returns:
        The resolved numbers of devices and nodes.

    Raises:
        SettingsError: the run has several processes, and the launcher has started another number.
    """
    devices, nodes = _from_torchrun(devices, nodes, specified)
    processes = devices * nodes
    launcher = find_launcher(devices)
    if processes == 1:
        set_process(0, 1)
        if launcher.tasks > 1:
            log.warning(
                f"{launcher.name} has started {launcher.tasks} processes, and this run has one: "
                "each process is a run of its own and needs its own --out (--devices and --nodes "
                "make one run of several processes)"
            )
        return devices, nodes
    if launcher.tasks == processes:
        set_process(launcher.rank, processes)
    elif launcher.tasks == 1 and (nodes == 1 or _number("NODE_RANK") is not None):
        # Lightning starts the other processes of this machine.
        set_process(_node_rank() * devices if nodes > 1 else 0, processes)
    else:
        started = f"{launcher.name or 'nothing'} has started {launcher.tasks}"
        raise SettingsError(
            f"--devices={devices} and --nodes={nodes} are {processes} processes, and "
            f"{started}: start {processes} with srun or torchrun, or give other numbers"
        )
    return devices, nodes


def independent_task(devices: int, nodes: int) -> int | None:
    """Return the number of this process among independent runs; None if it is not one of several.

    Args:
        devices: number of processes on this machine, from :func:`resolve_processes`.
        nodes: number of machines.
    """
    launcher = find_launcher(devices)
    several = launcher.tasks > 1 and devices * nodes == 1
    return launcher.rank if several else None


def _from_torchrun(devices: int, nodes: int, specified: frozenset[str]) -> tuple[int, int]:
    """Return the numbers of devices and nodes, which are those of torchrun unless specified."""
    here, tasks = _number("LOCAL_WORLD_SIZE"), _number("WORLD_SIZE")
    if "TORCHELASTIC_RUN_ID" not in os.environ or not here or not tasks:
        return devices, nodes
    if "devices" in specified and devices != here:
        return devices, nodes
    return here, nodes if "nodes" in specified else tasks // here


def cluster_environment(devices: int, nodes: int) -> Any:
    """Return Lightning's description of the processes that :func:`resolve_processes` has found.

    Lightning's own choice depends on environment variables alone, whatever the run needs.
    """
    from lightning_fabric.plugins.environments import LightningEnvironment, TorchElasticEnvironment

    processes = devices * nodes
    launcher = find_launcher(devices)
    if processes > 1:
        _report_before_kill()
    if processes == 1 or launcher.tasks != processes:
        if processes == 1:
            _as_only_process()
        return LightningEnvironment() if nodes > 1 else _one_machine()
    if launcher.name == "Lightning":
        return LightningEnvironment()
    return TorchElasticEnvironment() if launcher.name == "torchrun" else _srun(launcher)


def _report_before_kill() -> None:
    """Make Lightning wait before it kills this process because one that it started has died.

    It kills all of them at once, because they may wait for the dead one for ever. If it notices the
    death before the broken connection does, this process would end without a message.
    """
    from lightning_fabric.strategies.launchers import subprocess_script

    observer = subprocess_script._ChildProcessObserver
    if observer.__module__ == __name__:
        return

    class PatientObserver(observer):  # type: ignore[misc, valid-type]
        """Lightning's thread that looks every five seconds whether all processes are alive."""

        def _terminate_all(self) -> None:
            for process in self._child_processes:
                process.kill()
            time.sleep(_GRACE)
            super()._terminate_all()

    subprocess_script._ChildProcessObserver = PatientObserver  # type: ignore[misc]


def _as_only_process() -> None:
    """Undo Lightning's choice of a rank, which it made from the environment when imported."""
    from pytorch_lightning.utilities import rank_zero_only

    rank_zero_only.rank = 0  # type: ignore[attr-defined]


def _one_machine() -> Any:
    from lightning_fabric.plugins.environments import LightningEnvironment
    from lightning_fabric.plugins.environments.lightning import find_free_network_port

    before = {name: os.environ.get(name) for name in _SET_BY_LIGHTNING}

    class OneMachine(LightningEnvironment):
        """Processes that Lightning starts here: address, port and node are not those of others."""

        main_address = "127.0.0.1"  # type: ignore[assignment]
        creates_processes_externally = False  # type: ignore[assignment]

        @property
        def main_port(self) -> int:
            """Return a free port."""
            if self._main_port == -1:
                self._main_port = find_free_network_port()
            return self._main_port

        def local_rank(self) -> int:
            """Return the rank of the process that starts the others."""
            return 0

        def node_rank(self) -> int:
            """Return the number of the only machine."""
            return 0

        def teardown(self) -> None:
            """Restore the variables that Lightning sets when it starts the other processes."""
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    return OneMachine()


def _srun(launcher: Launcher) -> Any:
    from lightning_fabric.plugins.environments import SLURMEnvironment

    class Srun(SLURMEnvironment):
        """SLURM without requeueing, which saves within a step, and without further checks."""

        @staticmethod
        def _validate_srun_used() -> None:
            """Do nothing: :func:`find_launcher` knows it."""

        @staticmethod
        def _validate_srun_variables() -> None:
            """Do nothing: ``--ntasks`` is as good as ``--ntasks-per-node``."""

        def validate_settings(self, num_devices: int, num_nodes: int) -> None:
            """Do nothing: :func:`resolve_processes` compares the numbers of processes."""

        def world_size(self) -> int:
            """Return the number of processes of this job step, not of the job."""
            return launcher.tasks

    return Srun(auto_requeue=False)
