"""The tables of the firm's application, as leadq's replica shows them.

Like many applications that grew, it declares no foreign keys, lets dates be NULL, and trusts its
code for the rest. Dates are naive and mean UTC.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData()

Moment = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
Flag = sa.SmallInteger().with_variant(mysql.TINYINT(display_width=1), "mysql", "mariadb")

_ON_MARIADB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_unicode_ci",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_unicode_ci",
}

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("email_address", sa.String(255)),
    sa.Column("first_name", sa.String(255)),
    sa.Column("last_name", sa.String(255)),
    sa.Column("phone_number", sa.String(32)),
    sa.Column("is_enabled", Flag, nullable=False, server_default="1"),
    sa.Column("status", sa.String(50)),
    sa.Column("introducer", sa.String(100)),
    sa.Column("current_signature_file_id", sa.String(64)),
    sa.Column("created_at", Moment),
    sa.Column("updated_at", Moment),
    sa.Index("users_created_at", "created_at"),
    sa.Index("users_updated_at", "updated_at"),
    **_ON_MARIADB,
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("user_id", sa.BigInteger, nullable=False),
    sa.Column("type", sa.String(50)),
    sa.Column("status", sa.String(50)),
    sa.Column("lender", sa.String(100)),
    sa.Column("created_at", Moment),
    sa.Column("updated_at", Moment),
    sa.Index("claims_user_id", "user_id"),
    sa.Index("claims_created_at", "created_at"),
    sa.Index("claims_updated_at", "updated_at"),
    **_ON_MARIADB,
)

claim_requirements = sa.Table(
    "claim_requirements",
    metadata,
    sa.Column("id", sa.CHAR(36), primary_key=True),
    sa.Column("claim_id", sa.BigInteger, nullable=False),
    sa.Column("type", sa.String(100)),
    sa.Column("status", sa.String(50)),
    sa.Column("claim_requirement_reason", sa.String(255)),
    sa.Column("claim_requirement_rejection_reason", sa.String(255)),
    sa.Column("created_at", Moment),
    sa.Column("updated_at", Moment),
    sa.Index("claim_requirements_claim_id", "claim_id"),
    sa.Index("claim_requirements_created_at", "created_at"),
    sa.Index("claim_requirements_updated_at", "updated_at"),
    **_ON_MARIADB,
)

heartbeat = sa.Table(
    "heartbeat",
    metadata,
    sa.Column("server_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("ts", Moment, nullable=False),
    **_ON_MARIADB,
)

firm_state = sa.Table(
    "firm_state",
    metadata,
    sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("sign_ups_per_day", sa.Double, nullable=False),
    sa.Column("late_share", sa.Double, nullable=False),
    sa.Column("undated_share", sa.Double, nullable=False),
    sa.Column("applied_until", Moment, nullable=False),
    **_ON_MARIADB,
)


def create_tables(engine: sa.Engine) -> None:
    """Create the application's tables where they are missing, on MariaDB (InnoDB, utf8mb4) or PostgreSQL."""
    metadata.create_all(engine)


def drop_tables(engine: sa.Engine) -> None:
    """Drop the application's tables where they exist, with their rows."""
    metadata.drop_all(engine)
