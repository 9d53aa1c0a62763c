-- Who signs, or is queued elsewhere, while an agent has them on the phone leaves their stay at once; the call goes
-- on. Until it is reported, or its lease ends, nobody else is to call them: a stay that is opened or put in front
-- meanwhile begins only then. NULL: nobody is calling them for a stay that ended.
CREATE FUNCTION called_until(called_user_id bigint, as_of timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT max(stay.lease_expires_at)
    FROM call_queue AS stay
    JOIN assignments AS assignment
        ON assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
    WHERE stay.user_id = called_user_id AND stay.status = 'left' AND stay.lease_expires_at > as_of
        AND assignment.end_reason = 'left'
        AND NOT EXISTS (SELECT FROM call_outcomes AS report WHERE report.assignment_id = assignment.id)
$$;
