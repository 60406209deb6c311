"""HTML to Markdown with the lines of the file."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reverie.knowledge.read.document import SourceDocument
from reverie.knowledge.read.html import declared_encoding, read_html


def only(html: str) -> SourceDocument:
    (document,) = read_html(html, "/a.html", [])
    assert document.lines is not None
    assert len(document.lines) == document.text.count("\n") + 1
    return document


def test_lines_of_the_file_are_kept() -> None:
    document = only(
        "<title>A\npage</title>\n<body><h2>The <i>first</i>\npart</h2>\n<p>Some\ntext with "
        "<code>x</code>.\n<p>More\n<ul>\n<li>one\n<li>two<ol><li>inner</ol>\n</ul>"
    )
    assert document.title == "A page"
    assert list(zip(document.lines or (), document.text.split("\n"), strict=True)) == [
        (3, "## The first part"),
        (3, ""),
        (5, "Some"),
        (6, "text with `x`."),
        (6, ""),
        (7, "More"),
        (7, ""),
        (9, "- one"),
        (10, "- two"),
        (10, "   1. inner"),
    ]


def test_code_keeps_its_form() -> None:
    document = only(
        '<p>x\n<pre>\n<code class="language-python">def f():\n\n    return "```"\n</code></pre>'
    )
    assert document.text.split("\n")[2:] == [
        "````python", "def f():", "", '    return "```"', "````",
    ]  # fmt: skip
    assert document.lines is not None
    assert list(document.lines[2:]) == [3, 3, 4, 5, 5]


def test_tables() -> None:
    document = only(
        "<table><caption>Sizes</caption>\n<tr><th>A<th>B\n<tr><td>1 | 2<td><p>x<p>y"
        "<table><tr><td>inner</table>\n</table>\nafter"
    )
    assert document.text.split("\n") == [
        "Sizes", "", "| A | B |", "| --- | --- |", "| 1 \\| 2 | x y inner |", "", "after",
    ]  # fmt: skip


def test_links_keep_their_address() -> None:
    html = (
        '<a href="https://a.org/b">one</a> <a href="#x">two</a> <a href="javascript:alert(1)">'
        'three</a> <a href="b.html"> four </a>'
    )
    assert only(html).text == "[one](https://a.org/b) two three [four](b.html)"


def test_scripts_styles_navigation_and_what_is_hidden_are_left_out() -> None:
    document = only(
        "<style>p {}</style><script>if (a < b) '<p>no</p>'</script><nav><ul><li>Home</ul></nav>"
        '<div role="navigation">Up</div><p hidden>no</p><template><p>no</template>'
        '<p>yes<svg><title>no</title></svg><button>no</button><img alt="a cat">'
    )
    assert document.text == "yes a cat"
    assert document.title == ""


def test_only_the_main_part_where_there_is_one() -> None:
    assert only("<header>top</header><main><p>body</main><footer>foot").text == "body"
    assert only("<p>top<main></main>").text == "top"


def test_a_page_of_navigation_alone_is_read() -> None:
    assert only("<nav>unclosed <p>text").text == "unclosed\n\ntext"
    assert read_html("<script>x</script><style>y</style>", "/a.html", []) == []


@pytest.mark.parametrize("text", ["# a", "- a", "1. a", "> a", "| a", "``` a", "=== "])
def test_text_does_not_become_markup(text: str) -> None:
    from markdown_it import MarkdownIt

    written = only(f"<p>x</p><p>{text.replace('>', '&gt;')}</p>").text
    kinds = {token.type for token in MarkdownIt("commonmark").enable("table").parse(written)}
    assert kinds == {"paragraph_open", "inline", "paragraph_close"}


def test_the_declared_encoding() -> None:
    assert declared_encoding(b'<meta charset="latin-1">') == "latin-1"
    assert declared_encoding(b'<META http-equiv=x content="text/html; charset=koi8-r">') == "koi8-r"
    assert declared_encoding(b"<p>charset=no") == ""


@pytest.mark.parametrize(
    "html",
    [
        *("<!--" * 20_000, '<p a="' * 20_000, "</" * 50_000, "<?" * 50_000, "<![CDATA[" * 20_000),
        *("<ul><li>x" * 20_000, "<blockquote>x" * 20_000, "<div>" * 50_000 + "x", "<" * 100_000),
        "<title>x " * 50_000 + "</title>x",
    ],
    ids=[
        *("comment", "quote", "end", "instruction", "section", "list", "quotation", "div", "less"),
        "title",
    ],
)
def test_damage_is_read_in_time(html: str) -> None:
    began = time.monotonic()
    text = "".join(document.text for document in read_html(html, "/a.html", []))
    assert time.monotonic() - began < 5
    assert len(text) < 30 * len(html)


_PARTS = [
    *("<p>", "</p>", "<ul>", "<li>", "</ul>", "<table>", "<tr>", "<td>", "</table>", "<pre>"),
    *("</pre>", "<h1>", "</h1>", "<a href=x>", "</a>", "<code>", "<main>", "</main>", "<nav>"),
    *("</nav>", "<br>", "<caption>", "</caption>", "<blockquote>", "</blockquote>", "word", " "),
    *("\n", "|", "`", "< ", "&"),
]


@given(st.lists(st.sampled_from(_PARTS), max_size=30))
def test_any_tags_give_lines_in_order(parts: list[str]) -> None:
    html = "".join(parts)
    for document in read_html(html, "/a.html", []):
        assert document.lines is not None
        assert len(document.lines) == document.text.count("\n") + 1
        assert list(document.lines) == sorted(document.lines)
        assert 1 <= document.lines[0] <= document.lines[-1] <= html.count("\n") + 1
        assert "word" not in html or "<nav>" in html or "<main>" in html or "word" in document.text
