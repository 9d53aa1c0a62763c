-- name: select_foreign_calls
-- Of these call ids, those that are another agent's call or a call to another person.
SELECT reported.id
FROM unnest(%(call_ids)s::text[], %(agent_ids)s::bigint[], %(user_ids)s::bigint[]) AS reported (id, agent_id, user_id)
JOIN call_sessions AS known USING (id)
WHERE known.agent_id <> reported.agent_id OR known.user_id <> reported.user_id;

-- name: record_outcomes
-- One statement for a batch, its rows in one JSON array: fifteen arrays of parameters cost the client more than the
-- server's whole work. `counted` rows move the lead: the score, the events that explain it, the lead back to its own
-- place in the queue, cooling, and the assignment ended. The others are recorded and move nothing.
--
-- A call whose record came before its outcome keeps what it says; the outcome fills in what is missing. A call that
-- became somebody else's since it was looked at is not theirs to fill in: the outcome has no call then, is refused by
-- the table, and is looked at again by itself.
WITH report AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(%(reports)s) AS report (
        assignment_id bigint, agent_id bigint, user_id bigint, stay_id bigint, callback_id bigint, request_id text,
        call_id text, outcome text, started_at timestamptz, talk_time_seconds integer, notes text, is_late boolean,
        answer jsonb, counted boolean, attempt integer, outcome_change integer, attempt_change integer,
        is_conversation boolean, next_call_after timestamptz
    )
),
call AS (
    INSERT INTO call_sessions AS known (
        id, agent_id, user_id, call_queue_id, callback_id, direction, status, started_at, ended_at,
        talk_time_seconds, created_at, updated_at
    )
    SELECT call_id, agent_id, user_id, stay_id, callback_id, 'outbound', 'completed', started_at,
        greatest(started_at, %(now)s), talk_time_seconds, %(now)s, %(now)s
    FROM report
    ORDER BY call_id
    ON CONFLICT (id) DO UPDATE
    SET agent_id = coalesce(known.agent_id, excluded.agent_id),
        user_id = coalesce(known.user_id, excluded.user_id),
        call_queue_id = coalesce(known.call_queue_id, excluded.call_queue_id),
        callback_id = coalesce(known.callback_id, excluded.callback_id),
        ended_at = coalesce(known.ended_at, excluded.ended_at),
        talk_time_seconds = coalesce(known.talk_time_seconds, excluded.talk_time_seconds),
        updated_at = excluded.updated_at
    WHERE coalesce(known.agent_id, excluded.agent_id) = excluded.agent_id
        AND coalesce(known.user_id, excluded.user_id) = excluded.user_id
    RETURNING known.id
),
recorded AS (
    INSERT INTO call_outcomes (
        assignment_id, call_session_id, user_id, agent_id, call_queue_id, callback_id, request_id, outcome, notes,
        is_late, answer, recorded_at
    )
    SELECT assignment_id, (SELECT id FROM call WHERE call.id = report.call_id), user_id, agent_id, stay_id,
        callback_id, request_id, outcome, notes, is_late, answer, %(now)s
    FROM report
),
explained AS (
    INSERT INTO score_events (
        call_queue_id, kind, outcome, attempt, outcome_change, attempt_change, rules_version, happened_at
    )
    SELECT stay_id, 'outcome', outcome, attempt, outcome_change, attempt_change, %(rules_version)s, %(now)s
    FROM report
    WHERE counted
),
scored AS (
    UPDATE user_call_scores AS score
    SET outcome_penalty_score = outcome_penalty_score + report.outcome_change,
        attempt_penalty_score = attempt_penalty_score + report.attempt_change,
        total_attempts = total_attempts + 1,
        successful_calls = successful_calls + report.is_conversation::integer,
        last_call_at = greatest(last_call_at, report.started_at),
        last_outcome = report.outcome::call_outcome,
        next_call_after = report.next_call_after,
        updated_at = %(now)s
    FROM report
    WHERE report.counted AND score.user_id = report.user_id
    RETURNING report.stay_id, report.assignment_id, score.current_score, score.next_call_after
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

-- name: lock_scores
-- First the users, as the door does; then the stays.
SELECT score.user_id, score.last_queue_check
FROM assignments AS assignment
JOIN call_queue AS stay ON stay.id = assignment.call_queue_id
JOIN user_call_scores AS score ON score.user_id = stay.user_id
WHERE assignment.id = ANY(%(assignment_ids)s)
ORDER BY score.user_id
FOR NO KEY UPDATE OF score;

-- name: suppress_users
-- After they left every queue: an inactive user is in none.
UPDATE user_call_scores AS score
SET is_active = false, suppressed_reason = suppressed.reason, updated_at = %(now)s
FROM unnest(%(user_ids)s::bigint[], %(reasons)s::text[]) AS suppressed (user_id, reason)
WHERE score.user_id = suppressed.user_id
    AND (score.is_active OR suppressed.reason = 'do_not_contact')
    AND score.suppressed_reason IS DISTINCT FROM suppressed.reason;
