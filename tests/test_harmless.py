"""Markdown of students, in any mixture of marks, gives no HTML but what Markdown itself makes."""

import random
import re

import pytest

from coursekit.grading.book import harmless

bs4 = pytest.importorskip("bs4")
render = pytest.importorskip("nbconvert.filters.markdown_mistune").markdown2html_mistune

MARKS = [
    "<", "<img src=x onerror=alert(1)>", "<script>", "</script>", "&lt;", "&#60;", "&#x3c;script>",
    "[", "]", "(", ")", "!", "![", "](", "]:", "[a]", "[a]:", " javascript:alert(1)",
    "javascript&colon;x", "data:text/html,x", "https://e.org/a", "http://e.org/(x)", "x.png",
    "attachment:y.svg", "`", "```", "~~~", "```mermaid\n", "~~~ &#109;ermaid\n", "$", "$$", "\\",
    "\\(", "\\)", "\\begin{align}", "\\end{align}", "\n", "\n\n", " ", "    ", "> ", "- ", "1. ",
    "# ", "|", "|---|\n", "\t", "\r", "\x0b", "\u200b", "\u2028", "a", 'b"', "'", "onerror=", "=",
    ">", "<!--", "-->", "<?", "<![CDATA[", "]]>", "~~", "**", "[^1]", ": ", "<a@b.c>", "\\<", "\\]",
    "\\![", "&amp;", "\x00", "＜script＞",
]  # fmt: skip
TAGS = (
    "p em strong code pre a img ul ol li table thead tbody tr th td h1 h2 h3 h4 h5 h6 blockquote "
    "hr br del div span input dl dt dd"
)


def dangers(html: str) -> list:
    found = []
    for tag in bs4.BeautifulSoup(html, "html.parser").find_all(True):
        found += [tag.name] if tag.name not in TAGS.split() else []
        for name, value in tag.attrs.items():
            script = name.startswith("on") or name == "srcdoc"
            script |= name == "class" and "mermaid" in str(value).lower()  # it draws what it says
            link = name == "href" and not re.match(r"https?://|#|mailto:", value)
            picture = name == "src" and not re.fullmatch(r"[\w-]+\.png", value)
            found += [(name, value)] if script or link or picture else []
    return found


def mixtures(n: int) -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(MARKS, k=rng.randint(2, 18))) for _ in range(n)]


def test_no_mixture_of_marks_makes_html_a_script_or_anything_to_fetch():
    texts = mixtures(1500)
    assert sum(bool(dangers(render(text))) for text in texts[:300]) > 50  # as they are
    assert [text for text in texts if dangers(render(harmless.markdown(text)))] == []


@pytest.mark.parametrize(
    "text",
    [
        "# Why\n\nIt is **so**, *since* `x[1:]` and $E[m] = 1 - p$.",
        "$$\\frac{a}{b} \\le \\sum_i w_i^2$$",
        "- one\n- two\n\n1. three",
        "| p | q |\n|---|---|\n| 1 | 2 |",
        "```python\nif a < 3 and b <= c: pass\n```",
        "See [this](https://example.org/a_b?c=d#e) and ![plot](plot.png).",
    ],
)
def test_honest_text_stays_as_it_is(text):
    assert harmless.markdown(text) == text


def test_only_pictures_are_attached():
    png = "iVBORw0KGgoAAAANSUhEUg=="
    kept = harmless.pictures(
        {
            "a.png": {"image/png": png, "text/html": "<b>"},
            "b.png": {"image/png": "AAAA"},
            "c.svg": {"image/svg+xml": "PHN2Zz4="},
            "../d.png": {"image/png": png},
            'e.png" onerror="x': {"image/png": png},
            "f.png": {'image/png" onerror="x': png},
            "g.png": "no bundle",
        }
    )
    assert kept == {"a.png": {"image/png": png}}
    assert harmless.pictures(None) == {}
