-- name: select_measures
-- The counts of docs/measures.md, over the calls that began and the promised times that came in [since, until). Each
-- finds its rows by a time in an index, and what belongs to them by their user.
WITH calls AS MATERIALIZED (
    SELECT call.direction, call.status, call.user_id, call.started_at, call.ended_at,
        reported.outcome IS NOT NULL OR call.legacy_outcome IS NOT NULL AS has_outcome,
        coalesce(reported.outcome = 'call_back', false)
            OR coalesce(lower(trim(call.legacy_outcome)) = ANY(%(call_again_words)s::text[]), false) AS is_to_be_called
    FROM call_sessions AS call
    LEFT JOIN LATERAL (
        SELECT told.outcome
        FROM call_outcomes AS told
        WHERE told.user_id = call.user_id AND told.call_session_id = call.id
        ORDER BY told.id DESC
        LIMIT 1
    ) AS reported ON true
    WHERE call.started_at >= %(since)s AND call.started_at < %(until)s
        AND call.status IN ('completed', 'failed', 'no_answer')
),
due AS MATERIALIZED (
    -- Promises that were taken back, or whose user may not be called any more, were not to be kept.
    SELECT id, user_id, due_at, status, closed_reason
    FROM callbacks
    WHERE due_at >= %(since)s AND due_at < %(until)s
        AND NOT (status = 'cancelled' AND closed_reason NOT LIKE 'not kept:%%')
),
of_calls AS (
    SELECT
        count(*) FILTER (WHERE direction = 'inbound' AND has_outcome) AS inbound_with_outcome,
        count(*) FILTER (WHERE direction = 'inbound') AS inbound,
        count(*) FILTER (
            WHERE direction = 'inbound' AND is_to_be_called AND EXISTS (
                SELECT FROM callbacks AS promised
                WHERE promised.user_id = calls.user_id
                    AND promised.created_at >= calls.started_at
                    AND promised.created_at <= coalesce(calls.ended_at, calls.started_at) + %(written_within)s::interval
            )
        ) AS promised,
        count(*) FILTER (WHERE direction = 'inbound' AND is_to_be_called) AS to_be_promised,
        count(*) FILTER (WHERE status = 'completed' AND has_outcome) AS completed_with_outcome,
        count(*) FILTER (WHERE status = 'completed') AS completed
    FROM calls
),
of_callbacks AS (
    SELECT
        count(*) FILTER (
            WHERE EXISTS (
                SELECT FROM callback_notifications AS told
                WHERE told.callback_id = due.id AND told.agent_id IS NOT NULL AND told.decision <> 'snoozed'
                    AND told.notified_at <= due.due_at + %(routed_within)s::interval
            )
        ) AS routed,
        count(*) AS to_be_routed,
        count(*) FILTER (
            WHERE due.due_at < %(until)s::timestamptz - %(kept_within)s::interval AND status = 'completed' AND EXISTS (
                SELECT FROM call_outcomes AS told
                JOIN call_sessions AS call ON call.id = told.call_session_id
                WHERE told.user_id = due.user_id AND told.callback_id = due.id AND told.outcome = due.closed_reason
                    AND call.started_at >= due.due_at - %(kept_within)s::interval
                    AND call.started_at <= due.due_at + %(kept_within)s::interval
            )
        ) AS kept,
        count(*) FILTER (WHERE due.due_at < %(until)s::timestamptz - %(kept_within)s::interval) AS to_be_kept
    FROM due
),
open_now AS (
    SELECT count(*) AS overdue, min(call_after) AS overdue_since
    FROM callbacks
    WHERE status IN ('pending', 'accepted') AND call_after <= %(until)s
)
SELECT * FROM of_calls, of_callbacks, open_now;
