#!/bin/sh
# setup.sh [SET ...]: makes sure that the packages of these sets are there.
#
#   build      what compiles the module and runs the emulator
#   test       build, and what the specs need on every Lua
#   check      what `make check` needs besides
#   valgrind   what its name says
#   bench      what `make bench` compares with
#   nginx      what `make nginx-test` and `make nginx-bench` need
#
# Silent when nothing is missing, and then no network is asked. As root on
# Debian or Ubuntu the missing ones are installed; otherwise the one line that
# installs them is printed, and the exit status is 1.
#
# a|b: either will do, and `a` is what gets installed. Debian's luajit and
# luajit2 exclude each other; whoever has one keeps it.
set -eu

build='gcc libc6-dev make pkg-config ca-certificates openssl
  libcurl4-openssl-dev libcjson-dev libssl-dev zlib1g-dev
  lua5.4 liblua5.4-dev lua-cqueues lua-luaossl'
test="$build"' lua5.1 liblua5.1-0-dev luajit2|luajit
  libluajit2-5.1-dev|libluajit-5.1-dev
  lua-busted lua-luv lua-socket lua-cjson locales'
check='lua-check luarocks clang lua5.3 liblua5.3-dev binutils'
valgrind='valgrind'
bench='nginx lua-http lua-socket lua-cjson openssl'
nginx='nginx libnginx-mod-http-lua lua-resty-core lua-cjson wrk curl'

wanted=
for set in "${@:-build}"; do
  case $set in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    check) wanted="$wanted $check" ;;
    valgrind) wanted="$wanted $valgrind" ;;
    nginx) wanted="$wanted $nginx" ;;
    bench) wanted="$wanted $bench" ;;
    *) echo "setup: no set '$set'" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
  # Not Debian: nothing to install with, but tell what the build will miss.
  missing=
  for command in cc make pkg-config lua5.4 busted; do
    command -v $command >/dev/null 2>&1 || missing="$missing $command"
  done
  [ -z "$missing" ] && exit 0
  echo "agora_chat: not found:$missing. This is no Debian or Ubuntu; please" \
    "install them, and libcurl (7.87 or newer), cJSON, OpenSSL and zlib with" \
    "their headers, by hand." >&2
  exit 1
fi

# One question for all packages: this runs before every `make test`.
# shellcheck disable=SC2046,SC2086
installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' \
  $(echo $wanted | tr '|' ' ') 2>/dev/null |
  sed -n 's/^installed //p' | tr '\n' ' ')"

missing=
for package in $wanted; do
  found=
  rest="$package|"
  while [ -n "$rest" ]; do
    case "$installed" in *" ${rest%%|*} "*) found=yes ;; esac
    rest=${rest#*|}
  done
  [ -n "$found" ] || case " $missing " in
    *" ${package%%|*} "*) ;;
    *) missing="$missing ${package%%|*}" ;;
  esac
done

# The headers have to be those of the LuaJIT that is there.
case "$installed" in
  *" luajit "*)
    missing=$(echo "$missing" | sed 's/libluajit2-5.1-dev/libluajit-5.1-dev/') ;;
esac

[ -z "${missing# }" ] && exit 0
missing=${missing# }

install='apt-get install -y --no-install-recommends --no-remove'
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "agora_chat: packages are missing; this installs them:" >&2
  echo "sudo $install $missing" >&2
  exit 1
fi

echo "agora_chat: installing $missing"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists may be there already, and fresh; ask for them only after a
# first try has failed.
# shellcheck disable=SC2086
$install $missing >"$log" 2>&1 </dev/null || {
  apt-get update >"$log" 2>&1 </dev/null &&
  $install $missing >"$log" 2>&1 </dev/null
} || {
  cat "$log" >&2
  echo "agora_chat: could not install: $missing" >&2
  echo "(nothing is ever removed to make room; if a package above excludes" \
    "another, decide which to keep)" >&2
  exit 1
}
