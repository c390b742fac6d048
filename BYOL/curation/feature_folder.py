"""A folder of feature files: a local folder, or an fsspec URL such as ``s3://bucket/features``.

The folder contains ``embeddings.json``, which describes the features, and files
``part-RANK-NUMBER.parquet``. Every file appears under its name when it is complete.
"""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from BYOL._files import to_json, write_atomically
from BYOL.curation.feature_description import Description, is_count, is_description
from BYOL.data.shards.urls import file_system, is_url
from BYOL.errors import MachineError, UserError, first_line

MANIFEST = "embeddings.json"


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of feature files.

    Args:
        name: path or URL, as the user specified it.
        argument: how messages name it: ``--out=features/``.
    """

    name: str
    argument: str

    @cached_property
    def _place(self) -> tuple[Any, str]:
        """The fsspec file system, and the path of the folder in it."""
        try:
            fs, path = file_system(self.name)
        except UserError as error:
            raise type(error)(str(error).replace(f"DATA={self.name}", self.argument, 1)) from error
        return fs, path.rstrip("/")

    @property
    def is_remote(self) -> bool:
        """Whether the folder is an fsspec URL."""
        return is_url(self.name)

    def names(self) -> list[str]:
        """Return the sorted names of all Parquet files and of the manifest; empty without a folder.

        Raises:
            UserError: the folder cannot be listed.
        """
        fs, folder = self._place
        try:
            fs.invalidate_cache()
            found = fs.ls(folder, detail=False) if fs.isdir(folder) else []
        except Exception as error:
            raise MachineError(f"{self.argument} cannot be listed: {first_line(error)}") from error
        names = (os.path.basename(path.rstrip("/")) for path in found)  # noqa: PTH119  # of a URL
        return sorted(n for n in names if n == MANIFEST or _is_parquet(n))

    def holds_files(self) -> bool:
        """Whether the folder contains any file or folder, hidden ones excepted."""
        fs, folder = self._place
        found = fs.ls(folder, detail=False) if fs.isdir(folder) else []
        return any(not path.rstrip("/").rpartition("/")[2].startswith(".") for path in found)

    def open(self, name: str) -> Any:
        """Open the file ``name`` for reading bytes.

        Raises:
            UserError: it cannot be opened.
        """
        fs, folder = self._place
        try:
            return fs.open(f"{folder}/{name}", "rb")
        except Exception as error:
            raise MachineError(
                f"{self.argument}: {name} cannot be read: {first_line(error)}"
            ) from error

    def read_manifest(self) -> Description:
        """Return the content of ``embeddings.json``.

        Raises:
            UserError: it is damaged.
        """
        with self.open(MANIFEST) as file:
            try:
                values = json.loads(file.read())
            except (ValueError, RecursionError):
                values = None
        if not is_description(values) or not is_count(values.get("part_images"), 1):
            raise UserError(f"{self.argument}: its {MANIFEST} is damaged: give another folder")
        return values

    def write_manifest(self, values: dict[str, Any]) -> None:
        """Write ``embeddings.json``, and create the folder if it does not exist.

        Raises:
            UserError: it cannot be written.
        """
        fs, folder = self._place
        try:
            fs.makedirs(folder, exist_ok=True)
        except Exception as error:
            raise MachineError(f"{self.argument} cannot be created: {first_line(error)}") from error
        text = to_json(values, indent=2) + os.linesep
        self.write(MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file that appears under ``name`` when it is complete.

        Args:
            name: name of the file, which is replaced if it exists.
            write: writes to the path that it receives.

        Raises:
            UserError: it cannot be written.
        """
        fs, folder = self._place
        if not self.is_remote:
            write_atomically(Path(folder) / name, write)
            return
        hidden = f"{folder}/.{name}.{os.getpid()}.tmp"
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / name
            write(path)
            try:
                fs.put_file(str(path), hidden)
                fs.mv(hidden, f"{folder}/{name}")
            except Exception as error:
                raise MachineError(
                    f"{self.argument}: {name} cannot be written: {first_line(error)}"
                ) from error


def _is_parquet(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")
