-- name: select_unconverted
-- Each user's last stay in each queue, if it has no conversion yet: live, or closed by whomever. A stay opened
-- for a promised call alone ends in no conversion.
SELECT stay.user_id, stay.id, stay.queue_type
FROM (
    SELECT DISTINCT ON (user_id, queue_type) user_id, id, queue_type
    FROM call_queue
    WHERE user_id = ANY(%(user_ids)s) AND queue_reason <> 'promised_call'
    ORDER BY user_id, queue_type, id DESC
) AS stay
WHERE NOT EXISTS (SELECT FROM conversions WHERE conversions.call_queue_id = stay.id);

-- name: select_candidates
-- Of these users, those who have been in the queue, and whether their last stay in it has its conversion.
SELECT stay.user_id, EXISTS (SELECT FROM conversions WHERE conversions.call_queue_id = stay.id) AS is_converted
FROM (
    SELECT DISTINCT ON (user_id) user_id, id
    FROM call_queue
    WHERE user_id = ANY(%(user_ids)s) AND queue_type = %(queue_type)s AND queue_reason <> 'promised_call'
    ORDER BY user_id, id DESC
) AS stay;

-- name: select_called
-- Known users with a call that began in the window, after a given user, in pages.
SELECT DISTINCT user_id
FROM call_sessions
WHERE started_at >= %(start)s AND started_at < %(end)s AND user_id > %(after)s
ORDER BY user_id
LIMIT %(rows_max)s;

-- name: insert_conversions
-- A conversion says what was true when it was noticed: the score and the attempts of that moment.
INSERT INTO conversions (
    user_id, call_queue_id, previous_queue_type, conversion_type, conversion_reason, source,
    converted_at, detected_at, final_score, total_call_attempts, last_call_at,
    signature_obtained, requirements_met, dagster_run_id, partition_key
)
SELECT due.user_id, due.stay_id, due.queue_type, due.conversion_type, due.reason, %(source)s,
    least(coalesce(due.converted_at, %(now)s), %(now)s), %(now)s,
    score.current_score, score.total_attempts, score.last_call_at,
    due.conversion_type = 'signature_obtained', due.conversion_type = 'requirements_completed',
    %(run_id)s, due.partition_key
FROM unnest(
    %(user_ids)s::bigint[], %(stay_ids)s::bigint[], %(queue_types)s::text[], %(conversion_types)s::text[],
    %(reasons)s::text[], %(converted_ats)s::timestamptz[], %(partition_keys)s::text[]
) AS due (user_id, stay_id, queue_type, conversion_type, reason, converted_at, partition_key)
JOIN user_call_scores AS score USING (user_id)
ORDER BY due.stay_id
ON CONFLICT ON CONSTRAINT one_conversion_per_stay_and_type DO NOTHING
RETURNING id, user_id, call_queue_id, previous_queue_type, converted_at;

-- name: credit_conversions
-- Calls with more than 30 s of talk that began in the 30 days before the conversion: the latest one's agent is
-- primary, the other agents contribute. Nobody is NULL. Writes only what changes, so it can be replayed.
WITH credited AS (
    SELECT conversion.id,
        (array_agg(call.agent_id ORDER BY call.started_at DESC, call.id DESC)
            FILTER (WHERE call.agent_id IS NOT NULL))[1] AS primary_agent_id,
        array_agg(DISTINCT call.agent_id) FILTER (WHERE call.agent_id IS NOT NULL) AS agents
    FROM conversions AS conversion
    LEFT JOIN call_sessions AS call
        ON call.user_id = conversion.user_id
        AND call.talk_time_seconds > 30
        AND call.started_at < conversion.converted_at
        AND call.started_at >= conversion.converted_at - interval '30 days'
    WHERE conversion.id = ANY(%(conversion_ids)s)
    GROUP BY conversion.id
),
shared AS (
    SELECT id, primary_agent_id, array_remove(coalesce(agents, '{}'), primary_agent_id) AS contributing_agents
    FROM credited
)
UPDATE conversions AS conversion
SET primary_agent_id = shared.primary_agent_id, contributing_agents = shared.contributing_agents
FROM shared
WHERE conversion.id = shared.id
    AND (conversion.primary_agent_id, conversion.contributing_agents)
        IS DISTINCT FROM (shared.primary_agent_id, shared.contributing_agents)
RETURNING conversion.id;

-- name: select_to_recredit
-- Conversions with a call of theirs that was recorded or corrected since.
SELECT DISTINCT conversion.id
FROM call_sessions AS call
JOIN conversions AS conversion USING (user_id)
WHERE call.updated_at >= %(since)s
ORDER BY conversion.id;

-- name: select_recorded_after
SELECT id, user_id, previous_queue_type, conversion_type, converted_at, detected_at
FROM conversions
WHERE id > %(after)s
ORDER BY id;

-- name: select_unconverted_page
-- Stays without a conversion by their key, so that one that converts meanwhile moves nobody else's place.
SELECT id, user_id
FROM call_queue
WHERE id > %(after)s
    AND (%(since)s::timestamptz IS NULL OR left_at IS NULL OR left_at >= %(since)s)
    AND NOT EXISTS (SELECT FROM conversions WHERE conversions.call_queue_id = call_queue.id)
ORDER BY id
LIMIT %(rows_max)s;

-- name: count_unconverted
SELECT count(*)
FROM call_queue
WHERE id > %(after)s
    AND (%(since)s::timestamptz IS NULL OR left_at IS NULL OR left_at >= %(since)s)
    AND NOT EXISTS (SELECT FROM conversions WHERE conversions.call_queue_id = call_queue.id);
