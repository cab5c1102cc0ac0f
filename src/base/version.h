/* version.h - the version, written once. Lua's agora_chat.version and the
 * User-Agent read it; `make check` compares the other places with it. */
#ifndef AC_VERSION_H
#define AC_VERSION_H

#define AC_VERSION "0.1.0"

#endif
