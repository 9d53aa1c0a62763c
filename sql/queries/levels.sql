-- name: count_by_queue
-- Each known user once: in the row of their queue, or of none, and in the row of all. One statement, so that the
-- rows are of one instant and sum up.
SELECT stay.queue_type, grouping(stay.queue_type) = 1 AS is_of_all,
    count(*) FILTER (WHERE standing.class = 'waiting') AS waiting,
    count(*) FILTER (WHERE standing.class = 'cooling') AS cooling,
    count(*) FILTER (WHERE standing.class = 'promised') AS promised,
    count(*) FILTER (WHERE standing.class = 'too_high') AS too_high,
    count(*) FILTER (WHERE standing.class = 'assigned') AS assigned,
    count(*) FILTER (WHERE standing.class = 'suppressed') AS suppressed,
    count(*) FILTER (WHERE standing.class = 'converted') AS converted,
    count(*) FILTER (WHERE standing.class = 'not_needed') AS not_needed,
    count(*) AS known,
    min(standing.available_from) FILTER (WHERE standing.class = 'cooling') AS cooling_until
FROM user_standings(%(now)s, %(not_called_from)s) AS standing
LEFT JOIN call_queue AS stay ON stay.id = standing.stay_id
GROUP BY ROLLUP (stay.queue_type);
