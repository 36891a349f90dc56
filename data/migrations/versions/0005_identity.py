"""Verified addresses, one-time tokens, keys, limits, the audit log."""

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""
