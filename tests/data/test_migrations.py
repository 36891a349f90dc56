"""The migrated schema is the one that the tables describe."""

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from data.database import Database, Session, _config, head, migrate, revision
from data.embedded_postgres import EmbeddedPostgres
from data.tables import Base


def _ours(_object: object, name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
    return not (kind == "table" and (name or "").startswith(("procrastinate_", "alembic_")))


def test_tables_and_migrations_describe_the_same_schema(database: Database) -> None:
    engine = create_engine(database.conninfo.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True, "include_object": _ours}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    engine.dispose()
    assert differences == []


def _definitions(session: Session, schema: str) -> set[str]:
    """Every constraint and index of our tables in ``schema``, as Postgres spells it."""
    session.execute(text(f"SET LOCAL search_path = {schema}"))
    rows = session.execute(
        text(
            "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint c"
            " JOIN pg_class t ON t.oid = conrelid"
            " WHERE t.relname = ANY(:tables) AND connamespace = CAST(CAST(:schema AS text) AS regnamespace)"
            " UNION ALL SELECT replace(indexdef, schemaname || '.', '') FROM pg_indexes"
            " WHERE tablename = ANY(:tables) AND schemaname = :schema"
        ),
        {"tables": list(Base.metadata.tables), "schema": schema},
    )
    return set(rows.scalars())


def test_checks_keys_and_indexes_are_the_same_too(database: Database) -> None:
    # Autogenerate does not compare CHECK constraints and conditions of indexes: make the tables anew and compare.
    with database.transaction() as session:
        migrated = _definitions(session, "public")
        session.execute(text("CREATE SCHEMA declared"))
        session.execute(text("SET LOCAL search_path = declared"))
        Base.metadata.create_all(session.connection(), checkfirst=False)
        declared = _definitions(session, "declared")
        session.rollback()
    assert len(declared) > len(Base.metadata.tables)
    assert migrated == declared


def test_there_is_one_head_and_a_fresh_database_stands_at_it(database: Database) -> None:
    assert ScriptDirectory.from_config(_config()).get_heads() == [head()]
    assert revision(database.conninfo) == head()


def test_an_empty_database_has_no_revision_and_many_processes_may_migrate_it_at_once(
    postgres: EmbeddedPostgres, database: Database
) -> None:
    with database.transaction() as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(
            text("CREATE DATABASE still_empty")
        )
    try:
        url = postgres.url_of("still_empty")
        assert revision(url) is None
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(migrate, [url] * 4))
        assert revision(url) == head()
    finally:
        with database.transaction() as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(
                text("DROP DATABASE still_empty WITH (FORCE)")
            )


def test_the_queue_is_there_and_vacuumed_early(database: Database) -> None:
    with database.transaction() as session:
        options = session.execute(text("SELECT reloptions FROM pg_class WHERE relname = 'procrastinate_jobs'")).scalar()
    assert set(options) == {"fillfactor=70", "autovacuum_vacuum_scale_factor=0.02"}
