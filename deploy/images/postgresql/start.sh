#!/bin/sh
# For tests: a server in a folder of its own, by the variables of the official image. CloudNativePG starts its own manager instead.
#   POSTGRES_PASSWORD                  required, unless POSTGRES_HOST_AUTH_METHOD=trust
#   POSTGRES_USER                      the superuser; default postgres
#   POSTGRES_INITDB_ARGS               more arguments of initdb
# `postgres` and its arguments start the server; anything else is run as it stands.
set -eu
[ "${1:-postgres}" = postgres ] || exec "$@"
[ $# -eq 0 ] || shift
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  [ "$method" = trust ] || : "${POSTGRES_PASSWORD:?set POSTGRES_PASSWORD}"
  work=$(mktemp -d /tmp/postgres.XXXXXX)
  printf '%s' "${POSTGRES_PASSWORD:-postgres}" > "$work/password"
  # shellcheck disable=SC2086 # several arguments in one variable
  initdb --pgdata="$PGDATA" --username="${POSTGRES_USER:-postgres}" --pwfile="$work/password" --auth-host="$method" --auth-local=trust --encoding=UTF8 ${POSTGRES_INITDB_ARGS:-} \
    > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  rm -rf "$work"
  printf 'host all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' "$@"
