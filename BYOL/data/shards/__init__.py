"""Sets larger than the disk: tar and Parquet shards, read where they lie.

``patterns`` turns what the user said into files, ``tars`` and ``tables`` look into one of either
kind, ``index`` is what is known of all of them, ``building`` makes it and ``stored`` keeps it;
``order`` says which picture comes when, ``readers`` fetch pictures' bytes, ``streamed`` is the set,
``packing`` makes shards. Nothing is ever extracted: a member's name is a label and never a path.
"""
