#!/bin/sh
# examples.sh: every example against the emulator, each with one of its own.
# An example says in its first lines what it needs beyond Lua:
#   -- needs: luv        (a Lua module; without it the example is skipped)
#   -- needs: love!      (a program)
#   -- arguments: a b    (what it is run with)
set -u
passed=0 failed=0 skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs one in its own interpreter, in the surroundings of with_emulator.sh.
run() {
  case $1 in
    examples/love/*)
      # LÖVE brings LuaJIT, and a window that is not wanted here.
      env -u MAKEFLAGS make -s LUA=luajit all &&
      timeout 120 sh spec/support/with_emulator.sh env AGORA_CHAT_SECONDS=1 \
        AGORA_CHAT_HEADLESS=1 "LUA_CPATH=${AGORA_CHAT_BUILD:-build}/luajit/?.so;;" \
        love "${1%/main.lua}" ;;
    *)
      # shellcheck disable=SC2046
      timeout 120 sh spec/support/with_emulator.sh lua5.4 "$1" \
        $(sed -n '1,5s/^-- arguments: *//p' "$1") ;;
  esac
}

for example in examples/*.lua examples/love/main.lua; do
  missing=
  for need in $(sed -n '1,5s/^-- needs: *//p' "$example"); do
    case $need in
      *!) command -v "${need%!}" >/dev/null 2>&1 || missing=$need ;;
      *) lua5.4 -e "require '$need'" >/dev/null 2>&1 || missing=$need ;;
    esac
  done
  if [ -n "$missing" ]; then
    echo "skip  $example (no ${missing%!} here)"
    skipped=$((skipped + 1))
  elif run "$example" >"$log" 2>&1 </dev/null; then
    echo "ok    $example"
    passed=$((passed + 1))
  else
    echo "FAIL  $example"
    sed 's/^/      /' "$log"
    failed=$((failed + 1))
  fi
done
echo "examples: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
