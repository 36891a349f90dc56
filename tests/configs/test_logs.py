"""Logs: one JSON object a line, from structlog and from libraries alike, in every thread."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from configs.logs import configure, stack_of
from configs.settings import LogSettings


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_every_line_is_json_and_names_its_part(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(level="INFO", format="json"), part="worker")

    def work() -> None:
        structlog.get_logger("ours").info("job.claimed", job_id="job_1")
        logging.getLogger("theirs").warning("old %s", "style")
        structlog.get_logger("ours").debug("too quiet")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["part"], ours["event"], ours["job_id"], ours["level"]) == ("worker", "job.claimed", "job_1", "info")
    assert (theirs["part"], theirs["event"], theirs["logger"]) == ("worker", "old style", "theirs")
    assert ours["timestamp"].endswith("Z")


def test_an_error_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="json"), part="web")
    structlog.get_logger("ours").error("door.failed", exc_info=ValueError("broken"))
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_people_get_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format="text"), part="cli")
    structlog.get_logger("ours").info("hello")
    assert "hello" in capsys.readouterr().err


@pytest.mark.parametrize("format_", ["json", "text"])
def test_an_error_never_shows_the_values_of_local_variables(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    configure(LogSettings(format=format_), part="web")

    def fail(password: str) -> None:
        raise ValueError(f"a password of {len(password)} characters")

    # put together here, because a trace does show the lines of the program
    words = " ".join(("tell", "nobody"))
    try:
        fail(words)
    except ValueError as error:
        structlog.get_logger("ours").error("door.failed", exc_info=error)
    said = capsys.readouterr().err
    assert "a password of 11 characters" in said
    assert words not in said


def test_the_stack_of_an_error_tells_where_and_not_what() -> None:
    words = " ".join(("tell", "nobody"))
    try:
        int(words)
    except ValueError as error:
        stack = stack_of(error)
    assert f'File "{__file__}"' in stack
    assert words not in stack
