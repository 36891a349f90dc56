"""The SQL texts of the migrations, frozen once released."""

from pathlib import Path
from typing import Final

from alembic import op

_FOLDER: Final = Path(__file__).parent / "migrations" / "sql"


def run_file(name: str) -> None:
    """Run ``migrations/sql/NAME`` in the migration at work."""
    run((_FOLDER / name).read_text("utf-8"))


def run(sql: str) -> None:
    """Run many statements in one text, by the driver's own cursor: ``%`` in function bodies is left alone."""
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("The migration has no connection.")
    connection.execute(sql)
