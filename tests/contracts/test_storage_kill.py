"""What was acknowledged is there after `kill -9`."""

import random
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa

from yunmo.storage.database import open_database

KILLS = {"sqlite": 20, "postgresql": 5}
PROGRAM = """
import asyncio, sys
import sqlalchemy as sa
from yunmo.storage.database import open_database

row = sa.table("row", sa.column("id"))

async def client(database, run, number):
    for step in range(1_000_000):
        name = f"{run}-{number}-{step}"
        await database.write(lambda connection: connection.execute(row.insert().values(id=name)))
        sys.stdout.write(name + "\\n")
        sys.stdout.flush()

async def main(url, run):
    database = open_database(url)
    await asyncio.gather(*(client(database, run, number) for number in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def rows_url(database_url):
    database = open_database(database_url)
    with database.engine.begin() as connection:
        connection.execute(sa.text('CREATE TABLE "row" (id VARCHAR(40) PRIMARY KEY)'))
    database.engine.dispose()
    return database_url


def test_no_acknowledged_row_is_lost_when_the_writer_is_killed_again_and_again(rows_url):
    kills = KILLS[rows_url.split(":")[0]]
    chance = random.Random(20261123)
    acknowledged, killed = set(), 0
    for run in range(kills):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, rows_url, str(run)], stdout=subprocess.PIPE, text=True)
        for _ in range(chance.randint(1, 120)):
            acknowledged.add(process.stdout.readline().strip())
        process.kill()
        rest = process.stdout.read()
        acknowledged.update(line for line in rest.split("\n")[:-1])  # a torn last line was no acknowledgement
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert killed == kills
    assert len({name.split("-")[0] for name in acknowledged}) == kills
    engine = open_database(rows_url).engine
    with engine.connect() as connection:
        kept = set(connection.execute(sa.text('SELECT id FROM "row"')).scalars())
    engine.dispose()
    assert acknowledged - {""} <= kept
    assert "" not in acknowledged
