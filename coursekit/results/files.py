"""Files: written so that at no time half of one is there, and found in checkout or package."""

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` into `path`, which at no time holds half of it."""
    # The temporary file lies beside its target: os.replace is atomic only within a file system.
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644  # mkstemp's own is 0o600
        Path(temporary).chmod(mode)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def data_folder(name: str) -> Path:
    """Folder of data that the course brings: the checkout's `data/NAME`, or the package's own."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "data" / name
    return checkout if checkout.is_dir() else package / "_course" / name
