-- name: select_live_page
-- The live stays by their user, of whom there is one each: the index one_live_stay_per_user has these alone, so
-- that the cost follows who is queued and not the history.
SELECT stay.user_id, stay.id, stay.entered_at, score.time_penalty_score
FROM (
    SELECT user_id, id, entered_at
    FROM call_queue
    WHERE status <> 'left' AND user_id > %(after)s
    ORDER BY user_id
    LIMIT %(rows_max)s
) AS stay
JOIN user_call_scores AS score USING (user_id)
ORDER BY stay.user_id;

-- name: lock_scores
-- First the users, as the door does; then the stays.
SELECT FROM user_call_scores WHERE user_id = ANY(%(user_ids)s) ORDER BY user_id FOR NO KEY UPDATE;

-- name: lock_stays
-- In a statement of its own, which reads what whoever held the locks before has left behind.
SELECT stay.user_id, stay.id, stay.entered_at, score.time_penalty_score
FROM call_queue AS stay
JOIN user_call_scores AS score USING (user_id)
WHERE stay.user_id = ANY(%(user_ids)s) AND stay.status <> 'left'
ORDER BY stay.user_id
FOR NO KEY UPDATE OF stay;

-- name: record_ageing
-- A raised stay keeps its place in front; it gets that of its score when the promised call is over.
WITH aged AS (
    UPDATE user_call_scores AS score
    SET time_penalty_score = time_penalty_score + due.age_change, updated_at = %(now)s
    FROM unnest(%(user_ids)s::bigint[], %(stay_ids)s::bigint[], %(age_changes)s::integer[])
        AS due (user_id, stay_id, age_change)
    WHERE score.user_id = due.user_id
    RETURNING due.stay_id, due.age_change, score.current_score
),
recorded AS (
    INSERT INTO score_events (call_queue_id, kind, aged_to, age_change, rules_version, happened_at)
    SELECT stay_id, 'age', %(aged_to)s, age_change, %(rules_version)s, %(now)s
    FROM aged
    ORDER BY stay_id
    RETURNING call_queue_id
),
placed AS (
    UPDATE call_queue AS stay
    SET priority_score = aged.current_score
    FROM aged
    WHERE stay.id = aged.stay_id AND stay.callback_id IS NULL
)
SELECT count(*) FROM recorded;

-- name: select_scored_page
-- Live stays with the stored score and what made it. One statement: score and events are of the same moment, so
-- an outcome that is recorded meanwhile is in both or in neither.
SELECT stay.user_id, stay.id, stay.entered_at, stay.status <> 'left' AS is_live,
    stay.callback_id IS NOT NULL AS is_raised, stay.priority_score, score.base_score,
    score.outcome_penalty_score, score.attempt_penalty_score, score.time_penalty_score,
    event.outcome_change, event.attempt_change, event.age_change, event.rules_version, event.happened_at,
    event.outcome, event.attempt, event.aged_to
FROM (
    SELECT *
    FROM call_queue
    WHERE status <> 'left' AND user_id > %(after)s
    ORDER BY user_id
    LIMIT %(rows_max)s
) AS stay
JOIN user_call_scores AS score USING (user_id)
LEFT JOIN score_events AS event ON event.call_queue_id = stay.id
ORDER BY stay.user_id, event.id;

-- name: select_scored_stay
-- The same of one user's last stay, live or left: a score is kept until the next stay begins.
SELECT stay.user_id, stay.id, stay.entered_at, stay.status <> 'left' AS is_live,
    stay.callback_id IS NOT NULL AS is_raised, stay.priority_score, score.base_score,
    score.outcome_penalty_score, score.attempt_penalty_score, score.time_penalty_score,
    event.outcome_change, event.attempt_change, event.age_change, event.rules_version, event.happened_at,
    event.outcome, event.attempt, event.aged_to
FROM (
    SELECT * FROM call_queue WHERE user_id = %(user_id)s ORDER BY id DESC LIMIT 1
) AS stay
JOIN user_call_scores AS score USING (user_id)
LEFT JOIN score_events AS event ON event.call_queue_id = stay.id
ORDER BY event.id;
