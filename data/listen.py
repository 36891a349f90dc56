"""Listening to Postgres: a hint that something changed, never the mechanism (a listener may die in silence)."""

from collections.abc import AsyncIterator

import psycopg


async def notifications(conninfo: str, channel: str) -> AsyncIterator[str]:
    """Yield the payload of every NOTIFY on ``channel`` until the connection breaks.

    Raises:
        psycopg.Error: never; a broken connection ends the iteration and the caller connects again.
    """
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            await connection.execute(psycopg.sql.SQL("LISTEN {}").format(psycopg.sql.Identifier(channel)))
            async for notice in connection.notifies():
                yield notice.payload
    except psycopg.Error:
        return
