"""Make what a student wrote harmless to the browser of whoever reads it.

The reader's programs disagree on what is HTML in Markdown, so nothing here parses. The few marks
without which none of them can make a tag, a link, a picture or a command are broken up by a space,
wherever they stand, and put back for what is known to do nothing. What is lost is raw HTML, which
is then read as text; formulas, code, tables, links to the web and pictures stay.
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping

from coursekit.grading.intake.files import printable

LARGEST_PICTURE = 4 << 20  # bytes, as text
PICTURES = {  # what their first bytes are
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
}
TAG = re.compile(r"<(?=[A-Za-z/!?])")
ADDRESS = r"https?://[A-Za-z0-9._~:/?#@$&+,;=%-]{1,500}"
FILE = r"[A-Za-z0-9_-]{1,80}\.(?:png|jpg|jpeg|gif)"
# A picture of one's own, as a whole; else what begins a picture, and what leads elsewhere. The text
# of a picture has no brackets: it ends where it seems to.
TARGET = re.compile(
    rf"(?P<picture>!\[[^\[\]]{{0,500}}\]\((?:{FILE}|attachment:(?P<attached>{FILE}))\))"
    rf"|!(?=\[)|\](?=\((?!{ADDRESS}\)))"
)
DEFINITION = re.compile(r"\](?=:)")
# What follows the marks of a code block names its language, and one of them draws diagrams.
FENCE = re.compile(r"([`~]{3,})[ \t]*(?!(?:python|py|text)?[ \t]*(?:\n|$))(?=[^`~\s])")
# Commands of MathJax that make links, load something, or set styles.
COMMAND = re.compile(
    r"\\(?=(?:href|url|style|class|cssId|require|unicode|mmlToken|bbox|includegraphics|data|html"
    r"|toggle|mathtip|texttip|action|begingroup|import|input)(?![a-z]))",
    re.I,
)


def markdown(text: str, attached: Collection[str] = ()) -> str:
    """Return Markdown in which no program finds HTML, a script, or anything to fetch.

    Parameters
    ----------
    text : str
    attached : collection of str
        Names of the pictures that are there: a program may end at one that is not.

    Examples
    --------
    >>> markdown("It is **less** than $a<b$. <script>alert(1)</script>")
    'It is **less** than $a< b$. < script>alert(1)< /script>'
    >>> markdown("[a](javascript:b) [c](https://d.org) ![e](https://f.org/g.png)")
    '[a] (javascript:b) [c](https://d.org) ! [e](https://f.org/g.png)'
    """
    text = printable(text, lines=True)
    text = TAG.sub("< ", text)
    text = TARGET.sub(lambda found: _target(found, attached), text)
    text = DEFINITION.sub("] ", text)
    text = FENCE.sub(r"\1text ", text)
    return COMMAND.sub(r"\\ ", text)


def _target(found: re.Match, attached: Collection[str]) -> str:
    if not found["picture"]:
        return f"{found[0]} "
    if found["attached"] is None or found["attached"] in attached:
        return found[0]
    return f"! {found[0][1:].replace('](', '] (')}"


def pictures(attachments: object) -> dict[str, dict[str, str]]:
    """Return those attachments of a cell that are pictures, and nothing but pictures."""
    found: dict[str, dict[str, str]] = {}
    for name, bundle in attachments.items() if isinstance(attachments, Mapping) else ():
        if not (isinstance(name, str) and re.fullmatch(FILE, name) and isinstance(bundle, Mapping)):
            continue
        kept = {kind: data for kind, data in bundle.items() if _is_picture(kind, data)}
        if kept:
            found[name] = kept
    return found


def _is_picture(kind: object, data: object) -> bool:
    if kind not in PICTURES:
        return False
    data = "".join(data) if isinstance(data, list) and all(map(_is_text, data)) else data
    if not isinstance(data, str) or len(data) > LARGEST_PICTURE:
        return False
    try:
        content = base64.b64decode(data.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return content.startswith(PICTURES[kind])


def _is_text(value: object) -> bool:
    return isinstance(value, str)
