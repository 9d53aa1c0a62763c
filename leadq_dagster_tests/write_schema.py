"""Writes `sql/schema.tsv`: what the migrations give on an empty server. `make schema` runs it."""

import tempfile
from pathlib import Path

from leadq_dagster.embedded.postgres import erase_postgres, start_postgres
from leadq_dagster.store import migrations


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="leadq-schema-") as folder:
        with start_postgres(Path(folder) / "server", durable=False) as server:
            server.ensure_database("store")
            url = server.url("store")
            migrations.upgrade(url)
            text = migrations.format_catalog(migrations.read_catalog(url))
            migrations.snapshot_path().write_text(text, encoding="utf-8")
        erase_postgres(Path(folder) / "server")


if __name__ == "__main__":
    main()
