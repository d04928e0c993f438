"""A lecturer's path: sections, minutes and notes as the cells of a lesson carry them."""

import pytest
from nbformat import v4

from coursekit.commands.cli import main
from coursekit.course import lecture, notebook


@pytest.fixture
def lesson(tmp_path):
    """Two sections; the second has a stop with a note, and a figure."""
    words = " ".join(["word"] * 357)
    figure = v4.new_output(
        "display_data", {"image/png": "iVBO"}, metadata={"image/png": {"alt": "Loss falls."}}
    )
    own = {"tags": ["lecture", "hide-input"], "coursekit": {"minutes": 4, "note": "Ask first."}}
    cells = [
        v4.new_markdown_cell(f"# 04 · Dropout\n{words}"),  # 360 words with the title's three
        v4.new_code_cell("x = 1\n\n" * 12),
        v4.new_markdown_cell("## 1. A mask\nword word"),
        v4.new_code_cell("plot()\n" * 40, metadata=own, outputs=[figure]),
    ]
    path = tmp_path / "04_dropout.ipynb"
    notebook.write(v4.new_notebook(cells=cells), path)
    return path


def test_minutes_are_those_of_words_visible_lines_and_figures(lesson):
    first, second = lecture.path(lesson)
    assert first.title == "04 · Dropout"
    assert first.reading == pytest.approx(361 / 180 + 1, abs=0.01)
    assert second.reading == pytest.approx(6 / 180 + 0.5, abs=0.01)  # the code is folded
    assert (first.minutes, second.minutes) == (0, 4)
    assert second.stops == (lecture.Stop(4, "Loss falls.", 4, "Ask first."),)


def test_the_path_is_told_with_its_notes(lesson, capsys):
    assert main(["lecture", str(lesson)]) == 0
    told = capsys.readouterr().out
    assert told.startswith("04 · Dropout\n")
    assert "cell 4, 4 min: Loss falls.\n    Ask first." in told


@pytest.mark.parametrize("minutes", [None, 0, -1, "four"])
def test_a_stop_without_minutes_is_an_error(lesson, minutes):
    nb = notebook.read(lesson)
    nb.cells[-1].metadata["coursekit"] = {"minutes": minutes}
    notebook.write(nb, lesson)
    with pytest.raises(ValueError, match="expected minutes above 0 in the metadata of cell 4"):
        lecture.path(lesson)
