"""Downloads from a loopback server that is good, slow, broken or gone, and the two file formats."""

import gzip
import hashlib
import io
import struct
import subprocess
import sys
import tarfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pooch
import pytest
import torch

from coursekit import data
from coursekit.datasets import download

IDX_FILES = tuple(download.SOURCES["fashion_mnist"].registry)
MNIST = tuple(download.SOURCES["mnist"].registry)
BODY = np.random.default_rng(0).bytes(300_000)  # more than one chunk


def zipped(content):
    return gzip.compress(content, mtime=0)  # else the bytes tell the time, no two are alike


def idx(array):
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return zipped(header + array.astype(np.uint8).tobytes())


def tar(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, raw in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            archive.addfile(entry, io.BytesIO(raw))
    return stream.getvalue()


def sha256(raw):
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def cifar_batches(records=2):
    rng = np.random.default_rng(1)
    batches = {}
    for name in download.CIFAR:
        batch = rng.integers(0, 256, (records, download.CIFAR_RECORD), dtype=np.uint8)
        batch[:, 0] %= 10
        batches[name] = batch.tobytes()
    return batches


class Server:
    """What it serves and how it misbehaves are attributes; `asked` counts the requests."""

    def __init__(self):
        self.files, self.asked = {}, 0
        self.cut = []  # per request: bytes after which the connection closes
        self.fail = []  # per request: status to answer with
        self.silent = threading.Event()
        self.silent.set()  # cleared: the server accepts and says nothing
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def handler(server):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                server.silent.wait(10)
                with suppress(OSError):  # the client may have given up
                    server.answer(self)

        return Handler

    def answer(self, request):
        body = self.files.get(request.path)
        self.asked += 1
        request.send_response(self.fail.pop(0) if self.fail else 200 if body else 404)
        request.send_header("Content-Length", str(len(body or b"")))
        request.end_headers()
        request.wfile.write((body or b"")[: self.cut.pop(0) if self.cut else None])

    def close(self):
        self.silent.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("COURSEKIT_MIRROR", raising=False)
    pause_free = SimpleNamespace(sleep=lambda _: None)
    monkeypatch.setattr(pooch.core, "time", pause_free)  # between two attempts
    server = Server()
    server.files["/cifar10/a.bin"] = BODY
    yield server
    server.close()


def get(server, **options):
    """Fetch the one-file set; `options` are those of `fetch`."""
    options = {"mirror": server.url, "registry": {"a.bin": sha256(BODY)}} | options
    (path,) = download.fetch("cifar10", **options)
    return path


def left_over():
    return sorted(p.name for p in (download.cache_dir() / "cifar10").glob("*"))


def test_a_good_file_arrives_and_is_cached_without_the_server(server):
    path = get(server)
    assert path.read_bytes() == BODY
    assert left_over() == ["a.bin"]
    server.close()
    assert get(server) == path
    assert server.asked == 1


def test_the_environment_names_the_mirror(server, monkeypatch):
    monkeypatch.setenv("COURSEKIT_MIRROR", f"{server.url}/")
    assert get(server, mirror=None).read_bytes() == BODY


def test_a_copied_cache_folder_is_a_mirror(server, monkeypatch, tmp_path):
    folder = get(server).parent.parent
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "other"))
    path = get(server, mirror=folder.as_uri())
    assert path.read_bytes() == BODY
    assert path.is_relative_to(tmp_path / "other")


def test_a_cache_can_be_shared(server):
    assert get(server).stat().st_mode & 0o044 == 0o044  # a class may read what one person fetched


def test_a_corrupt_file_on_the_server_is_refused_and_not_kept(server):
    server.files["/cifar10/a.bin"] = BODY[:-1] + b"?"
    with pytest.raises(download.DownloadError, match=r"a\.bin.*does not match the known hash"):
        get(server)
    assert left_over() == []


def test_a_corrupt_file_in_the_cache_is_fetched_again(server):
    path = get(server)
    path.write_bytes(b"?" + BODY[1:])
    assert get(server).read_bytes() == BODY
    assert server.asked == 2


def test_a_corrupt_file_in_the_cache_is_never_handed_out(server):
    get(server).write_bytes(b"?" + BODY[1:])
    server.close()
    with pytest.raises(download.DownloadError, match="refused"):
        get(server)


def test_a_broken_connection_leaves_nothing_and_is_tried_again(server):
    server.cut = [100_000] * 3
    with pytest.raises(download.DownloadError, match="100000 bytes read, 200000 more expected"):
        get(server)
    assert left_over() == []
    server.cut = [100_000]
    assert get(server).read_bytes() == BODY
    assert server.asked == 5


def test_an_interrupted_download_leaves_nothing(server, monkeypatch):
    def interrupted(self, url, output, _):
        Path(output).write_bytes(BODY[:100_000])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            get(server)
    assert left_over() == []
    assert get(server).read_bytes() == BODY


def test_a_busy_server_is_asked_again_but_not_for_ever(server):
    server.fail = [503, 503]
    get(server).unlink()
    server.fail = [503] * 9
    with pytest.raises(download.DownloadError, match="503"):
        get(server)
    assert server.asked == 6


def test_a_silent_server_runs_into_the_timeout(server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    server.silent.clear()
    with pytest.raises(download.DownloadError, match="timed out"):
        get(server)


def test_without_a_network_the_message_says_what_to_try(server):
    server.close()
    with pytest.raises(download.DownloadError) as caught:
        get(server)
    message = str(caught.value)
    for hint in ("expected a.bin of cifar10", "refused", "COURSEKIT_MIRROR", "COURSEKIT_DATA"):
        assert hint in message
    assert "stand-in 'canvas_digits'" in message


def test_every_stand_in_is_embedded():
    for name, source in download.SOURCES.items():
        assert name in data.names()
        assert source.stand_in in data.names().keys() - download.SOURCES.keys()


def test_a_full_disk_is_reported(server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(download.DownloadError, match=r"No space left.*COURSEKIT_DATA"):
        get(server)


def test_a_cache_that_cannot_be_a_folder(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "file"))
    with pytest.raises(download.DownloadError, match="COURSEKIT_DATA"):
        get(server)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("svhn", {}, "expected one of fashion_mnist, cifar10, optdigits, mnist, got 'svhn'"),
        ("cifar10", {"mirror": "host/data"}, "try 'http://host/data'"),
    ],
)
def test_fetch_refuses_wrong_arguments(name, options, says):
    with pytest.raises(ValueError, match=says):
        download.fetch(name, **options)


def test_the_cache_folder_defaults_to_the_users_own(monkeypatch):
    monkeypatch.delenv("COURSEKIT_DATA", raising=False)
    assert download.cache_dir().name == "coursekit"


@pytest.mark.parametrize("shape", [(5,), (3, 28, 28)])
def test_idx_is_read_as_written(tmp_path, shape):
    array = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    (tmp_path / "f.gz").write_bytes(idx(array))
    assert np.array_equal(download.read_idx(tmp_path / "f.gz"), array)


GOOD_IDX = gzip.decompress(idx(np.arange(6).reshape(2, 3)))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"not gzip", "a gzipped IDX file", id="not gzip"),
        pytest.param(zipped(GOOD_IDX)[:-9], "a gzipped IDX file", id="cut"),
        pytest.param(zipped(b"\1" + GOOD_IDX[1:]), "an IDX header", id="magic"),
        pytest.param(zipped(b"\0\0\x0d" + GOOD_IDX[3:]), "an IDX header", id="floats"),
        pytest.param(zipped(b"\0\0\x08\0"), "1 bytes for shape", id="no axes"),
        pytest.param(zipped(GOOD_IDX[:7]), "a gzipped IDX file", id="header cut"),
        pytest.param(zipped(GOOD_IDX[:-1]), r"6 bytes for shape \(2, 3\), got 5", id="data cut"),
        pytest.param(zipped(GOOD_IDX + b"!"), "got 7", id="too long"),
        # Four axes of 65,536 are 2^64 values, which int64 counts as 0.
        pytest.param(zipped(b"\0\0\x08\4" + b"\0\1\0\0" * 4), "bytes for shape", id="huge"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, raw, says):
    (tmp_path / "f.gz").write_bytes(raw)
    with pytest.raises(ValueError, match=says):
        download.read_idx(tmp_path / "f.gz")


def test_cifar_is_read_in_order_and_plane_by_plane(tmp_path):
    batches = cifar_batches()
    (tmp_path / "c").write_bytes(tar({"cifar-10-batches-bin/readme.html": b"hi"} | batches))
    x, y, x_test, y_test = download.read_cifar(tmp_path / "c")
    assert x.shape == (10, 3, 32, 32)
    assert x_test.shape == (2, 3, 32, 32)
    third = batches["cifar-10-batches-bin/data_batch_2.bin"]  # two records in each batch
    assert y[2] == third[0]
    assert x[2, 1, 4, 7] == third[1 + 1024 + 4 * 32 + 7]  # green, row 4, column 7
    assert y_test[1] == batches[download.CIFAR[-1]][download.CIFAR_RECORD]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({download.CIFAR[-1]: None}, "test_batch.bin' not found"),
        ({download.CIFAR[2]: b"\0" * 3072}, "whole records of 3073 bytes"),
        ({download.CIFAR[2]: b""}, "whole records of 3073 bytes"),
        ({download.CIFAR[-1]: b"\x0a" * 3073}, "labels 0 to 9"),
    ],
)
def test_a_damaged_cifar_archive_is_refused(tmp_path, change, says):
    members = {name: raw for name, raw in (cifar_batches() | change).items() if raw is not None}
    (tmp_path / "c").write_bytes(tar(members))
    with pytest.raises(ValueError, match=says):
        download.read_cifar(tmp_path / "c")


@pytest.mark.parametrize("keep", [100, 9000])
def test_a_broken_archive_is_refused(tmp_path, keep):
    (tmp_path / "c").write_bytes(tar(cifar_batches())[:keep])
    with pytest.raises(ValueError, match=r"expected a tar\.gz archive"):
        download.read_cifar(tmp_path / "c")


def test_load_makes_tasks_of_downloaded_files(server):
    rng = np.random.default_rng(3)
    arrays = (rng.integers(0, 256, (30, 28, 28)), np.arange(30) % 10)
    arrays += (rng.integers(0, 256, (10, 28, 28)), np.arange(10))
    bodies = dict(zip(IDX_FILES, map(idx, arrays), strict=True))
    archive = tar(cifar_batches(4))
    server.files |= {f"/fashion_mnist/{file}": raw for file, raw in bodies.items()}
    server.files["/cifar10/c.tar.gz"] = archive
    registry = {file: sha256(raw) for file, raw in bodies.items()}
    small = {"n_train": 10, "n_val": 5, "mirror": server.url, "device": "cpu"}
    clothes = data.load("fashion_mnist", registry=registry, **small)
    assert clothes.x.shape == (30, 1, 28, 28)
    assert np.allclose(clothes.x[:, 0], arrays[0] / 255)
    assert clothes.y_test.tolist() == list(range(10))
    photos = data.load("cifar10", registry={"c.tar.gz": sha256(archive)}, **small)
    assert photos.x.shape == (20, 3, 32, 32)
    assert photos.x_test.shape == (4, 3, 32, 32)


def test_the_published_registry_is_well_formed():
    for source in download.SOURCES.values():
        for known_hash in filter(None, source.registry.values()):  # None: checked as it is read
            algorithm, digest = known_hash.split(":")
            assert algorithm in ("sha256", "md5")  # md5 where nothing else was ever published
            assert len(bytes.fromhex(digest)) == hashlib.new(algorithm).digest_size


def test_the_module_needs_no_torch():
    probe = "import coursekit.datasets.download, sys; sys.exit('torch' in sys.modules)"
    root = Path(download.__file__).parents[2]
    subprocess.run([sys.executable, "-c", probe], check=True, cwd=root)


def test_optdigits_and_mnist_are_read_and_checked(server, monkeypatch):
    monkeypatch.setenv("COURSEKIT_MIRROR", server.url)
    rng = np.random.default_rng(0)
    table = np.c_[rng.integers(0, 17, (3823, 64)), np.arange(3823) % 10].astype(np.uint8)
    text = "\r\n".join(",".join(map(str, row)) for row in table).encode()  # any line end will do
    server.files["/optdigits/optdigits.tra"] = text
    known = hashlib.sha256(table.tobytes()).hexdigest()
    monkeypatch.setattr(download, "OPTDIGITS", known)
    task = data.load("optdigits", device="cpu")
    assert (task.x.shape, task.x_test.shape) == ((1923, 1, 8, 8), (1900, 1, 8, 8))
    both = torch.cat([task.x, task.x_test]).flatten(1).mul(16).round().sum(0)
    assert torch.equal(both, torch.from_numpy(table[:, :-1].astype(np.float32).sum(0)))
    pasted = data.load("canvas_digits", of="optdigits", device="cpu")
    torch.testing.assert_close(pasted.x.sum((1, 2, 3)), task.x.sum((1, 2, 3)))
    monkeypatch.setattr(download, "OPTDIGITS", "0" * 64)
    with pytest.raises(ValueError, match=r"optdigits\.tra is damaged: delete it"):
        data.load("optdigits")
    with pytest.raises(ValueError, match="digits to paste"):
        data.load("canvas_digits", of="letters")
    x, y = rng.integers(0, 256, (6000, 28, 28), dtype=np.uint8), np.arange(6000) % 10
    bodies = {file: idx(a) for file, a in zip(MNIST, (x, y.astype(np.uint8)), strict=True)}
    server.files |= {f"/mnist/{file}": body for file, body in bodies.items()}
    registry = {file: sha256(body) for file, body in bodies.items()}
    task = data.load("mnist", registry=registry, device="cpu")
    assert (task.x.shape, task.x_test.shape) == ((1000, 1, 28, 28), (5000, 1, 28, 28))
    assert 0 <= task.x.min() < task.x.max() <= 1
