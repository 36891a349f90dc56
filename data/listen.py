"""Listening to Postgres: a hint that something changed, never the mechanism (a listener may die in silence)."""

from collections.abc import AsyncIterator

import psycopg
import structlog
from psycopg import sql

_log = structlog.get_logger(__name__)


async def notifications(conninfo: str, channel: str) -> AsyncIterator[str]:
    """Yield the payload of every NOTIFY on ``channel``.

    Ends when the connection cannot be made or breaks; the caller connects again.
    """
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, connect_timeout=5) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            async for notice in connection.notifies():
                yield notice.payload
    except psycopg.Error as error:
        _log.warning("listening broke off", channel=channel, error=type(error).__name__)
