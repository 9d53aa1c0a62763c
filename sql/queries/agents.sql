-- name: lock_agents
-- In the order of id, before anything else of the desk is locked: requests of one agent take turns, wherever
-- they are served, and two batches that share agents cannot deadlock. NO KEY: others may refer to the agent.
SELECT id, is_active, status, allowed_queues::text[] AS allowed_queues
FROM agents
WHERE id = ANY(%(agent_ids)s)
ORDER BY id
FOR NO KEY UPDATE;

-- name: insert_agent
INSERT INTO agents (name, role, allowed_queues, token_hash)
VALUES (%(name)s, %(role)s, %(allowed_queues)s::text[]::queue_type[], %(token_hash)s)
RETURNING id;

-- name: select_by_tokens
SELECT token_hash, id, name, role, is_active FROM agents WHERE token_hash = ANY(%(token_hashes)s::bytea[]);

-- name: select_agents
SELECT id, name, role, is_active, status, status_since, last_seen_at, allowed_queues::text[] AS allowed_queues
FROM agents
ORDER BY id;

-- name: set_inactive
UPDATE agents SET is_active = false, status = 'offline', updated_at = %(now)s WHERE id = %(agent_id)s RETURNING id;

-- name: set_token
UPDATE agents SET token_hash = %(token_hash)s, is_active = true, updated_at = %(now)s WHERE id = %(agent_id)s RETURNING id;

-- name: mark_seen
-- Whoever holds a lead is on a call; who held one and does no longer is available again; a break is their own.
-- By a look into the index for each agent, and once: an EXISTS here became a hash of all leads that anybody
-- holds, made three times over, and cost more than the claim itself.
UPDATE agents AS agent
SET last_seen_at = %(now)s,
    status = seen.status,
    status_since = CASE WHEN agent.status = seen.status THEN agent.status_since ELSE %(now)s END
FROM (
    SELECT unseen.id,
        CASE
            WHEN held.id IS NOT NULL THEN 'on_call'
            WHEN unseen.status IN ('on_call', 'offline') THEN 'available'
            ELSE unseen.status
        END AS status
    FROM agents AS unseen
    LEFT JOIN LATERAL (
        SELECT stay.id
        FROM call_queue AS stay
        WHERE stay.status = 'assigned' AND stay.assigned_to_agent_id = unseen.id
            AND stay.lease_expires_at > %(now)s
        LIMIT 1
    ) AS held ON true
    WHERE unseen.id = ANY(%(agent_ids)s)
    OFFSET 0
) AS seen
WHERE agent.id = seen.id;

-- name: set_status
UPDATE agents
SET status = %(status)s,
    status_since = CASE WHEN status = %(status)s THEN status_since ELSE %(now)s END,
    last_seen_at = %(now)s,
    updated_at = %(now)s
WHERE id = %(agent_id)s;

-- name: mark_there
UPDATE agents SET last_seen_at = %(now)s WHERE id = %(agent_id)s;

-- name: beat_session
INSERT INTO agent_sessions AS session (agent_id, started_at, last_heartbeat_at)
VALUES (%(agent_id)s, %(now)s, %(now)s)
ON CONFLICT (agent_id) WHERE ended_at IS NULL
DO UPDATE SET last_heartbeat_at = greatest(session.last_heartbeat_at, excluded.last_heartbeat_at)
RETURNING id;

-- name: end_sessions
UPDATE agent_sessions
SET ended_at = greatest(%(now)s, started_at)
WHERE agent_id = ANY(%(agent_ids)s) AND ended_at IS NULL;

-- name: silence_agents
-- Not heard of since, and holding nothing: a lease is a sign of life of its own and ends by itself.
UPDATE agents
SET status = 'offline', status_since = %(now)s
WHERE id IN (
    SELECT quiet.id
    FROM agents AS quiet
    WHERE quiet.status <> 'offline'
        AND (quiet.last_seen_at IS NULL OR quiet.last_seen_at < %(heard_since)s)
        AND NOT EXISTS (
            SELECT FROM call_queue AS stay WHERE stay.status = 'assigned' AND stay.assigned_to_agent_id = quiet.id
        )
    ORDER BY quiet.id
    FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING id;
