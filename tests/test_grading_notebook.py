"""Answers are found in notebooks bent in every way, and only the release's checks count."""

import json

import pytest
from test_grading_fake import RIGHT, changed, handed_in

from coursekit.exercises import bank, pages
from coursekit.grading.intake import notebook
from coursekit.grading.intake.notebook import QUIET, rebuild

NAME, OTHER = "classic_weights", "inverted_dropout"
CELL = "classic-weights"


def built(change=None, *, key=None, **options):
    raw = handed_in(key=key, **options)
    return rebuild(changed(raw, change) if change else raw, "04", key)


def answer(rebuilt, name=NAME):
    return rebuilt.cells[rebuilt.places[name]]


def code(source, id=None):
    return {"cell_type": "code", "source": source} | ({"id": id} if id else {})


def text(source):
    return {"cell_type": "markdown", "source": source}


def place(cells, id):
    return [cell.get("id") for cell in cells].index(id)


# What cannot be read


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b" \n", "empty"),
        ('{"cells": ["\u00e9"]}'.encode("latin-1"), "not UTF-8"),
        ('{"cells": []}'.encode("utf-16"), "not UTF-8"),
        (b'{"cells": [', "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b"PK\x03\x04", "invalid JSON"),
        (b"[1, 2]", "not a notebook"),
        (b'{"nodes": []}', "not a notebook"),
        (b'{"cells": {"a": 1}}', "not a notebook"),
        (b'{"cells": []}', "wrong lesson"),
        (b'{"cells": [{"cell_type": "code", "source": "sheet.progress()"}]}', "wrong lesson"),
    ],
)
def test_what_is_no_notebook_of_this_lesson_is_named(raw, rule):
    with pytest.raises(notebook.Unreadable) as caught:
        rebuild(raw, "04")
    assert caught.value.rule == rule
    assert str(caught.value).endswith(".")


def test_another_lessons_notebook_is_recognized_by_its_sheet():
    raw = json.dumps({"cells": [code('sheet = Sheet("03")'), code("x = 1")]}).encode()
    with pytest.raises(notebook.Unreadable, match=r"lesson 04: it seems to belong to lesson 03\.$"):
        rebuild(raw, "04")


def test_odd_cells_do_not_hide_good_ones():
    odd = [None, 7, {}, {"cell_type": "code"}, {"cell_type": "code", "source": {"a": 1}}]
    odd += [code(["x = 1\n", 3, "y = 2"]), code("\ud800 = 1"), code("a\x00b"), code("(" * 5000)]
    rebuilt = built(lambda cells: cells.__setitem__(slice(0, 0), odd))
    assert answer(rebuilt).startswith("def classic_weights")
    assert "x = 1\ny = 2" in rebuilt.cells
    "".join(rebuilt.cells).encode()


def test_a_byte_order_mark_and_older_formats_are_read():
    assert rebuild(b"\xef\xbb\xbf" + handed_in(), "04").places == built().places
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": [RIGHT]}]}]}
    assert answer(rebuild(json.dumps(old).encode(), "04")) == RIGHT


# Where answers are found


def test_answers_are_found_by_cell():
    rebuilt = built()
    assert rebuilt.notes == []
    assert set(rebuilt.places) == {e.name for e in bank.of_lesson("04")}
    assert all(f"def {name}" in answer(rebuilt, name) for name in (NAME, OTHER))


def strip(cells):
    for cell in cells:
        cell.pop("id"), cell.pop("metadata")


def rename(cells):
    for number, cell in enumerate(cells):
        cell["id"] = f"new-{number}"


def raise_points(cells):
    for cell in cells:
        cell["metadata"]["nbgrader"] = {"points": 1000}
        cell["source"] = cell["source"].replace("2 points", "1000 points")


def delete_all_but_answers(cells):
    cells[:] = [cell for cell in cells if cell["id"].endswith("-answer")]


@pytest.mark.parametrize(
    "change", [strip, rename, list.reverse, raise_points, delete_all_but_answers]
)
def test_metadata_order_points_and_lost_cells_do_no_harm(change):
    rebuilt = built(change)
    assert answer(rebuilt) == answer(built())
    assert answer(rebuilt, OTHER) == answer(built(), OTHER)


def test_nbgraders_names_of_cells_serve_as_ids():
    def other_ids(cells):
        for cell in cells:
            cell["metadata"]["nbgrader"] = {"grade_id": cell.pop("id")}

    assert built(other_ids, text="Because.").written == {"best_rate": "Because."}
    assert built(other_ids).notes == []


def test_an_answer_that_does_not_parse_is_still_somebodys():
    broken = "def classic_weights(weight, rate)\n    return"
    assert answer(built(classic_weights=broken)) == broken
    assert answer(built(strip, classic_weights=broken)) == broken


def test_a_renamed_function_is_asked_under_its_new_name():
    rebuilt = built(classic_weights=RIGHT.replace(NAME, "mine"))
    assert rebuilt.functions[NAME] == "mine"
    assert rebuilt.notes == ["`classic_weights` was handed in as `mine`."]


@pytest.mark.parametrize("source", ["classic_weights = lambda w, r: w", "from x import f as {}"])
def test_an_assignment_is_a_definition(source):
    source = source.format(NAME)
    rebuilt = built(lambda cells: cells.append(code(source)), empty=True)
    assert answer(rebuilt) == source


# Twice


def test_of_two_definitions_the_last_counts_and_it_is_said():
    second = RIGHT.replace("1 - rate", "rate")
    rebuilt = built(lambda cells: cells.append(code(second)))
    assert answer(rebuilt) == second
    assert rebuilt.notes == ["`classic_weights` is defined in 2 cells; the last one counts."]


def test_a_stub_left_below_the_answer_does_not_replace_it():
    rebuilt = built(lambda cells: cells.insert(0, code(RIGHT)), empty=True)
    assert answer(rebuilt) == RIGHT
    assert rebuilt.notes == []
    stub = pages.stub(bank.find(NAME))
    assert stub not in rebuilt.cells
    assert stub in built(empty=True).cells  # left alone it says "not attempted yet"


# What runs besides


def test_helpers_and_magics_run_in_order_and_checks_do_not():
    def add(cells):
        cells.insert(2, code("%matplotlib inline\nhelp_me = 1"))
        cells.append(code("%%bash\necho hello"))
        cells.append(code("!ls"))
        cells.append(code("sheet.check(classic_weights)\nsheet.progress()"))
        cells[place(cells, f"{CELL}-check")]["source"] = "import torch\ntorch.allclose = 1"
        cells[place(cells, "progress")]["source"] = "spoiled()"

    cells = built(add).cells
    assert cells[0].endswith(QUIET)
    assert cells.index("%matplotlib inline\nhelp_me = 1") < cells.index("%%bash\necho hello")
    assert cells[-1] == "!ls"
    assert not [c for c in cells if "sheet.check" in c or "allclose" in c or "spoiled" in c]


def test_an_answer_written_into_the_check_cell_is_found():
    def misplace(cells):
        cells[place(cells, f"{CELL}-check")]["source"] = f"{RIGHT}\nsheet.check({NAME})"

    assert answer(built(misplace, empty=True)).startswith("def classic_weights")


def test_the_setup_is_the_releases_with_what_was_added():
    def edit(cells):
        cells[place(cells, "setup")]["source"] += "\nfrom os import path\nsheet.progress()"

    for change in (edit, lambda cells: (edit(cells), strip(cells))):
        cells = built(change).cells
        assert cells[0].startswith(pages.page("04").cells[1].source)
        assert cells[1] == "from os import path"
    assert sum("Sheet(" in cell for cell in cells) == 1


def test_checks_cost_nothing_inside():
    names = {}
    exec(f"{QUIET}\nsheet.check(1)\nsheet.hint('a')\nsheet.any(b=2)", names)


def test_a_notebook_of_another_class_is_told():
    assert built(key="a").notes == []
    told = rebuild(handed_in(key="a"), "04", "b").notes
    assert "The notebook was made for another class: its conventions may differ." in told
    assert rebuild(handed_in(), "04", "b").notes == told


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(): pass\nclass G: x = 1", {"f", "G"}),
        ("%%time\ndef f(): pass", {"f"}),
        ("x = !ls\ny = %time 1\nprint?", {"x", "y"}),
        ("if a:\n    def f(): pass\nelse:\n    !ls\n    g = 1", {"f", "g"}),
        ("try:\n    f = 1\nexcept Oops:\n    g = 2\nfinally:\n    h = 3", {"f", "g", "h"}),
        ("def outer():\n    def inner(): pass", {"outer"}),
        ("def f(:\n    pass", {"f"}),
        ("%%writefile x.py\ndef f(): pass", {"f"}),
    ],
)
def test_definitions_are_found_beside_magics(source, names):
    assert notebook.definitions(source) == names


# Explanations


def test_explanations_come_from_their_cell_and_placeholders_are_none():
    assert built().written == {"best_rate": ""}
    assert built(text=" Noise matters. ").written == {"best_rate": "Noise matters."}


def test_a_stripped_explanation_is_found_beside_its_question():
    rebuilt = built(strip, text="Noise matters.")
    assert rebuilt.written == {"best_rate": "Noise matters."}
    assert "was not in its cell" in rebuilt.notes[0]


def test_an_explanation_anywhere_goes_to_review():
    rebuilt = built(lambda cells: cells.insert(1, text("My answer.")))
    assert rebuilt.written == {"best_rate": "My answer."}


def test_of_two_explanations_the_last_counts_and_pictures_are_told():
    def twice(cells):
        here = cells[place(cells, "best-rate-explain")]
        cells.append({**here, "source": "Second.", "attachments": {"a.png": {}}})

    rebuilt = built(twice, text="First.")
    assert rebuilt.written == {"best_rate": "Second."}
    assert ["2 times" in rebuilt.notes[0], "pictures" in rebuilt.notes[1]] == [True, True]
