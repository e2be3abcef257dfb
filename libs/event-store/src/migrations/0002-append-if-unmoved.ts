/**
 * The append of a writer that already knows the heads, in one round trip: compare, write, and commit as a statement of its own.
 * It raises, and so leaves nothing, when a head, an epoch, a stream or a command is not as the writer believed; the writer then
 * takes the way over `lock_and_look`. `ES001` is no code of Postgres.
 * That its look-ups go by key is set by the connections that call it (`group-commit.ts`), which nothing else uses.
 */
export const appendIfUnmoved = `
CREATE FUNCTION event_store.append_if_unmoved(
  p_partitions integer[], p_from bigint[], p_from_hashes bytea[], p_to bigint[], p_to_hashes bytea[],
  p_base_streams text[], p_base_versions bigint[],
  p_partition integer[], p_position bigint[], p_stream_id text[], p_stream_version bigint[], p_type text[], p_schema_version integer[],
  p_payload bytea[], p_amount_minor numeric[], p_token text[], p_subject_id text[], p_command_id text[], p_command_index integer[],
  p_command_size integer[], p_traceparent text[], p_hash bytea[], p_recorded_at_ns bigint, p_region text, p_epoch bigint
) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  v_count bigint;
BEGIN
  IF cardinality(p_partitions) = 1 THEN
    UPDATE event_store.partition p SET head = p_to[1], last_hash = p_to_hashes[1]
     WHERE p.id = p_partitions[1] AND p.head = p_from[1] AND p.last_hash = p_from_hashes[1] AND p.epoch = p_epoch;
  ELSE
    PERFORM FROM event_store.partition p WHERE p.id = ANY (p_partitions) ORDER BY p.id FOR NO KEY UPDATE;
    UPDATE event_store.partition p SET head = v.new_head, last_hash = v.new_hash
      FROM unnest(p_partitions, p_from, p_from_hashes, p_to, p_to_hashes) v (id, old_head, old_hash, new_head, new_hash)
     WHERE p.id = v.id AND p.head = v.old_head AND p.last_hash = v.old_hash AND p.epoch = p_epoch;
  END IF;
  GET DIAGNOSTICS v_count = ROW_COUNT;
  IF v_count <> cardinality(p_partitions) THEN
    RAISE EXCEPTION 'another writer has moved a head' USING ERRCODE = 'ES001';
  END IF;
  -- A stream that has grown meanwhile is caught by the unique index on its versions; one that is shorter than believed, here.
  IF cardinality(p_base_streams) > 0 THEN
    SELECT count(*) INTO v_count FROM unnest(p_base_streams, p_base_versions) b (id, version)
     CROSS JOIN LATERAL (SELECT 1 FROM event_store.event e WHERE e.stream_id = b.id AND e.stream_version = b.version LIMIT 1) e;
    IF v_count <> cardinality(p_base_streams) THEN
      RAISE EXCEPTION 'a stream is not where the writer believed' USING ERRCODE = 'ES001';
    END IF;
  END IF;
  -- One event, the usual case of a caller by itself, needs no sets made of arrays: they cost more than its row.
  IF cardinality(p_position) = 1 THEN
    INSERT INTO event_store.event (partition, position, stream_id, stream_version, type, schema_version, payload, amount_minor, token,
        subject_id, command_id, command_index, command_size, traceparent, hash, recorded_at_ns, region, epoch)
      VALUES (p_partition[1], p_position[1], p_stream_id[1], p_stream_version[1], p_type[1], p_schema_version[1], p_payload[1],
        p_amount_minor[1], p_token[1], p_subject_id[1], p_command_id[1], p_command_index[1], p_command_size[1], p_traceparent[1],
        p_hash[1], p_recorded_at_ns, p_region, p_epoch);
    RETURN;
  END IF;
  INSERT INTO event_store.event (partition, position, stream_id, stream_version, type, schema_version, payload, amount_minor, token,
      subject_id, command_id, command_index, command_size, traceparent, hash, recorded_at_ns, region, epoch)
    SELECT u.*, p_recorded_at_ns, p_region, p_epoch
      FROM unnest(p_partition, p_position, p_stream_id, p_stream_version, p_type, p_schema_version, p_payload, p_amount_minor, p_token,
                  p_subject_id, p_command_id, p_command_index, p_command_size, p_traceparent, p_hash) u;
END $$;
`;
