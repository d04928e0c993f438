"""From records to grades: which copy counts, what a person adds, what each one gets to see."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from coursekit.grading.book import export, feedback, gradebook, platforms, records, review
from coursekit.grading.book.gradebook import Row, Written
from coursekit.grading.intake import classlist
from coursekit.grading.intake.collect import Entry

START = datetime(2026, 3, 1, tzinfo=UTC)
DEADLINE = START + timedelta(hours=10)


def entry(student, sha256, hour=0, name="x.ipynb"):
    when = (START + timedelta(hours=hour)).isoformat(timespec="seconds")
    return Entry(student, name, sha256, 10, when, True)


def record(sha256="a", status="graded", reason="", *, text="", points=2, sentence="", **more):
    done = {"name": "f", "status": "right", "sentence": sentence, "points": points, "out_of": 2}
    if status in ("unreadable", "grader fault", "not handed in"):
        return records.new(sha256, "v1", "04", status, reason, **more)
    told = {
        "points": points,
        "out_of": 5,
        "exercises": [{**done, "seed": 987654321, "seeds": [987654321]}],
        "questions": [{"name": "why", "out_of": 3, "explanation": text}],
    }
    return records.new(sha256, "v1", "04", status, reason, **{**told, **more})


def row(student="ada", **told):
    made = record(**told)
    written = tuple(Written(q["name"], 3, q["explanation"]) for q in made["questions"])
    return Row(student, entry(student, made["sha256"]), made, written)


def lines(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))


# Which copy counts


@pytest.mark.parametrize(
    ("copies", "deadline", "counts", "told"),
    [
        ([("a", 1), ("b", 2)], None, "b", ["Of 2 copies the latest counts: x.ipynb."]),
        ([("a", 1), ("bad", 2)], None, "a", []),
        ([("bad", 1)], None, "bad", []),
        (
            [("a", 1), ("b", 2), ("c", 11)],
            DEADLINE,
            "b",
            ["Of 3 copies the latest handed in in time counts: x.ipynb."],
        ),
        ([("a", 12.5)], DEADLINE, "a", ["Handed in 2 h 30 min after the deadline."]),
        ([("a", 10)], DEADLINE, "a", []),
        ([("fault", 3), ("a", 1)], None, "fault", ["Of 2 copies the latest counts: x.ipynb."]),
    ],
)
def test_the_latest_copy_counts(copies, deadline, counts, told):
    found = {sha256: record(sha256) for sha256 in "abc"}
    found |= {"bad": record("bad", "unreadable"), "fault": record("fault", "grader fault")}
    [made] = gradebook.rows([entry("ada", *copy) for copy in copies], found, deadline)
    assert (made.entry.sha256, list(made.about)) == (counts, told)
    assert made.late == (copies == [("a", 12.5)])
    assert ("late" in made.to_review) == made.late


@pytest.mark.parametrize(
    ("hour", "mark", "timed", "deadline", "late", "minutes"),
    [
        (10.01, False, True, DEADLINE, True, 1),
        (12.5, False, True, DEADLINE, True, 150),
        (9, False, True, DEADLINE, False, 0),
        (9, True, True, DEADLINE, False, 0),  # a single extension that we do not know of
        (12, False, False, DEADLINE, False, None),
        (9, True, False, DEADLINE, True, None),
        (12, False, True, None, False, None),
        (12, True, False, None, True, None),
    ],
)
def test_lateness_is_a_number_where_there_is_a_time(
    tmp_path, hour, mark, timed, deadline, late, minutes
):
    copy = replace(entry("ada", "a", hour), late=mark, timed=timed)
    [made] = gradebook.rows([copy], {"a": record("a")}, deadline)
    assert (made.late, made.minutes_late) == (late, minutes)
    assert bool(made.about) == late
    export.write_csv(tmp_path / "g.csv", [made], ["f"], ["why"])
    assert lines(tmp_path / "g.csv")[0]["minutes late"] == ("" if minutes is None else str(minutes))
    export.write_json(tmp_path / "g.json", [made])
    told = json.loads((tmp_path / "g.json").read_text())[0]
    assert (told["late"], told["minutes_late"]) == (late, minutes)


def test_the_attempt_counts_before_the_time(tmp_path):
    copies = [replace(entry("ada", "a", 2), attempt=1), replace(entry("ada", "b", 1), attempt=2)]
    [made] = gradebook.rows(copies, {"a": record("a"), "b": record("b")})
    assert made.entry.sha256 == "b"


def test_what_could_not_be_compared_has_an_empty_cell(tmp_path):
    made = row(status="needs review", points=0)
    [exercise] = made.record["exercises"]
    exercise["status"] = "needs review"
    export.write_csv(tmp_path / "g.csv", [made], ["f"], ["why"])
    assert lines(tmp_path / "g.csv")[0]["f"] == ""


@pytest.mark.parametrize("status", ["unreadable", "grader fault", "needs review", "not handed in"])
@pytest.mark.parametrize("platform", platforms.PLATFORMS)
def test_a_platform_gets_no_zero_for_what_is_not_graded(tmp_path, status, platform):
    rows = [row("ada"), row("bob", status=status), row("eve", text="Waits."), row("sid", points=0)]
    for one in rows:
        feedback.write(tmp_path / "feedback", one, "04", "Dropout")
    told = platforms.write(tmp_path, rows, platform, "Exercise", 5)
    raw = (tmp_path / f"{platform}.csv").read_text(encoding="utf-8-sig")
    name = "Exercise" if platform == "canvas" else "Grade"
    grades = [line[name] for line in csv.DictReader(io.StringIO(raw))]
    assert grades[platform == "canvas" :] == ["2", "", "", "0"]
    assert "bob; eve." in " ".join(told)


# The class list


def people(tmp_path, text, encoding="utf-8", zone=None):
    path = tmp_path / "list.csv"
    path.write_bytes(text.encode(encoding))
    return classlist.read(path, zone)


def test_a_list_is_read_by_its_headers(tmp_path):
    [ada, jo] = people(
        tmp_path, "Surname;First name;E-Mail\nLovelace;Ada;a@x\nGar\xe7on;Jo;\n", "cp1252"
    )
    assert (ada.student, ada.name, ada.email) == ("Ada Lovelace", "Ada Lovelace", "a@x")
    assert jo.student == "Jo Gar\xe7on"
    [one, two] = people(tmp_path, "name,id\nAda Lovelace,1\nAda Lovelace,2\n")
    assert (one.student, two.student) == ("Ada Lovelace_1", "Ada Lovelace_2")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a first line with a column student, id, name or email, got nothing"),
        ("Ada Lovelace\nBob\n", "got ada lovelace; add one above the first person"),
        ("student,name\n", "expected a line for each student, got none"),
        ("student\nada\nbob\nada\n", "expected each student once, got ada twice"),
    ],
)
def test_a_list_that_says_nothing_is_refused(tmp_path, text, told):
    with pytest.raises(ValueError, match=told):
        people(tmp_path, text)


def test_a_list_that_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a class list"):
        classlist.read(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("student", "platform", "who"),
    [
        ("alovelace", "", "alovelace"),
        ("Ada Lovelace", "", "alovelace"),
        ("Lovelace, Ada", "", "alovelace"),
        ("AL@example.org", "", "alovelace"),
        ("4711", "", "alovelace"),
        ("Somebody Else_4711", "moodle", "alovelace"),  # the number decides before the name
        ("lovelaceada_900", "canvas", "alovelace"),
        ("Lovelace_Ada_alovelace_31", "ilias", "alovelace"),
        ("Lovelace_Ada_other_31", "ilias", "alovelace"),
        ("Noyce_Bob_alovelace", "", None),
        ("Ada", "", None),
        ("Kim Lee_900", "moodle", None),  # two have this name
        ("Kim Lee_5", "moodle", "kim5"),
    ],
)
def test_names_of_files_find_their_person(tmp_path, student, platform, who):
    text = "student,id,name,email\nalovelace,4711,Ada Lovelace,al@example.org\nada2,,Eve,\n"
    listed = people(tmp_path, text + "kim5,5,Kim Lee,\nkim6,6,Kim Lee,\n")
    found = classlist.match([replace(entry(student, "a"), platform=platform)], listed)
    assert (found[student].student if student in found else None) == who


def test_a_name_gives_nobody_anothers_work(tmp_path):
    listed = people(tmp_path, "id,name\n1,Ada Lovelace\n2,Bob\n")
    same = [entry("Ada Lovelace_1", "a"), entry("Ada Lovelace_9", "b"), entry("Bob_8", "c")]
    same = [replace(one, platform="moodle") for one in [*same, entry("Bob_9", "d")]]
    found = classlist.match(same, listed)
    assert {student: person.student for student, person in found.items()} == {
        "Ada Lovelace_1": "Ada Lovelace"
    }


def test_the_same_file_of_two_is_shown_to_the_instructor_and_to_neither_of_them(tmp_path):
    entries = [entry("ada", "a"), entry("bob", "a"), entry("eve", "b")]
    found = {"a": record("a"), "b": record("b")}
    rows = gradebook.rows(entries, found)
    assert [r.same_as for r in rows] == [("bob",), ("ada",), ()]
    assert "bob" not in feedback.render(rows[0], "04", "Dropout")
    export.write_csv(tmp_path / "g.csv", rows, ["f"], ["why"])
    assert "The same file as bob." in lines(tmp_path / "g.csv")[0]["note"]
    empty = {"a": record("a", "unreadable"), "b": record("b")}
    assert gradebook.rows(entries, empty)[0].same_as == ()


@pytest.mark.parametrize(
    ("status", "total", "waits"),
    [
        ("graded", 2, ()),
        ("time limit", 2, ()),
        ("memory limit", 2, ()),
        ("crashed", 2, ()),
        ("needs review", 2, ("needs review",)),
        ("unreadable", None, ("unreadable",)),
        ("grader fault", None, ("grader fault",)),
    ],
)
def test_what_could_not_be_graded_has_no_points_which_is_not_zero(tmp_path, status, total, waits):
    made = row(status=status)
    assert (made.total, made.to_review) == (total, waits)
    export.write_csv(tmp_path / "g.csv", [made], ["f"], ["why"])
    [line] = lines(tmp_path / "g.csv")
    assert line["total"] == ("" if total is None else "2")
    assert line["f"] == ("" if total is None else "2")
    assert line["status"] == status
    export.write_json(tmp_path / "g.json", [made])
    assert json.loads((tmp_path / "g.json").read_text())[0]["total"] == total


# What being late costs, and who works with whom


@pytest.mark.parametrize(
    ("rule", "minutes", "off"),
    [
        ("10% per day, at most 50%", 0, 0),
        ("10% per day, at most 50%", 1, 2),
        ("10% per day, at most 50%", 1440, 2),
        ("10% per day, at most 50%", 1441, 4),
        ("10 % a day up to 50 percent", 1440 * 30, 10),
        ("10%/day, at most 5 points", 1440 * 30, 5),
        ("1 point per hour", 61, 2),
        ("2,5 points per Week", 1, 2.5),
        ("30 points per hour", 1, 20),  # no more than there is
        ("20%", 1, 4),
        ("20%", 0, 0),
    ],
)
def test_a_rule_takes_points_off_for_each_begun_period(rule, minutes, off):
    assert gradebook.penalty(rule).points(minutes, out_of=20) == off


@pytest.mark.parametrize("rule", ["", "10", "10% per month", "0% per day", "120%", "ten percent"])
def test_a_rule_that_says_something_else_is_refused_with_an_example(rule):
    with pytest.raises(ValueError, match=f'"10% per day, at most 50%".*got {rule!r}; use points'):
        gradebook.penalty(rule)


@pytest.mark.parametrize(
    ("text", "zone", "when"),
    [
        ("2026-12-01 12:00 Europe/Berlin", None, "2026-12-01T12:00:00+01:00"),
        ("2026-07-01T12:00 Europe/Berlin", None, "2026-07-01T12:00:00+02:00"),
        ("2026-12-01 12:00+05:30", "Europe/Berlin", "2026-12-01T12:00:00+05:30"),
        ("2026-07-01 12:00", "Europe/Berlin", "2026-07-01T12:00:00+02:00"),
        ("2026-12-01 UTC", None, "2026-12-01T23:59:59+00:00"),
        (" 1.12.2026 23:59", "UTC", "2026-12-01T23:59:59+00:00"),  # a minute that is not over
    ],
)
def test_a_deadline_has_a_zone_and_a_date_lasts_until_its_end(text, zone, when):
    assert classlist.moment(text, zone and ZoneInfo(zone)).isoformat() == when
    here = classlist.moment("2026-12-01 12:00")
    assert here == datetime(2026, 12, 1, 12).astimezone()


@pytest.mark.parametrize(
    "text", ["noon", "12/1/2026", "2026-13-01", "2026-12-01 Mars/Base", "2026-12-01 11:59 PM", ""]
)
def test_a_deadline_that_cannot_be_read_is_told_with_an_example(text):
    with pytest.raises(ValueError, match=f"expected a time as in 2026-12-01, .*got {text!r}; "):
        classlist.moment(text)


PENALTY = gradebook.penalty("10% per day, at most 50%")


def late(hours, **told):
    [made] = gradebook.rows(
        [entry("ada", "a", 10 + hours)], {"a": record("a", **told)}, DEADLINE, late=PENALTY
    )
    return made


@pytest.mark.parametrize(
    ("hours", "days", "off", "total"), [(-1, 0, 0, 2), (1, 1, 0.5, 1.5), (200, 9, 2, 0)]
)
def test_a_deduction_is_in_every_output(tmp_path, hours, days, off, total):
    made = late(hours)
    assert (made.days_late, made.raw, made.deduction, made.total) == (days, 2, off, total)
    assert made.to_review == ()  # nothing is left to decide
    export.write_csv(tmp_path / "g.csv", [made], ["f"], ["why"])
    [line] = lines(tmp_path / "g.csv")
    told = {key: float(line[key]) for key in ("days late", "raw points", "deduction", "total")}
    assert [*told.values()] == [days, 2, off, total]
    export.write_json(tmp_path / "g.json", [made])
    [known] = json.loads((tmp_path / "g.json").read_text())
    assert [known[key] for key in ("days_late", "raw", "deduction", "total")] == [*told.values()]
    assert datetime.fromisoformat(known["deadline"]) == DEADLINE
    page = feedback.write(tmp_path / "feedback", made, "04", "Dropout").read_text()
    assert f"{total:g} of 5 points" in page
    sentence = f"{off:g} of 2 points are taken off for being late: 10% per day, at most 50%."
    platforms.write(tmp_path, [made], "moodle", "Exercise", 5)
    raw = (tmp_path / "moodle.csv").read_text(encoding="utf-8-sig")
    assert f",{total:g},5," in raw
    assert [sentence in text for text in (page, raw, line["note"])] == [off > 0] * 3


def test_points_of_a_person_are_added_before_the_deduction(tmp_path):
    made = late(1, text="Noise.", points=0)
    assert (made.raw, made.deduction, made.total) == (0, 0, 0)
    for _ in range(2):  # the same again, however often
        [made] = reviewed(tmp_path, [late(1, text="Noise.", points=0)], fill("3", ""))
        assert (made.raw, made.deduction, made.total) == (3, 0.5, 2.5)


@pytest.mark.parametrize("mark", [False, True])
def test_nothing_is_taken_off_where_the_time_is_not_known(mark):
    copy = replace(entry("ada", "a", 99), late=mark, timed=False)
    [made] = gradebook.rows([copy], {"a": record("a")}, DEADLINE, late=PENALTY)
    assert (made.days_late, made.deduction, made.total) == (None, 0, 2)
    assert gradebook.UNTIMED in made.about
    assert ("late" in made.to_review) == mark  # a person decides
    assert "late: 1" in export.summary([late(1)])
    assert f"late: {mark:d}; points taken off: 0; handed in at no known time: 1" in (
        export.summary([made])
    )


def test_no_grade_is_no_zero_after_a_deduction_either():
    made = late(100, status="unreadable")
    assert (made.raw, made.deduction, made.total) == (None, None, None)


@pytest.mark.parametrize("column", ["Extension", "deadline"])
def test_an_extension_holds_for_one_student_and_shortens_nothing(tmp_path, column):
    text = f"student,{column}\nada,2026-03-02\nbob,2026-02-01 12:00\neve,\n"
    listed = people(tmp_path, text, zone=UTC)
    copies = [entry("ada", "a", 20), entry("bob", "a", 9), entry("eve", "a", 20)]
    rows = gradebook.rows(copies, {"a": record("a")}, DEADLINE, listed, PENALTY)
    assert [(one.late, one.total) for one in rows] == [(False, 2), (False, 2), (True, 1.5)]
    assert "The deadline was extended to 2026-03-02 23:59 UTC." in rows[0].about
    assert rows[1].about == ()
    told = export.summary(rows).splitlines()
    assert "deadline 2026-03-01 10:00 UTC: 2 students" in told
    assert "deadline 2026-03-02 23:59 UTC: ada" in told
    alone = gradebook.rows(copies, {"a": record("a")}, None, listed, PENALTY)
    assert [one.deduction for one in alone] == [0, 2, 0]  # bob's own is all that he has


def test_a_slip_in_an_extension_is_told_with_its_line(tmp_path):
    with pytest.raises(ValueError, match=r"list.csv, line 3: expected a time .* got '3/12/2026'"):
        people(tmp_path, "student,extension\nada,\nbob,3/12/2026\n")


TEAMS = "student,name,group\nada,Ada L,Team 1\nbob,Bob N,team  1\neve,Eve,Solo\nsid,Sid,\n"


def team(tmp_path, copies, *edits):
    found = {sha256: record(sha256, text="Noise.") for sha256 in "abc"}
    found["bad"] = record("bad", "unreadable")
    listed = people(tmp_path, TEAMS)
    rows = gradebook.rows(copies, found, DEADLINE, listed, PENALTY)
    export.write_intake(tmp_path / "intake.csv", copies, rows, found)
    return {one.student: one for one in reviewed(tmp_path, rows, *edits)}


def test_one_copy_counts_for_a_group_and_each_member_has_a_row(tmp_path):
    copies = [entry("ada", "a", 1, "a.ipynb"), entry("bob", "b", 2, "b.ipynb"), entry("sid", "b")]
    rows = team(tmp_path, copies, fill("2", "good"))
    assert {s: (one.entry.sha256, one.total) for s, one in rows.items() if one.raw} == {
        "ada": ("b", 4),
        "bob": ("b", 4),
        "sid": ("b", 4),
    }
    assert rows["eve"].status == "not handed in"
    assert [rows[s].same_as for s in ("ada", "bob", "sid")] == [("sid",), ("sid",), ("bob",)]
    assert "Handed in for the group Team 1: ada, bob." in rows["ada"].about
    assert rows["eve"].group == rows["sid"].group == ""  # alone in a group is no group
    listed = {
        line["file"]: (line["outcome"], line["why"]) for line in lines(tmp_path / "intake.csv")
    }
    assert listed["a.ipynb"] == (
        "superseded",
        "b.ipynb of bob counts for the group Team 1; this is another notebook.",
    )
    assert listed["b.ipynb"][0] == "graded"
    # A person reads it once.
    assert [n["student"] for n in lines(tmp_path / "review.csv")] == ["Team 1", "sid"]
    assert "groups: 1, of 2 to 2 students" in export.summary([*rows.values()])


def test_a_line_of_a_members_own_goes_before_the_groups(tmp_path):
    def own(raw):
        return raw + b"bob,why,Noise.,1,less\n"

    rows = team(tmp_path, [entry("ada", "a")], fill("3", "good"), own)
    for _ in range(2):
        assert [rows[s].total for s in ("ada", "bob")] == [5, 3]
        rows = team(tmp_path, [entry("ada", "a")])
    told = {n["student"]: n["points"] for n in lines(tmp_path / "review.csv")}
    assert told == {"Team 1": "3", "bob": "1"}


@pytest.mark.parametrize(
    ("copies", "counts"),
    [
        ([("ada", "a", 1, 5), ("bob", "b", 2, 1)], "b"),  # attempts are each member's own
        ([("ada", "a", 2, 1), ("ada", "c", 1, 2), ("bob", "bad", 3, 1)], "c"),
        ([("ada", "a", 9, 0), ("bob", "b", 11, 0)], "a"),  # in time
        ([("ada", "a", 11, 0), ("bob", "b", 12, 0)], "b"),
    ],
)
def test_the_latest_attempt_of_any_member_counts(tmp_path, copies, counts):
    given = [replace(entry(*one[:3]), attempt=one[3]) for one in copies]
    rows = team(tmp_path, given)
    assert {rows[s].entry.sha256 for s in ("ada", "bob")} == {counts}
    assert len({(rows[s].deduction, rows[s].days_late) for s in ("ada", "bob")}) == 1


def test_an_extension_of_one_member_is_the_groups(tmp_path):
    text = "student,group,extension\nada,A+,2026-03-02\nbob,A+,\neve,A,\nsid,A,\n"
    listed = people(tmp_path, text, zone=UTC)
    copies = [entry("bob", "a", 20), entry("sid", "b", 20)]
    found = {"a": record("a"), "b": record("b")}
    rows = gradebook.rows(copies, found, DEADLINE, listed, PENALTY)
    assert [one.total for one in rows] == [2, 2, 1.5, 1.5]


def test_a_groups_name_is_no_students(tmp_path):
    with pytest.raises(ValueError, match="expected groups with names of their own, got ada for"):
        people(tmp_path, "student,group\nada,Ada\nbob,ada\n")


@pytest.mark.parametrize(
    ("student", "platform", "who"),
    [
        ("team_1", "", "ada"),  # the group's first
        ("Team 1_900", "canvas", "ada"),
        ("Team 1-Bob N_34", "moodle", "bob"),
        ("Team 2", "", None),
    ],
)
def test_names_of_groups_find_a_member(tmp_path, student, platform, who):
    listed = people(tmp_path, TEAMS)
    found = classlist.match([replace(entry(student, "a"), platform=platform)], listed)
    assert (found[student].student if student in found else None) == who


# A person's points


def reviewed(tmp_path, rows, *edits, questions=("why",)):
    """Write the table, edit it as text, and read it back into the rows."""
    path = tmp_path / "review.csv"
    known = review.read(path, dict.fromkeys(questions, 3))
    rows = review.apply(rows, known)
    review.write(path, rows, known)
    raw = path.read_bytes()
    for edit in edits:
        raw = edit(raw)
    path.write_bytes(raw)
    return review.apply(rows, review.read(path, dict.fromkeys(questions, 3)))


def fill(points, comment):
    return lambda raw: raw.replace(b",,\n", f",{points},{comment}\n".encode())


def excel(raw):
    """As a German Excel saves it."""
    return raw.decode("utf-8-sig").replace(",", ";").replace("2.5", "2,5").encode("cp1252")


@pytest.mark.parametrize(
    "program", [lambda raw: raw, excel, lambda raw: raw.replace(b"\n", b"\r\n")]
)
def test_points_that_a_person_fills_in_count(tmp_path, program):
    rows = [row("ada", text="Noise – or «width»?\nBoth.")]
    assert rows[0].to_review == ("explanation of why",)
    [made] = reviewed(tmp_path, rows, fill("2.5", "well seen"), program)
    assert (made.total, made.to_review) == (4.5, ())
    assert "well seen" in feedback.render(made, "04", "Dropout")
    review.write(tmp_path / "review.csv", [made], {})  # and stay
    [again] = review.apply(rows, review.read(tmp_path / "review.csv", {"why": 3}))
    assert again == made


def test_points_for_an_earlier_text_do_not_count_for_a_new_one(tmp_path):
    reviewed(tmp_path, [row(text="Old.")], fill("2", "good"))
    [made] = reviewed(tmp_path, [row(text="New.")])
    assert made.to_review == ("explanation of why",)
    assert made.written[0].points is None
    reviewed(tmp_path, [made])
    [line] = lines(tmp_path / "review.csv")
    assert (line["explanation"], line["points"]) == ("New.", "")
    assert line["comment"] == "For an earlier text: 2 points. good"


def test_lines_on_others_stay_in_the_table(tmp_path):
    reviewed(tmp_path, [row("ada", text="A.")], fill("1", "ok"))
    reviewed(tmp_path, [row("bob", text="B.")])
    assert [(n["student"], n["points"]) for n in lines(tmp_path / "review.csv")] == [
        ("bob", ""),
        ("ada", "1"),
    ]


def test_points_are_for_one_student_and_one_question(tmp_path):
    rows = [row("ada", text="A."), row("bob", text="A.")]
    one = reviewed(tmp_path, rows, lambda raw: raw.replace(b"A.,,", b"A.,3,", 1))
    assert [r.total for r in one] == [5, 2]


@pytest.mark.parametrize("points", ["4", "-1", "many", "nan", "inf"])
def test_points_that_cannot_be_are_refused_with_their_line(tmp_path, points):
    with pytest.raises(ValueError, match="line 2: expected points from 0 to 3"):
        reviewed(tmp_path, [row(text="A.")], fill(points, ""))


def test_a_table_without_its_columns_is_refused(tmp_path):
    with pytest.raises(ValueError, match="expected columns student"):
        reviewed(tmp_path, [row(text="A.")], lambda raw: raw.replace(b"points", b"marks"))


def test_nothing_written_needs_no_review(tmp_path):
    [made] = reviewed(tmp_path, [row(text="")])
    assert lines(tmp_path / "review.csv") == []
    assert (made.total, made.to_review) == (2, ())


# Tables


@pytest.mark.parametrize("evil", ["=1+1", "+1", "-1", "@x", "\t=1", "  =1", "\n=1", "＝1", "'=1"])
def test_no_cell_begins_a_formula(tmp_path, evil):
    [made] = reviewed(tmp_path, [row(evil, text=evil)], fill("1", "ok"))
    assert made.total == 3  # found again in spite of the mark
    export.write_csv(tmp_path / "g.csv", [row(evil, reason=evil)], ["f"], ["why"])
    for name in ("g.csv", "review.csv"):
        for cells in csv.reader(io.StringIO((tmp_path / name).read_text(encoding="utf-8-sig"))):
            assert not [c for c in cells if re.match(r"[=+\-@\t\r\n＝＋－＠]|\s+=", c)]


def test_the_summary_counts_and_names_the_slowest():
    rows = [row("ada", seconds=1.0), row("bob", status="crashed", seconds=9.0)]
    rows += [row("eve", status="unreadable"), row("sid", text="A.", seconds=2.0)]
    told = export.summary(rows, slowest=2).splitlines()
    assert told[0] == "4 students: 2 graded, 1 unreadable, 1 crashed"
    assert told[1] == "slowest: bob 9.0 s, sid 2.0 s"
    assert told[2] == "need review: 2"
    assert export.to_review(rows).splitlines()[0] == "eve: unreadable"
    assert export.to_review(rows[:1]) == "Nothing is left to review."


# Feedback


def test_everything_of_a_student_is_text():
    evil = "<script>alert(1)</script><img src=x onerror=y>\u202e\x1b[2J"
    made = row(evil, reason=evil, text=evil, sentence=evil, notes=[evil])
    page = feedback.render(made, "04", evil)
    assert "<script" not in page
    assert "<img" not in page
    assert not set("\u202e\x1b") & set(page)
    assert page.count("&lt;script&gt;") >= 6
    assert "default-src 'none'" in page
    assert not re.search(r"\b(src|href)=|url\(|@import|https?:", page.replace("src=x", ""))


def test_feedback_tells_points_sentence_version_and_no_seed(tmp_path):
    made = row(text="A.", sentence="Divide by 1 - rate.", points=0, notes=["It was there twice."])
    path = feedback.write(tmp_path, made, "04", "Dropout")
    assert path.name == "ada.html"
    page = path.read_text(encoding="utf-8")
    for words in ("0 of 2", "Divide by 1 - rate.", "Will be read", "explanations not yet included"):
        assert words in page
    for words in ("v1", made.record["date"], "It was there twice.", "x.ipynb"):
        assert words in page
    assert "987654321" not in page


def test_a_fault_of_ours_shows_neither_its_traceback_nor_zero_points():
    page = feedback.render(row(status="grader fault", reason="KeyError: 'x'"), "04", "Dropout")
    assert "KeyError" not in page
    assert "no fault of yours" in page
    assert "0 of" not in page
    page = feedback.render(row(status="unreadable", reason="The file is empty."), "04", "Dropout")
    assert "The file is empty." in page
    assert "0 of" not in page


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_no_cell_is_a_formula_whatever_separates_cells(tmp_path, separator):
    dangerous = ["=1+1", "+1", "-cmd|' /C calc'!A0", "@SUM(A1)", "＝1", " =1", "'=1", "\t=1"]
    texts = [f"fine\n{one}\nmore;{one}\tand{separator}{one}" for one in dangerous] + dangerous
    content = review.table(("student", "text"), [("ada", text) for text in texts])
    raw = content.decode("utf-8-sig")
    quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    for line in csv.reader(io.StringIO(raw), delimiter=separator, quoting=quoting):
        for cell in line:
            assert not cell.lstrip(' "').startswith(tuple("=+@＝＋－＠-")), cell
    assert [review._bare(review.safe(text)) for text in dangerous[:-1]] == dangerous[:-1]
