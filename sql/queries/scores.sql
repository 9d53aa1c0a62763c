-- name: select_settled
-- Of these users, those who need no further look: in a queue already, or never to be called again.
SELECT user_id
FROM user_call_scores
WHERE user_id = ANY(%(user_ids)s) AND (current_queue_type IS NOT NULL OR NOT is_active);

-- name: select_known
SELECT user_id FROM user_call_scores WHERE user_id = ANY(%(user_ids)s);

-- name: insert_unknown
-- In the order of user_id: two runs over the same users then wait for each other and cannot deadlock.
INSERT INTO user_call_scores (user_id, created_at, discovered_at, next_call_after, updated_at)
SELECT user_id, created_at, %(now)s, %(now)s, %(now)s
FROM unnest(%(user_ids)s::bigint[], %(created_ats)s::timestamptz[]) AS found (user_id, created_at)
ORDER BY user_id
ON CONFLICT (user_id) DO NOTHING
RETURNING user_id;

-- name: select_queues
SELECT user_id, current_queue_type FROM user_call_scores;
