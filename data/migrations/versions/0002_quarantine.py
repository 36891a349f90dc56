"""Requests that stop one replica after the other are known again by their hash."""

from alembic import op
from sqlalchemy import Column, Integer, text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Count lost replicas, and index the few Jobs that lost one under every attempt."""
    op.add_column("job", Column("losses", Integer, nullable=False, server_default="0"))
    op.create_index("ix_job_poison", "job", ["request_hash"], postgresql_where=text("reason_code = 'poison'"))
