"""The columns of the firm's tables that leadq reads.

What decisions are made from holds no name, phone number or address. Those are in `users_with_contact`, which
leads.py alone may read, for the agent who is about to call.
"""

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

users_with_contact = table(
    "users",
    *(column(each.name, each.type) for each in users.c),
    column("first_name", String),
    column("last_name", String),
    column("phone_number", String),
    column("email_address", String),
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
