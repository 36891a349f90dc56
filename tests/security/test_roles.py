"""Each login of the database tries what it may do and what it may not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from billing import ledger
from data import roles
from data.database import Database, migrate
from data.embedded_postgres import EmbeddedPostgres
from data.ids import new_id
from data.repositories import accounts, lanes, queue_health, requests
from data.tables import Base
from studio.words.account import Account
from studio.words.brief import Brief
from studio.words.ids import JobId
from studio.words.job import JobState, Stage

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAMES = ("app", "worker", "billing", "analyst", "scaler")
PASSWORDS = {f"melodeon_{name}": f"the {name}'s password" for name in NAMES}
BOOKS = ("ledger_account", "transfer", "entry", "hold", "grant_block", "block_entry")
MakeAccount = Callable[..., Account]


@dataclass(frozen=True)
class Logins:
    """The same database as each login sees it."""

    app: Database
    worker: Database
    billing: Database
    analyst: Database
    scaler: Database

    def of(self, name: str) -> Database:
        found: Database = getattr(self, name)
        return found


@pytest.fixture
def logins(database: Database) -> Iterator[Logins]:
    owner = make_url(database.conninfo).set(drivername="postgresql+psycopg")
    engine = create_engine(owner)
    with engine.begin() as connection:
        assert roles.grant_roles(connection, PASSWORDS)
    engine.dispose()
    opened = {
        name.removeprefix("melodeon_"): Database(
            owner.set(username=name, password=password).render_as_string(hide_password=False), pool_size=1
        )
        for name, password in PASSWORDS.items()
    }
    yield Logins(**opened)
    for one in opened.values():
        one.dispose()


def rows(database: Database, query: str, **values: object) -> list[tuple[object, ...]]:
    with database.transaction() as session:
        return [tuple(row) for row in session.execute(text(query), values)]


def refusal(database: Database, statement: str) -> str:
    """The SQLSTATE with which the server refuses; empty when it does not."""
    try:
        with database.transaction() as session:
            session.execute(text(statement.replace(":", r"\:")))
            session.rollback()
    except DBAPIError as error:
        return str(getattr(error.orig, "sqlstate", "?"))
    return ""


def with_a_song_under_way(database: Database, account: Account) -> JobId:
    """A Job that holds two credits."""
    job_id = JobId(new_id("job"))
    with database.transaction() as session:
        lanes.open_and_lock(session, account.id, start_cost=1)
        requests.insert(
            session,
            job_id=job_id,
            account_id=account.id,
            brief=Brief(description="rain on a tin roof"),
            song_ids=(),
            uses_guidance=False,
            state=JobState.QUEUED,
            price_credits=2,
            key=f"key of {job_id}",
            request_hash="",
            trace_id="",
            reason="",
            reason_code="",
        )
        ledger.hold(session, account.id, job_id, 2, key=f"hold:{job_id}", now=NOW)
        lanes.wake(session, account.id)
    return job_id


# ---- what nobody may -----------------------------------------------------------------------------------------------

CHANGES = [
    "UPDATE {table} SET {column} = {column}",
    "DELETE FROM {table}",
    "TRUNCATE {table} CASCADE",
    "ALTER TABLE {table} ADD COLUMN more int",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "DROP TABLE {table} CASCADE",
    "INSERT INTO {table} ({column}) VALUES (1)",
    "INSERT INTO {table} DEFAULT VALUES",
    "COPY {table} FROM PROGRAM 'true'",
    "COPY {table} TO '/tmp/books'",
    "CREATE POLICY all_rows ON {table} USING (true)",
    "CREATE TRIGGER mine BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE INDEX ON {table} ({column})",
    "SELECT * FROM {table} FOR UPDATE",
    "LOCK TABLE {table} IN EXCLUSIVE MODE",
]
POWERS = [
    "CREATE TABLE mine (x int)",
    "CREATE TEMPORARY TABLE hold (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "DROP FUNCTION ledger_refuse_change() CASCADE",
    "CREATE EXTENSION IF NOT EXISTS dblink",
    "CREATE ROLE mine",
    "ALTER ROLE melodeon_owner LOGIN PASSWORD 'x'",
    "GRANT melodeon_owner TO CURRENT_USER",
    "SET ROLE melodeon_owner",
    "SET ROLE melodeon",
    "SET SESSION AUTHORIZATION melodeon",
    "SET session_replication_role = replica",
    "UPDATE alembic_version SET version_num = '0001'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT * FROM pg_authid",
    "SELECT lo_import('/etc/passwd')",
    "CHECKPOINT",
    "SELECT ledger_post('t', 'k', 'h', 'grant', 'a', 'promotion', 'available', 1, NULL, '', now())",
    "SELECT ledger_lock('a')",
]
REFUSED = {
    "42501",  # insufficient_privilege
    "25006",  # read_only_sql_transaction: the analyst does not even get that far
    "0A000",  # dblink is not there at all
    "42883",  # no such function any more
    "58P01",
}


def _column(table: str) -> str:
    return "version" if table == "ledger_account" else "amount"


@pytest.mark.parametrize("name", NAMES)
def test_no_login_can_edit_the_books_or_take_more_power(logins: Logins, make_account: MakeAccount, name: str) -> None:
    make_account(credits=5)
    tries = [change.format(table=table, column=_column(table)) for table in BOOKS for change in CHANGES] + POWERS
    allowed = {statement: refusal(logins.of(name), statement) for statement in tries}
    assert {statement: state for statement, state in allowed.items() if state not in REFUSED} == {}
    with logins.of(name).transaction() as session:
        if name in ("app", "billing"):
            session.execute(text("GRANT UPDATE ON entry TO CURRENT_USER"))  # a warning, and no effect
        assert not roles.may_edit_books(session)


def test_the_owner_logs_in_nowhere_and_owns_everything(database: Database, logins: Logins) -> None:
    assert (
        rows(
            database,
            "SELECT rolname FROM pg_roles WHERE rolname LIKE 'melodeon\\_%' AND (rolsuper OR rolcreaterole"
            " OR rolcreatedb OR rolreplication OR rolbypassrls OR rolcanlogin <> (rolname <> 'melodeon_owner'))",
        )
        == []
    )
    assert (
        rows(
            database,
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relowner <> 'melodeon_owner'::regrole AND relkind IN ('r', 'p', 'S', 'v', 'i')"
            " UNION ALL SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " AND proowner <> 'melodeon_owner'::regrole",
        )
        == []
    )


def test_no_function_of_ours_is_everybodys(database: Database) -> None:
    assert (
        rows(
            database,
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
            " AND (proacl IS NULL OR EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 0))",
        )
        == []
    )


def test_functions_that_act_as_the_owner_look_only_where_they_should(database: Database) -> None:
    assert (
        rows(
            database,
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef"
            " AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c LIKE 'search_path=%pg_temp')",
        )
        == []
    )
    granted = rows(
        database,
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND NOT prosecdef"
        " AND proname LIKE 'ledger\\_%' AND EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee <> proowner)",
    )
    assert granted == [("ledger_balance",)]  # it reads, as who asks


# ---- the web process -----------------------------------------------------------------------------------------------


def test_the_web_process_reads_the_books_of_one_account_only(
    database: Database, logins: Logins, make_account: MakeAccount
) -> None:
    ada, bob = make_account("ada", credits=5), make_account("bob", credits=7)
    for account in (ada, bob):
        with_a_song_under_way(logins.app, account)
    for table in BOOKS:
        assert rows(logins.app, f"SELECT * FROM {table}") == []
        with logins.app.transaction() as session:
            roles.read_books_of(session, ada.id)
            seen = set(session.execute(text(f"SELECT {table}::text FROM {table}")).scalars())
        everything = {row[0] for row in rows(database, f"SELECT {table}::text FROM {table}")}
        assert seen
        assert seen < everything
        assert not any(bob.id in row for row in seen)
        # the next transaction on the same connection begins without
        assert rows(logins.app, f"SELECT * FROM {table}") == []
    with logins.app.transaction() as session:
        assert ledger.balance(session, ada.id).available_credits == 3
        assert ledger.balance(session, bob.id).available_credits == 5
        assert [line.amount_credits for line in ledger.statement(session, bob.id)] == [2, 7]


def test_the_web_process_signs_people_up_and_takes_requests(logins: Logins) -> None:
    with logins.app.transaction() as session:
        eve = accounts.create(session, name="eve", email="eve@example.org", password_hash=None)
        ledger.open_with_signup_grant(session, eve.id, amount=10, now=NOW)
    job_id = with_a_song_under_way(logins.app, eve)
    with logins.app.transaction() as session:
        assert queue_health.figures(session).credits_held == 2
        ledger.settle(session, job_id, captured=0, key=f"end:{job_id}", now=NOW)
        assert ledger.balance(session, eve.id).available_credits == 10


# ---- the worker ----------------------------------------------------------------------------------------------------


def test_the_worker_ends_holds_and_gives_nothing(logins: Logins, make_account: MakeAccount) -> None:
    account = make_account(credits=5)
    job_id = with_a_song_under_way(logins.app, account)
    with logins.worker.transaction() as session:
        ledger.settle(session, job_id, captured=1, key=f"end:{job_id}", now=NOW)
    with logins.app.transaction() as session:
        assert ledger.balance(session, account.id).available_credits == 4
    for call in (
        "SELECT ledger_open('x')",
        f"SELECT ledger_grant('t', 'k', '{account.id}', 1, '', now())",
        "SELECT ledger_clawback('t')",
    ):
        assert refusal(logins.worker, call) in ("42501", "42883")
    with pytest.raises(DBAPIError), logins.worker.transaction() as session:
        ledger.grant(session, account.id, 5, key="from nothing", note="", now=NOW)


@pytest.mark.parametrize("column", ["email", "password_hash", "token_version", "*"])
@pytest.mark.parametrize("name", ["worker", "analyst"])
def test_what_identifies_people_is_not_for_worker_or_analyst(logins: Logins, name: str, column: str) -> None:
    assert refusal(logins.of(name), f"SELECT {column} FROM account") == "42501"


@pytest.mark.parametrize("table", ["session", "ticket", *BOOKS])
def test_sessions_and_books_are_not_for_the_worker(logins: Logins, table: str) -> None:
    assert refusal(logins.worker, f"SELECT * FROM {table}") == "42501"


# ---- the analyst ---------------------------------------------------------------------------------------------------

WRITTEN_BY_PEOPLE = {
    "account": {"name", "email", "password_hash", "avatar_key", "stripe_customer_id"},
    "job": {"brief", "results", "reason", "idempotency_key", "request_hash", "trace_id"},
    "song": {"title", "prompt", "description", "lyrics", "described_lyrics", "lines", "sections", "provenance", "note"},
    "transfer": {"note", "idempotency_key"},
    "asset": {"key", "sha256"},
}


def test_the_analyst_reads_figures_of_everybody(logins: Logins, make_account: MakeAccount) -> None:
    for name in ("ada", "bob"):
        with_a_song_under_way(logins.app, make_account(name, credits=5))
    assert rows(logins.analyst, "SELECT count(*), sum(held) FROM ledger_account") == [(2, 4)]
    assert rows(logins.analyst, "SELECT kind, state, count(*) FROM job GROUP BY kind, state") == [("song", "queued", 2)]
    assert rows(logins.analyst, "SELECT count(DISTINCT id), max(role) FROM account")[0][0] == 2


def test_the_analyst_reads_nothing_that_people_wrote(logins: Logins) -> None:
    seen = rows(
        logins.analyst,
        "SELECT table_name, column_name FROM information_schema.column_privileges"
        " WHERE table_schema = 'public' AND grantee = 'melodeon_analyst'",
    )
    assert {table for table, _ in seen} >= {"account", "job", "song", "transfer", *BOOKS}
    assert [pair for pair in seen if pair[1] in WRITTEN_BY_PEOPLE.get(str(pair[0]), ())] == []
    # whatever is added later and sounds personal is looked at by somebody before it is given away
    personal = ("email", "name", "hash", "token", "secret", "address", "agent", "customer", "note", "text", "words")
    assert [pair for pair in seen if any(word in str(pair[1]) for word in personal)] == [("tag", "name")]


# ---- the scaling policy ----------------------------------------------------------------------------------------------


def test_the_scaler_reads_the_queue_and_nothing_else(
    logins: Logins, database: Database, make_account: MakeAccount
) -> None:
    with_a_song_under_way(logins.app, make_account(credits=5))
    with logins.scaler.transaction() as session:
        assert queue_health.demand(session, [Stage.MUSIC]).ready_accounts == 1
    given = rows(
        database,
        "SELECT DISTINCT table_name, privilege_type FROM information_schema.column_privileges"
        " WHERE grantee = 'melodeon_scaler'",
    )
    assert given == [("job", "SELECT")]
    assert refusal(logins.scaler, "SELECT brief FROM job") == "42501"
    assert refusal(logins.scaler, "SELECT name FROM account") == "42501"
    assert refusal(logins.scaler, "SELECT ledger_open('x')") == "42501"


# ---- the rules themselves ------------------------------------------------------------------------------------------


def test_every_table_is_granted_to_the_web_process_and_only_the_books_are_closed(database: Database) -> None:
    granted = rows(
        database,
        "SELECT table_name, string_agg(privilege_type, ' ' ORDER BY privilege_type)"
        " FROM information_schema.table_privileges WHERE grantee = 'melodeon_app' GROUP BY table_name",
    )
    ours = {str(table): actions for table, actions in granted if table in Base.metadata.tables}
    assert ours.keys() == Base.metadata.tables.keys()
    assert {table for table, actions in ours.items() if actions == "SELECT"} == set(BOOKS)


def test_the_rules_may_be_said_again_and_take_back_what_was_given_by_hand(database: Database, logins: Logins) -> None:
    with database.transaction() as session:
        session.execute(text("GRANT UPDATE ON entry TO melodeon_app"))
        session.execute(text("GRANT SELECT (email) ON account TO melodeon_analyst"))
        session.execute(text("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC"))
    migrate(database.conninfo)
    assert refusal(logins.app, "UPDATE entry SET amount = 1") == "42501"
    assert refusal(logins.analyst, "SELECT email FROM account") == "42501"
    assert refusal(logins.worker, "SELECT ledger_open('x')") == "42501"


def test_a_user_that_may_not_make_roles_still_gets_its_tables(postgres: EmbeddedPostgres, database: Database) -> None:
    def run(statement: str) -> None:
        with database.transaction() as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(text(statement))

    run("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    run("CREATE DATABASE elsewhere OWNER plain")
    try:
        url = make_url(postgres.url_of("elsewhere")).set(username="plain", password="plain")
        address = url.render_as_string(hide_password=False)
        migrate(address)
        migrate(address)
        alone = Database(address)
        with alone.transaction() as session:
            account = accounts.create(session, name="solo", email="", password_hash=None)
            ledger.open_with_signup_grant(session, account.id, amount=3, now=NOW)
        with_a_song_under_way(alone, account)
        with alone.transaction() as session:
            assert ledger.balance(session, account.id).available_credits == 1
            assert roles.may_edit_books(session)
            assert ledger.faults(session) == ()
        alone.dispose()
    finally:
        run("DROP DATABASE elsewhere WITH (FORCE)")
        run("DROP ROLE plain")


def test_a_user_that_may_make_roles_need_not_be_superuser(postgres: EmbeddedPostgres, database: Database) -> None:
    def run(statement: str) -> None:
        with database.transaction() as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"}).execute(text(statement))

    run("CREATE ROLE maker LOGIN CREATEROLE PASSWORD 'maker'")
    for role in ("owner", *NAMES):
        run(f"GRANT melodeon_{role} TO maker WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    run("CREATE DATABASE elsewhere OWNER maker")
    try:
        url = make_url(postgres.url_of("elsewhere")).set(username="maker", password="maker")
        address = url.render_as_string(hide_password=False)
        migrate(address)
        alone = Database(address)
        with alone.transaction() as session:
            owners = session.execute(text("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"))
            assert owners.scalars().all() == ["melodeon_owner"]
            account = accounts.create(session, name="solo", email="", password_hash=None)
            ledger.open_with_signup_grant(session, account.id, amount=3, now=NOW)
            assert ledger.balance(session, account.id).available_credits == 3
            assert ledger.faults(session) == ()
        alone.dispose()
        migrate(address)
    finally:
        run("DROP DATABASE elsewhere WITH (FORCE)")
        run("DROP ROLE maker")
