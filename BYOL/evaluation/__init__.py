"""Evaluation of a backbone: feature extraction, protocols, baselines and statistics.

``types`` defines the data of an evaluation and ``splits`` its training and test images.
``features`` computes feature vectors, and ``protocols`` has one file per protocol. ``evaluate``
runs the protocols on a backbone and its baselines, and ``table`` prints the results.
``bootstrap`` and ``metrics`` are the statistics that the protocols share. ``collapse`` has the
collapse metrics and the alarm.
"""
