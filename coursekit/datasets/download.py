"""Optional data sets from the network: fetched once, checked, cached, resumable.

No lesson needs this module: every data set here has an embedded stand-in. It imports no torch.
"""

import gzip
import os
import ssl
import struct
import tarfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import numpy as np
import pooch
from tqdm.auto import tqdm

NETWORK_ERRORS = (URLError, TimeoutError, ConnectionError, HTTPException, ssl.SSLError)
DAMAGED_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
CHUNK = 1 << 18  # bytes
WORTH_A_BAR = 5_000_000  # bytes: smaller files arrive before a reader could read a bar
CIFAR_RECORD = 1 + 3 * 32 * 32  # bytes: the label, then the red, green and blue planes
CIFAR_TEST = "cifar-10-batches-bin/test_batch.bin"
CIFAR_TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))


class DownloadError(RuntimeError):
    """A data set is out of reach. The message says what was expected, what came, what to do."""


@dataclass(frozen=True)
class Source:
    """Where a data set is published, and the checksum of each of its files."""

    base: str  # URL of the folder that holds the files
    registry: Mapping[
        str, str
    ]  # file name -> "algorithm:digest", in the order `fetch` returns them
    stand_in: str  # embedded data set that answers the same questions offline


SOURCES = {
    "fashion_mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        {
            "train-images-idx3-ubyte.gz": "sha256:3aede38d61863908ad78613f6a32ed27"
            "1626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "sha256:a04f17134ac03560a47e3764e11b92fc"
            "97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "sha256:346e55b948d973a97e58d2351dde16a4"
            "84bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "sha256:67da17c76eaffca5446c3361aaab5c3c"
            "d6d1c2608764d35dfb1850b086bf8dd5",
        },
        stand_in="digits",
    ),
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz",
        {
            "cifar-10-binary.tar.gz": "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d6"
            "8f9f25eb1ed8d9ddda3db29a59bca1dd"
        },
        stand_in="canvas_digits",
    ),
}


def cache_dir() -> Path:
    """Folder that keeps downloaded files: `COURSEKIT_DATA`, or the user's own cache folder."""
    return Path(os.environ.get("COURSEKIT_DATA") or pooch.os_cache("coursekit")).expanduser()


def fetch(
    name: str,
    *,
    mirror: str | None = None,
    registry: Mapping[str, str] | None = None,
    timeout: float = 20.0,
    attempts: int = 3,
) -> list[Path]:
    """Return the files of a data set, downloading those that the cache lacks or holds damaged.

    An interrupted download leaves a `.part` file and continues from there. A file gets its final
    name only after its checksum was right.

    Parameters
    ----------
    name : str
        Key of `SOURCES`.
    mirror : str, optional
        URL (http, https or file) under which `<name>/<file>` lies, so a copy of somebody's cache
        folder is a mirror. Default: the environment's `COURSEKIT_MIRROR`, else the publisher.
    registry : mapping of str to str, optional
        File names and their `algorithm:digest`, instead of the published ones.
    timeout : float
        Seconds that the server may stay silent.
    attempts : int
        Requests per file before giving up, at least 1.

    Returns
    -------
    list of Path
        In the order of the registry.

    Raises
    ------
    DownloadError
        If a file could not be had, whatever the reason.
    ValueError
        If the name, the mirror, `timeout` or `attempts` is none of the above.
    """
    if name not in SOURCES:
        raise ValueError(
            f"expected one of {', '.join(SOURCES)}, got {name!r}; try fetch('cifar10')"
        )
    if not (attempts >= 1 and timeout > 0):
        raise ValueError(f"expected attempts >= 1 and timeout > 0, got {attempts} and {timeout}")
    mirror = mirror or os.environ.get("COURSEKIT_MIRROR")
    if mirror and not mirror.startswith(("http://", "https://", "file://")):
        raise ValueError(f"expected a mirror URL, got {mirror!r}; try 'http://{mirror}'")
    base = f"{mirror.rstrip('/')}/{name}" if mirror else SOURCES[name].base
    registry = SOURCES[name].registry if registry is None else registry
    folder = cache_dir() / name
    paths = []
    for file, known_hash in registry.items():
        try:
            paths.append(
                _fetch_file(f"{base}/{file}", folder / file, known_hash, timeout, attempts)
            )
        except (DownloadError, OSError) as error:
            raise DownloadError(
                f"expected {file} of {name} ({known_hash}) from {base}, got {error}; "
                "try again later (a partial file is resumed), set COURSEKIT_MIRROR to the URL of a "
                "mirror, set COURSEKIT_DATA to a writable folder with room, put the file into "
                f"{folder} yourself, or use the embedded stand-in '{SOURCES[name].stand_in}'"
            ) from error
    return paths


def _fetch_file(url: str, path: Path, known_hash: str, timeout: float, attempts: int) -> Path:
    part = path.with_name(path.name + ".part")
    download = partial(_download, part=part, timeout=timeout)
    for attempt in range(1, attempts + 1):
        resumed = part.exists()
        try:
            pooch.retrieve(url, known_hash, path.name, path.parent, downloader=download)
            return path
        except NETWORK_ERRORS as error:
            final = isinstance(error, HTTPError) and error.code < 500 and error.code != 429
            if final or attempt == attempts:
                raise DownloadError(f"{type(error).__name__}: {error}") from error
            time.sleep(0.5 * attempt)
        except ValueError as error:
            # A bad end of a resumed file may be our doing: pooch deleted it, so start over. A fresh
            # file with the wrong checksum would only be wrong again.
            if not resumed or attempt == attempts:
                raise DownloadError(f"a file with another checksum: {error}") from error
    raise AssertionError("every attempt returns or raises")


def _download(url: str, output: str, _pooch: object, *, part: Path, timeout: float) -> None:
    """Append what `part` lacks, then move it to `output`: the downloader that pooch calls."""
    done = part.stat().st_size if part.exists() else 0
    try:
        with urlopen(_request(url, done), timeout=timeout) as response:
            if not _continues(response, done):
                done = 0
            length = response.headers.get("Content-Length")
            total = None if length is None else done + int(length)
            _append(response, part, done, total)
    except HTTPError as error:
        error.close()
        if error.code != 416:  # 416: nothing after `done`, so the part is complete or too long
            raise
    os.replace(part, output)


def _request(url: str, done: int) -> Request:
    headers = {"User-Agent": "coursekit", "Accept-Encoding": "identity"}
    return Request(url, headers=headers | ({"Range": f"bytes={done}-"} if done else {}))


def _continues(response, done: int) -> bool:
    """Whether the rest from byte `done` comes; a server without ranges sends the whole file."""
    return response.headers.get("Content-Range", "").startswith(f"bytes {done}-")


def _append(response, part: Path, done: int, total: int | None) -> None:
    bar = tqdm(
        total=total,
        initial=done,
        desc=part.stem,
        unit="B",
        unit_scale=True,
        disable=total is not None and total < WORTH_A_BAR,
    )
    with bar, part.open("ab" if done else "wb") as file:
        while chunk := response.read(CHUNK):
            file.write(chunk)
            done += len(chunk)
            bar.update(len(chunk))
    # `read` with a size ends silently when the connection breaks.
    if total is not None and done != total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def read_idx(path: str | Path) -> np.ndarray:
    """Read a gzipped IDX file of unsigned bytes (the format of MNIST and Fashion-MNIST).

    Returns
    -------
    ndarray of uint8
        (N, 28, 28) for images, (N,) for labels: the shape is in the file.

    Raises
    ------
    ValueError
        If the file is not gzip, not IDX, of another type, or of another length than it announces.

    References
    ----------
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998.
    """
    try:
        raw = gzip.decompress(Path(path).read_bytes())
    except DAMAGED_GZIP as error:
        raise _damaged(path, "a gzip file", error) from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or not 1 <= raw[3] <= 4:
        raise _damaged(path, "an IDX header 00 00 08 and 1 to 4 dimensions", raw[:4].hex(" "))
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise _damaged(path, f"a header of {start} bytes", len(raw))
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    expected = int(np.prod(shape, dtype=object))  # object: no overflow on a damaged header
    if len(raw) - start != expected:
        raise _damaged(path, f"{expected:,} bytes for shape {shape}", f"{len(raw) - start:,}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def read_cifar(path: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read the binary archive of CIFAR-10 without unpacking it (and without pickle).

    Returns
    -------
    x, y, x_test, y_test : ndarrays of uint8
        (N, 3, 32, 32), (N,) and the same for the test batch. Published: N = 50,000 and 10,000.

    Raises
    ------
    ValueError
        If the archive lacks a batch, or a batch is not whole records with labels 0 to 9.

    References
    ----------
    Krizhevsky, "Learning multiple layers of features from tiny images", Toronto, 2009.
    """
    try:
        with tarfile.open(path, "r:gz") as archive:
            members = {m.name: m for m in archive.getmembers() if m.isfile()}
            missing = [n for n in (*CIFAR_TRAIN, CIFAR_TEST) if n not in members]
            if missing:
                raise _damaged(path, missing[0], ", ".join(members) or "an empty archive")
            train = [_batch(path, n, archive.extractfile(members[n]).read()) for n in CIFAR_TRAIN]
            test = _batch(path, CIFAR_TEST, archive.extractfile(members[CIFAR_TEST]).read())
    except (tarfile.TarError, *DAMAGED_GZIP) as error:
        raise _damaged(path, "a tar.gz archive", error) from error
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return x, y, *test


def _batch(path: str | Path, name: str, raw: bytes) -> tuple[np.ndarray, np.ndarray]:
    if not raw or len(raw) % CIFAR_RECORD:
        raise _damaged(path, f"whole records of {CIFAR_RECORD} bytes in {name}", len(raw))
    records = np.frombuffer(raw, np.uint8).reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise _damaged(path, f"labels 0 to 9 in {name}", records[:, 0].max())
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def _damaged(path: str | Path, expected: str, got: object) -> ValueError:
    return ValueError(
        f"expected {expected}, got {got}; {path} is damaged: delete it and load the data set again"
    )
