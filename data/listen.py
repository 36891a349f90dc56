"""Listening to Postgres: a hint that something changed, never the mechanism (a listener may die in silence)."""

from collections.abc import AsyncIterator
from typing import Final

import psycopg
from psycopg import sql

_PROBES: Final = {"connect_timeout": 5, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""A server that vanished without a word is noticed within a minute."""


async def notifications(conninfo: str, channel: str) -> AsyncIterator[str]:
    """Yield the payload of every NOTIFY on ``channel``.

    Ends when the connection cannot be made or breaks; the caller connects again.
    """
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True, **_PROBES) as connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            async for notice in connection.notifies():
                yield notice.payload
    except psycopg.Error:
        return
