"""Image sources: built-in sets, folders, lists, arrays and shards, read as uint8 pixels.

``sources`` opens a data set, ``decode`` reads image files and ``cache`` keeps small sets in memory.
``train_loader`` and ``eval_loader`` make batches.
"""
