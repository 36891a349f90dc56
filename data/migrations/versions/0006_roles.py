"""What those may ask who may not read the books. Who may do what is said anew after every migration, see data.roles."""

from data.sql_files import run_file

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the questions."""
    run_file("roles_0006.sql")
