"""The columns of the firm's tables that leadq reads: no name, phone number or address is among them."""

from sqlalchemy import BigInteger, DateTime, String, column, table

users = table(
    "users",
    column("id", BigInteger),
    column("is_enabled"),
    column("status", String),
    column("current_signature_file_id"),
    column("created_at", DateTime),
    column("updated_at", DateTime),
)

claims = table(
    "claims",
    column("id", BigInteger),
    column("user_id", BigInteger),
    column("status", String),
    column("created_at", DateTime),
    column("updated_at", DateTime),
)

claim_requirements = table(
    "claim_requirements",
    column("id", String),
    column("claim_id", BigInteger),
    column("type", String),
    column("status", String),
    column("claim_requirement_reason", String),
    column("created_at", DateTime),
    column("updated_at", DateTime),
)
