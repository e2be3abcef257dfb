/**
 * Parked streams of this database's consumers, beside the watermarks. What is parked is kept whole, so that a replay depends
 * neither on the source nor on what a broker still holds.
 */
export const parking = `
CREATE SCHEMA IF NOT EXISTS feed;

CREATE TABLE feed.parked_stream (
  source       text    NOT NULL,
  consumer     text    NOT NULL,
  stream_id    text    NOT NULL COLLATE "C",
  partition    integer NOT NULL,
  -- The event that failed first; those behind it only wait.
  position     bigint  NOT NULL,
  event_type   text    NOT NULL,
  error_code   text    NOT NULL,
  error        text    NOT NULL,
  attempts     integer NOT NULL,
  parked_at    timestamptz NOT NULL DEFAULT now(),
  -- Set by whoever wants a replay; cleared by the running consumer when the replay fails again.
  replay_requested_at timestamptz,
  PRIMARY KEY (source, consumer, stream_id)
);

CREATE TABLE feed.parked_event (
  source     text    NOT NULL,
  consumer   text    NOT NULL,
  stream_id  text    NOT NULL COLLATE "C",
  partition  integer NOT NULL,
  position   bigint  NOT NULL,
  attributes jsonb   NOT NULL,
  payload    bytea   NOT NULL,
  PRIMARY KEY (source, consumer, partition, position),
  FOREIGN KEY (source, consumer, stream_id) REFERENCES feed.parked_stream
);
CREATE INDEX parked_event_of_stream ON feed.parked_event (source, consumer, stream_id, position);

-- Takes the consumer's watermark of one partition and only then looks which of the streams are parked: each statement of a
-- volatile function sees what was committed before it began. Whoever parks, replays or handles holds this row, so that the
-- three never overlap within a partition and two replicas of a consumer take turns.
CREATE FUNCTION feed.lock_watermark(
  p_consumer text, p_source text, p_partition integer, p_streams text[], OUT watermark bigint, OUT parked text[]
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  SELECT w.position INTO watermark FROM event_store.watermark w
   WHERE w.consumer = p_consumer AND w.source = p_source AND w.partition = p_partition FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO event_store.watermark (consumer, source, partition, position)
      VALUES (p_consumer, p_source, p_partition, 0) ON CONFLICT DO NOTHING;
    SELECT w.position INTO watermark FROM event_store.watermark w
     WHERE w.consumer = p_consumer AND w.source = p_source AND w.partition = p_partition FOR UPDATE;
  END IF;
  SELECT coalesce(array_agg(s.stream_id), '{}') INTO parked FROM feed.parked_stream s
   WHERE s.consumer = p_consumer AND s.source = p_source AND s.partition = p_partition AND s.stream_id = ANY (p_streams);
END $$;
`;
