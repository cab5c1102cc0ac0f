#!/bin/sh
# check.sh: everything that is not a spec, one line each: "ok NAME" or
# "FAIL NAME" and what was said. `make check` has built the module before.
set -u

unset MAKEFLAGS MFLAGS MAKELEVEL        # of the make that started this
log=$(mktemp)
scratch=$(mktemp -d)
trap 'rm -rf "$log" "$scratch"' EXIT
passed=0 failed=0

step() {
  name=$1
  shift
  if "$@" >"$log" 2>&1; then
    echo "ok    $name"
    passed=$((passed + 1))
  else
    echo "FAIL  $name"
    sed 's/^/      /' "$log"
    failed=$((failed + 1))
  fi
}

quiet_luacheck() {
  # shellcheck disable=SC2046
  luacheck -q .busted $(git ls-files '*.lua' 2>/dev/null ||
    find lua spec examples bench -name '*.lua')
}

layers() { sh spec/support/layers.sh; }
layers_planted() { sh spec/support/layers.sh --planted; }

# warnings COMPILER LUA
warnings() {
  command -v "$1" && make --no-print-directory -s B="build/check/$1" CC="$1" \
    LUA="$2" WERROR=-Werror
}

# The module loads, says its version and exports one name. Loading also finds
# functions that are declared and nowhere defined (-z now).
loads() {
  LUA_PATH='lua/?.lua;;' LUA_CPATH="build/check/gcc/$1/?.so;;" "$1" -e '
    local core = require "agora_chat.core"
    local front = require "agora_chat"
    assert(core.version == front.version and front.version == "'"$version"'")'
}

one_symbol() {
  nm -D --defined-only build/check/gcc/"$1"/agora_chat/core.so |
    awk '{ print } $3 != "luaopen_agora_chat_core" { bad = 1 }
         END { exit bad || NR != 1 }'
}

stubs() {
  LUA_PATH='lua/?.lua;;' LUA_CPATH='build/lua5.4/?.so;;' \
    lua5.4 spec/support/meta.lua >"$scratch/meta.lua" &&
  diff -u lua/agora_chat/meta.lua "$scratch/meta.lua" ||
    { echo "run 'make meta' and commit what it writes"; return 1; }
}

versions() {
  echo "src/base/version.h says $version"
  grep -n "^## .*$version" CHANGELOG.md &&
  grep -n "^agora_chat $version:" agora_chat-scm-1.rockspec
}

rockspec() { luarocks --lua-version 5.4 lint agora_chat-scm-1.rockspec; }

# As `luarocks make` does it: into a tree of its own, then used from there.
rock() {
  luarocks --lua-version 5.4 make --tree "$scratch/tree" \
    agora_chat-scm-1.rockspec &&
  cd "$scratch" &&
  LUA_PATH="$scratch/tree/share/lua/5.4/?.lua;;" \
  LUA_CPATH="$scratch/tree/lib/lua/5.4/?.so;;" lua5.4 -e '
    local agora_chat = require "agora_chat"
    local client = assert(agora_chat.new { base_url = "http://127.0.0.1:1",
      app_id = ("a"):rep(32), credentials = { token = "t" } })
    local res, err = client:offline_msg_count("alice")
    assert(res == nil and err.kind == "network", tostring(err))
    assert(package.searchpath("agora_chat.meta", package.path))
    client:close()' || return 1
}
rock_aside() { (rock); }

# Nothing left for later in silence, no path of one machine.
words() {
  # Fixtures quote the service, whose documents write X[X]X for a host.
  ! grep -rnE 'T[O]DO|F[I]XME|X[X]X|not implement[e]d|/home/[a-z]|/root/[a-z]' \
    --exclude-dir=fixtures src lua spec examples bench .ci Makefile ./*.md
}

version=$(sed -n 's/^#define AC_VERSION "\(.*\)"/\1/p' src/base/version.h)
check_luas='lua5.4 lua5.3 lua5.1 luajit'

step luacheck quiet_luacheck
step "layers" layers
step "layers notice a planted include on each floor" layers_planted
for compiler in gcc clang; do
  for lua in $check_luas; do
    step "no warning: $compiler, $lua" warnings $compiler $lua
  done
done
for lua in $check_luas; do
  step "loads: $lua" loads $lua
  step "one exported symbol: $lua" one_symbol $lua
done
step "stubs are what the code says" stubs
step "one version" versions
step "rockspec lint" rockspec
step "luarocks make, and the module answers" rock_aside
step "no words that should not be there" words

echo "check: $passed passed, $failed failed"
[ $failed = 0 ]
