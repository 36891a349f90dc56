"""The tables, one noun a file. Rows never leave ``data``; repositories translate them into words."""

from data.tables.account import AccountRow, SessionRow, TicketRow
from data.tables.asset import AssetRow, SongAssetRow
from data.tables.base import Base
from data.tables.billing import NoticeRow, PurchaseRow, ReversalRow, SubscriptionRow
from data.tables.identity import (
    ApiKeyRow,
    AuditRow,
    IdentityRow,
    MailRow,
    OneTimeTokenRow,
    RateLimitRow,
    RecoveryCodeRow,
    TotpRow,
)
from data.tables.job import JobProgressRow, JobRow, LaneRow
from data.tables.ledger import BlockEntryRow, EntryRow, GrantBlockRow, HoldRow, LedgerAccountRow, TransferRow
from data.tables.song import SongRow, SongTagRow, TagRow

__all__ = [
    "AccountRow",
    "ApiKeyRow",
    "AssetRow",
    "AuditRow",
    "Base",
    "BlockEntryRow",
    "EntryRow",
    "GrantBlockRow",
    "HoldRow",
    "IdentityRow",
    "JobProgressRow",
    "JobRow",
    "LaneRow",
    "LedgerAccountRow",
    "MailRow",
    "NoticeRow",
    "OneTimeTokenRow",
    "PurchaseRow",
    "RateLimitRow",
    "RecoveryCodeRow",
    "ReversalRow",
    "SessionRow",
    "SongAssetRow",
    "SongRow",
    "SongTagRow",
    "SubscriptionRow",
    "TagRow",
    "TicketRow",
    "TotpRow",
    "TransferRow",
]
