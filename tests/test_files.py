"""A file is there whole, or as it was before."""

import os

import pytest

from coursekit.results.files import replace_file


def test_writes_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "deep" / "er" / "file"
    replace_file(path, b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["os.replace", "os.fdopen"])
def test_a_crash_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(step, full_disk)
    with pytest.raises(OSError, match="no space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_step_is_a_rename_within_one_folder(tmp_path, monkeypatch):
    renamed, rename = [], os.replace
    monkeypatch.setattr(
        "os.replace", lambda source, target: renamed.append(source) or rename(source, target)
    )
    replace_file(tmp_path / "file", b"new")
    assert [os.path.dirname(source) for source in renamed] == [str(tmp_path)]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_others_may_read_it_and_a_changed_mode_stays(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    replace_file(path, b"newer")
    assert path.stat().st_mode & 0o777 == 0o600
