-- name: insert_callbacks
-- One open callback per user and time: promising the same call again is the same promise.
INSERT INTO callbacks (user_id, queue_type, due_at, call_after, preferred_agent_id, agreed_in_assignment_id, created_at)
SELECT user_id, queue_type, due_at, due_at, preferred_agent_id, assignment_id, %(now)s
FROM unnest(
    %(user_ids)s::bigint[], %(queue_types)s::text[], %(due_ats)s::timestamptz[],
    %(preferred_agent_ids)s::bigint[], %(assignment_ids)s::bigint[]
) AS promised (user_id, queue_type, due_at, preferred_agent_id, assignment_id)
ON CONFLICT (user_id, due_at) WHERE status IN ('pending', 'accepted') DO NOTHING;

-- name: select_promised
SELECT callback.id, callback.user_id, callback.due_at
FROM unnest(%(user_ids)s::bigint[], %(due_ats)s::timestamptz[]) AS promised (user_id, due_at)
JOIN callbacks AS callback USING (user_id, due_at)
WHERE callback.status IN ('pending', 'accepted');

-- name: lock_callbacks
SELECT id, user_id, status, attempts, due_at, call_after, preferred_agent_id, accepted_by_agent_id
FROM callbacks
WHERE id = ANY(%(callback_ids)s)
ORDER BY id
FOR NO KEY UPDATE;

-- name: close_callbacks
UPDATE callbacks AS callback
SET status = closing.status, closed_at = %(now)s, closed_reason = closing.reason, attempts = attempts + 1,
    updated_at = %(now)s
FROM unnest(%(callback_ids)s::bigint[], %(statuses)s::text[], %(reasons)s::text[]) AS closing (id, status, reason)
WHERE callback.id = closing.id AND callback.status IN ('pending', 'accepted');

-- name: retry_callbacks
UPDATE callbacks
SET status = 'pending', accepted_by_agent_id = NULL, accepted_at = NULL, attempts = attempts + 1,
    call_after = %(call_after)s, updated_at = %(now)s
WHERE id = ANY(%(callback_ids)s) AND status IN ('pending', 'accepted');

-- name: cancel_callbacks_of_users
UPDATE callbacks AS callback
SET status = 'cancelled', closed_at = %(now)s, closed_reason = cancelling.reason, updated_at = %(now)s
FROM unnest(%(user_ids)s::bigint[], %(reasons)s::text[]) AS cancelling (user_id, reason)
WHERE callback.user_id = cancelling.user_id AND callback.status IN ('pending', 'accepted')
RETURNING callback.id;
