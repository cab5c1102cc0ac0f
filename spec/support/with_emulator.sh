#!/bin/sh
# with_emulator.sh [emulator options --] command [arguments]
#
# Starts the emulator on free ports, runs the command against it as against the
# service, and stops it again: over HTTPS (AGORA_CHAT_BASE_URL,
# AGORA_CHAT_CA_FILE), with tokens that the command makes of a throw-away
# certificate (AGORA_CHAT_APP_ID, AGORA_CHAT_APP_CERTIFICATE) and that the
# emulator verifies. AGORA_CHAT_PLAIN_URL is the same service without TLS,
# AGORA_CHAT_CONTROL_URL the emulator's control door. The exit status is the
# command's.
set -eu

options=
for word in "$@"; do
  if [ "$word" = -- ]; then
    while [ "$1" != -- ]; do options="$options $1"; shift; done
    shift
    break
  fi
done

app_id=970ca35de60c44645bbae8a215061b33
app_certificate=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
dir=$(mktemp -d)
: >"$dir/out" # there before the first look at it
# --parent: it ends with this script, even when this script is killed.
# shellcheck disable=SC2086
lua5.4 spec/emulator/main.lua --parent $$ --tls --dir "$dir" \
  --app-id "$app_id" --app-certificate "$app_certificate" $options \
  >"$dir/out" 2>"$dir/err" </dev/null &
emulator=$!
stop() {
  kill "$emulator" 2>/dev/null || true
  wait "$emulator" 2>/dev/null || true
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

tries=0
until grep -q '^ready' "$dir/out"; do
  tries=$((tries + 1))
  if [ $tries -gt 100 ] || ! kill -0 "$emulator" 2>/dev/null; then
    echo "the emulator did not start:" >&2
    cat "$dir/out" "$dir/err" >&2
    exit 1
  fi
  sleep 0.1
done

AGORA_CHAT_BASE_URL=$(sed -n 's/^listening on https:/https:/p' "$dir/out")
AGORA_CHAT_PLAIN_URL=$(sed -n 's/^listening on http:/http:/p' "$dir/out")
AGORA_CHAT_CONTROL_URL=$(sed -n 's/^control on //p' "$dir/out")
AGORA_CHAT_CA_FILE=$(sed -n 's/^ca file //p' "$dir/out")
AGORA_CHAT_APP_ID=$app_id
AGORA_CHAT_APP_CERTIFICATE=$app_certificate
unset AGORA_CHAT_TOKEN
LUA_PATH="lua/?.lua;${LUA_PATH:-;}"
LUA_CPATH="${AGORA_CHAT_BUILD:-build}/lua5.4/?.so;${LUA_CPATH:-;}"
export AGORA_CHAT_BASE_URL AGORA_CHAT_PLAIN_URL AGORA_CHAT_CONTROL_URL AGORA_CHAT_CA_FILE \
  AGORA_CHAT_APP_ID AGORA_CHAT_APP_CERTIFICATE LUA_PATH LUA_CPATH

status=0
"$@" || status=$?
exit $status
