-- name: select_standing
-- One user, with the class that count_standings counts them in and what stands behind it; one statement, so that
-- the class and the rest are of the same moment. The conversion is that of the last stay, as the class has it.
SELECT standing.class AS standing, score.is_active, score.suppressed_reason, score.next_call_after, score.total_attempts,
    score.last_call_at, score.last_outcome, score.discovered_at, score.created_at, score.last_queue_check,
    stay.id AS stay_id, stay.queue_type, stay.queue_reason, stay.available_from, stay.priority_score,
    stay.assigned_to_agent_id, stay.lease_expires_at, stay.callback_id, stay.reserved_for_agent_id,
    callback.call_after, converted.conversion_type, converted.converted_at, converted.primary_agent_id
FROM user_standings(%(now)s, %(not_called_from)s) AS standing
JOIN user_call_scores AS score USING (user_id)
LEFT JOIN call_queue AS stay ON stay.id = standing.stay_id
LEFT JOIN callbacks AS callback ON callback.id = stay.callback_id
LEFT JOIN LATERAL (
    SELECT conversion_type, converted_at, primary_agent_id
    FROM conversions
    WHERE standing.class = 'converted' AND call_queue_id = (
        SELECT max(last.id) FROM call_queue AS last WHERE last.user_id = standing.user_id
    )
    ORDER BY id DESC
    LIMIT 1
) AS converted ON true
WHERE standing.user_id = %(user_id)s;

-- name: select_stays
SELECT id, queue_type, queue_reason, status, entered_at, left_at, left_reason, priority_score, available_from
FROM call_queue
WHERE user_id = %(user_id)s
ORDER BY id DESC
LIMIT %(rows_max)s;

-- name: select_callbacks
SELECT callback.id, callback.queue_type, callback.due_at, callback.call_after, callback.status, callback.attempts,
    callback.preferred_agent_id, callback.accepted_by_agent_id, raised.reserved_for_agent_id,
    callback.closed_at, callback.closed_reason
FROM callbacks AS callback
LEFT JOIN call_queue AS raised ON raised.callback_id = callback.id AND raised.status <> 'left'
WHERE callback.user_id = %(user_id)s
ORDER BY callback.id DESC
LIMIT %(rows_max)s;

-- name: select_calls
-- What an agent typed is nobody else's to read, so the notes stay where they are.
SELECT call.id, call.direction, call.agent_id, call.call_queue_id, call.callback_id, call.started_at,
    call.talk_time_seconds, reported.outcome, reported.recorded_at, reported.is_late
FROM call_sessions AS call
LEFT JOIN call_outcomes AS reported ON reported.call_session_id = call.id AND reported.user_id = call.user_id
WHERE call.user_id = %(user_id)s
ORDER BY call.started_at DESC, call.id DESC, reported.id DESC
LIMIT %(rows_max)s;

-- name: select_transitions
SELECT happened_at, from_queue_type, to_queue_type, reason, actor, dagster_run_id, partition_key, left_stay_id,
    entered_stay_id
FROM queue_transitions
WHERE user_id = %(user_id)s
ORDER BY id DESC
LIMIT %(rows_max)s;

-- name: select_conversions
SELECT id, call_queue_id, conversion_type, converted_at, detected_at, source, final_score, total_call_attempts,
    primary_agent_id, contributing_agents, dagster_run_id, partition_key
FROM conversions
WHERE user_id = %(user_id)s
ORDER BY id DESC
LIMIT %(rows_max)s;

-- name: exists_assignment
-- Whether the user was ever this agent's to call.
SELECT EXISTS (
    SELECT
    FROM call_queue AS stay
    JOIN assignments AS assignment ON assignment.call_queue_id = stay.id
    WHERE stay.user_id = %(user_id)s AND assignment.agent_id = %(agent_id)s
) AS is_known_to;
