"""docs/client.md lists every standard test that is skipped or may fail, with its reason."""

from __future__ import annotations

import re
from pathlib import Path

_ROW = re.compile(
    r"^\| (`test_\w+`(?:, `test_\w+`)*) \| (may fail|skipped) \| (.+) \|$", re.MULTILINE
)
_EXPECTED = re.compile(
    r"@pytest\.mark\.xfail\(reason=(\w+), strict=False\)\n(?:    @.*\n)*"
    r"    (?:async )?def (test_\w+)"
)


def test_cases_that_may_fail_are_those_of_the_test_file(repository: Path) -> None:
    source = (repository / "tests/live/test_langchain_standard.py").read_text()
    reasons = dict(re.findall(r'^(\w+) = "(.+)"$', source, re.MULTILINE))
    expected = {name: reasons[reason] for reason, name in _EXPECTED.findall(source)}
    assert len(expected) == source.count("@pytest.mark.xfail")
    listed = {
        name: reason
        for names, kind, reason in _ROW.findall((repository / "docs/client.md").read_text())
        if kind == "may fail"
        for name in re.findall(r"test_\w+", names)
    }
    assert listed == expected
