"""The ledger, complete: blocks of credits, taking back, debt, the hash chain."""

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""
