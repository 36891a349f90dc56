"""The door to Postgres: connections, transactions and the schema's version."""

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from data.roles import grant_roles
from studio.errors import MelodeonError

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["Database", "DatabaseBusy", "DatabaseUnreachable", "Session", "head", "migrate", "revision"]

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_CONNECT_TIMEOUT_S: Final = 5
_REST_S: Final = 30.0
"""A connection that has rested for longer is asked for a sign of life before it is used."""
_REST_BEGAN: Final = "rest began"
_MIGRATION_LOCK: Final = 0x6D696772  # any number, the same in every process
_GONE: Final = ("08", "57P01", "57P02", "57P03")
"""SQLSTATE classes and codes of a lost server: connection exceptions, shutdown, crash, starting up."""

_BUSY: Final = ("57014", "40P01", "40001", "55P03")
"""SQLSTATE codes of a statement that took too long, a deadlock, a failed serialization, a lock not to be had."""


class DatabaseUnreachable(MelodeonError):
    """Postgres does not answer, or the connection broke in the middle of the work."""

    code = "database_unreachable"

    def __init__(self, sentence: str = "The database does not answer at the moment. Please try again shortly.") -> None:
        super().__init__(sentence)


class DatabaseBusy(DatabaseUnreachable):
    """Every connection of the pool is in use, or the server is too busy to do this in time; again, it may succeed."""

    code = "database_busy"

    def __init__(self) -> None:
        super().__init__("The database is very busy at the moment. Please try again shortly.")


class Database:
    """One Postgres database, with a pool of connections that this process shares. Safe across threads.

    Transactions are READ COMMITTED: after waiting for a row's lock, the next statement sees what its last holder left.

    Args:
        url: ``postgresql://user:password@host:port/name``.
        pool_size: connections kept; as many again may be opened for a moment.
        pool_timeout_s: how long to wait for a connection when all are in use.
        statement_timeout_s: a statement that runs longer is cancelled by the server.
        application_name: shown in ``pg_stat_activity``.
    """

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        pool_timeout_s: float = 10.0,
        statement_timeout_s: float = 30.0,
        application_name: str = "melodeon",
    ) -> None:
        self._url = _parsed(url)
        options = f"-c timezone=UTC -c statement_timeout={int(statement_timeout_s * 1000)}"
        self._engine = create_engine(
            self._url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=pool_timeout_s,
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            connect_args={
                "application_name": application_name,
                "connect_timeout": _CONNECT_TIMEOUT_S,
                "options": f"{options} -c idle_in_transaction_session_timeout=60000",
            },
        )
        event.listen(self._engine, "handle_error", _without_values)
        event.listen(self._engine, "checkin", _begin_rest)
        event.listen(self._engine, "checkout", self._check_rested)
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)

    def __repr__(self) -> str:
        return f"Database({self._url.render_as_string(hide_password=True)!r})"

    @property
    def conninfo(self) -> str:
        """The address in libpq's form, with the password, for libraries that connect themselves."""
        # SQLAlchemy leaves spaces as they are, libpq takes none
        return self._url.set(drivername="postgresql").render_as_string(hide_password=False).replace(" ", "%20")

    @property
    def connections_in_use(self) -> int:
        """How many of the pool's connections this process works with at this moment."""
        pool = self._engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end of the block, rolled back when an error leaves it.

        Raises:
            DatabaseUnreachable: no connection, or it broke; whether a commit under way arrived is then unknown.
            DatabaseBusy: no connection of the pool became free.
        """
        with _translated(), self._sessions.begin() as session:
            yield session

    def ping(self) -> None:
        """Ask the server for a sign of life; raises `DatabaseUnreachable`."""
        with self.transaction() as session:
            session.execute(text("SELECT 1"))

    def _check_rested(self, connection: Any, entry: ConnectionPoolEntry, _: object) -> None:
        """Have a connection replaced, and all that rest beside it, when it broke while it rested.

        The pool's own pre-ping would ask the server before every transaction. A server that goes away says so, or its
        system does; what it said waits in the socket, and to look there costs no round trip. Only a network that lost
        the connection without a word is found by asking.
        """
        rest_began = entry.info.get(_REST_BEGAN)
        if rest_began is None or (time.monotonic() - rest_began < _REST_S and not _was_spoken_to(connection)):
            return
        try:
            self._engine.dialect.do_ping(connection)
        except psycopg.OperationalError as error:
            raise InvalidatePoolError from error

    def dispose(self) -> None:
        """Close the pool's connections. A later transaction opens new ones."""
        self._engine.dispose()


def migrate(url: str, passwords: Mapping[str, str] | None = None) -> None:
    """Bring the schema to `head` and the roles to what each may do, in one transaction.

    Safe to call from several processes at once: they stand in line.

    Args:
        url: of a user that owns the tables.
        passwords: see `data.roles.grant_roles`.

    Raises:
        DatabaseUnreachable: no connection.
    """
    # Alembic is imported where it is used: most processes and commands never change or look at the schema
    from alembic import command  # noqa: PLC0415

    with _translated(), _bare_engine(url) as engine, engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        grant_roles(connection, passwords)


def revision(url: str) -> str | None:
    """The revision that the database stands at; None: it is empty."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    with _translated(), _bare_engine(url) as engine, engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The newest revision this program knows, the one it needs."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise LookupError(f"There are no migrations in {_MIGRATIONS}.")
    return newest


def _config() -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # Alembic's configuration treats % as the start of an interpolation.
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _parsed(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


def _begin_rest(_: object, entry: ConnectionPoolEntry) -> None:
    entry.info[_REST_BEGAN] = time.monotonic()


def _was_spoken_to(connection: psycopg.Connection) -> bool:
    """Whether something unread has come from the server, be it the end of the connection."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _without_values(context: ExceptionContext) -> None:
    """Keep what people wrote out of error texts: the server's details quote whole rows ("Failing row contains …")."""
    error = context.original_exception
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        error.args = (error.diag.message_primary,)
        if context.sqlalchemy_exception is not None:
            name = f"{type(error).__module__}.{type(error).__name__}"
            context.sqlalchemy_exception.args = (f"({name}) {error.diag.message_primary}",)


@contextmanager
def _bare_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(_parsed(url), poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_TIMEOUT_S})
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseBusy from error
    except DBAPIError as error:
        if _is_lost(error):
            raise DatabaseUnreachable from error
        if isinstance(error.orig, psycopg.Error) and error.orig.sqlstate in _BUSY:
            raise DatabaseBusy from error
        raise


def _is_lost(error: DBAPIError) -> bool:
    cause = error.orig
    if error.connection_invalidated:
        return True
    if not isinstance(cause, psycopg.OperationalError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(_GONE)
