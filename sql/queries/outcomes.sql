-- name: select_foreign_calls
-- Of these call ids, those that are another agent's call or a call to another person.
SELECT reported.id
FROM unnest(%(call_ids)s::text[], %(agent_ids)s::bigint[], %(user_ids)s::bigint[]) AS reported (id, agent_id, user_id)
JOIN call_sessions AS known USING (id)
WHERE known.agent_id <> reported.agent_id OR known.user_id <> reported.user_id;

-- name: record_calls
-- A call whose record came before its outcome keeps what it says; the outcome fills in what is missing.
INSERT INTO call_sessions AS known (
    id, agent_id, user_id, call_queue_id, callback_id, direction, status, started_at, ended_at,
    talk_time_seconds, created_at, updated_at
)
SELECT id, agent_id, user_id, stay_id, callback_id, 'outbound', 'completed', started_at,
    greatest(started_at, %(now)s), talk_time_seconds, %(now)s, %(now)s
FROM unnest(
    %(call_ids)s::text[], %(agent_ids)s::bigint[], %(user_ids)s::bigint[], %(stay_ids)s::bigint[],
    %(callback_ids)s::bigint[], %(started_ats)s::timestamptz[], %(talk_times)s::integer[]
) AS made (id, agent_id, user_id, stay_id, callback_id, started_at, talk_time_seconds)
ORDER BY id
ON CONFLICT (id) DO UPDATE
SET agent_id = coalesce(known.agent_id, excluded.agent_id),
    user_id = coalesce(known.user_id, excluded.user_id),
    call_queue_id = coalesce(known.call_queue_id, excluded.call_queue_id),
    callback_id = coalesce(known.callback_id, excluded.callback_id),
    ended_at = coalesce(known.ended_at, excluded.ended_at),
    talk_time_seconds = coalesce(known.talk_time_seconds, excluded.talk_time_seconds),
    updated_at = excluded.updated_at;

-- name: record_outcomes
INSERT INTO call_outcomes (
    assignment_id, call_session_id, user_id, agent_id, call_queue_id, callback_id, request_id, outcome, notes,
    is_late, answer, recorded_at
)
SELECT assignment_id, call_id, user_id, agent_id, stay_id, callback_id, request_id, outcome, notes, is_late,
    answer, %(now)s
FROM unnest(
    %(assignment_ids)s::bigint[], %(call_ids)s::text[], %(user_ids)s::bigint[], %(agent_ids)s::bigint[],
    %(stay_ids)s::bigint[], %(callback_ids)s::bigint[], %(request_ids)s::text[], %(outcomes)s::text[],
    %(notes)s::text[], %(are_late)s::boolean[], %(answers)s::jsonb[]
) AS reported (
    assignment_id, call_id, user_id, agent_id, stay_id, callback_id, request_id, outcome, notes, is_late, answer
);

-- name: lock_scores
-- First the users, as the door does; then the stays.
SELECT score.user_id, score.last_queue_check
FROM assignments AS assignment
JOIN call_queue AS stay ON stay.id = assignment.call_queue_id
JOIN user_call_scores AS score ON score.user_id = stay.user_id
WHERE assignment.id = ANY(%(assignment_ids)s)
ORDER BY score.user_id
FOR NO KEY UPDATE OF score;

-- name: record_score_events
INSERT INTO score_events (
    call_queue_id, kind, outcome, attempt, outcome_change, attempt_change, rules_version, happened_at
)
SELECT stay_id, 'outcome', outcome, attempt, outcome_change, attempt_change, %(rules_version)s, %(now)s
FROM unnest(
    %(stay_ids)s::bigint[], %(outcomes)s::text[], %(attempts)s::integer[], %(outcome_changes)s::integer[],
    %(attempt_changes)s::integer[]
) AS counted (stay_id, outcome, attempt, outcome_change, attempt_change);

-- name: apply_outcomes
-- The score moves, the lead goes back to its own place in the queue, cooling, and the assignment has ended.
WITH scored AS (
    UPDATE user_call_scores AS score
    SET outcome_penalty_score = outcome_penalty_score + counted.outcome_change,
        attempt_penalty_score = attempt_penalty_score + counted.attempt_change,
        total_attempts = total_attempts + 1,
        successful_calls = successful_calls + counted.is_conversation::integer,
        last_call_at = greatest(last_call_at, counted.started_at),
        last_outcome = counted.outcome::call_outcome,
        next_call_after = counted.next_call_after,
        updated_at = %(now)s
    FROM unnest(
        %(user_ids)s::bigint[], %(stay_ids)s::bigint[], %(assignment_ids)s::bigint[], %(outcomes)s::text[],
        %(outcome_changes)s::integer[], %(attempt_changes)s::integer[], %(are_conversations)s::boolean[],
        %(started_ats)s::timestamptz[], %(next_calls)s::timestamptz[]
    ) AS counted (
        user_id, stay_id, assignment_id, outcome, outcome_change, attempt_change, is_conversation, started_at,
        next_call_after
    )
    WHERE score.user_id = counted.user_id
    RETURNING counted.stay_id, counted.assignment_id, score.current_score, score.next_call_after
),
returned AS (
    UPDATE call_queue AS stay
    SET status = 'pending', assigned_to_agent_id = NULL, assigned_at = NULL, lease_expires_at = NULL,
        priority_score = scored.current_score, available_from = scored.next_call_after,
        callback_id = NULL, reserved_for_agent_id = NULL
    FROM scored
    WHERE stay.id = scored.stay_id
    RETURNING scored.assignment_id
)
UPDATE assignments
SET ended_at = %(now)s, end_reason = 'outcome'
FROM returned
WHERE assignments.id = returned.assignment_id;

-- name: suppress_users
-- After they left every queue: an inactive user is in none.
UPDATE user_call_scores AS score
SET is_active = false, suppressed_reason = suppressed.reason, updated_at = %(now)s
FROM unnest(%(user_ids)s::bigint[], %(reasons)s::text[]) AS suppressed (user_id, reason)
WHERE score.user_id = suppressed.user_id
    AND (score.is_active OR suppressed.reason = 'do_not_contact')
    AND score.suppressed_reason IS DISTINCT FROM suppressed.reason;
