"""Sets larger than the disk: tar and Parquet shards, read in place.

``urls`` resolves DATA to files. ``tar`` and ``parquet`` read the contents of one shard. ``index``
describes all shards, and ``build_index`` creates, stores and reads it. ``order`` defines the order
of the images, ``readers`` fetches their bytes, ``dataset`` is the set, ``write`` creates shards.
Nothing is ever extracted: a member's name is a label and never a path.
"""
