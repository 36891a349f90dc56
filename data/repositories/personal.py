"""What every table holds of a person: how it is read out for them, and what becomes of it when they leave.

`HOLDINGS` and `NOBODYS` name every table of ``data.tables``; a test fails when a new one stands in neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text

from data.database import Session
from data.tables import Base
from studio.words.asset import AssetRole
from studio.words.ids import AccountId, SongId

_BATCH_ROWS: Final = 200
_OWN: Final = "account_id = :account_id"
_OF_OWN_SONGS: Final = "song_id IN (SELECT id FROM song WHERE account_id = :account_id)"
_OF_OWN_JOBS: Final = "job_id IN (SELECT id FROM job WHERE account_id = :account_id)"
_BOOKS: Final = "The books are kept; the account's id in them is a pseudonym once its row is wiped."


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How one table holds something of a person.

    Attributes:
        whose: the SQL condition of the rows of ``:account_id``.
        secret: columns that are not read out, because whoever reads them could act as the person.
        left_out: why the table is not read out at all; empty when it is.
        erase: the SQL that runs when the person leaves; empty when the rows stay.
        stays: why the rows stay; empty when they do not.
    """

    whose: str
    secret: tuple[str, ...] = ()
    left_out: str = ""
    erase: str = ""
    stays: str = ""


HOLDINGS: Final[dict[str, Holding]] = {
    # Sessions first: from then on nobody acts as this account any more.
    "ticket": Holding(
        whose="session_id IN (SELECT id FROM session WHERE account_id = :account_id)",
        left_out="One-time tickets of at most 30 seconds; only their hashes are kept.",
        erase="DELETE FROM ticket WHERE {whose}",
    ),
    "session": Holding(whose=_OWN, secret=("token_hash",), erase="DELETE FROM session WHERE {whose}"),
    "api_key": Holding(whose=_OWN, secret=("secret_hash",), erase="DELETE FROM api_key WHERE {whose}"),
    "one_time_token": Holding(whose=_OWN, secret=("token_hash",), erase="DELETE FROM one_time_token WHERE {whose}"),
    "identity": Holding(whose=_OWN, erase="DELETE FROM identity WHERE {whose}"),
    "totp": Holding(whose=_OWN, secret=("sealed_secret",), erase="DELETE FROM totp WHERE {whose}"),
    "recovery_code": Holding(
        whose=_OWN,
        left_out="Only hashes of codes are kept; they would open the door.",
        erase="DELETE FROM recovery_code WHERE {whose}",
    ),
    "mail": Holding(
        # A letter to an address may be on its way before anybody knows whose it is.
        whose=(
            "account_id = :account_id OR lower(to_address) ="
            " (SELECT lower(email) FROM account WHERE id = :account_id AND email <> '')"
        ),
        erase="DELETE FROM mail WHERE {whose}",
    ),
    "asset": Holding(
        whose=(
            "id IN (SELECT asset_id FROM song_asset JOIN song ON song.id = song_id WHERE song.account_id = :account_id)"
            " OR key IN (SELECT avatar_key FROM account WHERE id = :account_id)"
        ),
        # Only released: the clean-up deletes the object, then the row. What another's song needs as well stays.
        erase=(
            "UPDATE asset SET released_at = now() WHERE ({whose}) AND released_at IS NULL AND NOT EXISTS ("
            "SELECT 1 FROM song_asset JOIN song ON song.id = song_id"
            " WHERE asset_id = asset.id AND song.account_id <> :account_id)"
        ),
    ),
    "song_asset": Holding(whose=_OF_OWN_SONGS, erase="DELETE FROM song_asset WHERE {whose}"),
    "song_tag": Holding(whose=_OF_OWN_SONGS, erase="DELETE FROM song_tag WHERE {whose}"),
    "song": Holding(
        whose=_OWN,
        # The bare row stays for the books: a captured credit belongs to it.
        erase=(
            "UPDATE song SET title = '', prompt = '', description = '', lyrics = '', described_lyrics = '',"
            " reason = '', note = '', sections = '[]', lines = '[]', provenance = '{{}}', published_at = NULL,"
            " deleted_at = coalesce(deleted_at, now()), updated_at = now() WHERE {whose}"
        ),
    ),
    "job_progress": Holding(whose=_OF_OWN_JOBS, erase="DELETE FROM job_progress WHERE {whose}"),
    "job": Holding(
        whose=_OWN,
        erase=(
            "UPDATE job SET brief = '{{}}', results = '{{}}', reason = '', request_hash = '', trace_id = '',"
            " idempotency_key = 'deleted:' || id WHERE {whose}"
        ),
    ),
    "lane": Holding(whose=_OWN, left_out="Numbers of the fair queue.", stays="Numbers of the fair queue, no words."),
    "ledger_account": Holding(whose=_OWN, stays=_BOOKS),
    "transfer": Holding(whose=_OWN, stays=_BOOKS),
    "entry": Holding(whose=_OWN, stays=_BOOKS),
    "hold": Holding(whose=_OWN, stays=_BOOKS),
    "grant_block": Holding(whose=_OWN, stays=_BOOKS),
    "block_entry": Holding(
        whose="block_id IN (SELECT id FROM grant_block WHERE account_id = :account_id)", stays=_BOOKS
    ),
    "purchase": Holding(whose=_OWN, stays=_BOOKS),
    "reversal": Holding(whose="purchase_id IN (SELECT id FROM purchase WHERE account_id = :account_id)", stays=_BOOKS),
    "subscription": Holding(whose=_OWN, stays=_BOOKS),
    "audit": Holding(
        whose="actor = :account_id OR subject = :account_id",
        stays="The log of who did what to whom is never changed; it names accounts by their ids only.",
    ),
    # Last: the others find their rows by it. Its id stays, as the pseudonym in the books, and who it is at Stripe,
    # where a refund or a dispute may still come from.
    "account": Holding(
        whose="id = :account_id",
        secret=("password_hash", "token_version"),
        erase=(
            "UPDATE account SET name = 'deleted-' || right(id, 12), email = '', email_verified_at = NULL,"
            " password_hash = NULL, avatar_key = '', role = 'creator', plan = 'free',"
            " token_version = token_version + 1, sessions_valid_after = now(),"
            " deleted_at = coalesce(deleted_at, now()) WHERE {whose}"
        ),
    ),
}
"""Tables that hold something of a person, in the order in which it is erased."""

NOBODYS: Final[dict[str, str]] = {
    "notice": "Ids of objects at Stripe that a message named, and nothing else of it.",
    "rate_limit": "Hashes of what was counted, for minutes.",
    "tag": "The closed list of tags, the same for everybody.",
}
"""Tables that hold nothing of a person, each with the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFile:
    """One stored object of a person, and what it is to their song (None: their avatar)."""

    key: str
    media_type: str
    song_id: SongId | None
    title: str
    role: AssetRole | None


def tables() -> tuple[str, ...]:
    """The tables that are read out for a person."""
    return tuple(name for name, holding in HOLDINGS.items() if not holding.left_out)


def rows(session: Session, table: str, account_id: AccountId) -> Iterator[str]:
    """The person's rows of one table, each a JSON object; never more than a few hundred of them in memory."""
    holding = HOLDINGS[table]
    columns = ", ".join(
        f'"{column.name}"' for column in Base.metadata.tables[table].columns if column.name not in holding.secret
    )
    # Names of tables and columns are ours; the person's id is a parameter.
    statement = f"SELECT row_to_json(own)::text FROM (SELECT {columns} FROM {table} WHERE {holding.whose}) own"  # noqa: S608
    found = session.execute(text(statement), {"account_id": account_id}, execution_options={"yield_per": _BATCH_ROWS})
    for partition in found.scalars().partitions():
        yield from partition


_FILES = text(
    "SELECT asset.key, asset.media_type, song.id AS song_id, song.title, song_asset.role"
    " FROM song JOIN song_asset ON song_asset.song_id = song.id JOIN asset ON asset.id = song_asset.asset_id"
    " WHERE song.account_id = :account_id"
    " UNION ALL SELECT asset.key, asset.media_type, NULL, '', NULL"
    " FROM asset WHERE key = (SELECT avatar_key FROM account WHERE id = :account_id)"
    " ORDER BY song_id, role"
)


def files(session: Session, account_id: AccountId) -> tuple[OwnFile, ...]:
    """Every stored object of the person."""
    return tuple(
        OwnFile(
            key=row.key,
            media_type=row.media_type,
            song_id=SongId(row.song_id) if row.song_id else None,
            title=row.title,
            role=AssetRole(row.role) if row.role else None,
        )
        for row in session.execute(_FILES, {"account_id": account_id})
    )


def lyrics(session: Session, account_id: AccountId) -> Iterator[tuple[SongId, str, str]]:
    """Id, title and lyrics of the person's songs that have any."""
    statement = text(
        "SELECT id, title, lyrics FROM song WHERE account_id = :account_id AND lyrics <> '' ORDER BY created_at, id"
    )
    found = session.execute(statement, {"account_id": account_id}, execution_options={"yield_per": _BATCH_ROWS})
    for row in found:
        yield SongId(row.id), row.title, row.lyrics


def one_moment(session: Session) -> None:
    """Let everything this transaction reads from now on be as of one moment, and let it write nothing."""
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))


def lock(session: Session, account_id: AccountId) -> bool:
    """Lock the account's row, so that nothing new of it is written meanwhile; False: it is deleted already."""
    statement = text("SELECT 1 FROM account WHERE id = :account_id AND deleted_at IS NULL FOR UPDATE")
    return session.execute(statement, {"account_id": account_id}).first() is not None


def erase(session: Session, account_id: AccountId) -> None:
    """Take everything of the person out of every table; their Jobs must have ended.

    Stored objects are released: the worker's clean-up deletes them. Doing it again changes nothing.
    """
    for holding in HOLDINGS.values():
        if holding.erase:
            statement = holding.erase.format(whose=holding.whose)
            session.execute(text(statement), {"account_id": account_id})
