-- name: select_live_stays
-- By user, along the index that keeps a user to one live stay: a stay that opens or closes meanwhile moves
-- nobody else's place. A promise is forsaken when nothing is left of it that could still be kept.
SELECT user_id, queue_type, status = 'assigned' AS is_assigned, queue_reason = 'promised_call' AS is_promise,
    queue_reason = 'promised_call' AND callback_id IS NULL AND NOT EXISTS (
        SELECT FROM callbacks
        WHERE callbacks.user_id = stay.user_id AND callbacks.status IN ('pending', 'accepted')
    ) AS is_forsaken
FROM call_queue AS stay
WHERE status <> 'left' AND user_id > %(after)s
ORDER BY user_id
LIMIT %(rows_max)s;

-- name: count_live_stays
SELECT count(*) FROM call_queue WHERE status <> 'left' AND user_id > %(after)s;

-- name: lower_stays
-- Raised for a callback that is closed: back to their own place. The user's score first, as everywhere; whoever
-- is just changing either is left to them.
WITH kept_up AS MATERIALIZED (
    SELECT stay.id, score.current_score, score.next_call_after
    FROM call_queue AS stay
    JOIN callbacks AS callback ON callback.id = stay.callback_id
    JOIN user_call_scores AS score ON score.user_id = stay.user_id
    WHERE stay.status = 'pending' AND stay.callback_id IS NOT NULL
        AND callback.status IN ('completed', 'cancelled')
    FOR NO KEY UPDATE OF score, stay SKIP LOCKED
)
UPDATE call_queue AS stay
SET callback_id = NULL, reserved_for_agent_id = NULL, priority_score = kept_up.current_score,
    available_from = greatest(kept_up.next_call_after, stay.available_from)
FROM kept_up
WHERE stay.id = kept_up.id
RETURNING stay.user_id;

-- name: select_contradictions
-- What the store's constraints and its one door make impossible, looked for all the same, in one snapshot: how
-- many of each kind, and the first ten users. An assignment's stay carries its token while it lasts.
SELECT contradiction.kind, count(*) AS rows, (array_agg(contradiction.user_id ORDER BY contradiction.user_id))[:10] AS user_ids
FROM (
    SELECT 'user_and_stay_disagree' AS kind, coalesce(score.user_id, stay.user_id) AS user_id
    FROM (SELECT user_id, current_queue_type FROM user_call_scores WHERE current_queue_type IS NOT NULL) AS score
    FULL JOIN (SELECT user_id, queue_type FROM call_queue WHERE status <> 'left') AS stay USING (user_id)
    WHERE score.current_queue_type IS DISTINCT FROM stay.queue_type
    UNION ALL
    SELECT 'assignment_open_without_its_stay', stay.user_id
    FROM assignments AS assignment
    JOIN call_queue AS stay ON stay.id = assignment.call_queue_id
    WHERE assignment.ended_at IS NULL
        AND (stay.status <> 'assigned' OR stay.lease_token <> assignment.lease_token)
    UNION ALL
    SELECT 'stay_assigned_without_open_assignment', stay.user_id
    FROM call_queue AS stay
    LEFT JOIN assignments AS assignment
        ON assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
        AND assignment.ended_at IS NULL
    WHERE stay.status = 'assigned' AND assignment.id IS NULL
) AS contradiction
GROUP BY contradiction.kind
ORDER BY contradiction.kind;
