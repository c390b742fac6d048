"""The command ``byol embed``."""

from BYOL._console import counted
from BYOL.cli.commands.common import Answer
from BYOL.config.features import EmbedConfig
from BYOL.curation.embedding_files import check_embeddings_path, write_embeddings
from BYOL.curation.embeddings import Embeddings
from BYOL.curation.run_features import open_features


def embed_run(config: EmbedConfig) -> Answer:
    """Write the feature vector of every image, with its name, to a file.

    Raises:
        UserError: there is no run, there are no images, the ending, layer or pooling is unknown, or
            the file cannot be written.
    """
    path = check_embeddings_path(config.out)
    features = open_features(config)
    metadata = {
        **features.run.metadata,
        "layer": config.layer or "",
        "pool": features.network.pool,
        "precision": features.precision,
    }
    embeddings = Embeddings(features.batches(), config.dtype, metadata)
    write_embeddings(path, embeddings)
    left_out = features.total - embeddings.count
    answer = {
        "out": str(path),
        "pictures": embeddings.count,
        "left_out": left_out,
        "shape": list(embeddings.shape),
        "dtype": config.dtype,
        "precision": features.precision,
    }
    size = " × ".join(map(str, embeddings.shape))
    left = f" ({left_out} could not be read)" if left_out else ""
    return answer, f"{counted(embeddings.count, 'image')}{left}, {size} numbers each, in {path}"
