"""Notices of Stripe, purchases, subscriptions."""

from data.sql_files import run_file

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of ``data/tables/billing.py``, and a place for an account's number at Stripe."""
    run_file("billing_0004.sql")
