-- A desk that is still asking the source about a lead which it claimed must not take it back once another desk has told
-- the agent of it: whoever asks again raises the number, and only who knows the last number takes back.
ALTER TABLE assignments ADD COLUMN repeats integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN assignments.repeats IS 'How often the agent asked again while holding the lead.';

-- Nor is a user called by a second agent whose lead was taken back when the first may have been told of it.
CREATE OR REPLACE FUNCTION called_until(called_user_id bigint, as_of timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT max(stay.lease_expires_at)
    FROM call_queue AS stay
    JOIN assignments AS assignment
        ON assignment.call_queue_id = stay.id AND assignment.lease_token = stay.lease_token
    WHERE stay.user_id = called_user_id AND stay.status = 'left' AND stay.lease_expires_at > as_of
        AND (assignment.end_reason = 'left' OR (assignment.end_reason = 'invalid' AND assignment.repeats > 0))
        AND NOT EXISTS (SELECT FROM call_outcomes AS report WHERE report.assignment_id = assignment.id)
$$;
