"""``byol evaluate``."""

from typing import Any

from BYOL.commands.common import Answer, pictures_for
from BYOL.config.commands import EvaluateConfig
from BYOL.evaluation.feature_gauges import feature_gauges, feature_gauges_text
from BYOL.evaluation.protocols import check_protocols, evaluate, results_text
from BYOL.hardware import pick_accelerator, pick_workers, torch_device
from BYOL.preparation import in_memory
from BYOL.runs import open_run, write_json


def evaluate_run(config: EvaluateConfig) -> Answer:
    """``byol evaluate``: judge a run's backbone beside raw pixels and its untrained self.

    Writes ``evaluation.json`` into the run's folder.

    Raises:
        UserError: no run, no labelled pictures, pictures of other channels.
    """
    protocols = tuple(name.strip() for name in config.protocol.split(",") if name.strip())
    check_protocols(protocols)
    accelerator = pick_accelerator(config.accelerator)
    run = open_run(config.run)
    splits = pictures_for(run, config.data, config.data_root)
    budget = int(run.config.memory * 1e9)
    train, _ = in_memory(splits.labelled or splits.train, budget)
    test, _ = in_memory(splits.test, budget) if splits.test else (None, [])
    settings: dict[str, Any] = {
        "device": torch_device(accelerator),
        "workers": pick_workers(None, accelerator),
        "batch_size": config.batch_size,
    }
    nets, sight = (run.backbone, run.untrained), run.config.sight
    results = evaluate(
        *nets,
        train,
        test,
        sight,
        **settings,
        protocols=protocols,
        seed=config.seed,
    )
    results = {
        "run": str(run.folder.path),
        "data": config.data or run.config.data,
        **results,
        "feature_gauges": feature_gauges(*nets, train, sight, **settings),
    }
    write_json(run.folder.evaluation, results)
    text = f"{results_text(results)}\n{feature_gauges_text(results['feature_gauges'])}"
    return results, f"{text}\nwritten to {run.folder.evaluation}"
