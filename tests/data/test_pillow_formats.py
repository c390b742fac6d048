"""Pillow reads the supported formats, and no file of another one, whatever its name."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from BYOL.data.decode import BrokenImageError, read_header, read_image
from BYOL.report.thumbnails import file_uri

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n"
_PLACE = (30).to_bytes(4, "little") + len(EPS).to_bytes(4, "little")
BINARY_EPS = (b"\xc5\xd0\xd3\xc6" + _PLACE).ljust(30, b"\0") + EPS


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp", "a"])
@pytest.mark.parametrize("content", [EPS, BINARY_EPS], ids=["text", "binary"])
def test_no_program_is_started_for_a_file_of_another_format(tmp_path, monkeypatch, name, content):
    ran = tmp_path / "RAN"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # it is searched once
    path = tmp_path / name
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(BrokenImageError, match="it is no image of a supported format"):
            read_image(source, 3)
        assert read_header(source) is None
    assert file_uri(path) is None
    assert not ran.exists()


@pytest.mark.parametrize("kind", ["PSD", "PCX", "TGA", "ICO", "DDS", "SGI", "SPIDER", "MSP", "IM"])
def test_other_formats_are_no_images(tmp_path, kind):
    if kind == "PSD":
        content = b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\4\0\0\0\4\0\x08\0\3" + bytes(12) + bytes(50)
    else:
        stored = io.BytesIO()
        mode = {"MSP": "1", "SPIDER": "F"}.get(kind, "RGB")
        Image.new(mode, (16, 16)).save(stored, kind)
        content = stored.getvalue()
    with pytest.raises(BrokenImageError, match="it is no image of a supported format"):
        read_image(content, 3)


@pytest.mark.parametrize(
    "kind", ["PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "AVIF", "PPM", "TIFF", "JPEG2000"]
)
@pytest.mark.parametrize("name", ["image.png", "image.dat"])
def test_supported_formats_are_recognized_by_content(tmp_path, kind, name):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:, :12] = 250, 20, 20
    path = tmp_path / name
    image = Image.fromarray(pixels)
    extra = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    image.save(path, kind, **extra)
    for source in (path, path.read_bytes()):
        read = read_image(source, 3).float().permute(1, 2, 0).numpy()
        assert read.shape == pixels.shape and np.abs(read - pixels)[:, [3, 20]].max() < 30


def test_plugins_of_other_formats_are_not_tried(tmp_path):
    """A process that has imported every plugin, as other libraries do, tries no further one."""
    (tmp_path / "a.png").write_bytes(EPS)
    script = (
        "import sys; from pathlib import Path; from PIL import EpsImagePlugin, Image\n"
        "Image.init()\n"
        "def fail(*a, **k): raise SystemExit('opened')\n"
        "EpsImagePlugin.EpsImageFile._open = fail\n"
        "from BYOL.data.decode import read_header\n"
        "print(read_header(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.png")],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.stdout == "None\n", done.stderr
