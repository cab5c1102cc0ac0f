rockspec_format = "3.0"
package = "agora_chat"
version = "scm-1"
source = {
  url = "git+file://.",        -- `luarocks make` in a clone does not look here
}
description = {
  summary = "Offline message data of the Agora Chat REST API, on a C core",
  detailed = [[
agora_chat 0.1.0: how many messages wait for a user who is offline, and whether
one message was delivered. A C core (libcurl, cJSON) behind a thin Lua layer
that waits the way your program waits.

Needs the headers of libcurl 7.87 or newer, cJSON, OpenSSL and zlib, and
pkg-config to find them. On Debian: libcurl4-openssl-dev libcjson-dev
libssl-dev zlib1g-dev pkg-config.]],
  license = "MIT",
  labels = { "agora", "chat", "rest", "curl" },
}
supported_platforms = { "linux" }
dependencies = { "lua >= 5.1, < 5.5" }
build = {
  -- The same Makefile as everybody's: pkg-config finds libcurl in Debian's
  -- multiarch folders, and the list of sources stands in one place.
  type = "make",
  variables = {
    LUA = "rock",              -- only the name of the folder below build/
    LUA_INCDIR = "$(LUA_INCDIR)",
    CFLAGS = "$(CFLAGS)",
    LIBDIR = "$(LIBDIR)",
    LUADIR = "$(LUADIR)",
  },
}
test = { type = "busted" }
