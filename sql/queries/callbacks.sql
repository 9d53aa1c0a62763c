-- name: insert_callbacks
-- One open callback per user and time: promising the same call again is the same promise. Nobody is promised a
-- call who asked not to be called: the user is locked by then, or the opting out cancels what we write.
INSERT INTO callbacks (user_id, queue_type, due_at, call_after, preferred_agent_id, agreed_in_assignment_id, created_at)
SELECT user_id, queue_type, due_at, due_at, preferred_agent_id, assignment_id, %(now)s
FROM unnest(
    %(user_ids)s::bigint[], %(queue_types)s::text[], %(due_ats)s::timestamptz[],
    %(preferred_agent_ids)s::bigint[], %(assignment_ids)s::bigint[]
) AS promised (user_id, queue_type, due_at, preferred_agent_id, assignment_id)
JOIN user_call_scores AS score USING (user_id)
WHERE score.is_active
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

-- name: cancel_callbacks
UPDATE callbacks AS callback
SET status = 'cancelled', closed_at = %(now)s, closed_reason = cancelling.reason, updated_at = %(now)s
FROM unnest(%(callback_ids)s::bigint[], %(reasons)s::text[]) AS cancelling (id, reason)
WHERE callback.id = cancelling.id AND callback.status IN ('pending', 'accepted');

-- name: select_agent
SELECT id FROM agents WHERE id = %(agent_id)s;

-- name: select_callback
SELECT id, user_id, status, attempts, due_at, call_after, preferred_agent_id, accepted_by_agent_id
FROM callbacks
WHERE id = %(callback_id)s;

-- name: accept_callback
-- In front of everything, for the accepter: the callback and the waiting stay that it raises, if it does by now.
WITH raised AS (
    UPDATE call_queue
    SET callback_id = %(callback_id)s, priority_score = -2000, reserved_for_agent_id = %(agent_id)s,
        available_from = greatest(%(now)s, called_until(user_id, %(now)s))
    WHERE id = %(stay_id)s AND status = 'pending'
    RETURNING queue_type
)
UPDATE callbacks
SET status = 'accepted', accepted_by_agent_id = %(agent_id)s, accepted_at = %(now)s, updated_at = %(now)s,
    queue_type = coalesce((SELECT raised.queue_type FROM raised), callbacks.queue_type)
WHERE id = %(callback_id)s AND status = 'pending';

-- name: snooze_callback
UPDATE callbacks
SET status = 'pending', accepted_by_agent_id = NULL, accepted_at = NULL, call_after = %(call_after)s,
    updated_at = %(now)s
WHERE id = %(callback_id)s AND status IN ('pending', 'accepted');

-- name: select_pending_of_agent
-- Accepted by the agent, or raised for them, or theirs by preference and nobody else's yet.
SELECT callback.id, callback.user_id, stay.queue_type, callback.status, callback.due_at, callback.call_after,
    stay.callback_id IS NOT NULL AS is_raised, coalesce(stay.status = 'assigned', false) AS is_assigned
FROM callbacks AS callback
LEFT JOIN call_queue AS stay ON stay.callback_id = callback.id AND stay.status <> 'left'
WHERE callback.status IN ('pending', 'accepted') AND callback.call_after <= %(until)s
    AND CASE
        WHEN callback.status = 'accepted' THEN callback.accepted_by_agent_id = %(agent_id)s
        WHEN stay.status = 'assigned' THEN stay.assigned_to_agent_id = %(agent_id)s
        WHEN stay.reserved_for_agent_id IS NOT NULL THEN stay.reserved_for_agent_id = %(agent_id)s
        ELSE callback.preferred_agent_id = %(agent_id)s
    END
ORDER BY callback.call_after, callback.id
LIMIT %(rows_max)s;

-- name: cancel_callbacks_of_users
UPDATE callbacks AS callback
SET status = 'cancelled', closed_at = %(now)s, closed_reason = cancelling.reason, updated_at = %(now)s
FROM unnest(%(user_ids)s::bigint[], %(reasons)s::text[]) AS cancelling (user_id, reason)
WHERE callback.user_id = cancelling.user_id AND callback.status IN ('pending', 'accepted')
RETURNING callback.id;
