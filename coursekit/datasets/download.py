"""Optional data sets from the network: fetched once, checked and kept, all through `pooch`.

No lesson needs this module: every data set here has an embedded stand-in. It imports no torch.
"""

import gzip
import hashlib
import math
import os
import struct
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlretrieve

import numpy as np
import pooch

RETRIES = 2  # after a failed request or a wrong checksum, with a pause of 1, then 2 seconds
TIMEOUT = 20.0  # seconds that a server may stay silent
DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError)
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue planes
CIFAR = [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)]
CIFAR += ["cifar-10-batches-bin/test_batch.bin"]


class DownloadError(RuntimeError):
    """A data set is out of reach. The message says what was expected, what came, what to do."""


class Source(NamedTuple):
    """Where a data set is published, the checksum of each file, and what replaces it offline."""

    base: str  # URL of the folder that holds the files
    # File name -> "algorithm:digest", in the order of `fetch`; None where what is read is checked.
    registry: Mapping[str, str | None]
    stand_in: str  # embedded data set that answers the same questions


def _registry(lines: str) -> dict[str, str]:
    return dict(line.split() for line in lines.strip().splitlines())


SOURCES = {
    "fashion_mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        _registry("""
train-images-idx3-ubyte.gz sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
train-labels-idx1-ubyte.gz sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
t10k-images-idx3-ubyte.gz  sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
t10k-labels-idx1-ubyte.gz  sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
"""),
        stand_in="digits",
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz",
        _registry("""
cifar-10-binary.tar.gz sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
"""),
        stand_in="canvas_digits",
    ),
    "optdigits": Source(
        "https://archive.ics.uci.edu/ml/machine-learning-databases/optdigits",
        {
            "optdigits.tra": None
        },  # text, whose line ends mirrors may change: its numbers are checked
        stand_in="digits",
    ),
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        _registry("""
t10k-images-idx3-ubyte.gz md5:9fb629c4189551a2d022fa330f9573f3
t10k-labels-idx1-ubyte.gz md5:ec29112dd5afa0611ce80d1b7f02629c
"""),
        stand_in="digits",
    ),
}
OPTDIGITS = "d834e24de815f94b71afbea3c034b2f3d116c30c156dac25db928f2cf55762d4"  # (3823, 65) uint8


def cache_dir() -> Path:
    """Folder that keeps downloaded files: `COURSEKIT_DATA`, or the user's own cache folder."""
    return Path(os.environ.get("COURSEKIT_DATA") or pooch.os_cache("coursekit")).expanduser()


def fetch(
    name: str, *, mirror: str | None = None, registry: Mapping[str, str] | None = None
) -> list[Path]:
    """Return the files of a data set, downloading those that the cache lacks or holds damaged.

    A file gets its name only after its checksum was right, and it is checked again at every call.
    After an interruption the files that were whole stay, and the others start anew.

    Parameters
    ----------
    name : str
        Key of `SOURCES`.
    mirror : str, optional
        URL (http, https or file) under which `<name>/<file>` lies, so a copy of somebody's cache
        folder is a mirror. Default: the environment's `COURSEKIT_MIRROR`, else the publisher.
    registry : mapping of str to str, optional
        File names and their `algorithm:digest`, instead of the published ones.

    Returns
    -------
    list of Path
        In the order of the registry.

    Raises
    ------
    DownloadError
        If a file could not be had, whatever the reason.
    ValueError
        If the name or the mirror is none of the above.
    """
    if name not in SOURCES:
        raise ValueError(
            f"expected one of {', '.join(SOURCES)}, got {name!r}; try fetch('cifar10')"
        )
    source, mirror = SOURCES[name], mirror or os.environ.get("COURSEKIT_MIRROR")
    if mirror and not mirror.startswith(("http://", "https://", "file://")):
        raise ValueError(f"expected a mirror URL, got {mirror!r}; try 'http://{mirror}'")
    base = f"{mirror.rstrip('/')}/{name}" if mirror else source.base
    registry = source.registry if registry is None else registry
    cache = pooch.create(cache_dir() / name, f"{base}/", registry=registry, retry_if_failed=RETRIES)
    paths = []
    for file, digest in registry.items():
        try:
            paths.append(Path(cache.fetch(file, downloader=_download)))
        except (OSError, ValueError) as error:  # `requests` raises OSError, a wrong file ValueError
            raise DownloadError(
                f"expected {file} of {name} ({digest}) from {base}, got {type(error).__name__}: "
                f"{error}; try again later, set COURSEKIT_MIRROR to the URL of a mirror, set "
                "COURSEKIT_DATA to a writable folder with room, put the file into "
                f"{cache.path} yourself, or use the embedded stand-in '{source.stand_in}'"
            ) from error
    return paths


def _download(url: str, output: str, _pooch: object) -> None:
    if url.startswith("file:"):  # pooch knows no such protocol
        urlretrieve(url, output)
    else:
        headers = {"Accept-Encoding": "identity"}  # else a .gz might arrive unpacked
        options = {"progressbar": True, "chunk_size": 1 << 18, "timeout": TIMEOUT}
        pooch.HTTPDownloader(headers=headers, **options)(url, output, None)
    os.chmod(output, 0o644)  # pooch's temporary file is its owner's alone, a cache may be a class's


def read_idx(path: str | Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes, (N, 28, 28) for images and (N,) for labels, as uint8.

    A damaged file raises ValueError. The format is that of LeCun, Cortes and Burges, "The MNIST
    database of handwritten digits", 1998.
    """
    try:
        raw = gzip.decompress(Path(path).read_bytes())
        magic, axes = struct.unpack_from(">3sB", raw)
        shape = struct.unpack_from(f">{axes}I", raw, 4)
    except (struct.error, *DAMAGED) as error:
        raise _damaged(path, "a gzipped IDX file", error) from error
    if magic != b"\0\0\x08":
        raise _damaged(path, "an IDX header 00 00 08", magic.hex(" "))
    data = raw[4 + 4 * axes :]
    if len(data) != math.prod(shape):
        raise _damaged(path, f"{math.prod(shape):,} bytes for shape {shape}", f"{len(data):,}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_optdigits(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the training part of UCI's digits: x (3823, 8, 8) with values 0 to 16, y, both uint8.

    A damaged file raises ValueError. The data: Alpaydin and Kaynak, "Optical Recognition of
    Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0).
    """
    try:
        table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    except ValueError as error:
        raise _damaged(path, "rows of 65 numbers from 0 to 255", error) from error
    found = hashlib.sha256(np.ascontiguousarray(table).tobytes()).hexdigest()
    if table.shape != (3823, 65) or found != OPTDIGITS:
        raise _damaged(path, f"3,823 rows of 65 numbers with SHA-256 {OPTDIGITS}", table.shape)
    return table[:, :-1].reshape(-1, 8, 8), table[:, -1]


def read_cifar(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read CIFAR-10's binary archive as uint8: x (N, 3, 32, 32), y (N,), x_test, y_test.

    Nothing is unpacked to disk and no pickle is opened. A damaged archive raises ValueError. The
    data: Krizhevsky, "Learning multiple layers of features from tiny images", Toronto, 2009.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            batches = [archive.extractfile(name).read() for name in CIFAR]
    except (KeyError, *DAMAGED) as error:
        raise _damaged(path, "a tar.gz archive of CIFAR-10's six batches", error) from error
    sizes = [len(batch) for batch in batches]
    if any(size == 0 or size % CIFAR_RECORD for size in sizes):
        raise _damaged(path, f"batches of whole records of {CIFAR_RECORD} bytes", sizes)
    records = np.frombuffer(b"".join(batches), np.uint8).reshape(-1, CIFAR_RECORD)
    x, y = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    if y.max() > 9:
        raise _damaged(path, "labels 0 to 9", y.max())
    n = sum(sizes[:-1]) // CIFAR_RECORD  # the last batch is the test set
    return x[:n], y[:n], x[n:], y[n:]


def _damaged(path: str | Path, expected: str, got: object) -> ValueError:
    return ValueError(
        f"expected {expected}, got {got}; {path} is damaged: delete it and load the data set again"
    )
