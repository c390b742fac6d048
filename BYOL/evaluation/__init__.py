"""What a backbone has learnt, in numbers: features of pictures, judged with few, all or no labels.

``gauges`` watches the projections of a run for collapse; ``features`` turns pictures into numpy
arrays; ``knn``, ``fewshot`` and ``linear`` judge such arrays; ``protocols`` puts them together.
"""
