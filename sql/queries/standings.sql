-- name: count_standings
-- Each known user in one class.
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
FROM user_standings(%(now)s, %(not_called_from)s);
