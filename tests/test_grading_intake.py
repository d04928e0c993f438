"""Submissions are found in whatever shape they come, and what cannot be graded is named."""

import hashlib
import io
import json
import os
import stat
import unicodedata
import zipfile
from datetime import UTC, datetime

import pytest
from test_grading_fake import put

from coursekit.grading.intake import archives, collect, files

NOTEBOOK = b'{"cells": []}'


def zipped(files, *, method=zipfile.ZIP_DEFLATED):
    """Bytes of a zip; a value that is a ZipInfo's mode and content in a pair sets the mode."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, told in files.items():
            mode, body = told if isinstance(told, tuple) else (stat.S_IFREG | 0o644, told)
            info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            info.external_attr, info.compress_type = mode << 16, method
            archive.writestr(info, body)
    return content.getvalue()


def taken(tmp_path, *paths):
    return collect.collect(paths or [tmp_path / "in"], tmp_path / "out")


def by_student(entries):
    return {entry.student: entry.rule for entry in entries}


# Where notebooks lie


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("ada.ipynb", "ada"),
        ("ada/final version (2).ipynb", "ada"),
        ("ada/deeper/04.IPYNB", "ada"),
        ("ada/04.ipynb.txt", "ada"),
        ("ada/04.json", "ada"),
        ("submitted/ada/04_dropout/04_dropout.ipynb", "ada"),
        ("Ada Lovelace_12_assignsubmission_file_/x.ipynb", "Ada Lovelace_12"),
    ],
)
def test_students_are_named_by_folder_or_file(tmp_path, name, student):
    put(tmp_path / "in" / name, NOTEBOOK)
    assert by_student(taken(tmp_path)) == {student: ""}


def test_leftovers_of_programs_are_nobodys_submission(tmp_path):
    for name in (".ipynb_checkpoints/a.ipynb", "__MACOSX/b.ipynb", "ada/._x.ipynb", "ada/x.ipynb"):
        put(tmp_path / "in" / name, NOTEBOOK)
    assert [entry.name for entry in taken(tmp_path)] == ["ada/x.ipynb"]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [put(tmp_path / who / "04.ipynb", NOTEBOOK) for who in ("ada", "bob")]
    assert by_student(taken(tmp_path, *paths)) == {"ada": "", "bob": ""}
    assert by_student(taken(tmp_path, paths[0])) == {"04": ""}


@pytest.mark.parametrize(
    ("files", "students"),
    [
        (["x.ipynb"], {"class"}),
        (["ada.ipynb", "bob.ipynb"], {"ada", "bob"}),
        (["ada/x.ipynb", "bob/x.ipynb", "bob/y.ipynb"], {"ada", "bob"}),
        (["hw/ada/x.ipynb", "hw/bob/x.ipynb"], {"ada", "bob"}),
        (["hw/ada/x.ipynb"], {"ada"}),
        (["a\\x.ipynb", "b\\x.ipynb"], {"a", "b"}),
    ],
)
def test_an_export_of_a_platform_holds_many(tmp_path, files, students):
    path = put(tmp_path / "class.zip", zipped(dict.fromkeys(files, NOTEBOOK)))
    assert by_student(taken(tmp_path, path)) == dict.fromkeys(students, "")


def test_an_export_may_hold_a_zip_of_each_student(tmp_path):
    own = zipped({"a/x.ipynb": NOTEBOOK, "b/x.ipynb": NOTEBOOK})
    path = put(tmp_path / "class.zip", zipped({"ada.zip": own, "bob/work.zip": own}))
    assert by_student(taken(tmp_path, path)) == {"ada": "", "bob": ""}


def test_a_zip_in_a_folder_is_one_students(tmp_path):
    put(tmp_path / "in" / "ada.zip", zipped({"x.ipynb": NOTEBOOK, "y.ipynb": NOTEBOOK + b" "}))
    assert [(e.student, e.name) for e in taken(tmp_path)] == [
        ("ada", "ada.zip/x.ipynb"),
        ("ada", "ada.zip/y.ipynb"),
    ]


# What is kept


def test_original_bytes_are_kept_with_name_time_and_size(tmp_path):
    path = put(tmp_path / "in" / "ada.ipynb", NOTEBOOK)
    os.utime(path, (0, 1_700_000_000))
    [entry] = taken(tmp_path)
    digest = hashlib.sha256(NOTEBOOK).hexdigest()
    assert (tmp_path / "out" / "intake" / digest).read_bytes() == NOTEBOOK
    [told] = json.loads((tmp_path / "out" / "intake.json").read_text())
    assert told["sha256"] == entry.sha256 == digest
    assert (told["student"], told["name"], told["size"]) == ("ada", "ada.ipynb", len(NOTEBOOK))
    assert told["when"] == datetime.fromtimestamp(1_700_000_000, UTC).isoformat()


def test_the_list_keeps_what_was_handed_in_earlier(tmp_path):
    path = put(tmp_path / "in" / "ada.ipynb", NOTEBOOK)
    taken(tmp_path)
    taken(tmp_path)
    path.write_bytes(b'{"cells": [{}]}')
    taken(tmp_path)
    assert len(json.loads((tmp_path / "out" / "intake.json").read_text())) == 2


def test_nbgraders_time_counts_where_it_is_noted(tmp_path):
    put(tmp_path / "in" / "submitted" / "ada" / "04" / "x.ipynb", NOTEBOOK)
    stamp = tmp_path / "in" / "submitted" / "ada" / "04" / "timestamp.txt"
    stamp.write_text("2026-02-03 10:00:00.5 Europe/Paris\n")
    assert taken(tmp_path)[0].when == "2026-02-03T09:00:00+00:00"
    stamp.write_text("yesterday")
    assert taken(tmp_path)[0].when > "2026-02-04"


def test_members_of_a_zip_have_its_times(tmp_path):
    path = put(tmp_path / "ada.zip", zipped({"x.ipynb": NOTEBOOK}))
    told = datetime.fromisoformat(taken(tmp_path, path)[0].when)
    assert told == datetime(2026, 1, 2, 3, 4, 6).astimezone()


# What is refused


def test_every_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(collect, "MAX_NOTEBOOK", 100)
    folder = tmp_path / "in"
    put(folder / "good.ipynb", NOTEBOOK)
    put(folder / "empty.ipynb", b" \n")
    put(folder / "large.ipynb", b"x" * 101)
    (folder / "link.ipynb").symlink_to(tmp_path / "secret")
    put(tmp_path / "elsewhere" / "x.ipynb", NOTEBOOK)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe.ipynb")
    put(folder / "pdf" / "answers.pdf", b"%PDF")
    (folder / "nothing").mkdir()
    (folder / "deep").mkdir()
    (folder / "deep" / "inner").symlink_to(tmp_path / "elsewhere")
    assert by_student(taken(tmp_path)) == {
        "good": "",
        "empty": "empty",
        "large": "too large",
        "link": "symlink",
        "linked": "symlink",
        "pipe": "no file",
        "pdf": "no notebook",
        "nothing": "no notebook",
        "deep": "symlink",
    }
    assert all(entry.sentence.endswith(".") for entry in taken(tmp_path) if entry.rule)
    [large] = [entry for entry in taken(tmp_path) if entry.student == "large"]
    assert "Clear its outputs" in large.sentence


def test_a_link_hands_in_its_target_path_and_not_the_file(tmp_path):
    secret = put(tmp_path / "secret", NOTEBOOK)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ipynb").symlink_to(secret)
    [entry] = taken(tmp_path)
    assert (tmp_path / "out" / "intake" / entry.sha256).read_bytes() == os.fsencode(secret)


def test_a_file_that_becomes_a_link_after_the_look_is_not_followed(tmp_path):
    path = put(tmp_path / "in" / "ada.ipynb", NOTEBOOK)
    [one] = collect.files_in(tmp_path / "in")
    path.unlink()
    path.symlink_to(put(tmp_path / "secret", NOTEBOOK))
    assert collect._store(one, tmp_path / "out").rule == "cannot be opened"


def encrypted():
    raw = bytearray(zipped({"x.ipynb": NOTEBOOK}))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def damaged():
    raw = bytearray(zipped({"x.ipynb": NOTEBOOK}, method=zipfile.ZIP_STORED))
    raw[raw.index(NOTEBOOK)] ^= 1
    return bytes(raw)


def lying():
    """An archive that promises 10 bytes and holds a million."""
    raw = bytearray(zipped({"x.ipynb": b" " * 1_000_000}))
    start = raw.index(b"PK\x01\x02") + 24
    raw[start : start + 4] = (10).to_bytes(4, "little")
    return bytes(raw)


BOMB = zipped({"x.ipynb": b" " * 30_000_000})
ARCHIVES = {
    "zip slip": zipped({"../x.ipynb": NOTEBOOK, "y.ipynb": NOTEBOOK}),
    "zip slip ": zipped({"/etc/x.ipynb": NOTEBOOK}),
    "zip slip  ": zipped({"C:\\x.ipynb": NOTEBOOK}),
    "zip slip   ": zipped({"a\\..\\..\\x.ipynb": NOTEBOOK}),
    "zip bomb": BOMB,
    "zip bomb ": zipped({"a.zip": zipped({"b.zip": zipped({"x.ipynb": NOTEBOOK})})}),
    "symlink": zipped({"x.ipynb": (stat.S_IFLNK | 0o777, b"/etc/passwd")}),
    "damaged archive": b"PK\x03\x04 cut short",
    "damaged archive ": damaged(),
    "damaged archive  ": lying(),
    "encrypted archive": encrypted(),
    "no notebook": zipped({"x.txt": b"hello"}),
}


@pytest.mark.parametrize("rule", ARCHIVES)
def test_only_the_bad_archive_is_refused(tmp_path, rule):
    put(tmp_path / "in" / "bad.zip", ARCHIVES[rule])
    put(tmp_path / "in" / "good.zip", zipped({"x.ipynb": NOTEBOOK}))
    entries = taken(tmp_path)
    assert by_student(entries) == {"bad": rule.strip(), "good": ""}
    assert len(entries) == 2
    assert not (tmp_path / "x.ipynb").exists()
    # Inside an export of the whole class it is the same.
    inner = {"bad.zip": ARCHIVES[rule], "good.ipynb": NOTEBOOK}
    whole = put(tmp_path / "class.zip", zipped(inner))
    assert by_student(taken(tmp_path, whole)) == {"bad": rule.strip(), "good": ""}


def test_archives_have_a_most_of_files_and_bytes(tmp_path, monkeypatch):
    path = put(tmp_path / "in" / "ada.zip", zipped({"x.ipynb": NOTEBOOK, "y": b"12345678"}))
    assert by_student(taken(tmp_path)) == {"ada": ""}
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    assert by_student(taken(tmp_path)) == {"ada": "zip bomb"}
    monkeypatch.setattr(archives, "MAX_MEMBERS", 9)
    monkeypatch.setattr(archives, "MAX_NOTEBOOK", 5)
    [large] = taken(tmp_path)
    assert (large.rule, "Clear its outputs" in large.sentence) == ("too large", True)
    monkeypatch.setattr(collect, "MAX_ARCHIVE", 5)
    assert by_student(taken(tmp_path)) == {"ada": "too large"}
    assert path.exists()


def test_only_so_many_copies_of_a_student_are_graded(tmp_path):
    for number in range(collect.MAX_COPIES + 3):
        path = put(tmp_path / "in" / "ada" / f"{number:02}.ipynb", NOTEBOOK + b" " * number)
        os.utime(path, (0, 1000 + number))
    passed_over = [e.name for e in taken(tmp_path) if e.rule == "too many copies"]
    assert passed_over == ["ada/00.ipynb", "ada/01.ipynb", "ada/02.ipynb"]


def test_paths_that_are_no_submissions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder"):
        taken(tmp_path, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected a folder, a zip file or a notebook"):
        taken(tmp_path, put(tmp_path / "grades.csv", b""))
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="expected submissions, got none"):
        taken(tmp_path)


# Names

HOSTILE = ["../x", "a/b", "a_b", "a b", "Ada", "ada", "ADA", "con", "..", ".", "", "x" * 300]
HOSTILE += ["ada\u200b", "ada\u202e", "é", "a\x00b", "a\nb", "-rf", "~", "ada.", "日本", "a\udce9"]


def test_file_names_are_safe_and_collide_for_nobody():
    names = [files.file_name(files.student_name(name)) for name in HOSTILE]
    assert len({name.casefold() for name in names}) == len(HOSTILE)
    for name in names:
        assert name not in ("", ".", "..", "con")
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert not name.startswith((".", "-"))
        assert len(name.encode()) < 200
    assert files.file_name("ada.lovelace-1815") == "ada.lovelace-1815"


def test_a_name_with_unseen_letters_does_not_pass_for_another():
    assert files.student_name("ada\u200b") != files.student_name("ada")
    assert files.printable(files.student_name("ada\u200b")) == files.student_name("ada\u200b")
    assert files.student_name(unicodedata.normalize("NFD", "é")) == files.student_name("é")
