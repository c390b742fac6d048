"""A run: optimizers, schedules, callbacks, checkpoints, resume, signals, launch and pretrain."""
