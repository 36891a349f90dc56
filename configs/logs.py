"""Structured logs: one event a line, with ids, never with personal data or what people wrote."""

import logging
import sys
import traceback
from typing import Final

import structlog

from configs.settings import LogSettings

_FRAMES: Final = 8


def configure(settings: LogSettings, *, part: str) -> None:
    """Send the logs of this process to standard error.

    Args:
        settings: level and format.
        part: name of the process ("web", "worker", "cli", …), stands on every line.
    """

    def name_part(_: object, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        return {"part": part, **event}

    shared: list[structlog.types.Processor] = [
        name_part,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.types.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if settings.format == "json"
        # not the renderer's own choice, which shows the values of local variables: passwords, secrets, prompts
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)


def stack_of(error: BaseException) -> str:
    """Where an error was raised, for a log line, without the error's own text: it may quote what people wrote."""
    return "".join(traceback.format_tb(error.__traceback__)[-_FRAMES:])
