"""Web processes hear at once of sessions and keys that end, and of credits that come and go without a Job."""

from data.sql_files import run_file

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the triggers that tell."""
    run_file("news_0007.sql")
