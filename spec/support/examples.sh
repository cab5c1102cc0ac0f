#!/bin/sh
# examples.sh: every example against the emulator, each with one of its own.
# An example says in its first lines what it needs beyond Lua:
#   -- needs: luv        (a Lua module; without it the example is skipped)
#   -- needs: love!      (a program)
#   -- arguments: a b    (what it is run with)
set -u
passed=0 failed=0 skipped=0
log=$(mktemp)
said=$(mktemp)
trap 'rm -f "$log" "$said"' EXIT

# run NAME COMMAND ...
run() {
  name=$1
  shift
  if timeout 120 sh spec/support/with_emulator.sh "$@" >"$log" 2>&1 </dev/null; then
    echo "ok    $name"
    passed=$((passed + 1))
  else
    echo "FAIL  $name"
    sed 's/^/      /' "$log"
    failed=$((failed + 1))
  fi
}

skip() {
  echo "skip  $1 (no $2 here)"
  skipped=$((skipped + 1))
}

for example in examples/*.lua; do
  missing=
  for need in $(sed -n '1,5s/^-- needs: *//p' "$example"); do
    case $need in
      *!) command -v "${need%!}" >/dev/null 2>&1 || missing=$need ;;
      *) lua5.4 -e "require '$need'" >/dev/null 2>&1 || missing=$need ;;
    esac
  done
  if [ -n "$missing" ]; then
    skip "$example" "${missing%!}"
  else
    # shellcheck disable=SC2046
    run "$example" lua5.4 "$example" $(sed -n '1,5s/^-- arguments: *//p' "$example")
  fi
done

# LÖVE brings LuaJIT, and a window that is not wanted here.
if command -v love >/dev/null 2>&1; then
  # shellcheck disable=SC2016
  run examples/love sh -c 'env -u MAKEFLAGS make -s LUA=luajit all &&
    LUA_CPATH="${AGORA_CHAT_BUILD:-build}/luajit/?.so;;" \
    AGORA_CHAT_SECONDS=1 AGORA_CHAT_HEADLESS=1 love examples/love'
else
  skip examples/love love
fi

# skynet has its own Lua; SKYNET= names its tree (make examples SKYNET=tree).
if [ -x "${SKYNET:-}/skynet" ]; then
  # shellcheck disable=SC2016
  run examples/skynet sh -c '"$SKYNET/skynet" examples/skynet/config | tee "$1" &&
    grep -q "^an error: .*is_error true" "$1"' - "$said"
else
  skip examples/skynet "SKYNET= that names a built tree"
fi

if [ -n "${OPENRESTY:-}" ] ||
    [ -e /usr/share/nginx/modules/ngx_http_lua_module.so ]; then
  run examples/openresty sh spec/support/try_gateway.sh
else
  skip examples/openresty "nginx with ngx_lua"
fi
echo "examples: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
