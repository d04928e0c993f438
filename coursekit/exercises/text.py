"""Exercises as files: one page of Markdown holds the task, its checks, and what is right and wrong.

A wrong answer is an edit of a right one, so that the mistake itself is what one reads:

    - Chances are swapped: a kept input has probability 1 - rate, a dropped one rate.
      `1 - rate, rate` becomes `rate, 1 - rate`

CONTRIBUTING.md shows a whole file.
"""

import math
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from coursekit.exercises.driving import Probe
from coursekit.exercises.exercise import Code, Exercise, Slip, Variant
from coursekit.exercises.questions import Question

FENCE = re.compile(r"^( *)(```+)(.*)$")
EDIT = re.compile(r"`([^`]+)` (?:becomes `([^`]+)`|goes)")
EDITS = re.compile(
    r"(?:(\w+): )?(?:`[^`]+` (?:becomes `[^`]+`|goes)(?:, )?)+"
)  # of the answer so called
# What an answer may name without importing it: the setup of a notebook of exercises.
GIVEN = {"math": math, "np": np, "torch": torch, "nn": nn, "F": F}
SECTIONS = {
    "task", "example", "picture", "readings", "given", "hints", "why", "variants", "checks",
    "right answers", "wrong answers", "harmless changes",
}  # fmt: skip
OF_QUESTIONS = {"task", "options", "measure", "rubric", "guide"}
KINDS = ("write", "repair", "read", "derive", "measure", "worked")
QUESTIONS = ("predict", "conclude")


class Line(NamedTuple):
    """A line of a file, its number, and the language of the code that it stands in, or None."""

    number: int
    text: str
    code: str | None


class Block(NamedTuple):
    """A fenced block of code: its language, what stands behind it, first line, and text."""

    language: str
    note: str
    number: int
    text: str


def read(path: Path) -> Exercise | Question:
    """Return the exercise or question of a file.

    Its name is the file's, without the number that gives the order; its lesson is the folder's.

    Parameters
    ----------
    path : Path
        As in ".../04_dropout/3_average_of_masks.md".

    Raises
    ------
    ValueError
        If the file is not in the form, with its name, the line, and what was expected.
    """
    return _File(path).item()


class _File:
    """One file being read; it knows where it is, so that errors can say it."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.stem.partition("_")[2]
        self.lesson = path.parent.name[:2]
        self.sections = self._split(list(_lines(path.read_text(encoding="utf-8"))))

    def wrong(self, number: int, expected: str, got: str) -> ValueError:
        place = f"{self.path.parent.name}/{self.path.name}, line {number}"
        return ValueError(f"{place}: expected {expected}, got {got}")

    def item(self) -> Exercise | Question:
        [head, *_] = self.blocks("", "toml") or [None]
        if head is None:
            raise self.wrong(1, "a block ```toml with points and kind at the top", "none")
        try:
            facts = tomllib.loads(head.text)
        except tomllib.TOMLDecodeError as error:
            raise self.wrong(head.number, "TOML", str(error)) from None
        kind = facts.get("kind", "write")
        if kind not in KINDS + QUESTIONS:
            raise self.wrong(head.number, f"a kind of {', '.join(KINDS + QUESTIONS)}", repr(kind))
        known = OF_QUESTIONS if kind in QUESTIONS else SECTIONS
        for title, lines in self.sections.items():
            if title and title not in known:
                raise self.wrong(lines[0].number, f"a section of {', '.join(sorted(known))}", title)
        try:
            return self.question(facts) if kind in QUESTIONS else self.exercise(facts)
        except TypeError as error:  # of a key that no exercise has
            raise self.wrong(head.number, "keys that an exercise has", str(error)) from None

    def exercise(self, facts: dict) -> Exercise:
        if facts.get("kind") == "read":
            return self.reading(facts)
        space = self.run("checks")
        missing = [n for n in ("probes", "reference") if n not in space]
        if missing:
            raise self.wrong(
                self.sections.get("checks", [Line(1, "", None)])[0].number,
                "a section Checks that defines probes and reference",
                f"none of {' and '.join(missing)}",
            )
        rights = self.rights(space)
        return Exercise(
            **self.words(),
            example=self.prose("example"),
            given="".join(block.text.rstrip() for block in self.blocks("given", "python")),
            variants=tuple(self.variants()),
            probes=space["probes"],
            reference=space["reference"],
            driver=space.get("driver"),
            facts=space.get("facts"),
            rights=rights,
            slips=list(self.slips(space, rights)),
            harmless=frozenset(self.harmless()),
            **facts,
        )

    def words(self) -> dict[str, object]:
        """What a learner reads and sees, of whatever kind the exercise is."""
        return {
            "name": self.name,
            "lesson": self.lesson,
            "task": self.prose("task"),
            "picture": self.picture(),
            "hints": tuple(text for _, text in self.items("hints")),
            "why": self.prose("why"),
        }

    def reading(self, facts: dict) -> Exercise:
        """Return an exercise whose answer names what each part of a picture shows."""
        options = facts.pop("options", [])
        [table, *_] = self.blocks("readings", "toml") or [None]
        if table is None or not options:
            raise self.wrong(1, "options at the top and a block ```toml under Readings", "none")
        panels = tomllib.loads(table.text)
        for panel, says in panels.items():
            others = set(options) - {says.get("answer")}
            if says.get("answer") not in options or set(says) - {"answer"} != others:
                told = f"{panel}: {', '.join(says)}"
                wanted = f"an answer of {options}, and a sentence for each other one"
                raise self.wrong(table.number, wanted, told)
        rights = {panel: says["answer"] for panel, says in panels.items()}

        def written(readings: dict[str, str], note: str = "") -> str:
            lines = [f'        "{panel}": {value},' for panel, value in readings.items()]
            body = "\n".join(["    return {", *lines, "    }"])
            return f"def {self.name}():\n{note}{body}"

        def code(title: str, readings: dict[str, str]) -> Code:
            return Code(self.name, title, written({k: f'"{v}"' for k, v in readings.items()}))

        choices = " | ".join(f'"{option}"' for option in options)
        note = f"    # Replace each ... by one of\n    # {choices}\n"
        slips = [
            Slip(code(f"wrong_{panel}", rights | {panel: option}), f"{panel}: {sentence}")
            for panel, says in panels.items()
            for option, sentence in says.items()
            if option != "answer"
        ]
        return Exercise(
            **self.words(),
            signature="()",
            probes=lambda rng: [Probe("the picture", {})],
            reference=lambda: dict(rights),
            given=written(dict.fromkeys(rights, "..."), note),
            rights=[code("reading", rights)],
            slips=slips,
            **facts,
        )

    def picture(self) -> Callable[[], tuple] | None:
        """Return what draws the picture, if there is one; its imports wait until it is called."""
        if not self.blocks("picture", "python"):
            return None
        return lambda: self.run("picture")["picture"]()

    def question(self, facts: dict) -> Question:
        options = tuple(text for _, text in self.items("options"))
        space = self.run("measure", options=options)
        return Question(
            name=self.name,
            lesson=self.lesson,
            prompt=self.prose("task"),
            options=options,
            measure=space.get("measure"),
            rubric=self.prose("rubric"),
            guide=self.prose("guide"),
            **facts,
        )

    def run(self, section: str, **given: object) -> dict[str, object]:
        """Return the names that the code of a section defines."""
        # A module of its own name, so that the exercise's version follows what it defines.
        space = {**GIVEN, **given, "__name__": f"coursekit.exercises.sheets.{self.name}"}
        for block in self.blocks(section, "python"):
            # Lines as in the file, for whoever reads a traceback.
            source = "\n" * (block.number - 1) + block.text
            exec(compile(source, str(self.path), "exec"), space)
        return space

    def rights(self, space: dict) -> list[Code]:
        blocks = {block.number: block for block in self.blocks("right answers", "python")}
        found, title = [], "answer"
        for line in self.sections.get("right answers", ()):
            if line.code is None and line.text.startswith("### "):
                title = line.text[4:].strip().replace(" ", "_")
            elif line.number in blocks:
                found.append(self.answer(title, blocks[line.number].text, line.number, space))
        if not found:
            raise self.wrong(1, "a right answer in the section Right answers", "none")
        return found

    def answer(self, title: str, text: str, number: int, space: dict) -> Code:
        if not re.search(rf"^(def|class) {self.name}\b", text, re.MULTILINE):
            raise self.wrong(number, f"an answer that defines {self.name}", "none")
        return Code(self.name, title, text.rstrip(), space)

    def slips(self, space: dict, rights: list[Code]) -> Iterator[Slip]:
        by_title = {right.title: right for right in rights}
        for count, (lines, text) in enumerate(self.items("wrong answers", whole=True), 1):
            number = lines[0].number
            sentence, edits, base = [], [], rights[0]
            for line in text.split("\n"):
                found = EDITS.fullmatch(line)
                if not found:
                    sentence.append(line)
                    continue
                base = by_title.get(found[1] or base.title)
                if base is None:
                    raise self.wrong(number, f"one of the answers {', '.join(by_title)}", found[1])
                edits += EDIT.findall(line)
            answer = base.text
            for old, new in edits:
                if answer.count(old) != 1:
                    told = f"it {answer.count(old)} times"
                    raise self.wrong(number, f"`{old}` once in the answer {base.title}", told)
                answer = answer.replace(old, new)
            for block in _blocks(lines):
                if block.language == "diff":
                    base = by_title.get(block.note, base)
                    answer = self.patched(base.text, block)
                    if block.note not in ("", base.title):
                        wanted = f"one of the answers {', '.join(by_title)}"
                        raise self.wrong(block.number, wanted, block.note)
                else:
                    answer = block.text.rstrip()
            if answer == base.text:
                raise self.wrong(number, "an edit, a diff or code that makes it wrong", "none")
            code = self.answer(f"wrong_{count}", answer, number, space)
            yield Slip(code, " ".join(sentence))

    def patched(self, source: str, block: Block) -> str:
        """Return a source after the hunks of a diff, which are parted by lines of `@@`."""
        lines = source.split("\n")
        for hunk in re.split(r"^@@.*\n", block.text, flags=re.MULTILINE):
            marked = [line for line in hunk.split("\n") if line]
            old = [line[1:] for line in marked if line[0] in "- "]
            new = [line[1:] for line in marked if line[0] in "+ "]
            starts = [i for i in range(len(lines)) if lines[i : i + len(old)] == old]
            if not old or len(starts) != 1:
                told = f"{len(starts)} places"
                raise self.wrong(block.number, "lines of - that stand once in the answer", told)
            lines[starts[0] : starts[0] + len(old)] = new
        return "\n".join(lines)

    def variants(self) -> Iterator[Variant]:
        for lines, text in self.items("variants", whole=True):
            *sentence, body = text.split("\n")
            if not re.fullmatch(r"`[^`]+`", body):
                raise self.wrong(lines[-1].number, "an expression in `...` as the last line", body)
            yield Variant(" ".join(sentence), body.strip("`"))

    def harmless(self) -> Iterator[str]:
        """Yield the small changes to a right answer that leave it right, each with its reason."""
        for lines, text in self.items("harmless changes", whole=True):
            _, *changes = text.split("\n")
            if not changes or not all(re.fullmatch(r"`[^`]+`", change) for change in changes):
                raise self.wrong(lines[0].number, "a reason, and below it lines of `change`", text)
            yield from (change.strip("`") for change in changes)

    def prose(self, section: str) -> str:
        return "\n".join(line.text for line in self.sections.get(section, ())[1:]).strip()

    def items(self, section: str, *, whole: bool = False) -> Iterator[tuple[list[Line], str]]:
        """Yield the items of a list: their lines, and their words without code.

        In one line, unless `whole`.
        """
        found: list[list[Line]] = []
        for line in self.sections.get(section, ())[1:]:
            if line.code is None and re.match(r"(-|\d+\.) ", line.text):
                found.append([])
            if found:
                found[-1].append(line)
            elif line.text.strip():
                raise self.wrong(line.number, f"a list in the section {section}", line.text)
        for lines in found:
            first = re.sub(r"^(-|\d+\.) +", "", lines[0].text)
            words = [line.text.strip() for line in lines[1:] if line.code is None]
            words = [word for word in words if word and not word.startswith("```")]
            yield lines, ("\n" if whole else " ").join([first, *words])

    def blocks(self, section: str, language: str) -> list[Block]:
        lines = self.sections.get(section, ())
        return [block for block in _blocks(lines) if block.language == language]

    def _split(self, lines: list[Line]) -> dict[str, list[Line]]:
        sections: dict[str, list[Line]] = {"": []}
        title = ""
        for line in lines:
            if line.code is None and line.text.startswith("## "):
                title = line.text[3:].strip().lower()
                if title in sections:
                    raise self.wrong(line.number, "each section once", f"{title} twice")
                sections[title] = []
            sections[title].append(line)
        return sections


def _lines(text: str) -> Iterator[Line]:
    code, indent = None, 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence and code is None:
            yield Line(number, line, None)
            code, indent = fence[3].strip(), len(fence[1])
        elif fence and len(fence[1]) == indent and not fence[3].strip():
            code = None
            yield Line(number, line, None)
        else:
            yield Line(number, line, code)


def _blocks(lines: list[Line]) -> list[Block]:
    found, inside = [], None
    for line in lines:
        if line.code is None:
            inside = None
            continue
        if inside is None:
            inside = []
            found.append((line.code, line.number, inside))
        inside.append(line.text)
    return [
        Block(*code.partition(" ")[::2], number, textwrap.dedent("\n".join(texts)) + "\n")
        for code, number, texts in found
    ]
