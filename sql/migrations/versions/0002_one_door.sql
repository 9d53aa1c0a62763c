-- A stay, the user's current queue and the audit line say the same at the end of every transaction. Checked at
-- commit, because the three are written one after the other; whoever writes one of them alone is refused.

CREATE UNIQUE INDEX one_transition_leaves_a_stay ON queue_transitions (left_stay_id) WHERE left_stay_id IS NOT NULL;
CREATE UNIQUE INDEX one_transition_enters_a_stay ON queue_transitions (entered_stay_id)
    WHERE entered_stay_id IS NOT NULL;

CREATE FUNCTION refuse_stay_without_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'left' THEN
        PERFORM FROM queue_transitions WHERE left_stay_id = NEW.id;
    ELSE
        PERFORM FROM queue_transitions WHERE entered_stay_id = NEW.id;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'stay % of user %: %', NEW.id, NEW.user_id, replace(TG_NAME, '_', ' ')
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER a_stay_opens_with_its_transition AFTER INSERT ON call_queue
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_stay_without_transition();
CREATE CONSTRAINT TRIGGER a_stay_closes_with_its_transition AFTER UPDATE OF status ON call_queue
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status = 'left' AND OLD.status <> 'left')
    EXECUTE FUNCTION refuse_stay_without_transition();

CREATE FUNCTION refuse_queue_without_stay() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    live_queue text;
BEGIN
    SELECT queue_type INTO live_queue FROM call_queue WHERE user_id = NEW.user_id AND status <> 'left';
    -- The row as it is now, not as it was when this trigger was queued: it may have moved twice since.
    PERFORM FROM user_call_scores
    WHERE user_id = NEW.user_id AND current_queue_type IS DISTINCT FROM live_queue;
    IF FOUND THEN
        RAISE EXCEPTION 'user %: %', NEW.user_id, replace(TG_NAME, '_', ' ')
            USING ERRCODE = 'integrity_constraint_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER the_current_queue_is_that_of_the_live_stay AFTER UPDATE OF current_queue_type
    ON user_call_scores DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.current_queue_type IS DISTINCT FROM OLD.current_queue_type)
    EXECUTE FUNCTION refuse_queue_without_stay();
CREATE CONSTRAINT TRIGGER a_known_user_begins_in_the_queue_of_the_live_stay AFTER INSERT ON user_call_scores
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.current_queue_type IS NOT NULL)
    EXECUTE FUNCTION refuse_queue_without_stay();
CREATE CONSTRAINT TRIGGER a_live_stay_is_in_the_users_current_queue AFTER INSERT OR UPDATE OF status ON call_queue
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_queue_without_stay();

-- Whose calls are credited: those of a user in the month before a conversion.
CREATE INDEX calls_by_record_time ON call_sessions (updated_at);
