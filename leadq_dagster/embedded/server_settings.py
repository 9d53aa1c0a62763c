"""The settings of the embedded server, given on its command line so that no file can contradict them."""

from leadq_dagster.embedded.ports import LOOPBACK

CONNECTIONS_MAX = 200

ALWAYS = {
    "listen_addresses": LOOPBACK,
    "max_connections": str(CONNECTIONS_MAX),
    "max_locks_per_transaction": "128",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
    # Statements, their parameters and the DETAIL of an error hold passwords, names and phone numbers.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
}

# Right after a crash of the server too; only a crash of the machine may lose or damage the data.
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def server_settings(cluster_name: str, *, durable: bool) -> dict[str, str]:
    """Every setting that differs from PostgreSQL's defaults. None of them is secret."""
    return {"cluster_name": cluster_name} | ALWAYS | ({} if durable else NOT_DURABLE)
