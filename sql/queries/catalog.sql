-- name: describe_schema
-- Everything that a migration can make in the current schema: kind, name, definition, one thing a row.
-- NOT NULL is part of the column's line: PostgreSQL 18 lists it as a constraint too, earlier servers do not.
-- What an extension brought is the operator's. A constraint, index or trigger that is there and does not
-- work (its triggers are off, its concurrent build failed) says so: the definition reads as if all were well.
WITH here AS (SELECT oid FROM pg_namespace WHERE nspname = current_schema()),
of_an_extension AS (SELECT objid FROM pg_depend WHERE deptype = 'e'),
things AS (
    SELECT 'table' AS kind, relname::text AS name, 'table' AS definition
    FROM pg_class
    WHERE relkind IN ('r', 'p') AND relnamespace = (TABLE here) AND oid NOT IN (TABLE of_an_extension)
    UNION ALL
    SELECT 'view', relname::text, pg_get_viewdef(oid)
    FROM pg_class
    WHERE relkind IN ('v', 'm') AND relnamespace = (TABLE here) AND oid NOT IN (TABLE of_an_extension)
    UNION ALL
    SELECT 'column', c.relname || '.' || a.attname,
        concat_ws(' ',
            format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attnotnull THEN 'not null' END,
            CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
            CASE WHEN a.attgenerated <> '' THEN 'generated' WHEN d.oid IS NOT NULL THEN 'default' END,
            pg_get_expr(d.adbin, d.adrelid))
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = (TABLE here) AND a.attnum > 0 AND NOT a.attisdropped
        AND c.oid NOT IN (TABLE of_an_extension)
    UNION ALL
    SELECT 'constraint', coalesce(t.relname, d.typname) || '.' || k.conname, pg_get_constraintdef(k.oid)
        || CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgconstraint = k.oid AND g.tgenabled <> 'O')
            THEN ' (not enabled)' ELSE '' END
    FROM pg_constraint k
    LEFT JOIN pg_class t ON t.oid = k.conrelid
    LEFT JOIN pg_type d ON d.oid = k.contypid
    WHERE k.connamespace = (TABLE here) AND k.contype <> 'n'
        AND coalesce(t.oid, d.oid) NOT IN (TABLE of_an_extension)
    UNION ALL
    SELECT 'index', i.relname::text, replace(pg_get_indexdef(i.oid), current_schema() || '.', '')
        || CASE WHEN x.indisvalid THEN '' ELSE ' (not valid)' END
    FROM pg_class i
    JOIN pg_index x ON x.indexrelid = i.oid
    WHERE i.relkind IN ('i', 'I') AND i.relnamespace = (TABLE here)
        AND x.indrelid NOT IN (TABLE of_an_extension)
    UNION ALL
    SELECT 'trigger', c.relname || '.' || g.tgname,
        replace(pg_get_triggerdef(g.oid), current_schema() || '.', '')
        || CASE g.tgenabled WHEN 'O' THEN '' ELSE ' (not enabled)' END
    FROM pg_trigger g
    JOIN pg_class c ON c.oid = g.tgrelid
    WHERE c.relnamespace = (TABLE here) AND NOT g.tgisinternal
    UNION ALL
    SELECT 'domain', typname::text, format_type(typbasetype, typtypmod)
    FROM pg_type WHERE typtype = 'd' AND typnamespace = (TABLE here)
    UNION ALL
    SELECT 'function', p.oid::regprocedure::text, l.lanname || ': ' || p.prosrc
    FROM pg_proc p
    JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = (TABLE here) AND p.oid NOT IN (TABLE of_an_extension)
)
SELECT kind, name, trim(regexp_replace(definition, '\s+', ' ', 'g'))
FROM things
WHERE name NOT LIKE 'leadq\_migration%';
