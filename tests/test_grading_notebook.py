"""Answers are found in notebooks bent in every way, and only the release's checks count."""

import json
import time
from itertools import cycle

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
        (
            json.dumps({"cells": 11 * [{"cell_type": "code", "source": "a=1;" * 25_000}]}).encode(),
            "too much code",
        ),
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


# A longest cell of what a pattern could stumble over, and what a parser could
LONG = [
    "Sheet(",
    'Sheet("04"',
    'Sheet("04", key ',
    'Sheet("04", "04",' + 500 * " ",
    "sheet = Sheet(lesson" + 500 * " ",
    "def ",
    "async def" + 500 * " ",
    "a, ",
    "a =" + 500 * " ",
    "a = 1\n",
    "a=1;",
    "from google.colab import drive\n",
    "from google.colab import drive; a=1;",
    "if drive:\n pass\n",
    "@f\n",
    "[",
    "{1:",
    "not ",
    "lambda:",
    "f'{",
    '"""\n',
    "a if ",
    "\\\n",
    "\t" * 50 + "\n",
    "a?\n",
]


@pytest.mark.parametrize(("part", "id"), list(zip(LONG, cycle(["setup", "mine"]), strict=False)))
def test_nobody_can_write_a_cell_that_takes_long_to_read(part, id):
    source = (part * 300_000)[: notebook.LONGEST]
    began = time.process_time()
    built(lambda cells: (cells.pop(place(cells, "setup")), cells.insert(1, code(source, id))))
    assert time.process_time() - began < 30, "one that is looked at twice takes minutes"


# Where answers are found


def test_answers_are_found_by_cell():
    rebuilt = built()
    assert rebuilt.notes == []
    assert set(rebuilt.places) == {e.name for e in bank.of_lesson("04")}
    assert all(f"def {name}" in answer(rebuilt, name) for name in (NAME, OTHER))


def strip(cells):
    for cell in cells:
        cell.pop("id", None), cell.pop("metadata", None)


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

    assert built(other_ids, text="Because.").written["best_rate"] == "Because."
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


@pytest.mark.parametrize(
    "change",
    [
        lambda stub: stub.replace("\n", "\r\n"),
        lambda stub: stub.replace("\n", "\r"),
        lambda stub: f"# mine\n{stub.replace('  # your code here', '')}\n\n",
        lambda stub: stub.replace("):\n", '):\n    """Later."""\n'),
        lambda stub: stub.replace("raise NotImplementedError", "pass"),
        lambda stub: f"{stub}\n\nsheet.check({NAME})",
    ],
)
def test_a_stub_written_otherwise_is_still_a_stub(change):
    stub = pages.stub(bank.find(NAME))

    def edit(cells):
        cells[place(cells, f"{CELL}-answer")]["source"] = change(stub)
        cells.insert(0, code(RIGHT))

    rebuilt = built(edit)
    assert answer(rebuilt) == RIGHT
    assert rebuilt.notes == []
    assert not [cell for cell in rebuilt.cells if "NotImplementedError" in cell]


def test_the_bug_to_repair_is_a_stub_whatever_its_comments():
    name = next(e.name for e in bank.of_lesson("04") if e.kind == "repair")
    bug, right = pages.stub(bank.find(name)), pages.solution(bank.find(name))

    def edit(cells):
        cells[place(cells, f"{pages.cell_id(name)}-answer")]["source"] = f"# as it was\n{bug}\n"
        cells.insert(0, code(right))

    assert answer(built(edit), name) == right


def test_a_helper_beside_a_stub_stays_when_the_stub_goes():
    stub = pages.stub(bank.find(NAME))

    def edit(cells):
        cells[place(cells, f"{CELL}-answer")]["source"] = f"half = 1 / 2\n\n{stub}"
        cells.insert(0, code(RIGHT))

    rebuilt = built(edit)
    assert answer(rebuilt) == RIGHT
    assert [cell for cell in rebuilt.cells if cell.startswith("half = 1 / 2\n\n#")]


def test_a_stub_in_the_cell_of_another_exercise_goes_like_any_other():
    def misplace(cells):
        cells[place(cells, "inverted-dropout-answer")]["source"] = pages.stub(bank.find(NAME))

    rebuilt = built(misplace)
    assert answer(rebuilt) == pages.solution(bank.find(NAME))
    assert OTHER not in rebuilt.places


def test_an_answer_is_none_the_less_for_a_branch_that_is_open():
    half = (
        "def classic_weights(weight, rate):\n    if rate > 1:\n        raise NotImplementedError\n"
    )
    second = f"{half}    return weight * (1 - rate)"
    assert answer(built(lambda cells: cells.append(code(second)))) == second


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
        assert cells[1].lstrip("#\n") == "from os import path"
    assert sum("Sheet(" in cell for cell in cells) == 1


def in_setup(above="", below="", **options):
    def edit(cells):
        cell = cells[place(cells, "setup")]
        cell["source"] = f"{above}{cell['source']}{below}"

    return built(edit, **options)


def test_a_line_of_the_setup_that_fails_takes_no_other_along():
    added = (
        "\nimport a_missing_one\nimport statistics; half = (\n    0.5)\n%load_ext missing\nn = 3"
    )
    rebuilt = in_setup(below=added)
    cells = [cell.lstrip("#\n") for cell in rebuilt.cells[1:5]]
    assert cells == [
        "import a_missing_one",
        "import statistics; half = (\n    0.5)",
        "%load_ext missing",
        "n = 3",
    ]
    assert set(rebuilt.numbers[1:5]) == {1}
    lines = pages.SETUP.count("\n") + 2
    assert [cell.count("\n#") + cell.startswith("#") for cell in rebuilt.cells[1:3]] == [
        lines - 1,
        lines,
    ]


def test_a_setup_that_does_not_parse_is_passed_on():
    rebuilt = in_setup(below="\ndef classic_weights(weight, rate)\n    return 1", empty=True)
    assert "def classic_weights(weight, rate)\n" in rebuilt.cells[1]
    assert rebuilt.cells[1].endswith(QUIET)


def test_a_sum_of_a_thousand_texts_is_code_like_any_other():
    total = " + ".join(["'a'"] * 900)
    rebuilt = in_setup(below=f"\nlong = {total}")
    assert rebuilt.cells[1].endswith(total)
    assert answer(built(classic_weights=f"{RIGHT}\n\nlong = {total}")).endswith(total)


def test_what_only_colab_can_run_is_left_out_and_told():
    drive = "from google.colab import drive\ndrive.mount('/content/drive')\n"
    rebuilt = in_setup(f"{drive}import os\nos.chdir('/content/drive/MyDrive')\n", "\nhalf = 0.5")
    assert rebuilt.notes == [
        "Lines that only Colab can run were left out: code cell 1, lines 1, 2, 4."
    ]
    assert [cell.strip("#\n") for cell in rebuilt.cells[1:3]] == ["import os", "half = 0.5"]


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("import google.colab\ngoogle.colab.drive.mount('x')\na = 1", "#\n#\na = 1"),
        ("from google import colab\na = 1", "#\na = 1"),
        ("import numpy as np; from google.colab import files; a = 1", "import numpy as np; a = 1"),
        (
            "from google.colab import files\nup = files.upload()\nfor u in up:\n  u\nup = 1",
            "up = 1",
        ),
        ("import kaggle_secrets as k\nkey = k.UserSecretsClient()\na = 1", "#\n#\na = 1"),
        ("f = open(\n    '/kaggle/input/x'\n)\na = 1", "#\n#\n#\na = 1"),
        ("import piplite\nawait piplite.install('x')\na = 1", "#\n#\na = 1"),
        ("%%time\nfrom google.colab import drive\na = 1", "%%time\n#\na = 1"),
    ],
)
def test_lines_of_hosts_are_left_out_anywhere_and_others_stay_on_their_line(source, kept):
    rebuilt = built(lambda cells: cells.append(code(source)))
    assert rebuilt.cells[-1].endswith(kept)
    assert "were left out: code cell" in rebuilt.notes[0]


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    import google.colab\nexcept ImportError:\n    here = True",
        "import sys\nhere = 'google.colab' not in sys.modules",
        "def get():\n    from google.colab import files\n    return files",
        "drive = 'my drive'\nprint(drive)",
        "from google.colab import files\ndef classic_weights(w, rate): return files",
        "if True:\n    def read():\n        return open('/content/x')",
        "url = 'https://a.b/content/'",
    ],
)
def test_what_runs_anywhere_stays(source):
    rebuilt = built(lambda cells: cells.append(code(source)))
    assert rebuilt.cells[-1].split("\n")[1:] == source.split("\n")[1:]
    assert rebuilt.cells[-1].split("\n")[0] in ("#", source.split("\n")[0])


def test_a_function_in_a_cell_of_checks_is_not_lost():
    def add(cells):
        check = cells[place(cells, f"{CELL}-check")]
        check["source"] = f"def half(x):\n    return x / 2\n\n{check['source']}"

    assert [cell for cell in built(add).cells if cell.startswith("def half")]


def test_checks_cost_nothing_inside():
    names = {}
    exec(f"{QUIET}\nsheet.check(1)\nsheet.hint('a')\nsheet.any(b=2)", names)


def test_a_notebook_of_another_class_is_told():
    assert built(key="a").notes == []
    told = rebuild(handed_in(key="a"), "04", "b").notes
    assert "The notebook was made for another class: its conventions may differ." in told
    assert rebuild(handed_in(), "04", "b").notes == told
    by_place = changed(handed_in(), lambda cells: cells.append(code('s = Sheet("04", "b")')))
    assert rebuild(by_place, "04", "b").notes == []


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
        ("%%heat\ndef f(): pass", {"f"}),
        ('def f():\n    """Why?\n    """\nx = (7\n     % 4)', {"f", "x"}),
        ('"""\nWhat is it?\n%time\n"""\nf = 1', {"f"}),
        ("import os.path", {"os"}),
        ("f = 1\nprint(f is 1, '\\d')", {"f"}),
    ],
)
def test_definitions_are_found_beside_magics(source, names):
    assert notebook.definitions(source) == names


# Explanations


def test_explanations_come_from_their_cell_and_placeholders_are_none():
    assert built().written["best_rate"] == ""
    assert built(text=" Noise matters. ").written["best_rate"] == "Noise matters."


def test_a_stripped_explanation_is_found_beside_its_question():
    rebuilt = built(strip, text="Noise matters.")
    assert rebuilt.written["best_rate"] == "Noise matters."
    assert "was not in its cell" in rebuilt.notes[0]


def test_an_explanation_goes_on_in_the_next_cells_up_to_the_releases():
    def go_on(cells):
        here = place(cells, "best-rate-explain") + 1
        cells[here:here] = [text("Second."), code("1 + 1"), text("\r\nThird.\r\n")]
        cells.insert(0, text("My name."))

    rebuilt = built(go_on, text="First.")
    assert rebuilt.written["best_rate"] == "First.\n\nSecond.\n\nThird."
    assert rebuilt.notes == [
        "The explanation of `best_rate` stands in several cells; all are shown."
    ]
    stripped = built(lambda cells: (go_on(cells), strip(cells)), text="First.")
    assert stripped.written["best_rate"] == rebuilt.written["best_rate"]


def test_an_explanation_below_the_task_in_its_cell_is_found():
    def below(cells):
        cells[place(cells, "best-rate-task")]["source"] += "\n\nNoise matters."

    rebuilt = built(below)
    assert rebuilt.written["best_rate"] == "Noise matters."
    assert "was not in its cell" in rebuilt.notes[0]
    assert built(below, text="More.").written["best_rate"] == "Noise matters.\n\nMore."


def test_an_explanation_anywhere_goes_to_review():
    rebuilt = built(lambda cells: cells.insert(1, text("My answer.")))
    assert rebuilt.written["best_rate"] == "My answer."


def test_of_two_explanations_the_last_counts_and_pictures_are_told():
    def twice(cells):
        here = cells[place(cells, "best-rate-explain")]
        cells.append({**here, "source": "Second.", "attachments": {"a.png": {}}})

    rebuilt = built(twice, text="First.")
    assert rebuilt.written["best_rate"] == "Second."
    assert ["2 times" in rebuilt.notes[0], "pictures" in rebuilt.notes[1]] == [True, True]
