-- name: select_clock
-- The one clock that all who move users go by, whichever machine they run on.
SELECT clock_timestamp();

-- name: lock_users
-- Every change of queue holds the user's score row first, in the order of user_id: that row is the one
-- lock under which a user moves, so two movers of one user take turns and never deadlock. NO KEY: a desk that
-- holds a stay may be writing a row that refers to the user, and must not wait for us while we wait for the stay.
SELECT user_id, current_queue_type, is_active, last_queue_check
FROM user_call_scores
WHERE user_id = ANY(%(user_ids)s)
ORDER BY user_id
FOR NO KEY UPDATE;

-- name: lock_stays
-- After the users, in a statement of its own: it waits for a desk that is handing the stay out, and reads what
-- that left behind.
SELECT user_id, status = 'assigned' AS is_assigned, queue_reason = 'promised_call' AS is_promise
FROM call_queue
WHERE user_id = ANY(%(user_ids)s) AND status <> 'left'
ORDER BY user_id
FOR NO KEY UPDATE;

-- name: select_seen_owing
-- Of these users, with the stay in unsigned_users that ended, those who were in outstanding_requests after it,
-- for what they owed and not for a promised call.
SELECT DISTINCT signed.user_id
FROM unnest(%(user_ids)s::bigint[], %(stay_ids)s::bigint[]) AS signed (user_id, stay_id)
JOIN call_queue AS later ON later.user_id = signed.user_id AND later.id > signed.stay_id
WHERE later.queue_type = 'outstanding_requests' AND later.queue_reason <> 'promised_call';

-- name: set_checked
UPDATE user_call_scores SET last_queue_check = %(seen_at)s WHERE user_id = ANY(%(user_ids)s);

-- name: close_stays
UPDATE call_queue AS stay
SET status = 'left', left_at = %(now)s, left_reason = moving.reason
FROM unnest(%(user_ids)s::bigint[], %(reasons)s::text[]) AS moving (user_id, reason)
WHERE stay.user_id = moving.user_id AND stay.status <> 'left'
RETURNING stay.user_id, stay.id;

-- name: end_assignments
-- Whoever holds a lead that leaves holds it no longer. By the stay's token, which is that of its last assignment,
-- and never before it began: a run that moves users goes by the time at which it looked.
UPDATE assignments AS assignment
SET ended_at = greatest(%(now)s, assignment.assigned_at), end_reason = %(end_reason)s
FROM call_queue AS stay
WHERE stay.id = ANY(%(stay_ids)s)
    AND assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
    AND assignment.ended_at IS NULL;

-- name: adopt_stays
-- Who was in the queue for a promised call only, and now belongs there, goes on in the same stay as any lead.
UPDATE call_queue AS stay
SET queue_reason = adopted.reason
FROM unnest(%(user_ids)s::bigint[], %(reasons)s::text[]) AS adopted (user_id, reason)
WHERE stay.user_id = adopted.user_id AND stay.status <> 'left' AND stay.queue_reason = 'promised_call';

-- name: open_stays
-- A new stay does not end a cool-down: whoever asked not to be called for a month is not called by leaving
-- the queue and coming back. Nor does it end a call: whoever is on the phone is not called by a second agent.
INSERT INTO call_queue (user_id, queue_type, queue_reason, entered_at, available_from)
SELECT user_id, to_queue, reason, %(now)s,
    greatest(%(now)s, score.next_call_after, called_until(user_id, %(now)s))
FROM unnest(%(user_ids)s::bigint[], %(to_queues)s::text[], %(reasons)s::text[]) AS moving (user_id, to_queue, reason)
JOIN user_call_scores AS score USING (user_id)
WHERE to_queue IS NOT NULL
ORDER BY user_id
RETURNING user_id, id;

-- name: set_queue
-- A new stay starts at score 0; leaving keeps the score for the record.
UPDATE user_call_scores AS score
SET current_queue_type = moving.to_queue,
    base_score = CASE WHEN moving.to_queue IS NULL THEN base_score ELSE 0 END,
    outcome_penalty_score = CASE WHEN moving.to_queue IS NULL THEN outcome_penalty_score ELSE 0 END,
    attempt_penalty_score = CASE WHEN moving.to_queue IS NULL THEN attempt_penalty_score ELSE 0 END,
    time_penalty_score = CASE WHEN moving.to_queue IS NULL THEN time_penalty_score ELSE 0 END,
    last_queue_check = %(seen_at)s,
    updated_at = %(now)s
FROM unnest(%(user_ids)s::bigint[], %(to_queues)s::text[]) AS moving (user_id, to_queue)
WHERE score.user_id = moving.user_id;

-- name: record_transitions
INSERT INTO queue_transitions (
    user_id, from_queue_type, to_queue_type, left_stay_id, entered_stay_id,
    reason, actor, happened_at, dagster_run_id, partition_key
)
SELECT user_id, from_queue, to_queue, left_stay_id, entered_stay_id,
       reason, %(actor)s, %(now)s, %(run_id)s, partition_key
FROM unnest(
    %(user_ids)s::bigint[], %(from_queues)s::text[], %(to_queues)s::text[],
    %(left_stay_ids)s::bigint[], %(entered_stay_ids)s::bigint[], %(reasons)s::text[], %(partition_keys)s::text[]
) AS moved (user_id, from_queue, to_queue, left_stay_id, entered_stay_id, reason, partition_key);
