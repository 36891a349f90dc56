"""Verified addresses, one-time tokens, keys, limits, the audit log."""

from data.sql_files import run_file

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add what proves who somebody is, and what guards it."""
    run_file("identity_0005.sql")
