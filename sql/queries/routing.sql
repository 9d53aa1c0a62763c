-- name: select_due
-- Promised calls that are near or overdue, with where each user stands, the first due first: one walk along the
-- index of open callbacks by their time, and for each a look at the user's live stay and the latest decision.
SELECT callback.id, callback.user_id, callback.accepted_by_agent_id, callback.preferred_agent_id, callback.call_after,
    (
        SELECT CASE WHEN latest.decision = 'failed' THEN latest.notified_at END
        FROM callback_notifications AS latest
        WHERE latest.callback_id = callback.id
        ORDER BY latest.id DESC
        LIMIT 1
    ) AS failed_at,
    stay.id AS stay_id, stay.queue_type, stay.status = 'assigned' AS is_assigned, stay.callback_id,
    stay.reserved_for_agent_id
FROM callbacks AS callback
LEFT JOIN call_queue AS stay ON stay.user_id = callback.user_id AND stay.status <> 'left'
WHERE callback.status IN ('pending', 'accepted')
    AND callback.call_after <= %(until)s
    AND (callback.call_after, callback.id) > (%(after)s, %(after_id)s)
ORDER BY callback.call_after, callback.id
LIMIT %(rows_max)s;

-- name: select_due_of_ids
-- The same of these callbacks, once they are locked.
SELECT callback.id, callback.user_id, callback.accepted_by_agent_id, callback.preferred_agent_id, callback.call_after,
    (
        SELECT CASE WHEN latest.decision = 'failed' THEN latest.notified_at END
        FROM callback_notifications AS latest
        WHERE latest.callback_id = callback.id
        ORDER BY latest.id DESC
        LIMIT 1
    ) AS failed_at,
    stay.id AS stay_id, stay.queue_type, stay.status = 'assigned' AS is_assigned, stay.callback_id,
    stay.reserved_for_agent_id
FROM callbacks AS callback
LEFT JOIN call_queue AS stay ON stay.user_id = callback.user_id AND stay.status <> 'left'
WHERE callback.id = ANY(%(callback_ids)s)
    AND callback.status IN ('pending', 'accepted')
    AND callback.call_after <= %(until)s
ORDER BY callback.call_after, callback.id;

-- name: select_crew
-- Who is at work, whether they are busy (with a lead of ours, or by their own word), and how many promised calls wait for them.
SELECT agent.id, agent.status = 'break' AS is_on_break,
    coalesce(agent.last_seen_at >= %(heard_since)s, false) AS is_heard,
    (agent.status = 'on_call' AND coalesce(agent.last_seen_at >= %(heard_since)s, false)) OR EXISTS (
        SELECT FROM call_queue AS held WHERE held.status = 'assigned' AND held.assigned_to_agent_id = agent.id
    ) AS is_holding,
    agent.status_since, agent.allowed_queues::text[] AS allowed_queues,
    (
        SELECT count(*)
        FROM call_queue AS raised
        WHERE raised.status = 'pending' AND raised.callback_id IS NOT NULL AND raised.reserved_for_agent_id = agent.id
    ) AS reserved
FROM agents AS agent
WHERE agent.is_active AND agent.status <> 'offline'
ORDER BY agent.id;

-- name: lock_users
-- The users first, as the door does, then their stays, then the callbacks; each in one order.
SELECT score.user_id, score.is_active, score.suppressed_reason, score.current_queue_type
FROM user_call_scores AS score
WHERE score.user_id = ANY(%(user_ids)s)
ORDER BY score.user_id
FOR NO KEY UPDATE;

-- name: lock_users_free
-- Of these users those whom nobody else is at work on, nor on their live stay: what somebody holds for long is looked
-- at the next minute, and holds up nobody else's call.
SELECT score.user_id
FROM user_call_scores AS score
WHERE score.user_id = ANY(%(user_ids)s)
ORDER BY score.user_id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: lock_stays_free
SELECT stay.user_id
FROM call_queue AS stay
WHERE stay.user_id = ANY(%(user_ids)s) AND stay.status <> 'left'
ORDER BY stay.user_id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: select_users_with_stay
SELECT user_id FROM call_queue WHERE user_id = ANY(%(user_ids)s) AND status <> 'left';

-- name: lock_stays
SELECT stay.id, stay.user_id, stay.queue_type, stay.status = 'assigned' AS is_assigned, stay.assigned_to_agent_id,
    stay.callback_id, stay.reserved_for_agent_id, stay.queue_reason,
    (
        SELECT assignment.id
        FROM assignments AS assignment
        WHERE assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
            AND stay.status = 'assigned'
    ) AS assignment_id
FROM call_queue AS stay
WHERE stay.user_id = ANY(%(user_ids)s) AND stay.status <> 'left'
ORDER BY stay.user_id
FOR NO KEY UPDATE OF stay;

-- name: raise_stays
-- In front of the queue, for an agent or for nobody yet. Who is in front already may have to wait longer: given back,
-- a call does not come straight again. And whoever is on the phone is not called by a second agent.
UPDATE call_queue AS stay
SET available_from = CASE
        WHEN stay.callback_id = raised.callback_id THEN greatest(stay.available_from, raised.available_from)
        ELSE greatest(raised.available_from, called_until(stay.user_id, %(now)s))
    END,
    callback_id = raised.callback_id, priority_score = raised.priority_score,
    reserved_for_agent_id = raised.agent_id
FROM unnest(
    %(stay_ids)s::bigint[], %(callback_ids)s::bigint[], %(priorities)s::integer[], %(agent_ids)s::bigint[],
    %(available_froms)s::timestamptz[]
) AS raised (stay_id, callback_id, priority_score, agent_id, available_from)
WHERE stay.id = raised.stay_id AND stay.status = 'pending';

-- name: select_latest
SELECT greatest(clock_timestamp(), last_queue_check) FROM user_call_scores WHERE user_id = %(user_id)s;

-- name: lower_stays
-- Back to the lead's own place, and not to be called before a given time, if there is one.
UPDATE call_queue AS stay
SET callback_id = NULL, reserved_for_agent_id = NULL, priority_score = score.current_score,
    available_from = greatest(
        score.next_call_after, lowered.not_before, called_until(lowered.user_id, %(now)s)
    )
FROM unnest(%(user_ids)s::bigint[], %(not_befores)s::timestamptz[]) AS lowered (user_id, not_before)
JOIN user_call_scores AS score USING (user_id)
WHERE stay.user_id = lowered.user_id AND stay.status = 'pending' AND stay.callback_id IS NOT NULL;

-- name: follow_stays
-- Raised, a callback is of the queue that its user is in; routed to anybody else, it is nobody's accepted one.
UPDATE callbacks AS callback
SET queue_type = raised.queue_type,
    status = CASE WHEN raised.is_for_accepter THEN callback.status ELSE 'pending' END,
    accepted_by_agent_id = CASE WHEN raised.is_for_accepter THEN callback.accepted_by_agent_id END,
    accepted_at = CASE WHEN raised.is_for_accepter THEN callback.accepted_at END,
    updated_at = %(now)s
FROM unnest(%(callback_ids)s::bigint[], %(queue_types)s::text[], %(are_for_accepters)s::boolean[])
    AS raised (id, queue_type, is_for_accepter)
WHERE callback.id = raised.id AND callback.status IN ('pending', 'accepted')
    AND (callback.queue_type <> raised.queue_type OR (callback.status = 'accepted' AND NOT raised.is_for_accepter));

-- name: insert_notifications
INSERT INTO callback_notifications (callback_id, agent_id, decision, notified_at)
SELECT callback_id, agent_id, decision, %(now)s
FROM unnest(%(callback_ids)s::bigint[], %(agent_ids)s::bigint[], %(decisions)s::text[])
    AS decided (callback_id, agent_id, decision)
ORDER BY callback_id;
