-- name: select_clock
-- The time to go by; the store's own, which tells later knowledge from earlier; and whether a promised call waits
-- that may begin: mostly there is none, and nobody looks further.
SELECT clock.now, clock.seen_at,
    EXISTS (
        SELECT FROM call_queue
        WHERE status = 'pending' AND callback_id IS NOT NULL AND available_from <= clock.now
    ) AS is_any_raised
FROM (
    SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now, clock_timestamp() AS seen_at OFFSET 0
) AS clock;

-- name: select_assignments_of_askers
-- What these agents hold, and what the same requests were given before: what was taken back before the agent was
-- told of it was not given. A held stay carries the token of its last assignment; the lease of what has ended is over.
-- And what other requests brought of which these were told.
SELECT assignment.id, assignment.agent_id, assignment.request_id, assignment.call_queue_id AS stay_id,
    stay.user_id, stay.queue_type, stay.queue_reason, assignment.priority_score, assignment.lease_token,
    assignment.assigned_at,
    CASE
        WHEN held.is_held THEN stay.lease_expires_at
        ELSE least(assignment.lease_expires_at, assignment.ended_at)
    END AS lease_expires_at,
    assignment.callback_id, callback.due_at AS callback_due_at, score.total_attempts, score.last_outcome,
    score.last_call_at, assignment.unvalidated_reason, held.is_held
FROM (
    SELECT assigned.id, true AS is_held
    FROM call_queue AS live
    JOIN assignments AS assigned ON assigned.call_queue_id = live.id AND assigned.lease_token = live.lease_token
    WHERE live.status = 'assigned' AND live.assigned_to_agent_id = ANY(%(agent_ids)s)
    UNION ALL
    SELECT given.id, false
    FROM unnest(%(agent_ids)s::bigint[], %(request_ids)s::text[]) AS asked (agent_id, request_id)
    CROSS JOIN LATERAL (
        SELECT id
        FROM assignments
        WHERE agent_id = asked.agent_id AND request_id = asked.request_id
            AND (end_reason IS NULL OR end_reason NOT IN ('invalid', 'not_found', 'refused'))
        ORDER BY id DESC
        LIMIT 1
    ) AS given
    UNION ALL
    SELECT id, false
    FROM assignments
    WHERE id = ANY(%(assignment_ids)s)
        AND (end_reason IS NULL OR end_reason NOT IN ('invalid', 'not_found', 'refused'))
) AS held
JOIN assignments AS assignment ON assignment.id = held.id
JOIN call_queue AS stay ON stay.id = assignment.call_queue_id
JOIN user_call_scores AS score ON score.user_id = stay.user_id
LEFT JOIN callbacks AS callback ON callback.id = assignment.callback_id;

-- name: claim_raised
-- One promised call for one agent: accepted by them, else reserved for them, else nobody's in a queue of theirs.
-- Whoever has one is on a call.
WITH chosen AS MATERIALIZED (
    SELECT id
    FROM call_queue
    WHERE status = 'pending' AND callback_id IS NOT NULL AND available_from <= %(now)s
        AND (
            reserved_for_agent_id = %(agent_id)s
            OR (reserved_for_agent_id IS NULL AND queue_type = ANY(%(queue_types)s::text[]))
        )
    ORDER BY priority_score, reserved_for_agent_id IS NULL, available_from, id
    LIMIT 1
    FOR NO KEY UPDATE SKIP LOCKED
),
taken AS (
    UPDATE call_queue AS stay
    SET status = 'assigned', assigned_to_agent_id = %(agent_id)s, assigned_at = %(now)s,
        lease_expires_at = %(lease_expires_at)s, lease_token = lease_token + 1
    FROM chosen
    WHERE stay.id = chosen.id
    RETURNING stay.id, stay.user_id, stay.queue_type, stay.queue_reason, stay.priority_score, stay.lease_token,
        stay.callback_id
),
on_call AS (
    UPDATE agents
    SET last_seen_at = %(now)s, status = 'on_call',
        status_since = CASE WHEN agents.status = 'on_call' THEN agents.status_since ELSE %(now)s END
    FROM taken
    WHERE agents.id = %(agent_id)s
),
assigned AS (
    INSERT INTO assignments (call_queue_id, agent_id, callback_id, request_id, lease_token, priority_score,
        assigned_at, lease_expires_at)
    SELECT id, %(agent_id)s, callback_id, %(request_id)s, lease_token, priority_score, %(now)s,
        %(lease_expires_at)s
    FROM taken
    RETURNING id, call_queue_id
)
SELECT assigned.id, %(agent_id)s::bigint AS agent_id, %(request_id)s::text AS request_id, taken.id AS stay_id,
    taken.user_id, taken.queue_type, taken.queue_reason, taken.priority_score, taken.lease_token,
    %(now)s::timestamptz AS assigned_at, %(lease_expires_at)s::timestamptz AS lease_expires_at,
    taken.callback_id, callback.due_at AS callback_due_at, score.total_attempts, score.last_outcome,
    score.last_call_at, NULL AS unvalidated_reason
FROM assigned
JOIN taken ON taken.id = assigned.call_queue_id
JOIN user_call_scores AS score ON score.user_id = taken.user_id
JOIN callbacks AS callback ON callback.id = taken.callback_id;

-- name: claim_leads
-- The first leads of a queue by (priority_score, available_from, id), one for each asker, in their order. Whoever has
-- one is on a call.
--
-- The obvious ORDER BY with `available_from <= now` reads every cooling lead that has a better score than the
-- first callable one: 100,000 of them cost 6 ms a claim. So the scores there are get walked one by one, a look
-- into the index each, and within a score the cooling leads come after the callable ones.
-- SKIP LOCKED passes over what others are taking at this moment; the lock is taken on the row as it is then,
-- so the status is looked at again. Joined as a table and not `id IN (… LIMIT …)`: the latter may be run once a
-- row, and then claims the whole queue.
-- The assignments have their ids beforehand: what an INSERT returns would be joined to what was taken, each with
-- each, since neither has an index.
WITH RECURSIVE level (priority_score) AS (
    (
        SELECT priority_score
        FROM call_queue
        WHERE queue_type = %(queue_type)s AND status = 'pending' AND callback_id IS NULL
            AND priority_score < %(not_called_from)s
        ORDER BY priority_score
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT worse.priority_score
        FROM call_queue AS worse
        WHERE worse.queue_type = %(queue_type)s AND worse.status = 'pending' AND worse.callback_id IS NULL
            AND worse.priority_score > level.priority_score AND worse.priority_score < %(not_called_from)s
        ORDER BY worse.priority_score
        LIMIT 1
    )
    FROM level
    WHERE level.priority_score IS NOT NULL
),
chosen AS MATERIALIZED (
    SELECT callable.id, callable.priority_score, callable.available_from
    FROM level
    CROSS JOIN LATERAL (
        SELECT id, priority_score, available_from
        FROM call_queue
        WHERE queue_type = %(queue_type)s AND status = 'pending' AND callback_id IS NULL
            AND priority_score = level.priority_score AND available_from <= %(now)s
        ORDER BY available_from, id
        LIMIT %(leads_max)s
        FOR NO KEY UPDATE SKIP LOCKED
    ) AS callable
    LIMIT %(leads_max)s
),
taken AS (
    UPDATE call_queue AS stay
    SET status = 'assigned', assigned_to_agent_id = lead.agent_id, assigned_at = %(now)s,
        lease_expires_at = %(lease_expires_at)s, lease_token = lease_token + 1
    FROM (
        SELECT id, (%(agent_ids)s::bigint[])[place] AS agent_id, (%(request_ids)s::text[])[place] AS request_id,
            nextval('assignments_id_seq') AS assignment_id
        FROM (
            SELECT id, row_number() OVER (ORDER BY priority_score, available_from, id) AS place FROM chosen
        ) AS ordered
    ) AS lead
    WHERE stay.id = lead.id
    RETURNING stay.id, stay.user_id, stay.queue_type, stay.queue_reason, stay.priority_score, stay.lease_token,
        lead.agent_id, lead.request_id, lead.assignment_id
),
on_call AS (
    UPDATE agents
    SET last_seen_at = %(now)s, status = 'on_call',
        status_since = CASE WHEN agents.status = 'on_call' THEN agents.status_since ELSE %(now)s END
    FROM taken
    WHERE agents.id = taken.agent_id
),
assigned AS (
    INSERT INTO assignments (id, call_queue_id, agent_id, request_id, lease_token, priority_score,
        assigned_at, lease_expires_at)
    OVERRIDING SYSTEM VALUE
    SELECT assignment_id, id, agent_id, request_id, lease_token, priority_score, %(now)s, %(lease_expires_at)s
    FROM taken
)
SELECT taken.assignment_id AS id, taken.agent_id, taken.request_id, taken.id AS stay_id, taken.user_id,
    taken.queue_type, taken.queue_reason, taken.priority_score, taken.lease_token, %(now)s::timestamptz AS assigned_at,
    %(lease_expires_at)s::timestamptz AS lease_expires_at, NULL::bigint AS callback_id,
    NULL::timestamptz AS callback_due_at, score.total_attempts, score.last_outcome, score.last_call_at,
    NULL AS unvalidated_reason
FROM taken
JOIN user_call_scores AS score ON score.user_id = taken.user_id;

-- name: peek_leads
-- The first leads of a queue as claim_leads would take them, without taking any.
WITH RECURSIVE level (priority_score) AS (
    (
        SELECT priority_score
        FROM call_queue
        WHERE queue_type = %(queue_type)s AND status = 'pending' AND callback_id IS NULL
            AND priority_score < %(not_called_from)s
        ORDER BY priority_score
        LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT worse.priority_score
        FROM call_queue AS worse
        WHERE worse.queue_type = %(queue_type)s AND worse.status = 'pending' AND worse.callback_id IS NULL
            AND worse.priority_score > level.priority_score AND worse.priority_score < %(not_called_from)s
        ORDER BY worse.priority_score
        LIMIT 1
    )
    FROM level
    WHERE level.priority_score IS NOT NULL
)
SELECT callable.user_id
FROM level
CROSS JOIN LATERAL (
    SELECT user_id
    FROM call_queue
    WHERE queue_type = %(queue_type)s AND status = 'pending' AND callback_id IS NULL
        AND priority_score = level.priority_score AND available_from <= %(now)s
    ORDER BY available_from, id
    LIMIT %(leads_max)s
) AS callable
LIMIT %(leads_max)s;

-- name: select_raised_for
-- Of these agents those for whom a promised call waits that claim_raised would take, but for somebody's lock, and
-- whether one is reserved for them. In order and only the first, so that each is one look into the index.
SELECT agent.id, reserved.id IS NOT NULL AS is_reserved
FROM agents AS agent
LEFT JOIN LATERAL (
    SELECT id
    FROM call_queue
    WHERE status = 'pending' AND callback_id IS NOT NULL AND available_from <= %(now)s
        AND reserved_for_agent_id = agent.id
    ORDER BY priority_score, available_from, id
    LIMIT 1
) AS reserved ON true
LEFT JOIN LATERAL (
    SELECT id
    FROM call_queue
    WHERE status = 'pending' AND callback_id IS NOT NULL AND available_from <= %(now)s
        AND reserved_for_agent_id IS NULL AND queue_type = ANY(agent.allowed_queues)
    ORDER BY priority_score, available_from, id
    LIMIT 1
) AS open_to_all ON reserved.id IS NULL
WHERE agent.id = ANY(%(agent_ids)s) AND (reserved.id IS NOT NULL OR open_to_all.id IS NOT NULL);

-- name: repeat_assignments
-- Waits for nobody: whoever has one of these locked is ending it.
UPDATE assignments AS assignment
SET repeats = repeats + 1
FROM (
    SELECT id FROM assignments WHERE id = ANY(%(assignment_ids)s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
) AS held
WHERE assignment.id = held.id
RETURNING assignment.id, assignment.repeats;

-- name: lock_held
-- With the agents and the users locked before: of these assignments those that hold their stays still.
SELECT assignment.id, assignment.repeats
FROM assignments AS assignment
JOIN call_queue AS stay ON stay.id = assignment.call_queue_id AND stay.lease_token = assignment.lease_token
WHERE assignment.id = ANY(%(assignment_ids)s) AND stay.status = 'assigned'
ORDER BY stay.user_id
FOR NO KEY UPDATE OF stay;

-- name: select_ended
SELECT id FROM assignments WHERE id = ANY(%(assignment_ids)s) AND ended_at IS NOT NULL;

-- name: postpone_stays
-- Nobody has these leads, and they are not to be handed out before then. Whom others are handling is left to them.
UPDATE call_queue AS stay
SET available_from = greatest(stay.available_from, %(available_from)s)
FROM (
    SELECT id
    FROM call_queue
    WHERE user_id = ANY(%(user_ids)s) AND status = 'pending'
    ORDER BY user_id
    FOR NO KEY UPDATE SKIP LOCKED
) AS waiting
WHERE stay.id = waiting.id;

-- name: mark_unvalidated
-- With the stays locked first, in the order of all others: who ends these assignments locks them after the stays.
WITH locked AS MATERIALIZED (
    SELECT stay.id
    FROM call_queue AS stay
    WHERE stay.id IN (SELECT call_queue_id FROM assignments WHERE id = ANY(%(assignment_ids)s))
    ORDER BY stay.user_id
    FOR NO KEY UPDATE
)
UPDATE assignments AS assignment
SET unvalidated_reason = %(reason)s
FROM locked
WHERE assignment.id = ANY(%(assignment_ids)s) AND assignment.call_queue_id = locked.id;

-- name: return_stays
-- Back into the queue, callable from a given time; only what is still held by that assignment. A raised stay is
-- nobody's again, so that the next look routes it anew; accepted before its time, it waits for that again. What an
-- agent was never told of stays theirs as it was. Locked in the order of the users first, as the door locks them: two
-- that wait for each other's stays would be ended by the server.
WITH locked AS MATERIALIZED (
    SELECT stay.id
    FROM call_queue AS stay
    WHERE stay.id IN (SELECT call_queue_id FROM assignments WHERE id = ANY(%(assignment_ids)s))
    ORDER BY stay.user_id
    FOR NO KEY UPDATE
),
returned AS (
    UPDATE call_queue AS stay
    SET status = 'pending', assigned_to_agent_id = NULL, assigned_at = NULL, lease_expires_at = NULL,
        reserved_for_agent_id = CASE WHEN %(is_untold)s THEN stay.reserved_for_agent_id END,
        priority_score = CASE
            WHEN stay.callback_id IS NULL OR %(is_untold)s THEN stay.priority_score
            ELSE -1000
        END,
        available_from = greatest(
            stay.available_from, returning_stay.available_from,
            (SELECT callback.call_after FROM callbacks AS callback WHERE callback.id = stay.callback_id)
        )
    FROM locked
    JOIN assignments AS assignment ON assignment.call_queue_id = locked.id
    JOIN unnest(%(assignment_ids)s::bigint[], %(available_froms)s::timestamptz[])
        AS returning_stay (assignment_id, available_from) ON returning_stay.assignment_id = assignment.id
    WHERE stay.id = locked.id AND stay.lease_token = assignment.lease_token
        AND stay.status = 'assigned' AND assignment.ended_at IS NULL
    RETURNING assignment.id, stay.user_id, stay.callback_id
),
ended AS (
    UPDATE assignments
    SET ended_at = %(now)s, end_reason = %(end_reason)s
    FROM returned
    WHERE assignments.id = returned.id
),
reopened AS (
    UPDATE callbacks
    SET status = 'pending', accepted_by_agent_id = NULL, accepted_at = NULL, updated_at = %(now)s
    FROM returned
    WHERE callbacks.id = returned.callback_id AND callbacks.status = 'accepted' AND NOT %(is_untold)s
)
SELECT id, user_id FROM returned;

-- name: select_expired
-- Held past the lease, the longest first; those that somebody is just ending are left to them.
SELECT assignment.id, assignment.agent_id
FROM call_queue AS stay
JOIN assignments AS assignment ON assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
WHERE stay.status = 'assigned' AND stay.lease_expires_at <= %(now)s
ORDER BY stay.lease_expires_at, stay.id
LIMIT %(rows_max)s
FOR NO KEY UPDATE OF stay SKIP LOCKED;

-- name: extend_lease
UPDATE call_queue AS stay
SET lease_expires_at = greatest(stay.lease_expires_at, %(lease_expires_at)s)
FROM assignments AS assignment
WHERE assignment.id = %(assignment_id)s AND stay.id = assignment.call_queue_id
    AND stay.lease_token = assignment.lease_token AND stay.status = 'assigned'
RETURNING stay.lease_expires_at;

-- name: lock_assignments
-- The assignments of these ids with their stays, as they are once nobody else is changing the stays, and what was
-- reported of them: reports are made under the same lock of the agent.
SELECT assignment.id, assignment.agent_id, stay.id AS stay_id, stay.user_id, stay.queue_type, stay.queue_reason,
    assignment.lease_token, assignment.callback_id, assignment.end_reason, assignment.assigned_at,
    stay.status = 'assigned' AND stay.lease_token = assignment.lease_token AS is_current,
    stay.lease_expires_at > coalesce(%(now)s::timestamptz, clock_timestamp()) AS is_in_time,
    report.request_id AS reported_by, report.outcome AS reported, report.answer AS told,
    (SELECT max(attempt) FROM score_events WHERE score_events.call_queue_id = stay.id) AS attempts
FROM assignments AS assignment
JOIN call_queue AS stay ON stay.id = assignment.call_queue_id
LEFT JOIN call_outcomes AS report ON report.assignment_id = assignment.id
WHERE assignment.id = ANY(%(assignment_ids)s)
ORDER BY stay.user_id
FOR NO KEY UPDATE OF stay;

-- name: select_users_of_assignments
SELECT stay.user_id
FROM assignments AS assignment
JOIN call_queue AS stay ON stay.id = assignment.call_queue_id
WHERE assignment.id = ANY(%(assignment_ids)s);
