"""Accounts, their sessions and the one-time tickets that become sessions."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, func, text
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Created, Id, Moment, Words, one_of
from studio.words.account import Role


class AccountRow(Base):
    """Who signs in. ``token_version`` goes up when every session must end.

    ``sessions_valid_after`` is the moment it last did, for sessions that another provider keeps.
    """

    __tablename__ = "account"
    __table_args__ = (
        one_of("role", Role),
        CheckConstraint("length(name) BETWEEN 2 AND 32", name="name_length"),
        Index("uq_account_name_lower", text("lower(name)"), unique=True),
        Index("uq_account_email_lower", text("lower(email)"), unique=True, postgresql_where=text("email <> ''")),
        Index(
            "uq_account_stripe_customer_id",
            "stripe_customer_id",
            unique=True,
            postgresql_where=text("stripe_customer_id <> ''"),
        ),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[str]
    email: Mapped[Words]
    password_hash: Mapped[str | None]
    role: Mapped[str]
    plan: Mapped[str] = mapped_column(server_default="free")
    token_version: Mapped[int] = mapped_column(server_default="1")
    created_at: Mapped[Created]
    deleted_at: Mapped[Moment | None]
    stripe_customer_id: Mapped[Words]
    email_verified_at: Mapped[Moment | None]
    avatar_key: Mapped[Words]
    sessions_valid_after: Mapped[Moment | None]


class SessionRow(Base):
    """A browser that is signed in. The cookie holds 32 random bytes; only their SHA-256 is kept."""

    __tablename__ = "session"

    id: Mapped[Id] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    token_version: Mapped[int]
    user_agent: Mapped[Words]
    created_at: Mapped[Created]
    seen_at: Mapped[Moment] = mapped_column(server_default=func.now())
    expires_at: Mapped[Moment]


class TicketRow(Base):
    """A one-time ticket for a session that a page has just started; the browser redeems it for the cookie."""

    __tablename__ = "ticket"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    session_id: Mapped[Id] = mapped_column(ForeignKey("session.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[Moment]
