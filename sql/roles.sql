-- The three roles of the store: who may change its schema, who may work in it, who may read it.
--
-- An administrator of the server runs this on the store's database, once before the first `leadq db upgrade`
-- and again after every upgrade; it may be repeated at any time:
--
--     psql --set ON_ERROR_STOP=1 --single-transaction --file sql/roles.sql postgresql://ADMIN@HOST/DATABASE
--
-- The roles cannot log in. People and programs get logins of their own, whose passwords are nobody's file's
-- business, as members:
--
--     CREATE ROLE leadq_deploy LOGIN IN ROLE leadq_migrator;   \password leadq_deploy
--     ALTER ROLE leadq_deploy SET role = 'leadq_migrator';     -- what it makes belongs to leadq_migrator
--     CREATE ROLE leadq_service LOGIN IN ROLE leadq_app;       \password leadq_service
--     CREATE ROLE maria LOGIN IN ROLE leadq_analyst;           \password maria
--
-- leadq_migrator  owns the schema's contents and runs `leadq db upgrade`.
-- leadq_app       reads and writes rows; it changes no schema, deletes no row, and rewrites no history: a
--                 transition and a score event never, of a conversion only the credit, of an assignment only how
--                 it ended. Only what a request was answered it deletes: that is kept for days, not for ever.
--                 `leadq db check` needs no more than this.
-- leadq_analyst   reads, but no personal datum and no secret: users and customers are their ids.
--
-- A table of a later migration is open to the application at once (reading, inserting, updating) and to
-- analysts when this file has run again, so that a new personal column is never theirs for a moment.
-- Everything is about the connection's current schema, which is the store's alone. PostgreSQL 15 to 18.

DO $$
DECLARE
    wanted name;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['leadq_migrator', 'leadq_app', 'leadq_analyst'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    -- An administrator who is no superuser acts for the owner as a member.
    IF NOT pg_has_role(current_user, 'leadq_migrator', 'USAGE') THEN
        EXECUTE format('GRANT leadq_migrator TO %I', current_user);
    END IF;
END
$$;

-- The schema, and what is in it already ------------------------------------------------------------------

DO $$
DECLARE
    here text := quote_ident(current_schema());
    thing record;
BEGIN
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO leadq_migrator, leadq_app, leadq_analyst', current_database()
    );
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC, leadq_app, leadq_analyst', here);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO leadq_migrator, leadq_app, leadq_analyst', here);
    EXECUTE format('GRANT CREATE ON SCHEMA %s TO leadq_migrator', here);

    -- What was made before there were roles. An identity's sequence goes with its table.
    FOR thing IN
        WITH of_an_extension AS (SELECT objid FROM pg_depend WHERE deptype = 'e')
        SELECT format('TABLE %s.%I', here, relname) AS title
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            AND relowner <> 'leadq_migrator'::regrole AND oid NOT IN (TABLE of_an_extension)
        UNION ALL
        SELECT format('DOMAIN %s.%I', here, typname)
        FROM pg_type
        WHERE typnamespace = current_schema()::regnamespace AND typtype = 'd'
            AND typowner <> 'leadq_migrator'::regrole AND oid NOT IN (TABLE of_an_extension)
        UNION ALL
        SELECT format('ROUTINE %s', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND prokind <> 'a'
            AND proowner <> 'leadq_migrator'::regrole AND oid NOT IN (TABLE of_an_extension)
    LOOP
        EXECUTE format('ALTER %s OWNER TO leadq_migrator', thing.title);
    END LOOP;
END
$$;

-- The application ----------------------------------------------------------------------------------------

DO $$
DECLARE
    here text := quote_ident(current_schema());
    history record;
BEGIN
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM leadq_app', here);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA %s TO leadq_app', here);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %s TO leadq_app', here);
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE leadq_migrator IN SCHEMA %s '
        'GRANT SELECT, INSERT, UPDATE ON TABLES TO leadq_app', here
    );
    EXECUTE format(
        'ALTER DEFAULT PRIVILEGES FOR ROLE leadq_migrator IN SCHEMA %s GRANT USAGE ON SEQUENCES TO leadq_app', here
    );

    FOR history IN
        SELECT table_name, withdrawn, left_to_it
        FROM (VALUES
            ('leadq_migration', 'INSERT, UPDATE', NULL),
            ('queue_transitions', 'UPDATE', NULL),
            ('completed_windows', 'UPDATE', NULL),
            ('conversions', 'UPDATE', 'UPDATE (primary_agent_id, contributing_agents)'),
            ('assignments', 'UPDATE', 'UPDATE (ended_at, end_reason, unvalidated_reason, repeats)'),
            ('score_events', 'UPDATE', NULL),
            ('desk_answers', 'UPDATE', 'DELETE')
        ) AS limits (table_name, withdrawn, left_to_it)
        WHERE to_regclass(here || '.' || table_name) IS NOT NULL
    LOOP
        EXECUTE format('REVOKE %s ON %s.%I FROM leadq_app', history.withdrawn, here, history.table_name);
        IF history.left_to_it IS NOT NULL THEN
            EXECUTE format('GRANT %s ON %s.%I TO leadq_app', history.left_to_it, here, history.table_name);
        END IF;
    END LOOP;
END
$$;

-- The analyst --------------------------------------------------------------------------------------------

DO $$
DECLARE
    here text := quote_ident(current_schema());
    closed_columns text[] := ARRAY[
        'agents.token_hash',
        -- An answer is what the desk told an agent: whatever it tells one day, analysts do not read it here.
        'call_outcomes.notes', 'call_outcomes.answer', 'desk_answers.answer',
        'customers.phone_e164', 'customers.first_name', 'customers.last_name', 'customers.email',
        'messages.content',
        'voice_call_details.transcript', 'voice_call_details.recording_url'
    ];
    readable record;
BEGIN
    -- Of a table that loses its privilege, the columns lose theirs too.
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM leadq_analyst', here);
    FOR readable IN
        SELECT t.relname AS table_name, string_agg(quote_ident(c.attname), ', ' ORDER BY c.attnum) AS columns
        FROM pg_class t
        JOIN pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
        WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p', 'v', 'm')
            AND t.relowner = 'leadq_migrator'::regrole
            AND t.relname || '.' || c.attname <> ALL (closed_columns)
        GROUP BY t.relname
    LOOP
        EXECUTE format('GRANT SELECT (%s) ON %s.%I TO leadq_analyst', readable.columns, here, readable.table_name);
    END LOOP;
END
$$;
