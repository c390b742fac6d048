"""What files of labels and of groups say of pictures, together."""

from dataclasses import dataclass

from BYOL.data.groups import GroupFile, group_splits, read_groups
from BYOL.data.labels import label_splits, read_labels
from BYOL.data.open import Splits


@dataclass(frozen=True, eq=False)
class Annotated:
    """Pictures, and what files say of them.

    Args:
        splits: with a file of labels those that have one, else all; with their groups.
        groups: the file of these, if any.
        left_out: pictures that have no label in the file.
    """

    splits: Splits
    groups: GroupFile | None = None
    left_out: int = 0


def annotated(splits: Splits, labels: str | None, task: str, groups: str | None) -> Annotated:
    """Read the files, and match them with the pictures.

    A picture that the file of groups does not name gets -1: see
    :func:`BYOL.data.groups.check_grouped`.

    Args:
        splits: all pictures.
        labels: a CSV file, or None: the labels that the pictures have stay.
        task: what these labels are.
        groups: a CSV file, or None.

    Raises:
        UserError: a file that cannot be read or does not fit the pictures.
    """
    labels_file = read_labels(labels, task) if labels else None
    groups_file = read_groups(groups) if groups else None
    if groups_file:
        splits = group_splits(splits, groups_file)
    left_out = 0
    if labels_file:
        splits, left_out = label_splits(splits, labels_file)
    return Annotated(splits, groups_file, left_out)
