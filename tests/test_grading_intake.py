"""Submissions are found in whatever shape they come, and what cannot be graded is named."""

import hashlib
import io
import json
import os
import stat
import time
import unicodedata
import zipfile
from datetime import UTC, datetime

import pytest
from test_grading_fake import put

from coursekit.grading.intake import archives, beside, collect, files, names

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


def taken(tmp_path, *paths, **options):
    """What decides about grades of all that came in."""
    listed = collect.collect(paths or [tmp_path / "in"], tmp_path / "out", **options)
    others = set(collect.ASIDE) - {collect.COPIES}
    return [entry for entry in listed if entry.rule not in others]


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


# The time zone of names is that of whoever grades.
EVENING = datetime(2026, 11, 20, 23, 59).astimezone()
EXPORTS = {
    "moodle": {
        "Ada Lovelace_123_assignsubmission_file_/04.ipynb": ("Ada Lovelace_123", None),
        "Ada Lovelace_77_assignsubmission_file/04.ipynb": ("Ada Lovelace_77", None),
        "Jo_de Vries_9_assignsubmission_file_x_y.ipynb": ("Jo_de Vries_9", None),
    },
    "canvas": {
        "lovelaceada_LATE_123_456_04-2.ipynb": ("lovelaceada_123", None),
        "m\u00fcllerj\u00f6rg_77_999_x_1_2.ipynb": ("m\u00fcllerj\u00f6rg_77", None),
    },
    "canvas, anonymous": {"anon_1aB2c_LATE_456_04.ipynb": ("anon_1aB2c", None)},
    "brightspace": {
        "1234-5678 - Ada Lovelace - Nov 20, 2026 1159 PM - 04.ipynb": (
            "Ada Lovelace_1234",
            EVENING,
        ),
        "77-5678 - Ann-Jo O'Hara - Nov 20, 2026 1159 PM/a.ipynb": ("Ann-Jo O'Hara_77", EVENING),
    },
    "blackboard": {
        "Ex_04_ada_attempt_2026-11-20-23-59-00_04.ipynb": ("ada", EVENING),
        "Ex_04_bob_attempt_2026-11-20-23-59-00_x_eve_attempt_2027-11-20-23-59-00_.ipynb": (
            "bob",
            EVENING,
        ),
    },
    "ilias": {
        "Lovelace_Ada_alovelace_12/20261120235900_04.ipynb": ("Lovelace_Ada_alovelace_12", EVENING),
        "Noyce_Bob_bnoyce_77/20261120235900_20300101000000_04.ipynb": (
            "Noyce_Bob_bnoyce_77",
            EVENING,
        ),
    },
    "gradescope": {"submission_12345678/04.ipynb": ("submission_12345678", None)},
}


def packed(tmp_path, contents, how):
    """The same files as a folder, as a folder in a folder, or as one zip."""
    if how == "zip":
        return put(tmp_path / "export.zip", zipped(contents))
    for name, content in contents.items():
        put(tmp_path / "in" / ("around" if how == "wrapped" else "") / name, content)
    return tmp_path / "in"


@pytest.mark.parametrize("how", ["folder", "wrapped", "zip"])
@pytest.mark.parametrize("platform", EXPORTS)
def test_names_of_platforms_tell_student_and_time(tmp_path, platform, how):
    path = packed(tmp_path, dict.fromkeys(EXPORTS[platform], NOTEBOOK), how)
    listed = {
        e.name.rpartition("around/")[2].removeprefix("export.zip/"): e
        for e in taken(tmp_path, path)
    }
    assert {n: e.student for n, e in listed.items()} == {
        name: student for name, (student, _) in EXPORTS[platform].items()
    }
    for name, (_, when) in EXPORTS[platform].items():
        assert not when or datetime.fromisoformat(listed[name].when) == when
        assert listed[name].late == ("LATE" in name)
        assert listed[name].timed == (not platform.startswith("canvas"))
        assert listed[name].platform == platform


ATTEMPTS = [
    ("lovelaceada_12_456_x.ipynb", "lovelaceada_12_999_old-1.ipynb"),
    (
        "12-5 - Ada Lovelace - Nov 20, 2026 1159 PM - z.ipynb",
        "12-5 - Ada Lovelace - Nov 21, 2026 1201 AM - a.ipynb",
    ),
    (
        "Ex 04_ada_attempt_2026-11-20-23-59-00_z.ipynb",
        "Ex 04_ada_attempt_2026-11-21-00-01-00_a.ipynb",
    ),
    ("L_A_ada_12/20261120235900_z.ipynb", "L_A_ada_12/20261121000100_a.ipynb"),
]


@pytest.mark.parametrize("attempts", ATTEMPTS)
@pytest.mark.parametrize("how", ["folder", "zip"])
def test_attempts_are_one_students_and_the_latest_is_last(tmp_path, attempts, how):
    contents = {name: NOTEBOOK + b" " * n for n, name in enumerate(attempts)}
    contents["other_77_1_x.ipynb"] = NOTEBOOK  # so that the class has two
    path = packed(tmp_path, contents, how)
    entries = taken(tmp_path, path)
    [student] = {e.student for e in entries if e.name.endswith(attempts)}
    own = [e for e in entries if e.student == student]
    assert [e.name.removeprefix("export.zip/") for e in own] == list(attempts)
    assert max(own, key=lambda e: e.order).name.endswith(attempts[1])


@pytest.mark.parametrize("two", [("hw_2026_104_ada", "hw_2026_104_bob"), ("hw_1_2_a", "hw_1_3_b")])
def test_names_that_only_look_like_a_platforms_do_not_make_two_students_one(tmp_path, two):
    for name in two:
        put(tmp_path / "in" / f"{name}.ipynb", NOTEBOOK)
    assert by_student(taken(tmp_path)) == dict.fromkeys(two, "")


def test_logins_that_end_alike_are_two_students(tmp_path):
    for login in ("a_smith", "b_smith"):
        name = f"Ex 04_{login}_attempt_2026-11-20-23-59-00_x.ipynb"
        put(tmp_path / "in" / name, NOTEBOOK)
    assert by_student(taken(tmp_path)) == {"Ex 04_a_smith": "", "Ex 04_b_smith": ""}


def test_what_a_student_names_so_makes_nobody_else_its_owner(tmp_path):
    evil = "Bob_77_assignsubmission_file_/20300101000000_04.ipynb"
    own = {evil: NOTEBOOK + b" ", "submitted/bob/04/x.ipynb": NOTEBOOK}
    own["submission_metadata.yml"] = b"submission_1:\n  :submitters:\n  - :name: bob\n"
    put(tmp_path / "in" / "ada" / evil, NOTEBOOK)
    put(tmp_path / "in" / "eve.zip", zipped(own))
    assert set(by_student(taken(tmp_path))) == {"ada", "eve"}
    whole = put(tmp_path / "class.zip", zipped({f"ada/{evil}": NOTEBOOK, "eve.zip": zipped(own)}))
    entries = taken(tmp_path, whole)
    assert set(by_student(entries)) == {"ada", "eve"}
    assert max(e.when for e in entries) < "2027"


def test_the_metadata_of_gradescope_tell_names_and_times(tmp_path):
    listing = """
submission_1:
  :submitters:
  - :name: Ada Lovelace
    :sid: '4711'
    :email: ada@example.org
  :created_at: 2026-11-20 23:59:00.123456000 Z
  :results: !ruby/hash:ActiveSupport::HashWithIndifferentAccess {}
submission_2:
  :submitters:
  - :name: Bob
    :email: bob@example.org
  - :name: Eve
    :sid: '8'
"""
    contents = {
        "assignment_9_export/submission_metadata.yml": listing.encode(),
        "assignment_9_export/submission_1/04.ipynb": NOTEBOOK,
        "assignment_9_export/submission_2/04.ipynb": NOTEBOOK,
    }
    for how in ("folder", "zip"):
        entries = taken(tmp_path, packed(tmp_path, contents, how))
        assert [e.student for e in entries] == ["Ada Lovelace_4711", "Bob_bob@example.org, Eve_8"]
        assert entries[0].when == "2026-11-20T23:59:00+00:00"
    contents["assignment_9_export/submission_metadata.yml"] = b"[: broken"
    entries = taken(tmp_path, packed(tmp_path, contents, "zip"))
    assert [e.student for e in entries] == ["submission_1", "submission_2"]


# The instructor's own pattern


def test_an_own_pattern_tells_student_attempt_and_time(tmp_path):
    pattern = names.own_pattern(
        r"(hw/)?(?P<student>[a-z]+)-v(?P<attempt>\d+)-(?P<time>\d{8}T\d{4})"
    )
    for name in ("hw/ada-v10-20261120T2359.ipynb", "hw/ada-v9-20261121T2359.ipynb"):
        put(tmp_path / "in" / name, NOTEBOOK + name.encode())
    put(tmp_path / "in" / "hw" / "final.ipynb", NOTEBOOK)
    put(tmp_path / "in" / "hw" / "bob" / "ada-v99-20261121T2359.ipynb", NOTEBOOK + b"b")
    entries = taken(tmp_path, pattern=pattern)
    assert {e.student: e.rule for e in entries} == {"ada": "", "hw": "name"}
    ada = [e for e in entries if e.student == "ada"]
    assert [e.attempt for e in ada] == [9, 10]
    assert datetime.fromisoformat(ada[1].when) == EVENING
    assert {e.sentence for e in entries if e.rule} == {names.UNFIT}


@pytest.mark.parametrize("text", ["(", r"(?P<who>.+)\.ipynb", ".*", "(?P<student>a", "a{2}{3}"])
def test_a_pattern_that_cannot_tell_the_student_is_refused(text):
    with pytest.raises(ValueError, match=r"expected .*\(\?P<student>"):
        names.own_pattern(text)


def test_a_pattern_that_takes_forever_on_one_name_harms_that_file_only(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "PATIENCE", 0.2)
    pattern = names.own_pattern(r"(?P<student>(\w+\w*)+)_04")
    put(tmp_path / "in" / "ada_04.ipynb", NOTEBOOK)
    put(tmp_path / "in" / f"{'a' * 200}!.ipynb", NOTEBOOK)
    start = time.monotonic()
    assert {e.student[:3]: e.sentence for e in taken(tmp_path, pattern=pattern)} == {
        "ada": "",
        "aaa": names.SLOW,
    }
    assert time.monotonic() - start < 10
    path = put(tmp_path / "x.zip", zipped({"a" * 5000 + "_04.ipynb": NOTEBOOK, "b_04.ipynb": b"x"}))
    assert archives.LONG in {e.sentence for e in taken(tmp_path, path, pattern=pattern)}


@pytest.mark.parametrize("where", ["folder", "class"])
def test_odd_paths_in_an_archive_take_no_time(tmp_path, where):
    deep = {f"{n}{'/a' * 30_000}/x.ipynb": NOTEBOOK for n in range(20)}
    deep |= {f"e{n}/pyvenv.cfg": b"" for n in range(5_000)}
    deep |= {f"e{n}/lib/x.ipynb": b"" for n in range(5_000)} | {"x.ipynb": NOTEBOOK}
    path = put(tmp_path / "in" / "ada.zip", zipped(deep))
    if where == "class":
        deep = {f"ada/{name}": content for name, content in deep.items()}
        path = put(tmp_path / "c.zip", zipped({"bob/x.ipynb": NOTEBOOK} | deep))
    start = time.monotonic()
    entries = taken(tmp_path, path if where == "class" else tmp_path / "in")
    assert time.monotonic() - start < 20
    assert {e.rule for e in entries if e.student == "ada"} == {"", "long name", "too many copies"}


def test_long_names_take_no_time(tmp_path):
    evil = ["_1" * 30_000, "_" * 60_000, ".json" * 12_000, "1-" * 30_000, "a - " * 15_000]
    evil += ["_attempt_2026" * 4_000, "x_LATE_" * 9_000, "1" * 60_000, ".ipynb" * 10_000]
    start = time.monotonic()
    for name in evil:
        for end in (".ipynb", ".zip", ".pdf", "!"):
            names.owners([(name + end,), (f"{name}{end}2", "x.ipynb")])
            files.file_name(files.student_name(name + end))
    assert time.monotonic() - start < 5


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


@pytest.mark.parametrize("inside", ["04_dropout/04.ipynb", "04.ipynb", "a/b/04.ipynb"])
def test_zips_given_by_name_are_called_like_their_students(tmp_path, inside):
    # As JupyterLab and Colab make them: each with one folder, of the same name in all.
    paths = [put(tmp_path / f"{who}.zip", zipped({inside: NOTEBOOK})) for who in ("ada", "bob")]
    assert by_student(taken(tmp_path, *paths)) == {"ada": "", "bob": ""}


def test_a_zip_of_a_lessons_folder_is_called_like_its_student(tmp_path):
    path = put(tmp_path / "ada.zip", zipped({"04_dropout/04_dropout.ipynb": NOTEBOOK}))
    assert by_student(taken(tmp_path, path)) == {"ada": ""}


@pytest.mark.parametrize("inside", ["04.ipynb", "04_dropout/04.ipynb", "a/04.ipynb"])
@pytest.mark.parametrize("beside", ["b.pdf", "b.ipynb", "b/b.ipynb"])
def test_folders_given_by_name_are_called_like_their_students(tmp_path, inside, beside):
    # As a shell gives them: coursekit grade downloads/*
    paths = [tmp_path / "ada", tmp_path / "bob"]
    for path in paths:
        put(path / inside, NOTEBOOK)
        put(path / beside, NOTEBOOK)
    assert by_student(taken(tmp_path, *paths)) == {"ada": "", "bob": ""}
    (tmp_path / "eve").mkdir()
    listed = by_student(taken(tmp_path, *paths, tmp_path / "eve"))
    assert listed == {"ada": "", "bob": "", "eve": "no notebook"}


def test_folders_of_two_groups_may_be_given_together(tmp_path):
    for name in ("one/ada.ipynb", "one/bob.ipynb", "two/eve/04.ipynb", "two/sid/04.ipynb"):
        put(tmp_path / name, NOTEBOOK)
    entries = taken(tmp_path, tmp_path / "one", tmp_path / "two")
    assert set(by_student(entries)) == {"ada", "bob", "eve", "sid"}


def test_archives_of_one_name_are_told_apart_by_their_folders(tmp_path):
    own = zipped({"04.ipynb": NOTEBOOK})
    paths = [put(tmp_path / who / "work.zip", own) for who in ("ada", "bob")]
    assert by_student(taken(tmp_path, *paths)) == {"ada": "", "bob": ""}


def test_of_several_zips_some_may_be_a_classs(tmp_path):
    both = {"04/x.ipynb": NOTEBOOK, "old/x.ipynb": NOTEBOOK}
    paths = [put(tmp_path / f"{who}.zip", zipped(both)) for who in ("ada", "bob")]
    assert set(by_student(taken(tmp_path, *paths))) == {"ada", "bob"}
    groups = [{"ada/x.ipynb": NOTEBOOK, "bob/x.ipynb": NOTEBOOK}, {"eve/x.ipynb": NOTEBOOK}]
    groups[1]["sid/x.ipynb"] = NOTEBOOK
    paths = [put(tmp_path / f"group{n}.zip", zipped(files)) for n, files in enumerate(groups)]
    assert set(by_student(taken(tmp_path, *paths))) == {"ada", "bob", "eve", "sid"}


def test_files_of_an_export_may_be_given_by_name(tmp_path):
    listed = ("lovelaceada_12_456_04.ipynb", "noycebob_LATE_77_999_04.zip")
    paths = [put(tmp_path / name, zipped({"x.ipynb": NOTEBOOK})) for name in listed]
    paths[0].write_bytes(NOTEBOOK)
    assert by_student(taken(tmp_path, *paths)) == {"lovelaceada_12": "", "noycebob_77": ""}
    paths.append(put(tmp_path / "hoppergrace_88_1001_04.pdf", b"%PDF"))
    assert by_student(taken(tmp_path, *paths)) == {
        "lovelaceada_12": "",
        "noycebob_77": "",
        "hoppergrace_88": "no notebook",
    }


@pytest.mark.parametrize("around", ["export", "fall/export", "fall/submitted"])
def test_folders_around_a_class_are_no_students(tmp_path, around):
    for name in ("ada/04.ipynb", "bob/04/04.ipynb", "eve.zip"):
        content = zipped({"x.ipynb": NOTEBOOK}) if name == "eve.zip" else NOTEBOOK
        put(tmp_path / "in" / around / name, content)
    assert set(by_student(taken(tmp_path))) == {"ada", "bob", "eve"}


@pytest.mark.parametrize("how", ["folder", "zip"])
def test_the_only_student_of_nbgraders_folder_is_no_class(tmp_path, how):
    contents = {}
    for lesson in ("04_dropout", "09_early_stopping"):
        contents[f"submitted/ada/{lesson}/{lesson}.ipynb"] = NOTEBOOK + lesson.encode()
        contents[f"submitted/ada/{lesson}/timestamp.txt"] = b"2026-02-03 10:00:00.5 Europe/Paris"
    path = packed(tmp_path, contents, how)
    paths = [path] if how == "zip" else [path, path / "submitted"]
    for path in paths:
        entries = taken(tmp_path, path)
        assert set(by_student(entries)) == {"ada"}
        assert {e.when for e in entries} == {"2026-02-03T09:00:00+00:00"}


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


def test_a_notebook_may_be_zipped_alone(tmp_path):
    own = zipped({"04.ipynb": NOTEBOOK})
    contents = {"ada/04.ipynb.zip": own, "bob.ipynb.zip": own, "eve/x.ipynb": NOTEBOOK}
    path = put(tmp_path / "class.zip", zipped(contents))
    assert by_student(taken(tmp_path, path)) == {"ada": "", "bob": "", "eve": ""}
    assert by_student(taken(tmp_path, put(tmp_path / "bob.ipynb.zip", own))) == {"bob": ""}


def test_names_in_utf8_are_right_without_their_mark_too(tmp_path):
    raw = zipped({"J__rg/x.ipynb": NOTEBOOK, "eve/x.ipynb": NOTEBOOK})
    assert raw.count(b"J__rg") == 2
    path = put(tmp_path / "class.zip", raw.replace(b"J__rg", "J\u00f6rg".encode()))
    assert by_student(taken(tmp_path, path)) == {"J\u00f6rg": "", "eve": ""}
    path.write_bytes(raw.replace(b"J__rg", b"J\x94_rg"))  # cp437, as the standard says
    assert by_student(taken(tmp_path, path)) == {"J\u00f6_rg": "", "eve": ""}


# What is handed in instead of a notebook, or beside it


@pytest.mark.parametrize("how", ["folder", "wrapped", "zip"])
@pytest.mark.parametrize("name", ["bob.pdf", "bob/04.html", "bob/04.ipynb.py", "bob.rar"])
def test_who_hands_in_no_notebook_has_a_row(tmp_path, how, name):
    contents = {"ada/04.ipynb": NOTEBOOK, "eve/04.ipynb": NOTEBOOK, name: b"hello"}
    entries = taken(tmp_path, packed(tmp_path, contents, how))
    assert by_student(entries) == {"ada": "", "bob": "no notebook", "eve": ""}
    [sentence] = [e.sentence for e in entries if e.student == "bob"]
    assert sentence == f"Handed in {name.rpartition('/')[2]}, no notebook."


@pytest.mark.parametrize("platform", ["moodle", "canvas", "brightspace", "blackboard", "ilias"])
def test_who_hands_in_no_notebook_to_a_platform_has_a_row(tmp_path, platform):
    first, second = list(EXPORTS[platform])[:2]
    contents = {first: NOTEBOOK, second.replace(".ipynb", ".pdf"): b"%PDF", "index.html": b""}
    contents |= {"grades.csv": b"", "report.html": b""}
    entries = taken(tmp_path, packed(tmp_path, contents, "zip"))
    students = [student for student, _ in list(EXPORTS[platform].values())[:2]]
    assert by_student(entries) == dict(zip(students, ("", "no notebook"), strict=True))


def test_a_text_beside_a_file_says_nothing_against_the_file(tmp_path):
    contents = {
        "Ada_1_assignsubmission_file_/04.ipynb": NOTEBOOK,
        "Ada_1_assignsubmission_onlinetext_/onlinetext.html": b"hello",
        "Ex_ada_attempt_2026-11-20-23-59-00.txt": b"Name: Ada",
        "Ex_ada_attempt_2026-11-20-23-59-00_x.ipynb": NOTEBOOK,
    }
    path = packed(tmp_path, contents, "zip")
    assert by_student(taken(tmp_path, path)) == {"Ada_1": "", "ada": ""}


@pytest.mark.parametrize("beside", ["x{}.json", "data/x{}.json", "venv/lib/x{}.ipynb", "x{}.ipynb"])
def test_neighbors_do_not_crowd_a_notebook_out(tmp_path, beside):
    mine = put(tmp_path / "in" / "ada" / "04.ipynb", b'{"cells": ["classic_weights"]}')
    os.utime(mine, (0, 1000))
    put(tmp_path / "in" / "ada" / "venv" / "pyvenv.cfg", b"")
    for number in range(30):
        put(tmp_path / "in" / "ada" / beside.format(number), NOTEBOOK + b" " * number)
    entries = taken(tmp_path, words=["classic_weights"])
    assert [e.rule for e in entries if e.name == "ada/04.ipynb"] == [""]


def test_an_environment_around_a_notebook_does_not_hide_it(tmp_path):
    for name in ("pyvenv.cfg", "lib/x.ipynb", "04.ipynb"):
        put(tmp_path / "in" / "ada" / name, NOTEBOOK)
    assert [entry.name for entry in taken(tmp_path)] == ["ada/04.ipynb"]


def test_every_file_is_listed(tmp_path):
    own = zipped({"04.ipynb": NOTEBOOK, "data.csv": b"1,2"})
    contents = {"ada/04.ipynb": NOTEBOOK, "ada/a.pdf": b"", "bob.zip": own, "index.html": b""}
    for how, prefix in (("folder", ""), ("zip", "export.zip/")):
        path = packed(tmp_path, contents, how)
        listed = {e.name: e.rule for e in collect.collect([path], tmp_path / "out")}
        assert listed == {
            f"{prefix}ada/04.ipynb": "",
            f"{prefix}ada/a.pdf": collect.NOT_GRADED,
            f"{prefix}bob.zip/04.ipynb": "",
            f"{prefix}bob.zip/data.csv": collect.BESIDE_ONE,
            f"{prefix}index.html": collect.NOBODYS,
        }


def test_what_lies_beside_nbgraders_submissions_is_listed(tmp_path):
    put(tmp_path / "in" / "submitted" / "ada" / "04" / "x.ipynb", NOTEBOOK)
    put(tmp_path / "in" / "source" / "04" / "x.ipynb", NOTEBOOK)
    listed = collect.collect([tmp_path / "in"], tmp_path / "out")
    assert {(e.student, e.name, e.rule) for e in listed} == {
        ("ada", "ada/04/x.ipynb", ""),
        ("", "source", collect.NOBODYS),
    }


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


def test_the_times_in_a_students_own_archive_do_not_say_when_it_was_handed_in(tmp_path):
    own = zipped({"x.ipynb": NOTEBOOK})
    path = put(tmp_path / "in" / "ada.zip", own)
    os.utime(path, (0, 1_800_000_000))
    [entry] = taken(tmp_path)
    assert entry.when == datetime.fromtimestamp(1_800_000_000, UTC).isoformat()
    assert datetime.fromisoformat(entry.made) == datetime(2026, 1, 2, 3, 4, 6).astimezone()


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


def test_one_students_large_file_harms_no_other(tmp_path):
    printed = b'{"cells": "' + b"x" * 47_000_000 + b'"}'
    contents = {f"s{n}/04.ipynb": NOTEBOOK + b" " * n for n in range(30)}
    path = put(tmp_path / "class.zip", zipped(contents | {"ada/04.ipynb": printed}))
    listed = by_student(taken(tmp_path, path))
    assert listed.pop("ada") == "too large"
    assert listed == dict.fromkeys((f"s{n}" for n in range(30)), "")


def test_one_students_thousand_files_harm_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    contents = {f"s{n}/04.ipynb": NOTEBOOK for n in range(30)}
    contents |= {f"ada/data/{n}.csv": b"" for n in range(6)} | {"ada/04.ipynb": NOTEBOOK}
    listed = by_student(taken(tmp_path, put(tmp_path / "class.zip", zipped(contents))))
    assert listed.pop("ada") == "zip bomb"
    assert set(listed.values()) == {""}


@pytest.mark.parametrize("where", ["folder", "class", "alone"])
def test_archives_in_an_archive_share_what_may_be_unpacked(tmp_path, where):
    inner = [zipped({"x.ipynb": b"%d" % n + b" " * 19_000_000}) for n in range(20)]
    evil = zipped({f"{n}.zip": content for n, content in enumerate(inner)})
    assert len(evil) < 20_000  # since zips of spaces shrink once more
    path = put(tmp_path / "in" / "eve.zip", evil)
    if where == "class":
        path = put(tmp_path / "class.zip", zipped({"eve.zip": evil, "ada/x.ipynb": NOTEBOOK}))
    elif where == "folder":
        put(tmp_path / "in" / "ada" / "x.ipynb", NOTEBOOK)
        path = tmp_path / "in"
    entries = taken(tmp_path, path)
    assert "zip bomb" in {e.rule for e in entries if e.student != "ada"}
    assert not [e.rule for e in entries if e.student == "ada" and e.rule]
    written = sum(p.stat().st_size for p in (tmp_path / "out" / "intake").iterdir())
    alone = where == "alone"  # then each of its archives could be a student's
    assert written <= (archives.LEAST_OF_CLASS if alone else archives.RATIO_FROM) + len(evil)


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


# Files beside a notebook

HELPER = b"def half(x):\n    return x / 2\n"


def along(tmp_path, *paths, **options):
    """What goes with each notebook that came in: its name to names and contents."""
    listed = collect.collect(paths or [tmp_path / "in"], tmp_path / "out", **options)
    kept = tmp_path / "out" / "intake"
    return {
        entry.name: {name: (kept / sha256).read_bytes() for name, sha256 in entry.beside}
        for entry in listed
        if not entry.rule
    }


def reasons(tmp_path, *paths):
    """What became of each other file: its name to rule and sentence."""
    listed = collect.collect(paths or [tmp_path / "in"], tmp_path / "out")
    return {e.name.rpartition("/")[2]: (e.rule, e.sentence) for e in listed if e.rule}


ADA_M, BOB_M = (f"{who}_assignsubmission_file_" for who in ("Ada_12", "Bob_34"))
ADA_B = "1234-5678 - Ada Lovelace - Nov 20, 2026 1159 PM"
TREE = {"mine.py": HELPER, "lib/__init__.py": b"", "data/my table.csv": b"1,2"}
FLAT = {"mine.py": HELPER, "x.csv": b"1,2"}
OF_ADA = {
    "plain": ({f"ada/{name}": content for name, content in TREE.items()}, "ada/04.ipynb", TREE),
    "a folder more": ({f"ada/04/{n}": c for n, c in TREE.items()}, "ada/04/04.ipynb", TREE),
    "moodle": ({f"{ADA_M}/{n}": c for n, c in TREE.items()}, f"{ADA_M}/04.ipynb", TREE),
    "moodle, flat": ({f"{ADA_M}{n}": c for n, c in FLAT.items()}, f"{ADA_M}04.ipynb", FLAT),
    "canvas": (
        {"lovelaceada_12_457_mine.py": HELPER, "lovelaceada_12_458_x.csv": b"1,2"},
        "lovelaceada_12_456_04.ipynb",
        FLAT,
    ),
    "canvas, again": (
        {"lovelaceada_LATE_12_457_mine-1.py": HELPER, "lovelaceada_LATE_12_458_x.csv": b"1,2"},
        "lovelaceada_LATE_12_456_04-1.ipynb",
        FLAT | {"mine-1.py": HELPER},
    ),
    "canvas, anonymous": (
        {"anon_1aB_457_mine.py": HELPER, "anon_1aB_458_x.csv": b"1,2"},
        "anon_1aB_456_04.ipynb",
        FLAT,
    ),
    "brightspace": ({f"{ADA_B} - {n}": c for n, c in FLAT.items()}, f"{ADA_B} - 04.ipynb", FLAT),
    "brightspace, folder": ({f"{ADA_B}/{n}": c for n, c in TREE.items()}, f"{ADA_B}/a.ipynb", TREE),
    "blackboard": (
        {f"Ex_04_ada_attempt_2026-11-20-23-59-00_{n}": c for n, c in FLAT.items()},
        "Ex_04_ada_attempt_2026-11-20-23-59-00_04.ipynb",
        FLAT,
    ),
    "ilias": (
        {f"Lovelace_Ada_ada_12/20261120235901_{n}": c for n, c in FLAT.items()},
        "Lovelace_Ada_ada_12/20261120235900_04.ipynb",
        FLAT,
    ),
    "gradescope": (
        {f"submission_12/{n}": c for n, c in TREE.items()},
        "submission_12/04.ipynb",
        TREE,
    ),
    "nbgrader": (
        {f"submitted/ada/04_dropout/{n}": c for n, c in TREE.items()}
        | {"submitted/ada/04_dropout/timestamp.txt": b"2026-02-03 10:00:00 UTC"},
        "submitted/ada/04_dropout/04_dropout.ipynb",
        TREE,
    ),
}


@pytest.mark.parametrize("how", ["folder", "zip"])
@pytest.mark.parametrize("layout", OF_ADA)
def test_files_beside_a_notebook_come_along_in_every_layout(tmp_path, layout, how):
    files, notebook, expected = OF_ADA[layout]
    other = {
        "ada": "bob",
        "Ada": "Bob",
        "lovelace": "noyce",
        "12": "34",
        "1aB": "2cD",
        "_45": "_78",
    }
    theirs = {}
    for name in (notebook, *files):
        for old, new in other.items():
            name = name.replace(old, new)
        theirs[name] = NOTEBOOK if name.endswith(".ipynb") else b"of somebody else"
    path = packed(tmp_path, {notebook: NOTEBOOK, **files, **theirs}, how)
    found = along(tmp_path, path)
    assert len(found) == 2
    own = notebook.removeprefix("submitted/")
    [mine] = [files for name, files in found.items() if name.endswith(own)]
    assert mine == expected
    [of_bob] = [files for name, files in found.items() if not name.endswith(own)]
    assert set(of_bob) == set(expected)
    assert set(of_bob.values()) == {b"of somebody else"}


@pytest.mark.parametrize("where", ["alone", "folder", "class"])
def test_files_in_a_students_zip_come_along(tmp_path, where):
    own = zipped({"work/04.ipynb": NOTEBOOK, **{f"work/{n}": c for n, c in TREE.items()}})
    path = put(tmp_path / "in" / "ada.zip", own)
    if where == "class":
        path = put(tmp_path / "class.zip", zipped({"ada.zip": own, "bob/x.ipynb": NOTEBOOK}))
    found = along(tmp_path, path.parent if where == "folder" else path)
    [mine] = [files for name, files in found.items() if "04.ipynb" in name]
    assert mine == TREE


def test_files_of_an_export_given_by_name_come_along(tmp_path):
    names = ["lovelaceada_12_456_04.ipynb", "lovelaceada_12_457_mine.py", "lovelaceada_12_9_x.csv"]
    paths = [put(tmp_path / n, NOTEBOOK if "ipynb" in n else b"1") for n in names]
    paths.append(put(tmp_path / "noycebob_34_777_04.ipynb", NOTEBOOK))
    assert along(tmp_path, *paths) == {
        names[0]: {"mine.py": b"1", "x.csv": b"1"},
        "noycebob_34_777_04.ipynb": {},
    }


def test_an_own_pattern_says_what_a_student_called_a_file(tmp_path):
    for name in ("hw4-ada-1-04.ipynb", "hw4-ada-1-mine.py", "hw4-ada-2-04.ipynb", "hw4-bob-1-x.py"):
        put(tmp_path / "in" / name, NOTEBOOK + name.encode())
    pattern = names.own_pattern(r"hw4-(?P<student>[a-z]+)-(?P<attempt>\d)-(?P<file>.*)")
    found = along(tmp_path, pattern=pattern)
    assert {name: set(files) for name, files in found.items()} == {
        "hw4-ada-1-04.ipynb": {"mine.py"},
        "hw4-ada-2-04.ipynb": set(),
    }
    plain = names.own_pattern(r"hw4-(?P<student>[a-z]+)-(?P<attempt>\d)")
    found = along(tmp_path, pattern=plain)
    assert set(found["hw4-ada-1-04.ipynb"]) == {"hw4-ada-1-mine.py"}


def test_files_belong_to_notebooks_in_their_folder_and_above_it(tmp_path):
    contents = {f"ada/{n}": NOTEBOOK for n in ("04.ipynb", "a/b/old.ipynb", "z/zip.ipynb.zip")}
    contents["ada/z/zip.ipynb.zip"] = zipped({"in.ipynb": NOTEBOOK, "own.py": b"o"})
    contents |= {f"ada/{n}": n.encode() for n in ("top.py", "a/b/c/d/low.py", "a/b/near.py")}
    path = packed(tmp_path, contents, "folder")
    found = {name: set(files) for name, files in along(tmp_path, path).items()}
    assert found == {
        "ada/04.ipynb": {"top.py", "a/b/near.py"},
        "ada/a/b/old.ipynb": {"near.py", "c/d/low.py"},
        "ada/z/zip.ipynb.zip/in.ipynb": {"own.py"},
    }
    told = reasons(tmp_path, path)
    assert told["near.py"] == (collect.BESIDE_ONE, "Taken along with 04.ipynb, old.ipynb.")
    put(path / "bob" / "04.zip", zipped({"04.ipynb": NOTEBOOK}))
    put(path / "bob" / "far.py", b"")
    rule, sentence = reasons(tmp_path, path)["far.py"]
    assert (rule, "no notebook lies in its folder" in sentence) == (collect.LEFT_OUT, True)


LEFT = {
    "torch.py": "module that the course itself needs",
    "coursekit.py": "module that the course itself needs",
    "coursekit/regularizers.py": "module that the course itself needs",
    "<img src=x onerror=alert(1)>.csv": "such a name may have",
    "a/b/c/d/e.csv": "no notebook lies in its folder",
    "-rf.csv": "such a name may have",
    "x\ny.csv": "such a name may have",
    "data (1).csv": "such a name may have",
    "large.csv": "have 4 MB together",
    f"{'n' * 101}.csv": "such a name may have",
}


@pytest.mark.parametrize("how", ["folder", "zip"])
def test_files_that_are_not_taken_along_are_told(tmp_path, how):
    contents = {f"ada/{n}": b"1" for n in LEFT} | {"ada/04.ipynb": NOTEBOOK, "ada/good.py": b"1"}
    contents["ada/large.csv"] = os.urandom(collect.HELPERS + 1)
    contents |= {f"ada/{n}": b"1" for n in (".hidden.py", "other.ipynb", "report.pdf", "readme.md")}
    path = packed(tmp_path, contents, how)
    found = along(tmp_path, path)
    assert [set(files) for files in found.values()] == [{"good.py"}] * 2
    told = reasons(tmp_path, path)
    for name, sentence in LEFT.items():
        rule, why = told[name.rpartition("/")[2]]
        assert (rule, sentence in why) == (collect.LEFT_OUT, True), name
    assert told["good.py"][0] == collect.BESIDE_ONE
    assert told["report.pdf"] == (collect.NOT_GRADED, collect.BESIDE)
    [entry] = [e for e in collect.collect([path], tmp_path / "out") if e.name.endswith("04.ipynb")]
    assert entry.told[0] == "Taken along from beside the notebook: good.py."
    assert any(s.startswith("torch.py, coursekit") or "torch.py" in s for s in entry.told[1:])


def test_a_path_out_of_the_folder_takes_nothing_along(tmp_path):
    evil = zipped({"04.ipynb": NOTEBOOK, "../bob/mine.py": HELPER})
    put(tmp_path / "in" / "eve.zip", evil)
    put(tmp_path / "in" / "bob" / "04.ipynb", NOTEBOOK)
    assert along(tmp_path) == {"bob/04.ipynb": {}}
    # A platform puts a student's name for a file behind its own.
    names = ["lovelaceada_12_456_04.ipynb", "lovelaceada_12_457_..\\..\\x.py"]
    for name in (*names, "noycebob_34_9_04.ipynb"):
        put(tmp_path / "export" / name, NOTEBOOK)
    assert along(tmp_path, tmp_path / "export") == {names[0]: {}, "noycebob_34_9_04.ipynb": {}}


def test_links_are_no_files_beside_a_notebook(tmp_path):
    secret = put(tmp_path / "secret", b"the instructor's")
    put(tmp_path / "in" / "ada" / "04.ipynb", NOTEBOOK)
    (tmp_path / "in" / "ada" / "mine.py").symlink_to(secret)
    os.mkfifo(tmp_path / "in" / "ada" / "pipe.csv")
    link = (stat.S_IFLNK | 0o777, str(secret).encode())
    put(tmp_path / "in" / "bob.zip", zipped({"04.ipynb": NOTEBOOK, "his.py": link}))
    assert along(tmp_path) == {"ada/04.ipynb": {}, "bob.zip/04.ipynb": {}}
    told = reasons(tmp_path)
    assert told["mine.py"] == told["his.py"] == (collect.LEFT_OUT, files.LINK)
    assert told["pipe.csv"] == (collect.LEFT_OUT, collect.NO_FILE)
    kept = [path.read_bytes() for path in (tmp_path / "out" / "intake").iterdir()]
    assert kept == [NOTEBOOK]


def test_a_file_beside_that_becomes_a_link_or_grows_is_left_out_and_told(tmp_path):
    put(tmp_path / "in" / "ada" / "04.ipynb", NOTEBOOK)
    mine = put(tmp_path / "in" / "ada" / "mine.py", HELPER)
    grown = put(tmp_path / "in" / "ada" / "grown.csv", b"1")
    listed = list(collect.files_in(tmp_path / "in"))
    mine.unlink()
    mine.symlink_to(put(tmp_path / "secret", b"the instructor's"))
    os.truncate(grown, collect.HELPERS + 1)
    entries = {e.name: e for e in (collect._store(one, tmp_path / "out") for one in listed)}
    assert entries["ada/04.ipynb"].beside == ()
    assert len(entries["ada/04.ipynb"].told) == 2
    assert entries["ada/mine.py"].rule == entries["ada/grown.csv"].rule == collect.LEFT_OUT
    assert {path.read_bytes() for path in (tmp_path / "out").iterdir()} == {NOTEBOOK}


@pytest.mark.parametrize("how", ["folder", "zip"])
def test_ten_thousand_files_beside_a_notebook_take_no_time_and_harm_nobody(tmp_path, how):
    contents = {f"ada/data/{n:05}.csv": b"1" for n in range(10_000)}
    contents |= {"ada/04.ipynb": NOTEBOOK, "ada/mine.py": HELPER, "bob/04.ipynb": NOTEBOOK}
    path = packed(tmp_path, contents, how)
    began = time.process_time()
    found = along(tmp_path, path)
    assert time.process_time() - began < 20
    assert [len(files) for files in found.values()] == [beside.MAX_FILES, 0]
    assert "mine.py" in next(iter(found.values()))
    listed = collect.collect([path], tmp_path / "out")
    assert len(listed) == 2 + beside.MAX_FILES + collect.MAX_LISTED + 1
    assert "And 9,851 more" in listed[-1].sentence or "9851 more" in str(listed)
    [ada] = [e for e in listed if e.name.endswith("ada/04.ipynb")]
    assert "and 9,896 more: not taken along: at most 100 files" in ada.told[1]


def test_a_file_of_a_gigabyte_is_not_read(tmp_path):
    put(tmp_path / "in" / "ada" / "04.ipynb", NOTEBOOK)
    with open(tmp_path / "in" / "ada" / "large.csv", "wb") as file:
        file.truncate(1 << 30)  # without taking room on the disk
    began = time.process_time()
    assert along(tmp_path) == {"ada/04.ipynb": {}}
    assert time.process_time() - began < 1
    assert "4 MB together" in reasons(tmp_path)["large.csv"][1]
    put(tmp_path / "in" / "ada" / "one.npy", bytes(collect.HELPERS - 1))
    put(tmp_path / "in" / "ada" / "two.npy", b"12")
    assert set(along(tmp_path)["ada/04.ipynb"]) == {"two.npy"}


def test_files_beside_many_notebooks_have_a_most_together(tmp_path):
    half = collect.HELPERS // 2
    put(tmp_path / "in" / "bob" / "04.ipynb", NOTEBOOK)
    for n in range(30):
        put(tmp_path / "in" / "ada" / f"{n:02}" / "04.ipynb", NOTEBOOK + b" " * n)
        put(tmp_path / "in" / "ada" / f"{n:02}" / "x.npy", bytes([n]) * half)
    listed = collect.collect([tmp_path / "in"], tmp_path / "out")
    told = [entry.sentence for entry in listed if entry.name.endswith(".npy")]
    assert (told.count("Taken along with 04.ipynb."), told.count(beside.TOO_MUCH)) == (20, 10)
    written = sum(path.stat().st_size for path in (tmp_path / "out" / "intake").iterdir())
    assert written < beside.MAX_OF_STUDENT + 20_000


def test_files_in_an_archive_use_up_no_room_of_notebooks(tmp_path, monkeypatch):
    own = {"ada/b.csv": b"2" * 4500, "ada/a.csv": b"1" * 200, "ada/04.ipynb": b" " * 700 + NOTEBOOK}
    path = put(tmp_path / "class.zip", zipped(own | {"bob/04.ipynb": NOTEBOOK}))
    monkeypatch.setattr(archives, "LEAST_OF_CLASS", 5000)
    monkeypatch.setattr(archives, "MAX_RATIO", 1)
    found = along(tmp_path, path)
    assert {name: set(files) for name, files in found.items()} == {
        "class.zip/ada/04.ipynb": {"a.csv"},
        "class.zip/bob/04.ipynb": set(),
    }
    assert reasons(tmp_path, path)["b.csv"] == (collect.LEFT_OUT, beside.SPENT)
    # Nor of another student's: what all have beside their notebooks is more than the class's share.
    many = {f"s{n}/04.ipynb": b" " * n + NOTEBOOK for n in range(30)}
    many |= {f"s{n}/{n}.npy": os.urandom(400) for n in range(30)}
    path = put(tmp_path / "many.zip", zipped(many))
    monkeypatch.setattr(archives, "MAX_RATIO", 0)
    found = along(tmp_path, path)
    assert (len(found), sum(map(len, found.values()))) == (30, 6)


def test_names_of_pythons_modules_are_taken_along_with_a_warning(tmp_path):
    for name in ("04.ipynb", "statistics.py", "code/__init__.py", "mine.py", "random.csv"):
        put(tmp_path / "in" / "ada" / name, NOTEBOOK)
    assert len(along(tmp_path)["ada/04.ipynb"]) == 4
    [entry] = [e for e in collect.collect([tmp_path / "in"], tmp_path / "out") if not e.rule]
    words = "Named like a module of Python, so that an import may find either one"
    assert entry.told[1] == f"{words}: statistics.py, code/__init__.py."


def test_a_letter_in_two_parts_is_the_same_letter(tmp_path):
    name = unicodedata.normalize("NFD", "\u00fcbung.csv")  # as a Mac puts it into a zip
    put(tmp_path / "in" / "ada.zip", zipped({"04.ipynb": NOTEBOOK, name: b"1"}))
    assert along(tmp_path) == {"ada.zip/04.ipynb": {"\u00fcbung.csv": b"1"}}


def test_the_last_of_two_members_of_one_name_counts(tmp_path):
    raw = zipped({"04.ipynb": NOTEBOOK, "mine.py": b"old", "mind.py": b"new"})
    put(tmp_path / "in" / "ada.zip", raw.replace(b"mind.py", b"mine.py"))
    assert along(tmp_path) == {"ada.zip/04.ipynb": {"mine.py": b"new"}}


def test_a_submission_is_handed_in_when_its_last_file_is(tmp_path):
    times = {"04.ipynb": 1000, "mine.py": 2000, "new/04.ipynb": 3000, "new/mine.py": 4000}
    for name, time_of_it in times.items():
        path = put(tmp_path / "in" / "ada" / name, NOTEBOOK + name.encode())
        os.utime(path, (0, time_of_it))
    entries = {e.name: e for e in taken(tmp_path)}
    told = {name: datetime.fromisoformat(e.when).timestamp() for name, e in entries.items()}
    # What lies beside a later copy makes the earlier one no later.
    assert told == {"ada/04.ipynb": 2000, "ada/new/04.ipynb": 4000}
    stamp = put(tmp_path / "in" / "ada" / "timestamp.txt", b"2026-02-03 10:00:00 UTC")
    put(tmp_path / "in" / "ada" / "data" / "x.csv", b"1")  # of today, but collected with it
    entries = {e.name: e for e in taken(tmp_path)}
    assert entries["ada/04.ipynb"].when == "2026-02-03T10:00:00+00:00", stamp


def test_each_copy_has_the_files_of_its_own_upload(tmp_path):
    # ILIAS keeps all that was ever uploaded side by side.
    folder = tmp_path / "in" / "Lovelace_Ada_ada_12"
    for time_of_it in ("20261120100000", "20261121100000"):
        put(folder / f"{time_of_it}_04.ipynb", NOTEBOOK + time_of_it.encode())
        put(folder / f"{time_of_it[:-1]}5_mine.py", time_of_it.encode())
    put(tmp_path / "in" / "Noyce_Bob_bob_34" / "20261121100000_04.ipynb", NOTEBOOK)
    found = {name[20:34]: files for name, files in along(tmp_path).items() if "Ada" in name}
    assert found == {day: {"mine.py": day.encode()} for day in ("20261120100000", "20261121100000")}
    second = [e.when[8:19] for e in taken(tmp_path) if e.student.startswith("Lovelace")]
    assert len({w[:2] for w in second}) == 2, "a later file makes an earlier copy late"


def test_a_folder_given_alone_with_the_lessons_notebook_is_one_students(tmp_path):
    for name in ("04_dropout.ipynb", "mine.py", "lib/__init__.py", "report.pdf"):
        put(tmp_path / "ada" / name, NOTEBOOK)
    assert by_student(taken(tmp_path, tmp_path / "ada")) == {"ada": ""}
    assert set(along(tmp_path, tmp_path / "ada")["ada/04_dropout.ipynb"]) == {
        "mine.py",
        "lib/__init__.py",
    }
    put(tmp_path / "class" / "ada.ipynb", NOTEBOOK)  # others' names are people's
    put(tmp_path / "class" / "bob.py", HELPER)
    entries = taken(tmp_path, tmp_path / "class")
    assert by_student(entries) == {"ada": "", "bob": "no notebook"}
    assert [entry.beside for entry in entries] == [(), ()]


def test_what_a_platform_adds_to_an_attempt_is_no_file_of_the_student(tmp_path):
    unit = "Ex_04_ada_attempt_2026-11-20-23-59-00"
    contents = {f"{unit}_04.ipynb": NOTEBOOK, f"{unit}.txt": b"Name: Ada", f"{unit}_a.txt": b"a"}
    path = packed(tmp_path, contents | {"Ex_04_bob_attempt_2026-11-20-23-59-01.txt": b""}, "zip")
    assert along(tmp_path, path) == {f"export.zip/{unit}_04.ipynb": {"a.txt": b"a"}}


def test_a_notebook_given_alone_has_nothing_beside_it(tmp_path):
    path = put(tmp_path / "ada" / "04.ipynb", NOTEBOOK)
    put(tmp_path / "ada" / "mine.py", HELPER)
    assert along(tmp_path, path) == {"04.ipynb": {}}


def test_nbgrader_takes_the_same_files_along(tmp_path):
    base = tmp_path / "in" / "submitted" / "ada" / "04_dropout"
    for name in ("04_dropout.ipynb", "mine.py", "data/x.csv", "torch.py", "timestamp.txt"):
        put(base / name, NOTEBOOK)
    put(base / "old.zip", zipped({"04.ipynb": NOTEBOOK}))
    contents, told = collect.files_beside(base / "04_dropout.ipynb")
    [entry] = [e for e in taken(tmp_path) if "zip" not in e.name]
    assert dict(entry.beside) == {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()}
    assert set(contents) == {"mine.py", "data/x.csv"}
    assert told == entry.told
    base.joinpath("mine.py").unlink()
    base.joinpath("mine.py").symlink_to(base / "timestamp.txt")
    assert set(collect.files_beside(base / "04_dropout.ipynb")[0]) == {"data/x.csv"}


def test_what_stands_for_a_submission_is_all_that_decides():
    files = [("a.py", "1"), ("b.py", "2")]
    others = [[("a.py", "2"), ("b.py", "1")], [("a.py", "1")], [("c.py", "1"), ("b.py", "2")]]
    everything = [beside.identity("x", one) for one in (files, *others)]
    assert len({*everything, beside.identity("y", files), beside.identity("x")}) == 6
    assert beside.identity("x", files[::-1]) == everything[0]
    assert beside.identity("x") == "x"
