"""What belongs to an account and proves who somebody is: tokens, keys, other identities, second factors.

Beside them what guards them: limits shared by all replicas, the audit log, and the letters that wait to be sent.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Count, Created, Id, Moment, Words, one_of
from studio.words.letter import LetterKind, TokenPurpose


class OneTimeTokenRow(Base):
    """What a link in a letter is good for, one per account and purpose: a newer one takes the place of the older.

    ``token_hash`` and ``expires_at`` are empty until the letter is sent: the token is made at that moment and stands
    nowhere but in the letter.
    """

    __tablename__ = "one_time_token"
    __table_args__ = (
        one_of("purpose", TokenPurpose),
        UniqueConstraint("token_hash", name="uq_one_time_token_token_hash"),
    )

    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    purpose: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    token_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    expires_at: Mapped[Moment | None]
    created_at: Mapped[Created]


class ApiKeyRow(Base):
    """A key for programs. Only the SHA-256 of its 256 random bits is kept, and its first characters to show."""

    __tablename__ = "api_key"
    __table_args__ = (
        CheckConstraint("scopes <@ ARRAY['read', 'create', 'billing']::text[]", name="scopes"),
        UniqueConstraint("secret_hash", name="uq_api_key_secret_hash"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    shown: Mapped[str]
    label: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[Created]
    expires_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]
    last_used_at: Mapped[Moment | None]


class IdentityRow(Base):
    """Who an account is at another provider (OpenID Connect): its issuer and the subject there."""

    __tablename__ = "identity"

    issuer: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[Created]
    seen_at: Mapped[Moment] = mapped_column(server_default=func.now())


class TotpRow(Base):
    """A second factor (RFC 6238). The secret is sealed; ``last_step`` is the newest time step that was used up."""

    __tablename__ = "totp"

    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[Created]
    confirmed_at: Mapped[Moment | None]


class RecoveryCodeRow(Base):
    """A code that stands in once for the second factor; the row goes when it is used."""

    __tablename__ = "recovery_code"

    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)


class RateLimitRow(Base):
    """How far a limit is used up: until ``free_at`` somebody has come more often than the even pace allows.

    Not logged: the limits of minutes may be forgotten with a crash, and counting costs no write to the disk.
    """

    __tablename__ = "rate_limit"
    __table_args__ = (Index("ix_rate_limit_free_at", "free_at"), {"prefixes": ["UNLOGGED"]})

    bucket_hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    free_at: Mapped[Moment]


class AuditRow(Base):
    """One line of the audit log. A trigger refuses every change."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject"),)

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[Created]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[Words]


class MailRow(Base):
    """A letter that waits to be sent. It says what about and to whom; its text and its token are made when it goes."""

    __tablename__ = "mail"
    __table_args__ = (one_of("kind", LetterKind), Index("ix_mail_ready_at", "ready_at"))

    id: Mapped[Id] = mapped_column(primary_key=True)
    kind: Mapped[str]
    to_address: Mapped[str] = mapped_column(Text)
    account_id: Mapped[Id | None] = mapped_column(ForeignKey("account.id", ondelete="CASCADE"), index=True)
    attempts: Mapped[Count]
    last_error: Mapped[Words]
    created_at: Mapped[Created]
    ready_at: Mapped[Moment] = mapped_column(server_default=func.now())
    given_up_at: Mapped[Moment | None]
