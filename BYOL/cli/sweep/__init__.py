"""Ablations: ``reading`` a sweep's file, ``running`` its runs, ``jobs`` several of them at once,
``results`` of those that are finished, and their ``summary``."""
