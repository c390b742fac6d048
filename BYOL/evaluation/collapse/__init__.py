"""Collapse metrics, and the alarm that watches them during training."""
