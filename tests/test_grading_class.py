"""A whole class: every output is there, nothing is lost to a kill, nobody is graded twice."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from argparse import ArgumentParser
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from test_grading_fake import RIGHT, FakeBox, handed_in, put

from coursekit.exercises import bank
from coursekit.grading import commands
from coursekit.grading.book import records
from coursekit.grading.coordinator import grade_all

N = 150
POINTS = sum(e.points for e in bank.of_lesson("04"))


def run(tmp_path, **options):
    make_box = partial(FakeBox, str(tmp_path / "log"))
    options = {"out": tmp_path / "grades", "jobs": 2, **options}
    return {r.student: r for r in grade_all([tmp_path / "in"], "04", make_box, **options)}


def lines(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {line["student"]: line for line in csv.DictReader(file)}


def n_runs(tmp_path):
    return len((tmp_path / "log").read_text().splitlines())


def test_a_class_is_graded_and_a_rerun_does_only_what_is_missing(tmp_path):
    folder = tmp_path / "in"
    put(folder / "ada" / "x.ipynb", handed_in(text="Because of noise."))
    put(folder / "bob" / "x.ipynb", handed_in(text="Because of noise."))  # the same bytes
    put(folder / "eve" / "x.ipynb", handed_in(empty=True, strip=True))
    put(folder / "../x" / "bad.ipynb", b"")
    put(folder / "empty.ipynb", b"")
    put(folder / "sid.ipynb", handed_in(classic_weights="# fault"))
    put(folder / "tom.ipynb", handed_in(classic_weights="# bug"))
    rows = run(tmp_path)
    out = tmp_path / "grades"
    assert {s: (r.status, r.total) for s, r in rows.items()} == {
        "ada": ("graded", POINTS),
        "bob": ("graded", POINTS),
        "eve": ("graded", 0),
        "empty": ("unreadable", None),
        "sid": ("grader fault", None),
        "tom": ("grader fault", None),
    }
    assert [rows[s].record["attempts"] for s in ("ada", "sid", "tom")] == [1, 3, 3]
    assert rows["ada"].same_as == ("bob",)
    assert n_runs(tmp_path) == 2 + 2 * 3
    assert set(lines(out / "grades.csv")) == set(rows)
    assert (
        len(list((out / "feedback").iterdir()))
        == len(json.loads((out / "grades.json").read_text()))
        == len(rows)
    )
    assert len(list((out / "records").iterdir())) == len(rows) - 1
    assert "bob" not in (out / "feedback" / "ada.html").read_text()

    review = (out / "review.csv").read_text(encoding="utf-8-sig")
    review = review.replace("Because of noise.,,", "Because of noise.,2,well seen", 1)
    (out / "review.csv").write_text(review)
    again = run(tmp_path)
    assert n_runs(tmp_path) == 2 + 2 * 2 * 3  # faults only
    assert again["ada"].total == POINTS + 2
    assert again["bob"].total == POINTS
    assert "well seen" in (out / "feedback" / "ada.html").read_text()
    assert again["ada"].record["date"] == rows["ada"].record["date"]
    assert again["sid"].record["attempts"] == 6


def test_a_record_that_was_damaged_or_is_of_another_version_is_made_anew(tmp_path):
    path = put(tmp_path / "in" / "ada.ipynb", handed_in(empty=True))
    run(tmp_path, jobs=1)
    [record] = (tmp_path / "grades" / "records").iterdir()
    record.write_bytes(record.read_bytes()[:50])
    run(tmp_path, jobs=1)
    assert n_runs(tmp_path) == 2
    run(tmp_path, jobs=1, key="another class")
    assert n_runs(tmp_path) == 3
    path.write_bytes(path.read_bytes() + b" ")
    run(tmp_path, jobs=1)
    assert n_runs(tmp_path) == 4
    assert len(list((tmp_path / "grades" / "records").iterdir())) == 3


def test_a_slip_in_the_reviews_stops_before_anything_is_graded_or_overwritten(tmp_path):
    put(tmp_path / "in" / "ada.ipynb", handed_in(text="A."))
    table = put(
        tmp_path / "grades" / "review.csv",
        b"student,question,explanation,points,comment\nada,best_rate,A.,99,\n",
    )
    before = table.read_bytes()
    with pytest.raises(ValueError, match="line 2: expected points from 0 to 3"):
        run(tmp_path)
    assert table.read_bytes() == before
    assert not (tmp_path / "log").exists()


def test_two_gradings_do_not_share_a_folder_and_leftovers_of_a_killed_one_go(tmp_path):
    put(tmp_path / "in" / "ada.ipynb", b"")
    left = put(tmp_path / "grades" / "records" / ".ab-cd.json.xyz", b"half")
    other = put(tmp_path / "grades" / ".somebody.yaml", b"theirs")
    raised = pytest.raises(RuntimeError, match="another grading")
    with records.lock(tmp_path / "grades"), raised:
        run(tmp_path)
    assert not left.exists()
    assert other.exists()


def command(tmp_path, monkeypatch, *options):
    """Run `coursekit grade` on the folder `in`, in a box without walls."""
    from coursekit.grading.sandbox import box

    monkeypatch.setattr(box, "Box", TrustedFake)
    parser = ArgumentParser()
    commands.add_parsers(parser.add_subparsers())
    line = ["grade", str(tmp_path / "in"), "--lesson", "04", "--trust", "--jobs", "1"]
    args = parser.parse_args([*line, "--out", str(tmp_path / "grades"), *options])
    assert args.command(args) == 0


MOODLE = "_assignsubmission_file_"
LIST = """Identifier,Full name,Email address,Grade
Participant 12,Ada Lovelace,ada@example.org,
Participant 34,Bob Noyce,bob@example.org,
Participant 56,"Jos\u00e9 Garc\u00eda",jose@example.org,
"""


def test_a_class_list_gives_everybody_a_row_and_tells_strangers(tmp_path, capsys, monkeypatch):
    right = handed_in(text="")
    put(tmp_path / "in" / f"Ada Lovelace_12{MOODLE}" / "04.ipynb", right)
    put(tmp_path / "in" / f"Jose\u0301 Garcia_99{MOODLE}" / "04.ipynb", right + b" ")
    put(tmp_path / "in" / f"Zed_77{MOODLE}" / "04.ipynb", right + b"  ")
    people = put(tmp_path / "list.csv", LIST.encode())
    command(tmp_path, monkeypatch, "--students", str(people))
    rows = lines(tmp_path / "grades" / "grades.csv")
    assert {s: (r["status"], r["total"]) for s, r in rows.items()} == {
        "Ada Lovelace": ("graded", str(POINTS)),
        "Bob Noyce": ("not handed in", ""),
        "Jos\u00e9 Garc\u00eda": ("graded", str(POINTS)),
        "Zed_77": ("graded", str(POINTS)),
    }
    assert not [
        v for k, v in rows["Bob Noyce"].items() if v and k not in ("student", "status", "note")
    ]
    assert rows["Zed_77"]["needs review"] == "not on the class list"
    told = capsys.readouterr().out
    assert "4 students: 3 graded, 1 not handed in" in told
    assert "not on the class list: Zed_77" in told
    pages = {path.stem.partition("~")[0] for path in (tmp_path / "grades" / "feedback").iterdir()}
    assert pages == {"Ada_Lovelace", "Jos\u00e9_Garc\u00eda", "Zed_77"}


def test_points_given_before_there_was_a_list_count_with_it(tmp_path, monkeypatch):
    put(tmp_path / "in" / f"Ada Lovelace_12{MOODLE}" / "04.ipynb", handed_in(text="Noise."))
    command(tmp_path, monkeypatch)
    review = tmp_path / "grades" / "review.csv"
    review.write_bytes(review.read_bytes().replace(b"Noise.,,", b"Noise.,2,good", 1))
    people = put(tmp_path / "list.csv", LIST.encode())
    for _ in range(2):
        command(tmp_path, monkeypatch, "--students", str(people))
        [ada] = [r for r in lines(tmp_path / "grades" / "grades.csv").values() if r["total"]]
        assert (ada["student"], float(ada["total"])) == ("Ada Lovelace", POINTS + 2)
    assert list(lines(review)) == ["Ada Lovelace"]


def test_a_table_says_of_every_file_what_became_of_it(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    put(folder / "ada" / "old.ipynb", handed_in(empty=True))
    put(folder / "ada" / "new.ipynb", handed_in())
    put(folder / "ada" / "notes.pdf", b"%PDF")
    os.utime(folder / "ada" / "old.ipynb", (0, 1000))
    put(folder / "bob.pdf", b"%PDF")
    put(folder / "eve.zip", b"PK no zip")
    command(tmp_path, monkeypatch)
    with open(tmp_path / "grades" / "intake.csv", encoding="utf-8-sig", newline="") as file:
        listed = {(r["file"], r["outcome"]): r for r in csv.DictReader(file)}
    assert set(listed) == {
        ("ada/new.ipynb", "graded"),
        ("ada/old.ipynb", "superseded"),
        ("ada/notes.pdf", "not a notebook"),
        ("bob.pdf", "unreadable"),
        ("eve.zip", "unreadable"),
    }
    assert listed["ada/old.ipynb", "superseded"]["why"] == "ada/new.ipynb counts."
    assert listed["ada/new.ipynb", "graded"]["attempt"] == "2 of 2"
    assert listed["bob.pdf", "unreadable"]["why"] == "Handed in bob.pdf, no notebook."
    assert all(len(row["why"]) > 10 for key, row in listed.items() if key[1] != "graded")


def beside():
    """Bytes of a notebook whose first answer stands in the file `mine.py` beside it."""
    return handed_in(classic_weights="exec(FILES['mine.py'])")


def test_files_beside_a_notebook_count_with_it(tmp_path):
    folder = tmp_path / "in"
    wrong = RIGHT.replace("1 - rate", "rate")
    for who, content in (("ada", RIGHT), ("bob", wrong), ("eve", RIGHT)):
        put(folder / who / "04.ipynb", beside())
        put(folder / who / "mine.py", content.encode())
    put(folder / "sid" / "04.ipynb", beside())
    rows = run(tmp_path, jobs=1)
    less = POINTS - bank.find("classic_weights").points
    assert {s: r.total for s, r in rows.items()} == {
        "ada": POINTS,
        "bob": less,
        "eve": POINTS,
        "sid": less,
    }
    # Ada's and Eve's are the same in all parts; the others share the notebook alone.
    assert n_runs(tmp_path) == 3
    assert len({r.record["sha256"] for r in rows.values()}) == 3
    assert rows["sid"].record["sha256"] == rows["sid"].entry.sha256
    assert {r.same_as for r in rows.values()} == {tuple(sorted({*rows} - {who})) for who in rows}
    seeds = {who: r.record["exercises"][0]["seed"] for who, r in rows.items()}
    assert seeds["ada"] == seeds["eve"]
    assert len({*seeds.values()}) == 3
    [digest] = rows["ada"].record["beside"].values()
    assert (tmp_path / "grades" / "intake" / digest).read_text() == RIGHT
    assert rows["sid"].record["beside"] == {}

    run(tmp_path, jobs=1)
    assert n_runs(tmp_path) == 3
    put(folder / "bob" / "mine.py", f"{RIGHT}  # mended".encode())
    assert run(tmp_path, jobs=1)["bob"].total == POINTS
    assert n_runs(tmp_path) == 4
    os.rename(folder / "ada" / "mine.py", folder / "ada" / "other.py")
    assert run(tmp_path, jobs=1)["ada"].total == less
    assert n_runs(tmp_path) == 5


def test_what_came_along_is_told_in_feedback_and_tables(tmp_path):
    folder = tmp_path / "in" / "ada"
    markup = "<script>alert(1)<script>.csv"
    for name in ("mine.py", "torch.py", markup, "=1+1.csv", "report.pdf", "statistics.py"):
        put(folder / name, RIGHT.encode())
    put(folder / "04.ipynb", beside())
    put(folder / "old.ipynb", handed_in(empty=True))
    os.utime(folder / "old.ipynb", (0, 1000))
    put(folder / "04.json", handed_in())  # a notebook's bytes, be it another's, are no copy here
    put(tmp_path / "in" / "bob" / "04.ipynb", handed_in())
    rows = run(tmp_path, jobs=1)
    assert rows["bob"].about == ()
    assert "Of 2 copies" in rows["ada"].about[0]
    page = (tmp_path / "grades" / "feedback" / "ada.html").read_text()
    assert "Taken along from beside the notebook: mine.py, statistics.py, 04.json." in page
    assert "find either one: statistics.py." in page
    assert "torch.py: not taken along: it has the name of a module" in page
    assert "&lt;script&gt;alert(1)&lt;script&gt;.csv" in page
    assert "<script" not in page
    assert "report.pdf" not in page
    assert "beside" not in (tmp_path / "grades" / "feedback" / "bob.html").read_text()
    with open(tmp_path / "grades" / "intake.csv", encoding="utf-8-sig", newline="") as file:
        listed = {r["file"].strip("'"): r for r in csv.DictReader(file)}
    assert {name.removeprefix("ada/"): row["outcome"] for name, row in listed.items()} == {
        "04.ipynb": "graded",
        "old.ipynb": "superseded",
        "mine.py": "beside a notebook",
        "statistics.py": "beside a notebook",
        "04.json": "beside a notebook",
        "torch.py": "left out",
        markup: "left out",
        "=1+1.csv": "left out",
        "report.pdf": "not a notebook",
        "bob/04.ipynb": "graded",
    }
    assert listed["ada/mine.py"]["why"] == "Taken along with 04.ipynb, old.ipynb."
    assert listed["ada/mine.py"]["bytes"] == str(len(RIGHT))
    assert {row["student"] for row in listed.values()} == {"ada", "bob"}
    [ada, _] = json.loads((tmp_path / "grades" / "grades.json").read_text())
    assert set(ada["beside"]) == {"mine.py", "statistics.py", "04.json"}


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_moodle_takes_grades_and_feedback_back(tmp_path, capsys, monkeypatch):
    folders = f"Ada Lovelace_12{MOODLE}", f"Bob Noyce_34{MOODLE}", f"Eve_5{MOODLE}"
    for folder, text in zip(folders, ("", "Because.", ""), strict=True):
        put(tmp_path / "in" / folder / "04.ipynb", handed_in(text=text))
    put(tmp_path / "in" / folders[2] / "04.ipynb", b"")
    people = put(tmp_path / "list.csv", LIST.encode())
    command(tmp_path, monkeypatch, "--students", str(people), "--for", "moodle")
    with open(tmp_path / "grades" / "moodle.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["Identifier"]: row for row in csv.DictReader(file)}
    assert {key: row["Grade"] for key, row in rows.items()} == {
        "Participant 12": str(POINTS),
        "Participant 34": "",  # an explanation waits for its points
        "Participant 5": "",
        "Participant 56": "",
    }
    ada = rows["Participant 12"]
    assert (ada["Full name"], ada["Email address"]) == ("Ada Lovelace", "ada@example.org")
    assert "classic_weights: " in ada["Feedback comments"]
    pages = members(tmp_path / "grades" / "moodle_feedback.zip")
    assert set(pages) == {f"{folder}/feedback.html" for folder in folders}
    assert b"Ada Lovelace" in pages[f"{folders[0]}/feedback.html"]
    told = capsys.readouterr().out
    assert "1 grades of 4 students" in told
    assert "Bob Noyce; Eve_5; Jos\u00e9" in told


def at(path, when):
    os.utime(path, (datetime.fromisoformat(when).timestamp(),) * 2)


def test_a_group_is_late_once_and_moodle_gets_each_members_points(tmp_path, capsys, monkeypatch):
    units = {who: f"Team 1-{who}{MOODLE}" for who in ("Ada Lovelace_12", "Bob Noyce_34")}
    units["Eve_5"] = f"Eve_5{MOODLE}"
    right = handed_in(text="")
    for who, content in zip(units, (right, handed_in(text="", empty=True), right), strict=True):
        at(put(tmp_path / "in" / units[who] / "04.ipynb", content), "2026-12-03T12:00+01:00")
    at(tmp_path / "in" / units["Bob Noyce_34"] / "04.ipynb", "2026-12-02T12:00+01:00")
    text = "Identifier,Full name,Group,Extension\nParticipant 12,Ada Lovelace,Team 1,\n"
    text += "Participant 34,Bob Noyce,Team 1,\nParticipant 5,Eve,,3.12.2026\n"
    text += "Participant 7,Kim,Team 1,\n"
    people = put(tmp_path / "list.csv", text.encode())
    options = ["--students", str(people), "--for", "moodle"]
    options += ["--deadline", "2026-12-01 23:59 Europe/Berlin", "--late", "1 point per day"]
    written = set()
    for _ in range(2):
        command(tmp_path, monkeypatch, *options)
        written.add((tmp_path / "grades" / "moodle.csv").read_bytes())
    assert len(written) == 1
    with open(tmp_path / "grades" / "moodle.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["Full name"]: row for row in csv.DictReader(file)}
    assert {who: row["Grade"] for who, row in rows.items()} == {
        "Ada Lovelace": str(POINTS - 2),
        "Bob Noyce": str(POINTS - 2),
        "Kim": str(POINTS - 2),
        "Eve": str(POINTS),
    }
    assert f"2 of {POINTS} points are taken off" in rows["Kim"]["Feedback comments"]
    assert set(members(tmp_path / "grades" / "moodle_feedback.zip")) == {
        *(f"{unit}/feedback.html" for unit in units.values()),
        f"Kim_7{MOODLE}/feedback.html",
    }
    graded = lines(tmp_path / "grades" / "grades.csv")
    assert graded["Bob Noyce"]["days late"] == "2"
    assert float(graded["Eve"]["deduction"]) == 0
    with open(tmp_path / "grades" / "intake.csv", encoding="utf-8-sig", newline="") as file:
        why = {row["student"]: (row["outcome"], row["why"]) for row in csv.DictReader(file)}
    assert why["Ada Lovelace"][0] == "graded"
    assert why["Bob Noyce"][0] == "superseded"
    assert why["Bob Noyce"][1].endswith("counts for the group Team 1; this is another notebook.")
    told = capsys.readouterr().out
    assert "deadline 2026-12-01 23:59 CET: 3 students\ndeadline 2026-12-03 23:59 CET: Eve" in told
    assert "late: 3; points taken off: 3; handed in at no known time: 0" in told


def test_a_group_in_canvas_is_exported_once_for_each_member(tmp_path, monkeypatch):
    put(tmp_path / "in" / "team1_LATE_123_456_04.ipynb", handed_in(text=""))
    gradebook = put(
        tmp_path / "list.csv",
        b"Student,ID,SIS User ID,SIS Login ID,Section,Group\n"
        b'"Lovelace, Ada",123,s1,alovelace,A,team1\n"Noyce, Bob",77,s2,bnoyce,B,team1\n',
    )
    options = ["--students", str(gradebook), "--for", "canvas", "--column", "Exercise 4 (98)"]
    options += ["--deadline", "2020-01-01", "--late", "10% per day, at most 50%"]
    command(tmp_path, monkeypatch, *options)
    with open(tmp_path / "grades" / "canvas.csv", encoding="utf-8-sig", newline="") as file:
        _, _, *rows = csv.reader(file)
    # Without a time nothing is taken off, and a person is asked to look.
    assert [(row[1], row[-1]) for row in rows] == [("123", str(POINTS)), ("77", str(POINTS))]
    pages = members(tmp_path / "grades" / "canvas_feedback.zip")
    assert [*pages] == ["team1_LATE_123_456_04.html"]
    assert b"nothing is taken off for being late" in pages["team1_LATE_123_456_04.html"]
    assert "late" in lines(tmp_path / "grades" / "grades.csv")["Noyce, Bob"]["needs review"]


def test_a_rule_without_a_deadline_stops_before_anything_is_graded(tmp_path, monkeypatch):
    put(tmp_path / "in" / "ada.ipynb", b"")
    people = put(tmp_path / "list.csv", b"student,extension\nada,\n")
    raised = pytest.raises(ValueError, match='got none; add --deadline "2026-12-01 23:59"')
    with raised:
        command(tmp_path, monkeypatch, "--late", "20%", "--students", str(people))
    assert not (tmp_path / "grades" / "intake").exists()


def test_canvas_takes_grades_and_feedback_back(tmp_path, monkeypatch):
    put(tmp_path / "in" / "lovelaceada_LATE_123_456_04-2.ipynb", handed_in(text=""))
    put(tmp_path / "in" / "noycebob_77_999_work.zip", b"PK no zip")
    put(tmp_path / "in" / "zed_5_1000_04.ipynb", handed_in(text="") + b" ")
    gradebook = put(
        tmp_path / "list.csv",
        b"Student,ID,SIS User ID,SIS Login ID,Section,Old (1)\n"
        b"    Points Possible,,,,,10\n"
        b'"Lovelace, Ada",123,s1,alovelace,A,3\n'
        b'"Noyce, Bob",77,s2,bnoyce,B,4\n"Hopper, Grace",88,s3,ghopper,B,\n',
    )
    options = ["--students", str(gradebook), "--for", "canvas", "--column", "Exercise 4 (98)"]
    command(tmp_path, monkeypatch, *options, "--deadline", "2020-01-01")
    with open(tmp_path / "grades" / "canvas.csv", encoding="utf-8-sig", newline="") as file:
        header, possible, *rows = csv.reader(file)
    most = POINTS + sum(q.points for q in bank.questions_of("04"))
    assert header == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Exercise 4 (98)"]
    assert possible == ["    Points Possible", "", "", "", "", str(most)]
    assert sorted(rows) == [
        ["Hopper, Grace", "88", "s3", "ghopper", "B", ""],
        ["Lovelace, Ada", "123", "s1", "alovelace", "A", str(POINTS)],
        ["Noyce, Bob", "77", "s2", "bnoyce", "B", ""],
        ["zed_5", "5", "", "", "", str(POINTS)],
    ]
    assert set(members(tmp_path / "grades" / "canvas_feedback.zip")) == {
        "lovelaceada_LATE_123_456_04-2.html",
        "noycebob_77_999_work.html",
        "zed_5_1000_04.html",
    }
    # The export has no times: the platform's mark decides, not the file's date.
    graded = lines(tmp_path / "grades" / "grades.csv")
    assert "late" in graded["Lovelace, Ada"]["needs review"]
    assert "late" not in graded["zed_5"]["needs review"]
    assert graded["zed_5"]["minutes late"] == ""


@pytest.mark.parametrize("platform", ["canvas", "moodle"])
def test_a_platform_that_never_named_them_gets_what_is_known(
    tmp_path, capsys, monkeypatch, platform
):
    put(tmp_path / "in" / "ada.ipynb", handed_in(text=""))
    people = put(tmp_path / "list.csv", b"login,name,id\nada,Ada Lovelace,4711\n")
    command(tmp_path, monkeypatch, "--students", str(people), "--for", platform)
    told = capsys.readouterr().out
    assert "has 0 pages of feedback" in told
    assert "--students: ada." in told
    raw = (tmp_path / "grades" / f"{platform}.csv").read_text(encoding="utf-8-sig")
    line = {"canvas": "Ada Lovelace,,4711,ada,,", "moodle": ",Ada Lovelace,4711,,"}
    assert line[platform] in raw


SCRIPT = """
import sys
from functools import partial
from test_grading_fake import FakeBox
from coursekit.grading.coordinator import grade_all

if __name__ == "__main__":
    folder, out, log = sys.argv[1:]
    try:
        grade_all([folder], "04", partial(FakeBox, log), out=out, jobs=2)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def start(tmp_path):
    script = put(tmp_path / "script.py", SCRIPT.encode())
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, script, tmp_path / "in", tmp_path / "grades", tmp_path / "log"]
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.Popen(command, env=env, start_new_session=True)


def wait_for(condition, process=None):
    for _ in range(6000):
        if condition():
            return
        assert process is None or process.poll() is None, "ended too early"
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def n_records(tmp_path):
    return len(list((tmp_path / "grades" / "records").glob("*.json")))


def workers(tmp_path):
    return {int(pid) for pid in (tmp_path / "log").read_text().split()}


def alive(pid):
    try:
        return b"script.py" in Path(f"/proc/{pid}/cmdline").read_bytes() or (
            b"multiprocessing" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks at processes in /proc")
def test_killed_at_any_time_it_goes_on_and_each_submission_is_graded_once(tmp_path):
    stub = handed_in(empty=True, classic_weights=f"{RIGHT}  # slow")
    for number in range(N):
        put(tmp_path / "in" / f"s{number:03}.ipynb", stub + b" " * number)
    # The coordinator is killed: its workers must not go on without it.
    process = start(tmp_path)
    wait_for(lambda: n_records(tmp_path) >= 20, process)
    process.kill()
    process.wait()
    wait_for(lambda: not any(map(alive, workers(tmp_path))))
    kept = n_records(tmp_path)
    assert 20 <= kept < N
    # A worker is killed, then Ctrl-C.
    process = start(tmp_path)
    wait_for(lambda: n_records(tmp_path) >= kept + 10, process)
    victim = next(pid for pid in workers(tmp_path) if alive(pid))
    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: n_records(tmp_path) >= kept + 30, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    wait_for(lambda: not any(map(alive, workers(tmp_path))))
    kept = n_records(tmp_path)
    assert kept < N
    # Left alone it comes to its end.
    assert start(tmp_path).wait(300) == 0
    told = lines(tmp_path / "grades" / "grades.csv")
    assert len(told) == n_records(tmp_path) == N
    assert {(line["status"], line["total"]) for line in told.values()} == {
        ("graded", str(bank.find("classic_weights").points))
    }
    # Only what was in work when something was killed had to be begun again.
    assert N <= n_runs(tmp_path) <= N + 2 + 1 + 2
    assert not [p for p in (tmp_path / "grades").rglob(".*") if p.name != ".lock"]


def test_the_command_says_what_it_takes():
    parser = ArgumentParser()
    commands.add_parsers(parser.add_subparsers())
    args = parser.parse_args(["grade", "a.zip", "b", "--lesson", "04", "--jobs", "0"])
    assert (args.submissions, args.lesson, args.out) == (["a.zip", "b"], "04", "grades")
    with pytest.raises(ValueError, match="at least one process"):
        args.command(args)
    args = parser.parse_args(["grade", "a.zip", "--lesson", "04", "--deadline", "noon"])
    with pytest.raises(ValueError, match="noon"):
        args.command(args)


def test_the_command_grades_in_the_box_that_it_is_given(tmp_path, monkeypatch, capsys):
    from coursekit.grading.sandbox import box

    monkeypatch.setattr(box, "Box", TrustedFake)
    put(tmp_path / "in" / "ada.ipynb", handed_in(text="A."))
    parser = ArgumentParser()
    commands.add_parsers(parser.add_subparsers())
    out = str(tmp_path / "g")
    line = ["grade", str(tmp_path / "in"), "--lesson", "04", "--out", out, "--trust", "--review"]
    args = parser.parse_args([*line, "--jobs", "1", "--deadline", "2020-01-01"])
    assert args.command(args) == 0
    told = capsys.readouterr().out
    assert "1 students: 1 graded" in told
    assert "explanation of best_rate" in told
    assert ", late" in told


class TrustedFake(FakeBox):
    def __init__(self, *, trusted, preload):
        assert trusted
        assert preload == ()
        super().__init__()
