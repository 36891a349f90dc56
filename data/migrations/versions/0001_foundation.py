"""Accounts, sessions, jobs, songs, assets, the ledger and the queue."""

from data.sql_files import run, run_file

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create everything in an empty database."""
    for name in ("foundation_0001.sql", "ledger_0001.sql", "procrastinate_3_10.sql"):
        run_file(name)
    # The queue's rows are rewritten all the time: room for updates in place, and an early vacuum.
    run("ALTER TABLE procrastinate_jobs SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")
    # Fetching an alarm asks whether another one holds its lock. Without this index and with statistics of an empty
    # table, that question took 12 s among 10,000 alarms until the next automatic ANALYZE.
    run("CREATE INDEX ix_procrastinate_jobs_lock ON procrastinate_jobs (lock) WHERE status IN ('todo', 'doing')")
