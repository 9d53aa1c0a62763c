-- name: plan_for_everybody
-- For this transaction: nothing of what suits who asks for a few rows all day suits a look at all of them.
-- Each has a name, for rows are named.
SELECT set_config('statement_timeout', '60s', true) AS statement_timeout,
    set_config('plan_cache_mode', 'force_custom_plan', true) AS plan_cache_mode,
    set_config('enable_seqscan', 'on', true) AS seqscan, set_config('enable_hashjoin', 'on', true) AS hashjoin,
    set_config('enable_mergejoin', 'on', true) AS mergejoin;

-- name: count_standings
-- Each known user in one class. Grouped first: nine FILTERs over the class would each find it out anew.
SELECT
    coalesce(sum(users) FILTER (WHERE class = 'waiting'), 0)::bigint AS waiting,
    coalesce(sum(users) FILTER (WHERE class = 'cooling'), 0)::bigint AS cooling,
    coalesce(sum(users) FILTER (WHERE class = 'promised'), 0)::bigint AS promised,
    coalesce(sum(users) FILTER (WHERE class = 'too_high'), 0)::bigint AS too_high,
    coalesce(sum(users) FILTER (WHERE class = 'assigned'), 0)::bigint AS assigned,
    coalesce(sum(users) FILTER (WHERE class = 'suppressed'), 0)::bigint AS suppressed,
    coalesce(sum(users) FILTER (WHERE class = 'converted'), 0)::bigint AS converted,
    coalesce(sum(users) FILTER (WHERE class = 'not_needed'), 0)::bigint AS not_needed,
    coalesce(sum(users), 0)::bigint AS known,
    min(first_available) FILTER (WHERE class = 'cooling') AS cooling_until
FROM (
    SELECT class, count(*) AS users, min(available_from) AS first_available
    FROM user_standings(%(now)s, %(not_called_from)s)
    GROUP BY class
) AS counted;
