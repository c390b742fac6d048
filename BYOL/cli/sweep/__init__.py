"""Ablations: ``reading`` a sweep's file, ``running`` its runs,
``results`` of those that are finished, and their ``summary``."""
