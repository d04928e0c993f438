"""The stored form of every lesson, one rule at a time: what protects a reader, not how to write.

A rule takes a notebook and returns its defects as sentences. Each rule is also seen failing below,
on a lesson that is right but for one fault.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from coursekit import plots
from coursekit.course import notebook
from coursekit.course.lessons import folder, lessons

MEGABYTE = 1_000_000
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|tmp|root|var|work|mnt)/|\b[A-Za-z]:\\\w")
ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")


def valid(nb):
    if (nb.nbformat, nb.nbformat_minor) != (4, 5):
        return [f"expected nbformat 4.5, got {nb.nbformat}.{nb.nbformat_minor}"]
    try:
        nbformat.validate(nb)
    except nbformat.ValidationError as error:
        return [str(error).splitlines()[0]]
    return []


def executed_in_order(nb):
    counts = [cell.execution_count for _, cell in code(nb)]
    return [] if counts == [*range(1, len(counts) + 1)] else [f"execution counts are {counts}"]


def prints_are_stored(nb):
    wordy = ((n, c) for n, c in code(nb) if re.search(r"^print\(", c.source, re.MULTILINE))
    return [f"cell {n} prints, but stores no output" for n, c in wordy if not c.outputs]


def no_errors(nb):
    return [f"cell {n}: {o.ename}" for n, o in outputs(nb) if o.output_type == "error"]


def no_stderr(nb):
    return [f"cell {n}: {o.text[:80]}" for n, o in outputs(nb) if o.get("name") == "stderr"]


def no_machine_paths(nb):
    return [
        f"cell {n}: {found}"
        for n, text in texts(nb)
        for pattern in (MACHINE_PATH, ADDRESS)
        for found in pattern.findall(text)
    ]


def small_file(nb):
    size = len(nbformat.writes(nb).encode())
    return [] if size < MEGABYTE else [f"{size / MEGABYTE:.1f} MB, expected less than 1"]


def figures_have_alt_text(nb):
    defects = []
    for n, output in outputs(nb):
        data = output.get("data", {})
        kinds = [kind for kind in ("image/png", "image/svg+xml") if kind in data]
        images = re.findall(r"<img\b[^>]*>", data.get("text/html", ""))
        if not kinds and not images:
            continue
        texts = [output.metadata.get(kind, {}).get("alt", "") for kind in kinds]
        texts += ["".join(re.findall(r'\balt="([^"]*)"', image)) for image in images]
        if not all(text.strip() for text in texts):
            defects.append(f"cell {n}: a figure without alt text")
        if data.get("text/plain", "<").strip()[:1] in ("", "<"):
            defects.append(f"cell {n}: a figure whose text is {data.get('text/plain')!r}")
    return defects


def tables_have_heads(nb):
    # A formula is no words to a screen reader's table, so a head of its own needs some.
    texts = [(n, c.source) for n, c in enumerate(nb.cells, 1) if c.cell_type == "markdown"]
    texts += [(n, o.get("data", {}).get("text/markdown", "")) for n, o in outputs(nb)]
    return [
        f"cell {n}: a column without words above it: {head}"
        for n, text in texts
        for head in re.findall(r"^\|(.*)\|\n\|[-:| ]+\|$", text, re.MULTILINE)
        if not all(re.sub(r"\$[^$]*\$", "", words).strip() for words in head.split("|"))
    ]


def no_widgets(nb):
    return [
        f"cell {n}: {mime}"
        for n, output in outputs(nb)
        for mime in output.get("data", {})
        if "widget" in mime
    ]


def minimal_metadata(nb):
    defects = [] if nb.metadata == {"kernelspec": notebook.KERNELSPEC} else [str(nb.metadata)]
    for n, (cell, wanted) in enumerate(zip(nb.cells, notebook.meanings(nb), strict=True), 1):
        if cell.metadata != wanted:
            defects.append(f"cell {n}: expected the metadata {wanted}, got {cell.metadata}")
    return defects


def answers_wait(nb):
    return [
        f"cell {n}: an answer whose code is in sight, below which JupyterLab shows its first words"
        for n, cell in code(nb)
        if "hide-output" in cell.metadata.get("tags", [])
        and not cell.metadata.get("jupyter", {}).get("source_hidden")
    ]


def has_a_verdict(nb):
    marked = [cell for cell in nb.cells if notebook.is_marked(cell)]
    marked += [c for _, c in code(nb) if "claims.show(" in c.source and c not in marked]
    if not marked:
        return [f"no cell with the tag {notebook.TAG}, and no claim is shown"]
    return [
        f"a marked cell stores no words: {cell.source.splitlines()[-1]}"
        for cell in marked
        if not notebook.printed(cell).strip()
    ]


def title_and_minutes(nb):
    first = nb.cells[0].source if nb.cells and nb.cells[0].cell_type == "markdown" else ""
    wanted = {
        "a title (# ...)": r"\A# \S",
        "minutes": r"\d\D{0,12}\bmin",
        "the reader's time": r"(?i)\bread|\byou\b|\byour\b",
        "the machine's time": r"(?i)\bmachine|\blaptop|\bcpu\b|\bcomput",
    }
    return [f"first cell lacks {what}" for what, p in wanted.items() if not re.search(p, first)]


def no_foreign_tools(nb):
    pattern = re.compile(r"\btorchvision\b|^\s*[!%]\s*(?:pip|conda)\b", re.MULTILINE)
    return [f"cell {n}: {x}" for n, c in code(nb) for x in pattern.findall(c.source)]


RULES = (
    valid,
    executed_in_order,
    prints_are_stored,
    no_errors,
    no_stderr,
    no_machine_paths,
    small_file,
    figures_have_alt_text,
    tables_have_heads,
    no_widgets,
    minimal_metadata,
    answers_wait,
    has_a_verdict,
    title_and_minutes,
    no_foreign_tools,
)


def code(nb):
    return [(n, cell) for n, cell in enumerate(nb.cells, 1) if cell.cell_type == "code"]


def outputs(nb):
    return [(n, output) for n, cell in code(nb) for output in cell.outputs]


def texts(nb):
    """Everything in a notebook that a reader can read, with the number of its cell."""
    found = [(n, cell.source) for n, cell in enumerate(nb.cells, 1)]
    for n, output in outputs(nb):
        found.append((n, output.get("text", "")))
        found += [(n, t) for m, t in output.get("data", {}).items() if m.startswith("text/")]
        found += [(n, str(output.metadata))] if "metadata" in output else []
    return found


def test_every_lesson_keeps_every_rule():
    assert lessons(), f"expected lessons in {folder()}, got none"
    defects = [
        f"{path.stem}, {rule.__name__}: {defect}"
        for path in lessons()
        for rule in RULES
        for defect in rule(nbformat.read(path, as_version=nbformat.NO_CONVERT))
    ]
    assert defects == []


# Numbers kept free: the dropout family, labels, and whole subjects in front of the table.
PLANNED = {"05", "08", "11", "12", "13", "14", "15"}


def test_lessons_are_numbered_without_gaps():
    numbers = [Path(path).stem.split("_")[0] for path in lessons()]
    whole = [f"{n:02}" for n in range(int(numbers[-1]) + 1)]
    assert numbers == [number for number in whole if number in numbers or number not in PLANNED]


# Each rule fails on the fault that it is there for.


def right_lesson():
    """A lesson without a fault: some prose, some code, one figure, one verdict."""
    opening = "# Title\n\n60 minutes for you, 2 minutes of machine time."
    cells = [v4.new_markdown_cell(opening)]
    cells += [v4.new_markdown_cell("## An idea\n\nIn words."), v4.new_code_cell("x = 1")]
    figure = v4.new_output(
        "display_data", {"image/png": "iVBO", "text/plain": "Loss falls."}, metadata={}
    )
    figure.metadata = nbformat.from_dict({"image/png": {"alt": "Loss falls."}})
    drawing = plots.image("<svg/>", "Loss rises.")
    drawn = v4.new_output("display_data", {"text/html": drawing, "text/plain": "Loss rises."})
    cells.append(v4.new_code_cell("plot()", outputs=[figure, drawn]))
    cells[-1].metadata = nbformat.from_dict(
        {"jupyter": {"source_hidden": True}, "coursekit": {"minutes": 4, "note": "Ask why."}}
    )
    verdict = v4.new_output("stream", text="supported (16 seeds)\n")
    cells.append(v4.new_code_cell("print(verdict)", outputs=[verdict]))
    last_tags(cells, ["hide-input", notebook.TAG])
    nb = v4.new_notebook(cells=cells)
    for count, (_, cell) in enumerate(code(nb), 1):
        cell.execution_count = count
    return notebook.strip(nb)


def last_tags(cells, tags):
    cells[-1].metadata = nbformat.from_dict({"tags": tags})


def last(nb):
    return nb.cells[-1]


def figure_of(nb):
    return nb.cells[-2].outputs[0]


def edit(pick, **changes):
    return lambda nb: pick(nb).update(changes)


def first_cell(nb):
    return nb.cells[0]


def print_to(name, text):
    return lambda nb: last(nb).outputs.append(v4.new_output("stream", name=name, text=text))


def show(mime, content):
    return lambda nb: last(nb).outputs.append(v4.new_output("display_data", {mime: content}))


def edit_drawing(old, new):
    def spoil(nb):
        data = nb.cells[-2].outputs[1].data
        data["text/html"] = data["text/html"].replace(old, new)

    return spoil


def raise_error(nb):
    error = v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    last(nb).outputs.append(error)


FAULTS = [
    (valid, edit(lambda nb: nb, nbformat_minor=4)),
    (valid, edit(last, id="not a valid id!")),
    (executed_in_order, edit(last, execution_count=None)),
    (executed_in_order, edit(last, execution_count=99)),
    (prints_are_stored, edit(last, outputs=[])),
    (no_errors, raise_error),
    (no_stderr, print_to("stderr", "UserWarning: ...")),
    (no_machine_paths, print_to("stdout", "read /home/ada/x.csv")),
    (no_machine_paths, print_to("stdout", r"read C:\data")),
    (no_machine_paths, print_to("stdout", "<object at 0x7f3a10b2c0>")),
    (no_machine_paths, edit(last, source='open("/tmp/x")')),
    (small_file, print_to("stdout", "x" * MEGABYTE)),
    (figures_have_alt_text, lambda nb: figure_of(nb).metadata.clear()),
    (figures_have_alt_text, edit(lambda nb: figure_of(nb).data, **{"text/plain": "<Figure size"})),
    (figures_have_alt_text, edit_drawing("Loss rises.", "")),
    (figures_have_alt_text, edit_drawing(' alt="Loss rises."', "")),
    (tables_have_heads, edit(first_cell, source="| a | |\n|---|---|\n| 1 | 2 |")),
    (tables_have_heads, show("text/markdown", "| a | $x$ |\n|---|---:|\n| 1 | 2 |")),
    (no_widgets, show("application/vnd.jupyter.widget-view+json", {"model_id": "a"})),
    (minimal_metadata, lambda nb: nb.metadata.update(language_info={"version": "3.11.7"})),
    (minimal_metadata, lambda nb: last(nb).metadata.update(execution={})),
    (minimal_metadata, lambda nb: last(nb).metadata.update(jupyter={"outputs_hidden": True})),
    # The answer to a prediction, in sight below its question.
    (minimal_metadata, lambda nb: last(nb).metadata.update(tags=["hide-input", "hide-output"])),
    (answers_wait, lambda nb: last(nb).metadata.update(tags=["hide-output"])),
    (has_a_verdict, lambda nb: last(nb).metadata.update(tags=["hide-input"])),
    (has_a_verdict, edit(last, outputs=[])),
    (has_a_verdict, edit(last, source='claims.show("C42")', metadata={}, outputs=[])),
    (title_and_minutes, edit(first_cell, source="# Title\n\nA long lesson.")),
    (no_foreign_tools, edit(last, source="import torchvision")),
    (no_foreign_tools, edit(last, source="!pip install torch")),
]


def test_no_rule_objects_to_a_lesson_without_fault():
    assert {rule.__name__: rule(right_lesson()) for rule in RULES if rule(right_lesson())} == {}


@pytest.mark.parametrize(("rule", "spoil"), FAULTS, ids=lambda part: part.__name__)
def test_rule_catches(rule, spoil):
    nb = right_lesson()
    spoil(nb)
    assert rule(nb)


def test_a_comment_or_a_shown_claim_is_a_verdict_too():
    for source in ("# NBVAL_CHECK_OUTPUT\nprint(verdict)", 'claims.show("C42")'):
        nb = right_lesson()
        last(nb).update(source=source, metadata={})
        assert has_a_verdict(nb) == []


def test_every_rule_was_seen_failing():
    assert {rule for rule, _ in FAULTS} == set(RULES)
