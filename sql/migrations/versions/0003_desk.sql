-- The assignment desk: who works here, who holds which lead, what was answered, what made a score.

-- Agents -----------------------------------------------------------------------------------------------------

ALTER TABLE agents
    ADD COLUMN role          text NOT NULL DEFAULT 'agent',
    ADD COLUMN status_since  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ADD COLUMN last_seen_at  timestamptz,
    ADD CONSTRAINT an_agents_role_is_from_its_list CHECK (role IN ('agent', 'supervisor'));
COMMENT ON COLUMN agents.last_seen_at IS 'The agent''s last request of any kind; NULL: none yet.';

-- Stays ------------------------------------------------------------------------------------------------------

-- A stay that a promised call has put in front: its priority is -1000, or -2000 once an agent accepted it.
ALTER TABLE call_queue
    ADD COLUMN reserved_for_agent_id bigint CONSTRAINT a_stay_is_reserved_for_an_agent REFERENCES agents,
    ADD CONSTRAINT only_a_raised_stay_is_reserved CHECK (reserved_for_agent_id IS NULL OR callback_id IS NOT NULL);

-- Raised stays have an index of their own: what lies in front of the next lead slows every claim.
DROP INDEX waiting_leads_in_order;
CREATE INDEX waiting_leads_in_order ON call_queue (queue_type, priority_score, available_from, id)
    WHERE status = 'pending' AND callback_id IS NULL;
CREATE INDEX raised_stays_in_order ON call_queue (reserved_for_agent_id, priority_score, available_from, id)
    WHERE status = 'pending' AND callback_id IS NOT NULL;
CREATE UNIQUE INDEX one_live_stay_per_callback ON call_queue (callback_id)
    WHERE status <> 'left' AND callback_id IS NOT NULL;

-- Being assigned or returned moves nobody between queues: only opening and closing a stay are compared with
-- the user's current queue. Comparing at every assignment would cost the desk a third of its speed.
DROP TRIGGER a_live_stay_is_in_the_users_current_queue ON call_queue;
CREATE CONSTRAINT TRIGGER a_live_stay_is_in_the_users_current_queue AFTER INSERT ON call_queue
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_queue_without_stay();
CREATE CONSTRAINT TRIGGER a_closed_stay_is_not_the_users_current_queue AFTER UPDATE OF status ON call_queue
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'left' AND OLD.status <> 'left')
    EXECUTE FUNCTION refuse_queue_without_stay();

-- What those guards compared stays as it was compared. Costs the desk nothing: it names neither column.
CREATE TRIGGER a_stay_keeps_its_user_and_queue BEFORE UPDATE OF user_id, queue_type ON call_queue
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Assignments ------------------------------------------------------------------------------------------------

-- The history of who held what: a row when a lead is handed out, its end written once.
CREATE TABLE assignments (
    id                  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_queue_id       bigint NOT NULL CONSTRAINT an_assignment_is_of_a_stay REFERENCES call_queue,
    agent_id            bigint NOT NULL CONSTRAINT an_assignment_is_to_an_agent REFERENCES agents,
    callback_id         bigint CONSTRAINT an_assignment_serves_a_callback REFERENCES callbacks,
    request_id          text NOT NULL,
    lease_token         bigint NOT NULL,
    priority_score      integer NOT NULL,
    assigned_at         timestamptz NOT NULL,
    lease_expires_at    timestamptz NOT NULL,
    unvalidated_reason  text,
    ended_at            timestamptz,
    end_reason          text,
    CONSTRAINT one_assignment_per_stay_and_lease_token UNIQUE (call_queue_id, lease_token),
    CONSTRAINT an_assignment_ends_for_a_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CONSTRAINT an_assignments_end_is_from_its_list CHECK (
        end_reason IN (
            'outcome', 'released', 'expired', 'left', 'invalid', 'not_found', 'refused', 'snoozed', 'cancelled'
        )
    )
);
COMMENT ON COLUMN assignments.lease_expires_at IS 'As granted; the stay has the lease as extended.';
COMMENT ON COLUMN assignments.unvalidated_reason IS 'Why the lead was handed out unvalidated; NULL: it was not.';
CREATE INDEX assignments_by_request ON assignments (agent_id, request_id);

CREATE FUNCTION refuse_second_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'assignment %: an assignment ends once', OLD.id
        USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
END
$$;
CREATE TRIGGER an_assignment_ends_once BEFORE UPDATE ON assignments
    FOR EACH ROW WHEN (
        OLD.ended_at IS NOT NULL
        AND (NEW.ended_at, NEW.end_reason) IS DISTINCT FROM (OLD.ended_at, OLD.end_reason)
    ) EXECUTE FUNCTION refuse_second_end();

CREATE TRIGGER what_was_granted_is_never_changed
    BEFORE UPDATE OF call_queue_id, agent_id, callback_id, request_id, lease_token, priority_score, assigned_at,
        lease_expires_at
    ON assignments FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER an_assignment_is_never_deleted BEFORE DELETE OR TRUNCATE ON assignments
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What a request was answered that left no other trace, so that asking again with its id gives the same answer.
-- Kept for days, not for ever. What was handed out stands in assignments, what was reported in call_outcomes.
CREATE TABLE desk_answers (
    agent_id     bigint NOT NULL CONSTRAINT an_answer_is_to_an_agent REFERENCES agents,
    request_id   text NOT NULL,
    request      text NOT NULL,
    answer       jsonb NOT NULL,
    answered_at  timestamptz NOT NULL,
    CONSTRAINT one_answer_per_agent_and_request PRIMARY KEY (agent_id, request_id)
);
CREATE INDEX answers_by_age ON desk_answers (answered_at);

-- Calls and scores -------------------------------------------------------------------------------------------

ALTER TABLE call_outcomes
    ADD COLUMN assignment_id bigint CONSTRAINT an_outcome_ends_an_assignment REFERENCES assignments,
    ADD COLUMN is_late       boolean NOT NULL DEFAULT false,
    ADD COLUMN answer        jsonb,
    ADD CONSTRAINT one_outcome_per_assignment UNIQUE (assignment_id),
    ADD CONSTRAINT an_outcome_of_an_assignment_has_its_call
        CHECK (assignment_id IS NULL OR call_session_id IS NOT NULL),
    -- A request id is its agent's own, for the assignment that the request is about.
    DROP CONSTRAINT one_outcome_per_request;
COMMENT ON COLUMN call_outcomes.answer IS 'What the agent was told: a repeated request is told the same.';
COMMENT ON COLUMN call_outcomes.is_late IS 'Reported after the lease: the call is recorded, the lead was not moved by it.';

CREATE TABLE score_events (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_queue_id   bigint NOT NULL CONSTRAINT a_score_event_is_of_a_stay REFERENCES call_queue,
    kind            text NOT NULL,
    outcome         call_outcome,
    attempt         integer,
    aged_to         timestamptz,
    outcome_change  integer NOT NULL DEFAULT 0,
    attempt_change  integer NOT NULL DEFAULT 0,
    age_change      integer NOT NULL DEFAULT 0,
    rules_version   integer NOT NULL,
    happened_at     timestamptz NOT NULL,
    CONSTRAINT a_score_events_kind_is_from_its_list CHECK (kind IN ('outcome', 'age')),
    CONSTRAINT a_score_event_says_what_happened CHECK (
        (kind = 'outcome') = (outcome IS NOT NULL AND attempt IS NOT NULL)
        AND (kind = 'age') = (aged_to IS NOT NULL)
    ),
    CONSTRAINT one_score_event_per_stay_and_attempt UNIQUE (call_queue_id, attempt)
);
COMMENT ON TABLE score_events IS 'Append-only: what changed a stay''s score. Their sum is the score.';
CREATE TRIGGER a_score_event_is_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON score_events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Standings --------------------------------------------------------------------------------------------------

-- How each known user stands at an instant, in exactly one class: the one definition, for the counts of all and
-- for the explanation of one. A view with parameters: PostgreSQL inlines it, so that asking for one user reads one.
-- Whoever is in no queue counts as converted if the last stay ended so.
CREATE FUNCTION user_standings(as_of timestamptz, not_called_from integer)
RETURNS TABLE (user_id bigint, class text, stay_id bigint, available_from timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT score.user_id,
        CASE
            WHEN stay.status = 'assigned' THEN 'assigned'
            WHEN stay.callback_id IS NOT NULL THEN 'promised'
            WHEN stay.priority_score >= not_called_from THEN 'too_high'
            WHEN stay.available_from > as_of THEN 'cooling'
            WHEN stay.id IS NOT NULL THEN 'waiting'
            WHEN NOT score.is_active THEN 'suppressed'
            WHEN EXISTS (
                SELECT FROM conversions
                WHERE conversions.call_queue_id = (
                    SELECT max(last.id) FROM call_queue AS last WHERE last.user_id = score.user_id
                )
            ) THEN 'converted'
            ELSE 'not_needed'
        END,
        stay.id, stay.available_from
    FROM user_call_scores AS score
    LEFT JOIN call_queue AS stay ON stay.user_id = score.user_id AND stay.status <> 'left'
$$;

-- Callbacks --------------------------------------------------------------------------------------------------

-- For whom a callback is reserved is told by the stay that it has raised, and by nothing else.
ALTER TABLE callbacks
    DROP COLUMN reserved_agent_id,
    ADD COLUMN call_after timestamptz,
    ADD COLUMN agreed_in_assignment_id bigint CONSTRAINT a_callback_was_agreed_in_a_call REFERENCES assignments;
UPDATE callbacks SET call_after = due_at;
ALTER TABLE callbacks ALTER COLUMN call_after SET NOT NULL;
COMMENT ON COLUMN callbacks.due_at IS 'The promised time; it never changes.';
COMMENT ON COLUMN callbacks.call_after IS 'When to call: the promised time, or later once snoozed or tried in vain.';
CREATE TRIGGER a_promised_time_never_changes BEFORE UPDATE ON callbacks
    FOR EACH ROW WHEN (NEW.due_at <> OLD.due_at OR NEW.user_id <> OLD.user_id) EXECUTE FUNCTION refuse_change();
CREATE TRIGGER a_closed_callback_stays_closed BEFORE UPDATE ON callbacks
    FOR EACH ROW WHEN (OLD.status IN ('completed', 'cancelled') AND NEW.status <> OLD.status)
    EXECUTE FUNCTION refuse_change();
CREATE INDEX open_callbacks_by_call_time ON callbacks (call_after, id) WHERE status IN ('pending', 'accepted');
-- For the monitor, too, which asks about closed ones.
CREATE INDEX callbacks_of_a_user ON callbacks (user_id, created_at);
DROP INDEX open_callbacks_by_due_time;
CREATE INDEX callbacks_by_due_time ON callbacks (due_at);

ALTER TABLE callback_notifications
    ADD CONSTRAINT a_decision_is_from_its_list CHECK (decision IN (
        'reserved_for_accepter', 'reserved_for_preferred', 'reserved_for_available', 'left_unassigned', 'cancelled',
        'failed', 'accepted', 'snoozed'
    )),
    ADD CONSTRAINT a_reservation_names_its_agent CHECK (
        (agent_id IS NULL) = (decision IN ('left_unassigned', 'cancelled', 'failed'))
    );
