-- Statements on Dagster's own event log (its schema, not ours).

-- name: delete_old_step_events
-- One page of the log by its primary key, and of that page what only tells how a step went. Events of
-- assets and of their freshness stay: deleting the run, or all events by age, would un-materialise its
-- partitions. Walking by id reads each row once; a DELETE with a LIMIT on the predicate alone would read
-- the kept rows from the start again for every batch.
WITH page AS MATERIALIZED (
    SELECT id, dagster_event_type, "timestamp"
    FROM event_logs
    WHERE id > %(after_id)s
    ORDER BY id
    LIMIT %(page_rows)s
), deleted AS (
    DELETE FROM event_logs AS event
    USING page
    WHERE event.id = page.id
      AND page."timestamp" < %(older_than)s
      AND (
          page.dagster_event_type IS NULL
          OR NOT (starts_with(page.dagster_event_type, 'ASSET_') OR starts_with(page.dagster_event_type, 'FRESHNESS_'))
      )
    RETURNING event.id
)
SELECT
    (SELECT count(*) FROM deleted) AS deleted,
    (SELECT max(id) FROM page) AS last_id,
    coalesce((SELECT min("timestamp") < %(older_than)s FROM page), false) AS goes_on;

-- name: delete_stale_planned_checks
-- A check that a range of partitions carries along is planned once for each partition, and evaluated once,
-- for none of them: the planned rows stay for ever. Of runs that have ended, all but the newest row of each
-- check go; that one is what the UI and the sensors see, also where the check never came to its turn.
WITH page AS MATERIALIZED (
    SELECT id, asset_key, check_name, run_id, execution_status, partition
    FROM asset_check_executions
    WHERE id > %(after_id)s
    ORDER BY id
    LIMIT %(page_rows)s
), deleted AS (
    DELETE FROM asset_check_executions AS planned
    USING page
    WHERE planned.id = page.id
      AND page.execution_status = 'PLANNED'
      AND page.partition IS NOT NULL
      AND NOT EXISTS (
          SELECT FROM runs
          WHERE runs.run_id = page.run_id AND runs.status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')
      )
      AND EXISTS (
          SELECT FROM asset_check_executions AS newer
          WHERE newer.asset_key = page.asset_key AND newer.check_name = page.check_name
            AND newer.run_id = page.run_id AND newer.id > page.id
      )
    RETURNING planned.id
)
SELECT
    (SELECT count(*) FROM deleted) AS deleted,
    (SELECT max(id) FROM page) AS last_id,
    true AS goes_on;
