-- name: select_completed
SELECT window_start
FROM completed_windows
WHERE asset = %(asset)s AND window_start >= %(start)s AND window_start < %(end)s
ORDER BY window_start;

-- name: insert_completed
INSERT INTO completed_windows (asset, window_start, observed_until, completed_at, dagster_run_id)
SELECT %(asset)s, window_start, %(observed_until)s, %(now)s, %(run_id)s
FROM unnest(%(window_starts)s::timestamptz[]) AS hour (window_start)
ORDER BY window_start
ON CONFLICT (asset, window_start) DO NOTHING;
