"""Replicas of any size in seconds: users made inside the server, one hour of changes the same in all."""

from datetime import UTC, datetime

import sqlalchemy as sa

from leadq_dagster.domain.windows import Window
from leadq_dagster.firm.schema import claim_requirements, claims, create_tables, heartbeat, users

HOUR = Window.hour_of(datetime(2026, 3, 2, 9, tzinfo=UTC))
NEW_IN_THE_HOUR = 100
CHANGED_IN_THE_HOUR = 200

DIGITS = " CROSS JOIN ".join(
    f"(SELECT 0 AS d{place} UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4"
    " UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
    f" t{place}"
    for place in range(7)
)
NUMBER = " + ".join(f"d{place} * {10**place}" for place in range(7))
LONG_AGO = {
    "mysql": "TIMESTAMPADD(MINUTE, n MOD 500000, '2025-01-01')",
    "postgresql": "timestamp '2025-01-01' + (n % 500000) * interval '1 minute'",
}


def populate(engine: sa.Engine, count: int) -> None:
    """Fill an empty replica with `count` long-known users, and the hour of changes on top of them."""
    create_tables(engine)
    dialect = "postgresql" if engine.dialect.name == "postgresql" else "mysql"
    moment = LONG_AGO[dialect]
    insert = (
        "INSERT INTO users"
        " (id, first_name, is_enabled, status, current_signature_file_id, created_at, updated_at)"
        f" SELECT 1000000000 + n, 'x', 1, 'active', CASE WHEN n % 2 = 0 THEN 'f' END, {moment}, {moment}"
        f" FROM (SELECT {NUMBER} AS n FROM {DIGITS}) numbers WHERE n < :count"
    )
    with engine.begin() as connection:
        connection.execute(sa.text(insert), {"count": count})
        connection.execute(users.insert(), _changes())
        new_claims = [
            {"id": n, "user_id": n, "type": "x", "status": "active"} for n in range(1, NEW_IN_THE_HOUR + 1)
        ]
        connection.execute(claims.insert(), new_claims)
        connection.execute(heartbeat.insert().values(server_id=1, ts=HOUR.end.replace(tzinfo=None)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        analyze = "ANALYZE users" if dialect == "postgresql" else "ANALYZE TABLE users"
        connection.exec_driver_sql(analyze).close()


def change_for_conversions(engine: sa.Engine) -> None:
    """Among the users changed in the hour some signed, and some came to owe a document."""
    at = HOUR.start.replace(tzinfo=None, minute=30)
    with engine.begin() as connection:
        connection.execute(
            users.update()
            .where(users.c.id.between(1000, 1000 + CHANGED_IN_THE_HOUR // 2))
            .values(current_signature_file_id="signed", updated_at=at)
        )
        owed = range(1000, 1000 + CHANGED_IN_THE_HOUR // 4)
        connection.execute(
            claims.insert(), [{"id": n, "user_id": n, "type": "x", "status": "active"} for n in owed]
        )
        connection.execute(
            claim_requirements.insert(),
            [
                {
                    "id": f"{n:036d}",
                    "claim_id": n,
                    "type": "bank_statement",
                    "status": "pending",
                    "created_at": at,
                    "updated_at": at,
                }
                for n in owed
            ],
        )


def _changes() -> list[dict[str, object]]:
    nine = HOUR.start.replace(tzinfo=None)
    shared = {"first_name": "x", "is_enabled": 1, "status": "active"}
    new = [
        {
            **shared,
            "id": n,
            "created_at": nine.replace(minute=n % 60),
            "updated_at": nine.replace(minute=n % 60),
        }
        for n in range(1, NEW_IN_THE_HOUR + 1)
    ]
    changed = [
        {
            **shared,
            "id": 1000 + n,
            "created_at": nine.replace(month=1),
            "updated_at": nine.replace(minute=n % 60),
        }
        for n in range(CHANGED_IN_THE_HOUR)
    ]
    return [*new, *changed]
