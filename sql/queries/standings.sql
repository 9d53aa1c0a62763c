-- name: count_standings
-- Each known user in one class; whoever is in no queue counts as converted if the last stay ended so.
SELECT
    count(*) FILTER (WHERE class = 'waiting') AS waiting,
    count(*) FILTER (WHERE class = 'cooling') AS cooling,
    count(*) FILTER (WHERE class = 'promised') AS promised,
    count(*) FILTER (WHERE class = 'too_high') AS too_high,
    count(*) FILTER (WHERE class = 'assigned') AS assigned,
    count(*) FILTER (WHERE class = 'suppressed') AS suppressed,
    count(*) FILTER (WHERE class = 'converted') AS converted,
    count(*) FILTER (WHERE class = 'not_needed') AS not_needed,
    count(*) AS known,
    min(available_from) FILTER (WHERE class = 'cooling') AS cooling_until
FROM (
    SELECT stay.available_from,
        CASE
            WHEN stay.status = 'assigned' THEN 'assigned'
            WHEN stay.callback_id IS NOT NULL THEN 'promised'
            WHEN stay.priority_score >= %(not_called_from)s THEN 'too_high'
            WHEN stay.available_from > %(now)s THEN 'cooling'
            WHEN stay.id IS NOT NULL THEN 'waiting'
            WHEN NOT score.is_active THEN 'suppressed'
            WHEN EXISTS (
                SELECT FROM conversions
                WHERE conversions.call_queue_id = (
                    SELECT max(last.id) FROM call_queue AS last WHERE last.user_id = score.user_id
                )
            ) THEN 'converted'
            ELSE 'not_needed'
        END AS class
    FROM user_call_scores AS score
    LEFT JOIN call_queue AS stay ON stay.user_id = score.user_id AND stay.status <> 'left'
) AS standing;
