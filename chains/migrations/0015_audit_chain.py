"""The audit trail seals itself: a chain of hashes, written by the database at commit, append-only."""

from typing import Any

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now

# Everything that has to do with the chain is one text, so that it can be read at once. {schema} is where
# the tables are: a function that acts for its owner must not look for its tables anywhere else.
_PROTECT = """
-- Between a record's insertion and its seal lies this table, which nobody ever sees filled: see below.
CREATE TABLE chains_auditqueue (record_id bigint PRIMARY KEY);

CREATE FUNCTION chains_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only: % of % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION chains_audit_only_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION 'only the database itself writes %', TG_TABLE_NAME
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION chains_audit_text(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT octet_length(convert_to($1, 'UTF8')) || ':' || $1 || ','
$$;

CREATE FUNCTION chains_audit_moment(timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT to_char($1 AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

CREATE FUNCTION chains_audit_queue() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO chains_auditqueue VALUES (NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION chains_audit_seal() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
    last chains_auditseal;
    one chains_auditrecord;
    before text;
    sealed timestamptz;
BEGIN
    -- From here to the end of the commit nobody else seals: each sees the seal before its own.
    PERFORM pg_advisory_xact_lock(7212, 0);
    SELECT * INTO last FROM chains_auditseal ORDER BY seq DESC LIMIT 1;
    SELECT * INTO STRICT one FROM chains_auditrecord WHERE id = NEW.record_id;
    before := COALESCE(last.hash, repeat('0', 64));
    sealed := clock_timestamp();
    INSERT INTO chains_auditseal (seq, record_id, previous, sealed_at, hash) VALUES (
        COALESCE(last.seq, 0) + 1, one.id, before, sealed,
        encode(sha256(convert_to(
            chains_audit_text(before) || chains_audit_text(chains_audit_moment(sealed))
            || chains_audit_text(one.id::text) || chains_audit_text(chains_audit_moment(one.at))
            || chains_audit_text(one.actor) || chains_audit_text(one.origin)
            || chains_audit_text(one.action) || chains_audit_text(one.subject)
            || chains_audit_text(one.result) || chains_audit_text(one.details::text), 'UTF8')), 'hex'));
    DELETE FROM chains_auditqueue WHERE record_id = one.id;
    RETURN NULL;
END $$;

-- Records are written in the midst of long transactions: the lock of the chain is taken as the very last
-- thing of each, or they would wait for one another. Deferred triggers fire in the order of their rows,
-- and foreign keys are checked by such triggers, too, which wait for locks of rows. What is inserted by
-- a deferred trigger has its own turn when all of those have had theirs: hence the second table.
CREATE CONSTRAINT TRIGGER chains_audit_queue AFTER INSERT ON chains_auditrecord
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chains_audit_queue();
CREATE CONSTRAINT TRIGGER chains_audit_seal AFTER INSERT ON chains_auditqueue
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION chains_audit_seal();

-- What was recorded before there was a chain becomes its beginning.
INSERT INTO chains_auditqueue SELECT id FROM chains_auditrecord ORDER BY id;
SET CONSTRAINTS chains_audit_seal IMMEDIATE;
SET CONSTRAINTS chains_audit_seal DEFERRED;

CREATE TRIGGER chains_audit_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON chains_auditrecord
    FOR EACH STATEMENT EXECUTE FUNCTION chains_audit_refuse();
CREATE TRIGGER chains_audit_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON chains_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION chains_audit_refuse();
CREATE TRIGGER chains_audit_only_sealed BEFORE INSERT ON chains_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION chains_audit_only_sealed();
CREATE TRIGGER chains_audit_only_sealed BEFORE INSERT ON chains_auditqueue
    FOR EACH STATEMENT EXECUTE FUNCTION chains_audit_only_sealed();

-- Roles beside the owner, however they came to their rights, read and add: no more.
REVOKE EXECUTE ON FUNCTION chains_audit_queue(), chains_audit_seal() FROM PUBLIC;
DO $$
DECLARE
    other text;
BEGIN
    FOR other IN
        SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END
        FROM pg_class c, aclexplode(c.relacl) a
        WHERE c.oid IN ('chains_auditrecord'::regclass, 'chains_auditseal'::regclass,
                        'chains_auditqueue'::regclass) AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON chains_auditrecord FROM %s', other);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER ON chains_auditseal FROM %s', other);
        EXECUTE format('REVOKE ALL ON chains_auditqueue FROM %s', other);
    END LOOP;
END $$;

-- Without these, a search for two words that never come together would read all of either.
CREATE STATISTICS audit_kinds (mcv) ON actor, action, result FROM chains_auditrecord;
"""

_UNPROTECT = """
DROP STATISTICS audit_kinds;
DROP TABLE chains_auditqueue CASCADE;
DROP TRIGGER chains_audit_queue ON chains_auditrecord;
DROP TRIGGER chains_audit_refuse ON chains_auditrecord;
DROP TRIGGER chains_audit_refuse ON chains_auditseal;
DROP TRIGGER chains_audit_only_sealed ON chains_auditseal;
DROP FUNCTION chains_audit_seal, chains_audit_queue, chains_audit_refuse, chains_audit_only_sealed,
    chains_audit_text, chains_audit_moment;
"""


def protect(apps: Any, schema_editor: Any) -> None:
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
        cursor.execute(_PROTECT.replace("{schema}", schema))


class Migration(migrations.Migration):

    dependencies = [
        ('chains', '0014_volume_orders'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditSeal',
            fields=[
                ('seq', models.BigIntegerField(primary_key=True, serialize=False)),
                ('previous', models.CharField(max_length=64)),
                ('hash', models.CharField(max_length=64)),
                ('sealed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['seq'],
            },
        ),
        migrations.AddField(
            model_name='auditrecord',
            name='result',
            field=models.CharField(blank=True, help_text='one of inventory.audit.Result', max_length=16),
        ),
        migrations.AlterField(
            model_name='auditrecord',
            name='at',
            field=models.DateTimeField(db_default=Now(), help_text="by the database's clock"),
        ),
        migrations.AlterField(
            model_name='auditrecord',
            name='origin',
            field=models.CharField(help_text='the address of the browser, «command line» or «worker»', max_length=64),
        ),
        migrations.AddIndex(
            model_name='auditrecord',
            index=models.Index(fields=['at', 'id'], name='audit_by_time'),
        ),
        migrations.AddIndex(
            model_name='auditrecord',
            index=models.Index(fields=['actor', 'at', 'id'], name='audit_by_actor'),
        ),
        migrations.AddIndex(
            model_name='auditrecord',
            index=models.Index(fields=['action', 'at', 'id'], name='audit_by_action'),
        ),
        migrations.AddIndex(
            model_name='auditrecord',
            index=models.Index(fields=['origin', 'at', 'id'], name='audit_by_origin'),
        ),
        migrations.AddIndex(
            model_name='auditrecord',
            index=models.Index(fields=['result', 'at', 'id'], name='audit_by_result'),
        ),
        migrations.AddIndex(
            model_name='auditrecord',
            index=django.contrib.postgres.indexes.GinIndex(fields=['subject'], name='audit_words', opclasses=['gin_trgm_ops']),
        ),
        migrations.AddField(
            model_name='auditseal',
            name='record',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='seal', to='chains.auditrecord'),
        ),
        migrations.RunPython(protect, lambda apps, editor: editor.execute(_UNPROTECT)),
    ]
