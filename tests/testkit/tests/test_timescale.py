# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
from linkora.settings import DatabaseSettings
from testkit.databases import empty_again
from testkit.postgres import connect


def test_between_tests_only_the_rows_of_the_migrations_stay(
    timescale_database: DatabaseSettings, database: DatabaseSettings
) -> None:
    query = "SELECT status, total FROM order_counts ORDER BY 1"
    with connect(timescale_database) as used, connect(database) as fresh:
        used.execute("UPDATE order_counts SET total = 5")
        used.execute("INSERT INTO collector_state (symbol) VALUES ('BTCUSDT')")
        empty_again(used)
        assert used.execute(query).fetchall() == fresh.execute(query).fetchall()
        assert used.execute("SELECT count(*) FROM collector_state").fetchone() == (0,)
