"""Run by Alembic: gives it the connection of ``data.database`` and the tables to compare with."""

from alembic import context

from data.tables import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("Migrations run through data.database.migrate, which holds the lock and the transaction.")
context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True, compare_server_default=True)
context.run_migrations()
