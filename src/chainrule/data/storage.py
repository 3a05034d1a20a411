"""Where the files of a data set are: the user's folder, the cache, or a checked download.

The folder is what the environment variable CHAINRULE_DATA names. A file is looked for in its
subfolder of the data set's name, then in the folder itself, with and without `.gz`; then in the
subfolder of that name in the cache (`files.cache_root`).
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import sys
import zlib
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.extras import missing_extra
from chainrule.files import cache_root
from chainrule.names import look_up

__all__ = [
    "DamagedFileError",
    "DataNotFoundError",
    "find_local",
    "read_idx",
    "read_images",
    "where_to_put",
]


class DataNotFoundError(FileNotFoundError):
    """A data set's file is neither on this machine nor to be had; says what to fetch and where."""


class DamagedFileError(ValueError):
    """A data set's file is here, but not what it should be; says what is wrong and what to do."""


@dataclass(frozen=True)
class _File:
    """A published file: its name without .gz, the MD5 of the .gz, size and SHA-256 of the content.

    The size bounds what is read and unpacked of a file of that name.
    """

    name: str
    md5: str
    sha256: str | None
    size: int


_MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "http://yann.lecun.com/exdb/mnist/",
    ),
    "fashion_mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
}

# In the order of `read_images`. Zalando publishes the MD5 sums of the .gz alone; the content of
# its image files is known by them when downloaded, and by its shape.
_FILES = {
    "mnist": (
        _File(
            "train-images-idx3-ubyte",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            16 + 60000 * 784,
        ),
        _File(
            "train-labels-idx1-ubyte",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            8 + 60000,
        ),
        _File(
            "t10k-images-idx3-ubyte",
            "9fb629c4189551a2d022fa330f9573f3",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            16 + 10000 * 784,
        ),
        _File(
            "t10k-labels-idx1-ubyte",
            "ec29112dd5afa0611ce80d1b7f02629c",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            8 + 10000,
        ),
    ),
    "fashion_mnist": (
        _File(
            "train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", None, 16 + 60000 * 784
        ),
        _File(
            "train-labels-idx1-ubyte",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            8 + 60000,
        ),
        _File("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", None, 16 + 10000 * 784),
        _File(
            "t10k-labels-idx1-ubyte",
            "bb300cfdad3c16e7a12a480ee83cd310",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            8 + 10000,
        ),
    ),
}

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 64  # of a NumPy array
_MOST_PACKED = 1032  # bytes that one byte of a .gz can stand for


def read_images(name: str) -> tuple[npt.NDArray[np.uint8], ...]:
    """The four arrays of "mnist" or "fashion_mnist" as published, read-only.

    Training images (60000, 28, 28), training labels (60000,), test images (10000, 28, 28) and
    test labels (10000,), all uint8. Raises DataNotFoundError where a file is neither here nor to be
    downloaded, DamagedFileError (a ValueError) where one is damaged.
    """
    files = look_up(_FILES, name, "publication of images")
    images, labels, test_images, test_labels = (_read_published(name, file) for file in files)
    for part, part_labels in ((images, labels), (test_images, test_labels)):
        if part.shape != (len(part_labels), 28, 28):
            raise DamagedFileError(
                f"{name}: images of shape {part.shape} do not belong to {len(part_labels)} labels: "
                "its files are not from one publication; fetch all four again"
            )
    return images, labels, test_images, test_labels


def _read_published(name: str, file: _File) -> npt.NDArray[Any]:
    path = find_local(name, file.name, f"{file.name}.gz") or _cached_or_downloaded(name, file)
    array, content = _read(path, most=file.size)
    if file.sha256 is not None and hashlib.sha256(content).hexdigest() != file.sha256:
        raise DamagedFileError(
            f"{path} is not the {name} file of that name: its SHA-256 is not the published one. "
            "It is damaged, or another data set's; remove it and fetch it again"
        )
    return array


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """The array in an IDX file, the format of MNIST, of any shape and dtype; `.gz` is unpacked.

    Raises DamagedFileError, a ValueError, where the file is damaged or of another format; no more
    of it is unpacked than its header says. Format: http://yann.lecun.com/exdb/mnist/ (a magic
    number of two zero bytes, the dtype and the number of axes; the sizes, big-endian; the values).
    """
    return _read(Path(path))[0]


def _read(path: Path, most: int | None = None) -> tuple[npt.NDArray[Any], bytes]:
    """The array of an IDX file and the file's content, of which there may be `most` bytes."""
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            dtype, shape, header = _read_header(path, file)
            wanted = len(header) + math.prod(shape) * dtype.itemsize
            size = path.stat().st_size
            if most is not None and wanted > most:
                raise DamagedFileError(
                    f"{path} is not the published file of that name: its header promises {wanted} "
                    f"bytes, and that has {most}; remove it and fetch it again"
                )
            # Of what a header promises, no memory is taken that the file cannot fill.
            if wanted <= (size * _MOST_PACKED if packed else size):
                content = header + file.read(wanted - len(header) + 1)
                size = len(content) if packed else size
    except (EOFError, gzip.BadGzipFile, zlib.error) as fault:
        raise DamagedFileError(
            f"{path} is damaged ({fault}): remove it and fetch it again"
        ) from fault
    if size != wanted:
        raise DamagedFileError(
            f"{path} is damaged: an IDX file of shape {shape}, {dtype.name}, "
            f"has {wanted} bytes, this one {size}; fetch it again"
        )
    array = np.frombuffer(content, dtype, offset=len(header)).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False), content


def _read_header(
    path: Path, file: gzip.GzipFile | BufferedReader
) -> tuple[np.dtype[Any], tuple[int, ...], bytes]:
    """The dtype and shape of an IDX file, and the bytes that say so."""
    header = file.read(4)
    if len(header) == 4 and header[:2] == b"\0\0" and header[2] in _IDX_DTYPES:
        n_axes = header[3]
        header += file.read(4 * n_axes)
        if len(header) == 4 + 4 * n_axes and n_axes <= _MOST_AXES:
            shape = tuple(int(size) for size in np.frombuffer(header, ">u4")[1:])
            if math.prod(size or 1 for size in shape) <= sys.maxsize // 8:
                return np.dtype(_IDX_DTYPES[header[2]]), shape, header
    raise DamagedFileError(
        f"{path} is no IDX file: it begins with {header[:4].hex(' ') or 'nothing'}"
    )


def find_local(name: str, *filenames: str) -> Path | None:
    """The first of these files of a data set in the folder CHAINRULE_DATA names, or None."""
    root = os.environ.get("CHAINRULE_DATA")
    if not root:
        return None
    folders = (Path(root, name), Path(root))
    paths = [folder / filename for folder in folders for filename in filenames]
    return next((path for path in paths if path.is_file()), None)


def where_to_put(name: str) -> str:
    """The end of a message about files that are absent: where they are looked for."""
    root = os.environ.get("CHAINRULE_DATA")
    if root:
        return f"{Path(root, name)} (the environment variable CHAINRULE_DATA is {root})"
    return f"a folder {name}, and let the environment variable CHAINRULE_DATA name its parent"


def _cached_or_downloaded(name: str, file: _File) -> Path:
    """The file in our cache folder, or else from the first mirror that has it with its MD5."""
    try:
        import pooch
    except ImportError as missing:
        raise missing_extra(
            f"{file.name} of {name} is not in the folder CHAINRULE_DATA names, and to download it "
            "pooch is needed",
            "data",
        ) from missing
    faults = []
    for mirror in _MIRRORS[name]:
        url = f"{mirror}{file.name}.gz"
        try:
            path = pooch.retrieve(
                url,
                known_hash=f"md5:{file.md5}",
                fname=f"{file.name}.gz",
                path=cache_root() / name,
                downloader=pooch.HTTPDownloader(timeout=10),
            )
        except (OSError, ValueError) as fault:  # no answer; another content than published
            faults.append(f"{url}: {type(fault).__name__}")
        else:
            return Path(path)
    raise DataNotFoundError(
        f"{file.name}.gz of {name} is not on this machine and could not be downloaded "
        f"({'; '.join(faults)}). Fetch {', '.join(f'{f.name}.gz' for f in _FILES[name])} "
        f"from {_MIRRORS[name][0]} and put them into {where_to_put(name)}"
    )
