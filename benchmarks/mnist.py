"""MNIST as published, from the folder that CHAINRULE_DATA names; read alike by all peers."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

_PARTS = {"train": "train", "test": "t10k"}


def folder() -> Path | None:
    """Where the four files (.gz) are; None where they are not on this machine."""
    root = Path(os.environ.get("CHAINRULE_DATA", "."))
    names = [f"{part}-{file}" for part in _PARTS.values() for file in (_IMAGES, _LABELS)]
    for place in (root / "mnist", root):
        if all((place / name).is_file() for name in names):
            return place
    return None


_IMAGES, _LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"


def read(part: str) -> tuple[Any, Any]:
    """The images (N, 28, 28, 1) of "train" or "test", float32 in [0, 1], and labels (N,), int64.

    The files are in the IDX format: a magic number and the sizes, four bytes each, then the bytes.
    """
    place = folder()
    if place is None:
        raise FileNotFoundError(
            "the files of MNIST are not in the folder that CHAINRULE_DATA names"
        )
    images, labels = (
        gzip.decompress((place / f"{_PARTS[part]}-{file}").read_bytes())
        for file in (_IMAGES, _LABELS)
    )
    x = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return x / np.float32(255), np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
