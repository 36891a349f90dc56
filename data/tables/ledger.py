"""The ledger's tables. Only the SQL functions of ``migrations/sql/ledger_*.sql`` write to them."""

from sqlalchemy import BigInteger, CheckConstraint, Computed, ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Count, Created, Id, Moment, Words, one_of
from studio.words.credit import BlockKind, MovementKind


class LedgerAccountRow(Base):
    """What an Account has and owes. The purses of the house are entries only, so that no row is hot.

    ``head`` is the hash of the account's last transfer, the end of its chain; empty before the first.
    """

    __tablename__ = "ledger_account"
    __table_args__ = (
        CheckConstraint("available >= 0", name="available"),
        CheckConstraint("held >= 0", name="held"),
        CheckConstraint("owed >= 0", name="owed"),
    )

    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"), primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger, server_default="0")
    held: Mapped[int] = mapped_column(BigInteger, server_default="0")
    version: Mapped[Count]
    owed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    head: Mapped[str] = mapped_column(String(64), server_default="")


class TransferRow(Base):
    """One movement of credits. Append-only; ``idempotency_key`` makes a repeat harmless for ever.

    ``about_id``: of a refund the grant taken back, of a restore the refund undone, of a debt what paid it.
    ``hash`` is that of this row, its entries, block, draws and hold, and of the account's hash before.
    """

    __tablename__ = "transfer"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        one_of("kind", MovementKind),
        Index("uq_transfer_restored", "about_id", "credit", unique=True, postgresql_where=text("kind = 'restore'")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(200), unique=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str]
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    debit: Mapped[str]
    credit: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[Id | None] = mapped_column(ForeignKey("job.id", deferrable=True, initially="DEFERRED"))
    note: Mapped[Words]
    event_at: Mapped[Moment]
    created_at: Mapped[Created]
    about_id: Mapped[Id | None] = mapped_column(ForeignKey("transfer.id"))
    hash: Mapped[str] = mapped_column(String(64))


class EntryRow(Base):
    """One side of a transfer: credits that come to a purse (> 0) or leave it (< 0). Append-only.

    A person's purses are ``available``, ``held`` and ``owed`` (≤ 0): their entries carry the account, a version that
    counts the account's entries 1, 2, 3 … without a gap, and the purse's balance after. Purses of the house
    (``promotion``, ``sales``, ``subscriptions``, ``revenue``, ``refund``, ``expired``) carry none of the three, so that
    no row is hot; their balances are sums.
    """

    __tablename__ = "entry"
    __table_args__ = (
        CheckConstraint("amount <> 0", name="amount"),
        CheckConstraint(
            "CASE WHEN purse IN ('available', 'held')"
            " THEN account_id IS NOT NULL AND coalesce(version, 0) >= 1 AND coalesce(balance_after, -1) >= 0"
            " WHEN purse = 'owed'"
            " THEN account_id IS NOT NULL AND coalesce(version, 0) >= 1 AND coalesce(balance_after, 1) <= 0"
            " ELSE account_id IS NULL AND version IS NULL AND balance_after IS NULL END",
            name="purse",
        ),
        UniqueConstraint("account_id", "version"),
        Index("ix_entry_transfer_id", "transfer_id"),
    )

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    transfer_id: Mapped[Id] = mapped_column(ForeignKey("transfer.id"))
    account_id: Mapped[Id | None] = mapped_column(ForeignKey("account.id"))
    purse: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int | None]
    balance_after: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[Created]


class HoldRow(Base):
    """Credits set aside for a Job: ended once with it, so many captured, the rest released, never by a clock."""

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("state IN ('open', 'ended')", name="state"),
        CheckConstraint("captured BETWEEN 0 AND amount", name="captured"),
        CheckConstraint("(state = 'ended') = (ended_at IS NOT NULL)", name="ended"),
        Index("uq_hold_open_job", "job_id", unique=True, postgresql_where=text("state = 'open'")),
        Index("ix_hold_job_id", "job_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    job_id: Mapped[Id] = mapped_column(ForeignKey("job.id", deferrable=True, initially="DEFERRED"))
    transfer_id: Mapped[Id] = mapped_column(ForeignKey("transfer.id"), unique=True)
    amount: Mapped[int] = mapped_column(BigInteger)
    captured: Mapped[int] = mapped_column(BigInteger, server_default="0")
    state: Mapped[str] = mapped_column(server_default="open")
    created_at: Mapped[Moment] = mapped_column(server_default=func.now())
    ended_at: Mapped[Moment | None]


class GrantBlockRow(Base):
    """The credits of one grant, drawn together: plan before promo before paid, what expires earliest first.

    ``number`` is the version of the grant's entry, so an account's blocks are in the order of booking; what was paid
    for them, in the currency's minor unit, is their cost basis.
    """

    __tablename__ = "grant_block"
    __table_args__ = (
        one_of("kind", BlockKind),
        CheckConstraint("amount > 0", name="amount"),
        CheckConstraint("remaining BETWEEN 0 AND amount", name="remaining"),
        CheckConstraint("cost_minor >= 0", name="cost"),
        Index("ix_grant_block_open", "account_id", postgresql_where=text("open")),
        Index("ix_grant_block_due", "expires_at", postgresql_where=text("open")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    transfer_id: Mapped[Id] = mapped_column(ForeignKey("transfer.id"), unique=True)
    number: Mapped[int]
    kind: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    remaining: Mapped[int] = mapped_column(BigInteger)
    open: Mapped[bool] = mapped_column(Computed("remaining > 0", persisted=True))
    expires_at: Mapped[Moment | None]
    cost_minor: Mapped[int] = mapped_column(BigInteger, server_default="0")
    currency: Mapped[str] = mapped_column(String(3), server_default="")


class BlockEntryRow(Base):
    """What a transfer of available credits gave to a block (> 0) or drew from it (< 0). Append-only.

    ``position`` counts a transfer's blocks 1, 2, 3 … in the order of drawing; a hold spends them in this order.
    """

    __tablename__ = "block_entry"
    __table_args__ = (CheckConstraint("amount <> 0", name="amount"),)

    transfer_id: Mapped[Id] = mapped_column(ForeignKey("transfer.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    block_id: Mapped[Id] = mapped_column(ForeignKey("grant_block.id"))
    amount: Mapped[int] = mapped_column(BigInteger)
