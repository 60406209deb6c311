"""The README shows the graph as the code draws it."""

from __future__ import annotations

import re
from pathlib import Path

from reverie.graphs.drawing import mermaid


def test_the_drawing_in_the_readme_is_that_of_the_code(repository: Path) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")

    shown = re.search(
        r"<!-- graph: begin.*?-->\n```mermaid\n(.*?)```\n<!-- graph: end -->", readme, re.DOTALL
    )

    assert shown is not None
    assert shown[1] == mermaid(xray=False), "put the output of `reverie graph --no-xray` there"
