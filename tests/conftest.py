"""What several test files share."""

from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def authors() -> dict[str, np.ndarray]:
    """Numbers computed by the paper authors' own code."""
    path = SHARED / "reference" / "authors.npz"
    if not path.exists():
        pytest.skip(f"the authors' numbers are not here: {path.name} is not beside the project")
    return dict(np.load(path))


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)
