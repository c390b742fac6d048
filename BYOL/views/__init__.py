"""Two views of every image: drawn per sample, applied to a whole batch on the device it is on.

``config`` says what may happen, ``draws`` decides what happens to each image, ``operations`` does
it, ``pipeline`` puts the three together, ``transforms`` is the specification's interface.
"""
