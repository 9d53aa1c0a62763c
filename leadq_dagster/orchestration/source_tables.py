"""The replica's tables as external assets, so that lineage begins at the source."""

from dagster import AssetKey, AssetSpec, TableColumn, TableSchema

SOURCE_GROUP = "replica"

USERS = AssetKey(["replica", "users"])
CLAIMS = AssetKey(["replica", "claims"])
CLAIM_REQUIREMENTS = AssetKey(["replica", "claim_requirements"])

USER_COLUMNS = {
    "id": "bigint",
    "email_address": "varchar",
    "first_name": "varchar",
    "last_name": "varchar",
    "phone_number": "varchar",
    "is_enabled": "tinyint",
    "status": "varchar",
    "introducer": "varchar",
    "current_signature_file_id": "varchar",
    "created_at": "datetime",
    "updated_at": "datetime",
}
CLAIM_COLUMNS = {
    "id": "bigint",
    "user_id": "bigint",
    "type": "varchar",
    "status": "varchar",
    "lender": "varchar",
    "created_at": "datetime",
    "updated_at": "datetime",
}
CLAIM_REQUIREMENT_COLUMNS = {
    "id": "char(36)",
    "claim_id": "bigint",
    "type": "varchar",
    "status": "varchar",
    "claim_requirement_reason": "varchar",
    "claim_requirement_rejection_reason": "varchar",
    "created_at": "datetime",
    "updated_at": "datetime",
}


def source_tables() -> list[AssetSpec]:
    """The tables of the firm's application that leadq reads and never writes."""
    return [
        _table(USERS, "The people known to the firm's application, one row each.", USER_COLUMNS),
        _table(CLAIMS, "The claims of those people, one row each.", CLAIM_COLUMNS),
        _table(
            CLAIM_REQUIREMENTS,
            "What a person must still supply for a claim, one row per requirement.",
            CLAIM_REQUIREMENT_COLUMNS,
        ),
    ]


def _table(key: AssetKey, description: str, columns: dict[str, str]) -> AssetSpec:
    schema = TableSchema(columns=[TableColumn(name=name, type=kind) for name, kind in columns.items()])
    return AssetSpec(
        key=key,
        description=f"{description} The firm's table, read from a replica.",
        group_name=SOURCE_GROUP,
        kinds={"mysql", "table"},
        metadata={"dagster/column_schema": schema, "dagster/table_name": key.path[-1]},
    )
