#!/bin/sh
# layers.sh [SRC]: stairs go up only. Reads the include lines of SRC (default
# src) and fails when a floor includes what it must not know.
# layers.sh --planted: proves that it would, with a wrong stair on each floor.
#
#   floor     of our own                                of others
#   base      base                                      libc; no sockets
#   chat      base but clock.h, chat                    cJSON, OpenSSL, zlib, C99
#                                                       without a clock
#   net       base, net, chat/call.h, chat/client.h     curl, libc
#   binding   base, chat, binding, net/runner.h         Lua, cJSON, libc
set -eu

stairs() {
  find "$1" -name '*.[ch]' | sort | while read -r file; do
    sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\([<"][^>"]*\)[>"].*/\1/p' \
      "$file" | sed "s|^|${file#"$1"/} |"
  done | awk '
    # a path below src, "../" and all, from the folder of the includer
    function below_src(file, name,   parts, n, i, out) {
      sub("[^/]*$", "", file)
      n = split(file name, parts, "/"); out = ""
      for (i = 1; i <= n; i++) {
        if (parts[i] == "..") { if (!sub("[^/]*/$", "", out)) return "?" name }
        else if (parts[i] != ".") out = out parts[i] (i < n ? "/" : "")
      }
      return out
    }
    function wrong(file, name, why) {
      printf "%s includes %s: %s\n", file, name, why; bad = 1
    }
    BEGIN {
      own["base"] = "^base/"
      own["chat"] = "^(base|chat)/"
      own["net"] = "^(base/|net/|chat/call\\.h$|chat/client\\.h$)"
      own["binding"] = "^(base/|chat/|binding/|net/runner\\.h$)"

      curl = "^curl/"
      lua = "^(lua|lauxlib\\.h$|lualib\\.h$|luajit\\.h$)"
      brains = "^(cjson/|cJSON\\.h$|openssl/|zlib\\.h$)"
      sockets = "^(sys/(socket|epoll|eventfd|select|un)\\.h|poll\\.h|netdb\\.h|(netinet|arpa|net)/)"
      deny["base"] = curl "|" lua "|" brains "|" sockets
      deny["net"] = lua "|" brains
      deny["binding"] = curl
      # The brain gets a list of what it may, not of what it may not.
      c99 = "^(assert|ctype|errno|float|inttypes|limits|math|stdarg|stdbool|stddef|stdint|stdio|stdlib|string|strings)\\.h$"
      allow["chat"] = brains "|" c99
    }
    {
      file = $1; kind = substr($2, 1, 1); name = substr($2, 2)
      floor = file; sub("/.*", "", floor)
      if (!(floor in own)) { wrong(file, name, "no floor has this name"); next }
      if (kind == "<") {
        if (floor in allow ? name !~ allow[floor] : name ~ deny[floor])
          wrong(file, "<" name ">", floor " knows nothing of it")
        next
      }
      path = name ~ /^(base|chat|net|binding)\// ? name : below_src(file, name)
      if (path !~ own[floor])
        wrong(file, "\"" name "\"", "not a stair of " floor)
      else if (floor == "chat" && path == "base/clock.h")
        wrong(file, "\"" name "\"", "time comes to the brain as now_ms")
    }
    END { exit bad }'
}

planted() {
  copy=$(mktemp -d)
  trap 'rm -rf "$copy"' EXIT
  stairs src >/dev/null || { echo "src itself has a wrong stair" >&2; exit 1; }
  while read -r room line; do
    rm -rf "$copy/src"
    cp -R src "$copy/src"
    mkdir -p "$copy/src/${room%/*}"
    echo "$line" >>"$copy/src/$room"
    if stairs "$copy/src" >/dev/null; then
      echo "layers: nobody minds '$line' in $room" >&2
      exit 1
    fi
  done <<PLANTED
base/error.c #include "chat/call.h"
base/list.h #include <curl/curl.h>
base/buffer.c #  include <cjson/cJSON.h>
chat/client.c #include "../net/engine.h"
chat/client.c #include "../base/clock.h"
chat/limiter.c #include <time.h>
chat/call.h #include <curl/curl.h>
chat/answer.c #include <lua.h>
chat/token.c #include <sys/socket.h>
net/engine.c #include "../chat/endpoint.h"
net/engine.c #include <lauxlib.h>
net/runner.h #include "../binding/push.h"
binding/client.c #include <curl/curl.h>
binding/client.c #include "../net/engine.h"
PLANTED
}

case ${1-} in
  --planted) planted ;;
  *) stairs "${1:-src}" ;;
esac
