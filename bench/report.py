"""How a bench shows its figures: a table, a line about the machine, JSON for programs and CSV for the records."""

import csv as csv_files
import importlib
import json as json_text
import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

Row = Mapping[str, object]


def _find_the_rooms() -> None:
    """Import the room that one of these scripts is named after, before the script can be taken for it.

    A script's folder is the first that Python searches. Every bench imports this module before any room.
    """
    here, searched = Path(__file__).resolve().parent, list(sys.path)
    sys.path[:] = [place for place in searched if Path(place).resolve() != here]
    importlib.import_module("serving")
    sys.path[:] = searched


_find_the_rooms()


def report(name: str, rows: Sequence[Row], *, json: bool = False, csv: Path | None = None) -> None:
    """Print the rows of one bench.

    Args:
        name: of the bench, e.g. ``discover``.
        rows: one measured case each, with the same keys; units last in the keys (``p95_ms``).
        json: print one JSON object instead of the table.
        csv: also write the rows there, with the machine in a last column.
    """
    place = machine()
    if json:
        print(json_text.dumps({"bench": name, "machine": place, "rows": [dict(row) for row in rows]}, default=str))
    else:
        print(f"{name}\n\n{table(rows)}\n\nMeasured on {place}. Other machines give other figures.")
    if csv is not None and rows:
        csv.parent.mkdir(parents=True, exist_ok=True)
        with csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv_files.DictWriter(file, [*rows[0], "machine"])
            writer.writeheader()
            writer.writerows({**row, "machine": place} for row in rows)


def table(rows: Sequence[Row]) -> str:
    """The rows in columns; numbers to the right, floats with three significant figures."""
    if not rows:
        return "(nothing measured)"
    names = list(rows[0])
    cells = [[_shown(row.get(name, "")) for name in names] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(names, *cells, strict=True)]
    numeric = [all(isinstance(row.get(name, ""), int | float) for row in rows) for name in names]

    def line(texts: Sequence[str]) -> str:
        parts = zip(texts, widths, numeric, strict=True)
        return "  ".join(text.rjust(width) if right else text.ljust(width) for text, width, right in parts).rstrip()

    return "\n".join([line(names), line(["-" * width for width in widths]), *map(line, cells)])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that at least ``share`` (0-1) of them do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def machine() -> str:
    """What a figure must be read with: processor, cores, memory, system, Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory_gib = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{_processor()}, {cores} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the end"
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
