-- name: select_due
-- Whether an expiry would do anything now: a lease has run out (the first of them, when), or an agent who is not
-- offline has not been heard of and holds nothing. It looks at as many rows as there are agents, never at the queue.
SELECT clock.now,
    (
        SELECT min(lease_expires_at) FROM call_queue WHERE status = 'assigned' AND lease_expires_at <= clock.now
    ) AS first_lease_end,
    EXISTS (
        SELECT FROM agents AS quiet
        WHERE quiet.status <> 'offline'
            AND (quiet.last_seen_at IS NULL OR quiet.last_seen_at < clock.now - %(silence)s::interval)
            AND NOT EXISTS (
                SELECT FROM call_queue AS stay
                WHERE stay.status = 'assigned' AND stay.assigned_to_agent_id = quiet.id
            )
    ) AS is_any_agent_silent
FROM (SELECT coalesce(%(now)s::timestamptz, clock_timestamp()) AS now OFFSET 0) AS clock;
