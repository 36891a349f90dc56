"""Requests that stop one replica after the other are known again by their hash."""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index; there are few such rows, so it is small."""
    op.create_index("ix_job_poison", "job", ["request_hash"], postgresql_where=text("reason_code = 'poison'"))
