"""Feature vectors on disk, written as they come: Parquet, .npy or .npz.

However many pictures there are, memory holds a few batches of features. What each file is:

F.parquet  a row for every picture: name, split, label, embedding, in row groups of some 16 MB;
           of a grid (h, w, d) the embedding is its h·w·d numbers and the file's metadata its shape
F.npy      (n, d) or (n, h, w, d), to be opened by ``numpy.load(F, mmap_mode="r")``; beside it
           F.names.parquet: name, split and label of every row
F.npz      name, split, label and embedding as arrays
"""

from BYOL.curation.embedding_files import (
    check_embeddings_path,
    names_path,
    write_embeddings,
    write_npy,
)
from BYOL.curation.embedding_rows import Batches, Embeddings

__all__ = [
    "Batches",
    "Embeddings",
    "check_embeddings_path",
    "names_path",
    "write_embeddings",
    "write_npy",
]
