"""One regularizer, three libraries: what Keras, PyTorch and scikit-learn call the same thing.

Each row is run: its snippets return numbers, and the numbers are equal, or the library has no
equivalent and the row says why. A wrong line stands beside each row, and is run as well.
"""

from coursekit.rosetta import page
from coursekit.rosetta.measure import ROWS, Outcome, outcomes, versions
from coursekit.rosetta.page import Page, helpers
from coursekit.rosetta.row import Row

__all__ = [
    "ROWS",
    "Outcome",
    "Page",
    "Row",
    "find",
    "helpers",
    "outcomes",
    "show",
    "table",
    "versions",
]


def table() -> Page:
    """Run all rows and show them; each unfolds into its code, its trap and its differences.

    Without Keras its column is not run, and the table says so.

    Examples
    --------
    >>> from coursekit import rosetta
    >>> len(rosetta.ROWS) > 30
    True
    """
    return page.table(outcomes().values())


def show(name: str) -> Page:
    """Show one row, unfolded.

    Parameters
    ----------
    name : str
        One of `rosetta.ROWS`, such as "Decoupled".

    Raises
    ------
    ValueError
        If there is no such row.
    """
    if name not in ROWS:
        raise ValueError(f"expected a row, got {name!r}; try one of {', '.join(ROWS)}")
    return page.single(outcomes()[name])


def find(word: str) -> list[str]:
    """Names of the rows that contain a word in their title, code or text.

    Parameters
    ----------
    word : str
        Upper or lower case, such as "weight_decay".

    Examples
    --------
    >>> from coursekit import rosetta
    >>> rosetta.find("clipnorm")
    ['ClipNorm', 'ClipValue']
    """
    return [name for name, row in ROWS.items() if word.lower() in _text(row).lower()]


def _text(row: Row) -> str:
    code = [row.source(library) for library in (*row.code, "wrong")]
    short = [*(one for one in row.short.values() if one), *row.also]
    return "\n".join([row.topic, row.same, row.trap, *row.lacks.values(), *short, *code])
