#!/bin/sh
# try_gateway.sh: starts examples/openresty with the nginx that is here, asks
# it a few things, stops it. AGORA_CHAT_* are set (with_emulator.sh).
set -eu

dir=$(mktemp -d)
nginx=
stop() {
  [ -z "$nginx" ] || { kill "$nginx" 2>/dev/null || true; wait "$nginx" || true; }
  rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

port=$(lua5.4 -e 'local s = assert(require("socket").bind("127.0.0.1", 0))
  print((select(2, s:getsockname())))')
sed -e "s/127\.0\.0\.1:8080/127.0.0.1:$port/" ${OPENRESTY:+-e /^load_module/d} \
  examples/openresty/nginx.conf >"$dir/nginx.conf"

# Workers of root's nginx are nobody's otherwise, who may not read this folder.
as=
[ "$(id -u)" != 0 ] || as="user $(id -un) $(id -gn);"
program=${OPENRESTY:+$OPENRESTY/nginx/sbin/nginx}
PATH=$PATH:/usr/sbin
(unset LUA_PATH LUA_CPATH
 exec timeout 60 "${program:-nginx}" -p "$dir" -c "$dir/nginx.conf" -e stderr -g "$as") &
nginx=$!
lua5.4 spec/support/try_gateway.lua "$port"
