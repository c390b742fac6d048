"""What a backbone has learnt, in numbers: features of pictures, judged with few, all or no labels.

``gauges`` watches the projections of a run for collapse; ``features`` turns pictures into numpy
arrays. One file is one protocol: ``fewshot``, ``knn``, ``linear``, ``linear_sgd``, ``finetune``,
``cluster``, ``retrieval``; each judges a subject (``subjects``), which ``protocols`` puts beside
its references and ``table`` shows. ``intervals`` and ``scores`` are the statistics they share.
"""
