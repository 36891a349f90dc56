"""What Stripe tells and what people buy: notices, purchases and what was taken back of them, subscriptions."""

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from data.tables.base import Base, Count, Created, Id, Json, Moment, Words, one_of
from studio.words.notice import NoticeState
from studio.words.purchase import PurchaseState, ReversalKind


class NoticeRow(Base):
    """A message from outside. Its id is the sender's, so that a second delivery changes nothing.

    ``next_at`` is when it may be handled: in the future while a worker is at it, or after an attempt that failed.
    """

    __tablename__ = "notice"
    __table_args__ = (
        one_of("state", NoticeState),
        CheckConstraint("attempts >= 0", name="attempts"),
        CheckConstraint("(state = 'handled') = (handled_at IS NOT NULL)", name="handled"),
        Index("ix_notice_due", "next_at", postgresql_where=text("state = 'received'")),
        Index("ix_notice_dead", "received_at", postgresql_where=text("state = 'dead'")),
        Index("ix_notice_handled", "handled_at", postgresql_where=text("state = 'handled'")),
    )

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    type: Mapped[str]
    object_id: Mapped[Words]
    created_at: Mapped[Moment]
    payload: Mapped[Json]
    state: Mapped[str] = mapped_column(server_default="received")
    attempts: Mapped[Count]
    next_at: Mapped[Moment]
    last_error: Mapped[Words]
    received_at: Mapped[Moment]
    handled_at: Mapped[Moment | None]


class PurchaseRow(Base):
    """What somebody bought: by a checkout session (``cs_…``) or by a line of a paid invoice (``in_…:il_…``)."""

    __tablename__ = "purchase"
    __table_args__ = (
        one_of("state", PurchaseState),
        CheckConstraint("credits >= 0", name="credits"),
        CheckConstraint("amount_minor >= 0", name="amount"),
        CheckConstraint("(state IN ('paid', 'refunded', 'disputed')) = (paid_at IS NOT NULL)", name="paid"),
        Index("ix_purchase_account_id", "account_id", "created_at"),
        Index("ix_purchase_open", "created_at", postgresql_where=text("state = 'open'")),
        Index("ix_purchase_payment_intent", "payment_intent", postgresql_where=text("payment_intent <> ''")),
        Index("ix_purchase_invoice", "invoice", postgresql_where=text("invoice <> ''")),
    )

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    item: Mapped[str]
    credits: Mapped[int]
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="open")
    payment_intent: Mapped[Words]
    invoice: Mapped[Words]
    revision: Mapped[Count]
    created_at: Mapped[Moment]
    paid_at: Mapped[Moment | None]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())


class ReversalRow(Base):
    """Credits of a purchase that the ledger took back, by the key it did so under."""

    __tablename__ = "reversal"
    __table_args__ = (
        one_of("kind", ReversalKind),
        CheckConstraint("credits > 0", name="credits"),
        Index("ix_reversal_purchase_id", "purchase_id"),
    )

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    purchase_id: Mapped[str] = mapped_column(ForeignKey("purchase.id"))
    kind: Mapped[str]
    subject: Mapped[str]
    credits: Mapped[int]
    created_at: Mapped[Moment]
    restored_at: Mapped[Moment | None]


class SubscriptionRow(Base):
    """An account's standing order for a plan, as Stripe last told it."""

    __tablename__ = "subscription"
    __table_args__ = (Index("ix_subscription_account_id", "account_id"),)

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    account_id: Mapped[Id] = mapped_column(ForeignKey("account.id"))
    plan: Mapped[str]
    status: Mapped[str]
    current_period_end: Mapped[Moment | None]
    cancel_at_period_end: Mapped[bool]
    revision: Mapped[Count]
    created_at: Mapped[Created]
    updated_at: Mapped[Moment] = mapped_column(server_default=func.now())
