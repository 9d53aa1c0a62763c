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
    coalesce((SELECT min("timestamp") < %(older_than)s FROM page), false) AS page_has_old_rows;
