#!/bin/sh
# with_emulator.sh [emulator options --] command [arguments]
#
# Starts the emulator on a free port, runs the command with
# AGORA_CHAT_BASE_URL, AGORA_CHAT_APP_ID and AGORA_CHAT_TOKEN set for it, and
# stops the emulator again. The exit status is the command's.
set -eu

options=
for word in "$@"; do
  if [ "$word" = -- ]; then
    while [ "$1" != -- ]; do options="$options $1"; shift; done
    shift
    break
  fi
done

dir=$(mktemp -d)
# --parent: it ends with this script, even when this script is killed.
# shellcheck disable=SC2086
lua5.4 spec/emulator/main.lua --parent $$ $options \
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

AGORA_CHAT_BASE_URL=$(sed -n '1s/^listening on //p' "$dir/out")
AGORA_CHAT_CONTROL_URL=$(sed -n 's/^control on //p' "$dir/out")
AGORA_CHAT_APP_ID=970ca35de60c44645bbae8a215061b33
AGORA_CHAT_TOKEN=a-token-for-the-emulator
LUA_PATH="lua/?.lua;${LUA_PATH:-;}"
LUA_CPATH="${AGORA_CHAT_BUILD:-build}/lua5.4/?.so;${LUA_CPATH:-;}"
export AGORA_CHAT_BASE_URL AGORA_CHAT_CONTROL_URL AGORA_CHAT_APP_ID \
  AGORA_CHAT_TOKEN LUA_PATH LUA_CPATH

status=0
"$@" || status=$?
exit $status
