"""The table of docs/security.md: every requirement of ASVS 5.0.0, levels 1 and 2, is answered, by what exists."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
ROWS = re.findall(r"^\| V(\d+\.\d+\.\d+) \| ([12]) \| (\S+) \| (.+) \|$", PAGE, re.M)
REQUIREMENTS = """
    1.1.1-2 1.2.1-9 1.3.1-11 1.4.1-3 1.5.1-2 2.1.1-3 2.2.1-3 2.3.1-4 2.4.1-1 3.2.1-2 3.3.1-4 3.4.1-6 3.5.1-5 3.7.1-2
    4.1.1-3 4.2.1-1 4.3.1-2 4.4.1-4 5.1.1-1 5.2.1-3 5.3.1-2 5.4.1-3 6.1.1-3 6.2.1-12 6.3.1-4 6.4.1-4 6.5.1-5 6.6.1-3
    6.8.1-4 7.1.1-3 7.2.1-4 7.3.1-2 7.4.1-5 7.5.1-2 7.6.1-2 8.1.1-2 8.2.1-3 8.3.1-1 8.4.1-1 9.1.1-3 9.2.1-4 11.1.1-2
    11.2.1-3 11.3.1-3 11.4.1-4 11.5.1-1 11.6.1-1 12.1.1-3 12.2.1-2 12.3.1-4 13.1.1-1 13.2.1-5 13.3.1-2 13.4.1-5
    14.1.1-2 14.2.1-4 14.3.1-3 15.1.1-3 15.2.1-3 15.3.1-7 16.1.1-1 16.2.1-5 16.3.1-4 16.4.1-3 16.5.1-3
"""
"""Numbers of the standard's requirements of levels 1 and 2, without V10 and V17: first to last of each section."""


def numbers() -> list[str]:
    found = []
    for section in REQUIREMENTS.split():
        prefix, span = section.rsplit(".", 1)
        first, last = map(int, span.split("-"))
        found += [f"{prefix}.{number}" for number in range(first, last + 1)]
    return found


def test_every_requirement_has_one_answer() -> None:
    assert len(numbers()) == 217
    assert Counter(number for number, *_ in ROWS) == Counter(numbers())
    assert Counter(level for _, level, *_ in ROWS) == {"1": 65, "2": 152}
    assert {state for _, _, state, _ in ROWS} == {"pass", "n/a", "open"}


def test_what_proves_a_row_exists() -> None:
    for number, _, state, why in ROWS:
        files = re.findall(r"`(tests/[^`]+)`|(docs/[a-z.-]+\.md)", why)
        if state == "pass":
            assert files, f"V{number} says pass and names nothing"
        for test, doc in files:
            name, _, function = (test or doc).partition("::")
            assert (ROOT / name).is_file(), f"V{number} names {name}, which is not there"
            assert not function or f"def {function}(" in (ROOT / name).read_text("utf-8"), f"V{number}: {function}"


def test_the_counts_are_those_of_the_rows() -> None:
    counted = Counter((level, state) for _, level, state, _ in ROWS)
    for level in "12":
        said = " | ".join(str(counted[level, state]) for state in ("pass", "n/a", "open"))
        assert f"\n| {level} | {said} |\n" in PAGE
