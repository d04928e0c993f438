"""A room as one study: what survives a chat, what is counted once, what is left out and said."""

import io
import re
import sys

import numpy as np
import pytest

from coursekit import explorers
from coursekit.commands import room
from coursekit.commands.cli import main
from coursekit.train import ENGINE


def line(seat, shift=9, **more):
    """A line as a seat writes it: `shift` digits more with dropout, give or take one."""
    own = {"course": "0.1.0", "torch": "2.13.0", "engine": ENGINE} | more
    pairs = tuple((700 + s, 700 + s + shift + (s + seat) % 3 - 1) for s in range(room.SEEDS))
    return room.Line(seat, pairs, **own)


def text(*lines):
    return "\n".join(map(room.written, lines))


def numbers(joined):
    return [one.seat for one in joined.seats]


def test_a_seat_trains_what_the_lesson_trained():
    stored = explorers.stored("dance")["right"]["40"]  # seeds 0 to 959, stored by the course
    there = list(zip(*(side[: room.SEEDS] for side in stored), strict=True))
    assert np.abs(np.subtract(room.right(0), there)).max() <= 3  # machines round differently


def test_seats_have_seeds_of_their_own(monkeypatch):
    firsts = []
    monkeypatch.setattr(room, "right", lambda first: firsts.append(first) or ((700, 709),) * 8)
    for seat in (1, 2, room.SEATS):
        room.train(seat)
    assert (np.diff(firsts) >= room.SEEDS).all()
    for seat in (0, -1, room.SEATS + 1):
        with pytest.raises(ValueError, match="expected a seat from 1"):
            room.train(seat)


def test_the_line_comes_back_as_it_went():
    assert room.join(text(line(7))).seats == (line(7),)


@pytest.mark.parametrize(
    "mangle",
    [
        lambda t: re.sub("(.{40})", r"\1\n", t),  # wrapped
        lambda t: "\n".join("> " + row for row in re.sub("(.{60})", r"\1\n", t).splitlines()),
        lambda t: "10:31 Ada: " + t + " :-)\n10:32 Bob: mine is seat 9",
        lambda t: t.replace(" ", "\u00a0").replace("\n", "\r\n"),
        lambda t: t.removeprefix("coursekit-room "),
    ],
    ids=["wrapped", "quoted", "in a chat", "other spaces", "without its beginning"],
)
def test_a_chat_does_no_harm(mangle):
    joined = room.join(mangle(text(line(7), line(8))))
    assert numbers(joined) == [7, 8]
    assert joined.notes == ()


@pytest.mark.parametrize(
    "mangle",
    [
        lambda t: t[:-30],
        lambda t: t.replace("700/", "701/", 1),
        lambda t: t.replace("seat=7", "seat=6"),
        lambda t: t.replace(",", ";", 1),
    ],
    ids=["cut off", "another number", "another seat", "another sign"],
)
def test_a_damaged_line_is_left_out_and_said(mangle):
    joined = room.join(f"{mangle(text(line(7)))}\n{text(line(8))}")
    assert numbers(joined) == [8]
    assert len(joined.notes) == 1
    assert "is damaged and left out" in joined.notes[0]


def test_a_whole_line_with_impossible_numbers_is_damaged():
    for right in (((700, 901),) * 8, ((700, 709),) * 7):
        forged = room.Line(7, right, "0.1.0", "2.13.0", ENGINE)
        assert room.join(text(forged)).seats == ()


def test_a_seat_counts_once():
    joined = room.join(text(line(7), line(8), line(7), line(7)))
    assert numbers(joined) == [7, 8]
    [note] = joined.notes
    assert note.startswith("seat 7 came 3 times and counts once")
    assert "--seat 1" in note
    other = room.join(text(line(7), line(7, shift=20)))
    assert other.seats == (line(7),)
    assert "seat 7 came with other numbers too" in other.notes[0]


def test_another_version_of_the_training_is_left_out_and_one_of_torch_is_said():
    joined = room.join(text(line(7), line(8, engine=ENGINE - 1), line(9, v=room.VERSION + 1)))
    assert numbers(joined) == [7]
    assert [note[:6] for note in joined.notes] == ["seat 8", "seat 9"]
    joined = room.join(text(line(7), line(8, torch="2.6.0")))
    assert numbers(joined) == [7, 8]
    assert "2.13.0 (1 seats), 2.6.0 (1 seats)" in joined.notes[0]


def test_the_room_says_what_its_differences_say():
    joined = room.join(text(*(line(seat, shift=18) for seat in range(1, 7))))
    differences = np.array([d for one in joined.seats for d in one.differences])
    assert differences.mean() == pytest.approx(2, abs=0.05)
    half = 2.0117 * differences.std(ddof=1) / 48**0.5  # Student, 47 degrees of freedom
    low, high = (f"+{differences.mean() + s * half:.1f}" for s in (-1, 1))
    assert "6 seats, 48 seeds: +2.0 points" in room.finding(joined)
    assert f"{low} to {high}: helps" in room.finding(joined)
    assert "6 “helps”" in room.alone(joined)


def test_the_command_writes_one_page_from_files_and_from_what_is_pasted(
    tmp_path, monkeypatch, capsys
):
    files = []
    for seat in (3, 4):
        files.append(tmp_path / f"{seat}.txt")
        files[-1].write_text(text(line(seat)))
    out = tmp_path / "deep" / "room.html"
    assert main(["room", "join", *map(str, files), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "2 seats, 16 seeds: +1.0 points" in page
    assert "<svg" not in page.partition("<img")[0]
    monkeypatch.setattr(sys, "stdin", io.StringIO(text(line(5), line(5))))
    assert main(["room", "join", "--out", str(tmp_path / "room.svg")]) == 0
    assert (tmp_path / "room.svg").read_text().startswith("<svg")
    assert "counts once" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("good morning"))
    assert main(["room", "join", "--out", str(out)]) == 1
    assert "expected at least one whole line" in capsys.readouterr().err


def test_train_prints_the_line_alone(monkeypatch, capsys):
    monkeypatch.setattr(room, "right", lambda first: ((700, 709),) * room.SEEDS)
    assert main(["room", "train", "--seat", "7"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert numbers(room.join(out)) == [7]
    assert main(["room", "train"]) == 1
    assert "try --seat 7" in capsys.readouterr().err
