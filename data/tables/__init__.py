"""The tables, one noun a file. Rows never leave ``data``; repositories translate them into words."""

from data.tables.account import AccountRow, SessionRow, TicketRow
from data.tables.asset import AssetRow, SongAssetRow
from data.tables.base import Base
from data.tables.job import JobProgressRow, JobRow, LaneRow
from data.tables.ledger import EntryRow, HoldRow, LedgerAccountRow, TransferRow
from data.tables.song import SongRow, SongTagRow, TagRow

__all__ = [
    "AccountRow",
    "AssetRow",
    "Base",
    "EntryRow",
    "HoldRow",
    "JobProgressRow",
    "JobRow",
    "LaneRow",
    "LedgerAccountRow",
    "SessionRow",
    "SongAssetRow",
    "SongRow",
    "SongTagRow",
    "TagRow",
    "TicketRow",
    "TransferRow",
]
