-- name: select_answers
-- By request, each a look into the key.
SELECT earlier.agent_id, earlier.request_id, earlier.request, earlier.answer
FROM unnest(%(agent_ids)s::bigint[], %(request_ids)s::text[]) AS asked (agent_id, request_id)
CROSS JOIN LATERAL (
    SELECT agent_id, request_id, request, answer
    FROM desk_answers
    WHERE agent_id = asked.agent_id AND request_id = asked.request_id
    LIMIT 1
) AS earlier;

-- name: insert_answers
INSERT INTO desk_answers (agent_id, request_id, request, answer, answered_at)
SELECT agent_id, request_id, request, answer, %(now)s
FROM unnest(%(agent_ids)s::bigint[], %(request_ids)s::text[], %(requests)s::text[], %(answers)s::jsonb[])
    AS given (agent_id, request_id, request, answer)
ON CONFLICT DO NOTHING;

-- name: is_take
SELECT FROM assignments WHERE agent_id = %(agent_id)s AND request_id = %(request_id)s LIMIT 1;

-- name: withdraw_answers
DELETE FROM desk_answers
USING unnest(%(agent_ids)s::bigint[], %(request_ids)s::text[]) AS withdrawn (agent_id, request_id)
WHERE desk_answers.agent_id = withdrawn.agent_id AND desk_answers.request_id = withdrawn.request_id;

-- name: delete_old_answers
DELETE FROM desk_answers
WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM desk_answers WHERE answered_at < %(older_than)s ORDER BY answered_at LIMIT %(rows_max)s
));
