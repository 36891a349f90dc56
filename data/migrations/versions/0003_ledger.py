"""The ledger, complete: blocks of credits, taking back, debt, the hash chain."""

from data.sql_files import run_file

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """New tables and functions; what was booked before gets its blocks and its chain."""
    run_file("ledger_0003.sql")
