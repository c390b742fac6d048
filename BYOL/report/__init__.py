"""The report of a run: one HTML page that needs no network, no server and no other file.

``run_summary`` reads the folder of a run, ``metrics_csv`` its logs, and ``metric_descriptions``
explains them. ``verdict`` and ``results_table`` present the evaluation. ``sample_features``
computes the features of a sample of images, from which ``neighbours``, ``embedding_map`` and
``confusion`` are made. ``charts`` computes the geometry of the curves and ``thumbnails`` encodes
images. ``html`` and ``compare`` fill in the templates.
"""
