"""What the callbacks share: values for the loggers, and the end of an optimizer step."""

import pytorch_lightning as pl


def ends_optimizer_step(trainer: pl.Trainer, index: int) -> bool:
    """Return whether micro-batch ``index`` of the epoch ended an optimizer step."""
    return (index + 1) % trainer.accumulate_grad_batches == 0


def log_values(trainer: pl.Trainer, values: dict[str, float]) -> None:
    """Write ``values`` to every logger of ``trainer`` at the current step."""
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)
