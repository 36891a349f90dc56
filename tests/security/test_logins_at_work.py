"""The whole product at work: each part of it talks to the database as the login that is meant for it."""

import json
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import text

from configs.addresses import database_url
from ui.testing import Stack, faults_of


def test_each_part_has_its_own_login_and_a_song_gets_made_and_paid(stack: Stack, tmp_path: Path) -> None:
    made = stack.melodeon("song", "rain on a tin roof", "--duration", "10", "--out", str(tmp_path), "--json")
    assert made.returncode == 0, made.stderr
    services = stack.services
    with services.database.transaction() as session:
        seen = session.execute(
            text(
                "SELECT application_name, usename, client_port FROM pg_stat_activity"
                " WHERE backend_type = 'client backend'"
            )
        ).all()
    # the operator's connections, which are this process', are the owner's
    ours = {connection.laddr.port for connection in psutil.Process().net_connections("tcp")}
    logins = [(str(name), str(user)) for name, user, port in seen if port not in ours]
    assert {user for name, user in logins if name == "melodeon worker"} == {"melodeon_worker"}
    # nobody else is the owner
    assert {user for _, user in logins} == {"melodeon_app", "melodeon_worker"}
    assert faults_of(services.database, services.store) == []

    books = stack.melodeon("ledger", "verify", "--json")
    assert books.returncode == 0, books.stderr
    assert json.loads(books.stdout)["transfers"] >= 2
    checks = json.loads(stack.melodeon("doctor", "--json").stdout)["checks"]
    (check,) = (check for check in checks if check["name"] == "database logins")
    assert check["ok"]
    assert "none can change what was booked" in check["sentence"]

    analyst = database_url(services.settings, services.secrets, role="analyst").replace("+psycopg", "")
    with psycopg.connect(analyst) as connection:
        paid = connection.execute("SELECT sum(amount) FROM transfer WHERE kind = 'capture'").fetchone()
    assert paid is not None
    assert paid[0] >= 1
