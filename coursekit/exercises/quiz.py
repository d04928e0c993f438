"""Quizzes: five questions per lesson, with an explanation for every option.

A quiz is a Markdown file, `quizzes/NN.md`, that a teacher can write. A line with `##` opens a
question and gives its title. Its last paragraph is what is asked; whatever stands before that, such
as code, leads to it. The options are a list of tasks, the right one is marked, and the rest of an
option, indented, explains it:

    ## A lucky seed

    One seed gained three points. What do you know about the method?

    - [ ] It gains three points.

      One seed is one draw, and its luck is in that number.

    - [x] Hardly anything yet.

      Without a second seed you cannot even tell how much luck there is.

Where the right answer is a measurement, the first line of a question names it. Then each option
ends in what it claims, and the ledger decides which one is right:

    claim: C44 | noisy digits, last epoch | difference

    By how many points does dropout raise the accuracy?

    - [ ] By less than one {-1 to 1}
    ...

A reference is a claim (its answer, as in `{yes}`), a claim and a condition (its word, as in
`{helps}`), or these two and a number: `control`, `treated`, `difference`, `size` (the difference
without its sign), `low` or `high`. The same references give the numbers of the ledger in any text:
`{C44 | noisy digits, last epoch | difference}`. What cannot be read says where, and what to try.

On a page the questions are folds, one per option, that need neither scripts nor a kernel. Where
scripts may run, they become radio buttons that are checked one question at a time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from coursekit import explorers
from coursekit.exercises import bank
from coursekit.ledger import cards, results

HERE = Path(__file__).resolve().parent
FOLDER = bank.QUIZZES
NUMBERS = ("control", "treated", "difference", "size", "low", "high")
REFERENCE = re.compile(r"\{([CSW]\d+[a-z]?(?:\s*\|[^{}|]+){0,2})\}")
MARKDOWN = MarkdownIt()


@dataclass(frozen=True)
class Option:
    """An answer that a reader may choose.

    Attributes
    ----------
    text : str
        Markdown of one line.
    marked : bool
        Whether the file says that it is right.
    why : str
        What is true about it, as HTML with references.
    claims : str
        What it claims of the ledger: a word, or a range as in "1 to 5"; "" without a claim.
    """

    text: str
    marked: bool
    why: str
    claims: str = ""


@dataclass(frozen=True)
class Question:
    """A question with its options.

    Attributes
    ----------
    title : str
    lead : str
        What stands before the question, as HTML with references.
    asked : str
        Markdown of one paragraph.
    options : tuple of Option
    claim : str
        Reference to the ledger, "" if the right answer is no measurement.
    where : str
        File and line.
    """

    title: str
    lead: str
    asked: str
    options: tuple[Option, ...]
    claim: str
    where: str

    @property
    def right(self) -> int:
        """Position of the right option: the marked one, or the one that the ledger confirms.

        Raises
        ------
        ValueError
            If the ledger confirms none of the options, or several.
        """
        if not self.claim:
            return [o.marked for o in self.options].index(True)
        found = _measured(self.claim, self.where)
        confirmed = [i for i, o in enumerate(self.options) if _holds(o.claims, found, self.where)]
        if len(confirmed) != 1:
            raise ValueError(
                f"{self.where}: expected one option that agrees with the ledger, where "
                f"{self.claim} is {found!r}, got {len(confirmed)}; change what the options claim"
            )
        return confirmed[0]


class Quiz:
    """The questions of a file; the last line of a cell shows them.

    Attributes
    ----------
    name : str
    questions : tuple of Question
    """

    def __init__(self, name: str, questions: tuple[Question, ...]):
        self.name, self.questions = name, questions

    def __repr__(self) -> str:
        told = [f"Quiz {self.name}: {len(self.questions)} questions"]
        for i, one in enumerate(self.questions, 1):
            lead = unescape(re.sub("<[^>]*>", "", one.lead))
            options = [f"- {option.text}" for option in one.options]
            text = "\n".join([f"{i}. {one.title}", f"{lead}{one.asked}", *options])
            told.append(_filled(text, one.where))
        return "\n\n".join(told)

    def _repr_html_(self) -> str:
        script = explorers.with_kit(HERE / "quiz.js")
        # A script ends at the first "</", whatever quotes stand around it.
        script = re.sub(r"^export ", "", script, flags=re.M).replace("</", "<\\/")
        asked = "".join(_markup(one, i) for i, one in enumerate(self.questions, 1))
        return (
            f'<div class="quiz">{asked}</div>\n<script>(() => {{\n{script}\n'
            "quiz(document.currentScript.previousElementSibling);\n})();</script>"
        )


def read(file: Path) -> Quiz:
    """Read a quiz, one of the course or one of your own, from its file.

    Parameters
    ----------
    file : Path
        Markdown, in the form that this module describes.

    Raises
    ------
    ValueError
        If a question cannot be understood; the message names file and line.

    Examples
    --------
    >>> from coursekit.exercises import quiz
    >>> len(quiz.read(quiz.FOLDER / "04.md").questions)
    5
    """
    tree = SyntaxTreeNode(MARKDOWN.parse(file.read_text(encoding="utf-8")))
    parts = []
    for block in tree.children:
        if (block.type, block.tag) == ("heading", "h2"):
            parts.append([block])
        elif parts:
            parts[-1].append(block)
    if not parts:
        raise ValueError(f"{file.name}: expected questions, each below a line with ##, got none")
    return Quiz(file.stem, tuple(_question(*part, file=file.name) for part in parts))


def find(lesson: str) -> Quiz:
    """Return the quiz of a lesson.

    Parameters
    ----------
    lesson : str
        Two digits, as in "04".

    Raises
    ------
    ValueError
        If the lesson has none.
    """
    known = bank.quizzes()
    if lesson not in known:
        raise ValueError(f"expected one of {', '.join(known)}, lessons with a quiz, got {lesson!r}")
    return read(known[lesson])


def show(lesson: str) -> Quiz:
    """Show the quiz of a lesson; as the last line of a cell. Raises as `find`.

    Examples
    --------
    >>> from coursekit.exercises import quiz
    >>> print(str(quiz.show("04")).splitlines()[0])
    Quiz 04: 5 questions
    """
    return find(lesson)


def html(lesson: str) -> str:
    """Return the quiz of a lesson as a fragment of a page that loads nothing. Raises as `find`."""
    return find(lesson)._repr_html_()


def contradictions(quiz: Quiz) -> list[str]:
    """Questions whose marked option is not the one that the ledger confirms, in words."""
    return [
        f"{one.where}: {one.options[one.right].text!r} is right by the ledger, and not marked"
        for one in quiz.questions
        if not one.options[one.right].marked
    ]


# From Markdown


def _question(heading: SyntaxTreeNode, *blocks: SyntaxTreeNode, file: str) -> Question:
    where, claim = _place(heading, file), ""
    if blocks and blocks[0].type == "paragraph" and _text(blocks[0]).startswith("claim:"):
        claim, blocks = _text(blocks[0]).removeprefix("claim:").strip(), blocks[1:]
    kinds = [block.type for block in blocks]
    if kinds.count("bullet_list") != 1 or kinds[-2:] != ["paragraph", "bullet_list"]:
        raise ValueError(
            f"{where}: expected a paragraph that asks and then one list of options, got "
            f"{', '.join(kinds) or 'nothing'}; the next question begins with ##"
        )
    options = tuple(_option(item, bool(claim), file) for item in blocks[-1].children)
    marked = sum(o.marked for o in options)
    if marked != 1:
        raise ValueError(f"{where}: expected one option marked [x], got {marked}")
    asked = _text(blocks[-2])
    return Question(_text(heading), _rendered(blocks[:-2]), asked, options, claim, where)


def _option(item: SyntaxTreeNode, measured: bool, file: str) -> Option:
    where, text = _place(item, file), _text(item.children[0]) if item.children else ""
    found = re.match(r"\[([ x])\] +(\S.*)", text, re.S)
    if not found:
        raise ValueError(f"{where}: expected an option after [ ] or [x], got {text!r}")
    words, claims = found[2], ""
    if len(item.children) < 2:
        raise ValueError(
            f"{where}: expected an explanation below {words!r}, got none; leave a line free and "
            "indent it by two spaces"
        )
    if measured:
        ends = re.fullmatch(r"(.*\S)\s*\{([^{}|]+)\}", words, re.S)
        if not ends:
            raise ValueError(
                f"{where}: expected an option that ends in what it claims of the ledger, as in "
                f"{{helps}} or {{1 to 5}}, got {words!r}"
            )
        words, claims = ends[1], ends[2].strip()
    return Option(words, found[1] == "x", _rendered(item.children[1:]), claims)


def _place(node: SyntaxTreeNode, file: str) -> str:
    return f"{file}, line {node.map[0] + 1}"


def _text(node: SyntaxTreeNode) -> str:
    return node.children[0].content if node.children else ""


def _rendered(nodes: Sequence[SyntaxTreeNode]) -> str:
    tokens = [token for node in nodes for token in node.to_tokens()]
    return MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})


# From the ledger


def _measured(reference: str, where: str) -> str:
    """What the ledger says, as it prints it: an answer, a word or a number."""
    id, *rest = (part.strip() for part in reference.split("|"))
    try:
        result = results.stored(id)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if not rest:
        return result.answer
    named = {c.condition.name: c for c in result.comparisons}
    if rest[0] not in named:
        raise ValueError(
            f"{where}: expected a condition of {id}, one of {'; '.join(named)}, got {rest[0]!r}"
        )
    found = named[rest[0]]
    if len(rest) == 1:
        return found.word
    if rest[1] not in NUMBERS or not results.measured(found):
        raise ValueError(
            f"{where}: expected one of {', '.join(NUMBERS)} of a condition with numbers, got "
            f"{reference!r}"
        )
    before, after, effect, low, high = cards.numbers(found)
    values = (before, after, effect, effect.lstrip("+-"), low, high)
    return dict(zip(NUMBERS, values, strict=True))[rest[1]]


def _holds(claims: str, found: str, where: str) -> bool:
    """Whether a word is the one that was found, or a range holds the number."""
    try:
        value = float(found)
    except ValueError:
        return claims == found
    ends = re.fullmatch(r"([+-]?[\d.]+) to ([+-]?[\d.]+)", claims)
    if not ends:
        raise ValueError(f"{where}: expected a range as in {{-1 to 1}}, got {claims!r}")
    return float(ends[1]) <= value < float(ends[2])


def _filled(text: str, where: str) -> str:
    """A text with the numbers of the ledger in place of references to them."""
    return REFERENCE.sub(lambda m: _measured(m[1], where).replace("-", "\N{MINUS SIGN}"), text)


# To a page


def _markup(one: Question, number: int) -> str:
    right = one.right
    folds = []
    for i, option in enumerate(one.options):
        told, mark = ("Right.", " data-right") if i == right else ("Not this one.", "")
        folds.append(
            f"<li><details{mark}><summary>{_inline(option.text, one.where)}</summary>"
            f"<p><strong>{told}</strong></p>{_filled(option.why, one.where)}</details></li>"
        )
    return (
        f'<div class="question"><p class="name"><strong>{number} \N{MIDDLE DOT} '
        f"{escape(one.title)}</strong></p>{_filled(one.lead, one.where)}"
        f'<p class="asked">{_inline(one.asked, one.where)}</p>'
        f'<ul class="options">{"".join(folds)}</ul></div>'
    )


def _inline(text: str, where: str) -> str:
    return MARKDOWN.renderInline(_filled(text, where))
