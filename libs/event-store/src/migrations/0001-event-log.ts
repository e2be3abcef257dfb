/**
 * The log. Everything that a consumer needs to prove completeness is in two tables: `partition` (heads) and `event`.
 * Commands have no table of their own: the first event of an append carries its id in a unique index, which saves a row and an
 * index entry an append and cannot disagree with the events.
 */
export const eventLog = `
CREATE TABLE event_store.store (
  only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  source     text NOT NULL,
  partitions integer NOT NULL CHECK (partitions > 0)
);

-- fillfactor: one row a page leaves room for the versions of its updates, so that they stay heap-only.
CREATE TABLE event_store.partition (
  id        integer PRIMARY KEY,
  head      bigint NOT NULL DEFAULT 0 CHECK (head >= 0),
  epoch     bigint NOT NULL,
  last_hash bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(last_hash) = 32)
) WITH (fillfactor = 10);

CREATE TABLE event_store.event (
  partition      integer NOT NULL,
  position       bigint  NOT NULL CHECK (position > 0),
  stream_id      text    NOT NULL COLLATE "C",
  stream_version bigint  NOT NULL CHECK (stream_version > 0),
  type           text    NOT NULL,
  schema_version integer NOT NULL CHECK (schema_version > 0),
  payload        bytea   NOT NULL,
  amount_minor   numeric(78, 0),
  token          text,
  subject_id     text    COLLATE "C",
  command_id     text    NOT NULL COLLATE "C",
  command_index  integer NOT NULL,
  command_size   integer NOT NULL,
  recorded_at_ns bigint  NOT NULL,
  traceparent    text    NOT NULL,
  region         text    NOT NULL,
  epoch          bigint  NOT NULL,
  hash           bytea   NOT NULL,
  PRIMARY KEY (partition, position)
);
CREATE UNIQUE INDEX event_stream  ON event_store.event (stream_id, stream_version);
CREATE UNIQUE INDEX event_command ON event_store.event (stream_id, command_id) WHERE command_index = 0;
CREATE INDEX event_subject ON event_store.event (subject_id) WHERE subject_id IS NOT NULL;

CREATE TABLE event_store.watermark (
  consumer   text    NOT NULL,
  source     text    NOT NULL,
  partition  integer NOT NULL,
  position   bigint  NOT NULL CHECK (position >= 0),
  PRIMARY KEY (consumer, source, partition)
) WITH (fillfactor = 50);

-- Events are facts: no statement changes or removes one. A superuser still can, which is what the hash chain is for.
CREATE FUNCTION event_store.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event_store.event
  FOR EACH STATEMENT EXECUTE FUNCTION event_store.refuse_change();

-- Locks the partitions in the order of their ids, so that two appends over several partitions never wait for each other in a
-- circle, and only then looks: in READ COMMITTED each statement of a volatile function sees what was committed before it began,
-- thus everything that the previous holder of the lock has written.
-- Look-ups can only go by key: a plain join leaves the order to a plan that is made while the table is empty and kept for the
-- life of the connection, and every append then reads the whole index under the partitions' locks. A lateral look-up with a
-- limit has one order, and scans are off inside.
CREATE FUNCTION event_store.lock_and_look(
  p_partitions integer[], p_streams text[], p_command_streams text[], p_command_ids text[],
  OUT heads bigint[], OUT epochs bigint[], OUT hashes bytea[], OUT versions bigint[],
  OUT command_indexes integer[], OUT command_versions bigint[], OUT command_positions bigint[]
) LANGUAGE plpgsql VOLATILE SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
  SELECT array_agg(l.head), array_agg(l.epoch), array_agg(l.last_hash) INTO heads, epochs, hashes
    FROM (SELECT p.head, p.epoch, p.last_hash FROM event_store.partition p
           WHERE p.id = ANY (p_partitions) ORDER BY p.id FOR NO KEY UPDATE) l;
  SELECT array_agg(coalesce((SELECT e.stream_version FROM event_store.event e
                              WHERE e.stream_id = s.id ORDER BY e.stream_version DESC LIMIT 1), 0) ORDER BY s.n)
    INTO versions FROM unnest(p_streams) WITH ORDINALITY s (id, n);
  SELECT array_agg(c.n::integer), array_agg(e.stream_version + e.command_size - 1), array_agg(e.position + e.command_size - 1)
    INTO command_indexes, command_versions, command_positions
    FROM unnest(p_command_streams, p_command_ids) WITH ORDINALITY c (stream_id, command_id, n)
   CROSS JOIN LATERAL (SELECT e.stream_version, e.position, e.command_size FROM event_store.event e
                        WHERE e.stream_id = c.stream_id AND e.command_id = c.command_id AND e.command_index = 0 LIMIT 1) e;
END $$;

-- What another service may see. The view runs with its owner's rights, so the reader needs nothing on the tables.
CREATE VIEW event_store.feed_partition AS
  SELECT s.source, p.id AS partition, p.head FROM event_store.partition p, event_store.store s;
CREATE VIEW event_store.feed_event AS
  SELECT s.source, e.partition, e.position, e.stream_id, e.stream_version, e.type, e.schema_version, e.payload,
         e.amount_minor, e.token, e.subject_id, e.command_id, e.command_index, e.command_size,
         e.recorded_at_ns, e.traceparent, e.region, e.epoch, e.hash
    FROM event_store.event e, event_store.store s;

-- Roles belong to the cluster, not to the database: services that migrate at the same time race for this one.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'feed_reader') THEN
    CREATE ROLE feed_reader LOGIN;
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
GRANT USAGE ON SCHEMA event_store TO feed_reader;
GRANT SELECT ON event_store.feed_partition, event_store.feed_event TO feed_reader;
`;
