# agora_chat: one word per habit. `make help` prints them.
#
# Nobody edits this file to configure it; say it on the command line:
#   LUA=lua5.1          another Lua (a pkg-config name; also its interpreter)
#   LUA_INCDIR=path     Lua's headers, where pkg-config knows none (skynet)
#   CC= CFLAGS= LDFLAGS= PREFIX= LIBDIR= LUADIR= DESTDIR=     as everywhere
#   SPEC=file           one spec file instead of all;  BUSTED_ARGS= more
#   V=1                 show the commands

LUA  ?= lua5.4
LUAS ?= lua5.4 lua5.1 luajit
B    ?= build

PKG_CONFIG ?= pkg-config
CFLAGS     ?= -O2 -g
INSTALL    ?= install

LUA_ABI ?= $(if $(filter luajit%,$(LUA)),5.1,$(LUA:lua%=%))
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib/lua/$(LUA_ABI)
LUADIR  ?= $(PREFIX)/share/lua/$(LUA_ABI)

WARN   ?= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
          -Wwrite-strings -Wundef -Wpointer-arith -Wvla -Wformat=2 -Wno-format-nonliteral \
          -Wold-style-definition
HARDEN ?= -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2

# ---------------------------------------------------------------- libraries
# once(NAME, command): asks when first needed, so that `make setup` and
# `make help` work where nothing is installed yet.
once = $(eval $(1) := $$(shell $(2)))$($(1))

LIBS_WANTED := libcurl libcjson libcrypto zlib
DEPS_CFLAGS  = $(call once,DEPS_CFLAGS,$(PKG_CONFIG) --cflags $(LIBS_WANTED))
DEPS_LIBS    = $(call once,DEPS_LIBS,$(PKG_CONFIG) --libs $(LIBS_WANTED))
LUA_CFLAGS   = $(if $(LUA_INCDIR),-isystem $(LUA_INCDIR),$(LUA_PC_CFLAGS))
LUA_PC_CFLAGS = $(call once,LUA_PC_CFLAGS,$(PKG_CONFIG) --cflags $(LUA) | sed 's/-I/-isystem /g')

ALL_CFLAGS  = -std=c99 -D_GNU_SOURCE -Isrc -fPIC -fvisibility=hidden \
              -pthread -MMD -MP $(WARN) $(WERROR) $(HARDEN) $(CPPFLAGS) \
              $(CFLAGS) $(SANITIZE)
# nodelete: a resolver thread of libcurl may outlive a client, and a Lua state
# that closes unloads its modules.
ALL_LDFLAGS = -shared -pthread -Wl,-z,relro,-z,now,-z,nodelete,-z,noexecstack \
              -Wl,--as-needed $(CFLAGS) $(SANITIZE) $(LDFLAGS)

# ------------------------------------------------------------------- module
CORE_SRC    := $(wildcard src/base/*.c src/chat/*.c src/net/*.c)
BINDING_SRC := $(wildcard src/binding/*.c)
CORE_OBJ    := $(CORE_SRC:src/%.c=$(B)/core/%.o)
BINDING_OBJ := $(BINDING_SRC:src/%.c=$(B)/$(LUA)/%.o)
MODULE      := $(B)/$(LUA)/agora_chat/core.so

Q := $(if $(V),,@)
SAY = $(if $(V),@:,@echo "  $(1)")

all: $(MODULE) ## build for LUA=lua5.4 into build/lua5.4/

$(MODULE): $(CORE_OBJ) $(BINDING_OBJ)
	$(call SAY,LINK $@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(DEPS_LIBS) -ldl

# Only the binding knows Lua: the other floors are built once for all Luas.
$(B)/core/%.o: src/%.c $(B)/core/flags
	$(call SAY,CC   $@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(DEPS_CFLAGS) -c -o $@ $<

$(B)/$(LUA)/binding/%.o: src/binding/%.c $(B)/$(LUA)/flags
	$(call SAY,CC   $@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(DEPS_CFLAGS) -c -o $@ $<

# Other flags are other objects: these files change when the flags do.
remember = printf '%s\n' '$(1)' | cmp -s - $@ || printf '%s\n' '$(1)' > $@

$(B)/core/flags: FORCE | libraries
	@mkdir -p $(@D)
	@$(call remember,$(CC) $(ALL_CFLAGS) $(DEPS_CFLAGS))

$(B)/$(LUA)/flags: FORCE | libraries
	@mkdir -p $(@D)
	@$(call remember,$(CC) $(ALL_CFLAGS) $(LUA_CFLAGS) $(DEPS_CFLAGS))

libraries:
	@$(PKG_CONFIG) --exists --print-errors $(LIBS_WANTED) || \
	  { echo "agora_chat: libraries are missing; see 'make setup'" >&2; exit 1; }
	@$(PKG_CONFIG) --atleast-version=7.87 libcurl || \
	  { echo "agora_chat needs libcurl 7.87 or newer, here is" \
	    "$$($(PKG_CONFIG) --modversion libcurl)" >&2; exit 1; }
	@$(if $(LUA_INCDIR),:,$(PKG_CONFIG) --exists --print-errors $(LUA) || \
	  { echo "agora_chat: pkg-config knows no '$(LUA)'; see 'make setup', or" \
	    "name another LUA= or LUA_INCDIR=" >&2; exit 1; })

-include $(CORE_OBJ:.o=.d) $(BINDING_OBJ:.o=.d)

# -------------------------------------------------------------------- specs
SUPPORT := spec/support
SUBMAKE := $(MAKE) --no-print-directory
# A path, not a name: busted is a Lua script, and each Lua runs it itself.
BUSTED  ?= $$(command -v busted)
SETUP    = @sh $(SUPPORT)/setup.sh

test: ## busted on LUAS="lua5.4 lua5.1 luajit"; set-up included
	$(SETUP) test
	@+$(SUBMAKE) specs

# Every Lua gets its turn, also after one has failed.
specs:
	@+failed=; for lua in $(LUAS); do \
	  $(SUBMAKE) LUA=$$lua specs-one || failed="$$failed $$lua"; \
	done; test -z "$$failed" || { echo "specs failed on$$failed"; exit 1; }

# Some specs need a place where the decimal point is a comma. Where there is no
# localedef, they find none and say so. (Not under a leak check: with LOCPATH
# glibc 2.36's newlocale leaks its own copy of that path.)
LOCALE := build/locale/de_DE.UTF-8
$(LOCALE):
	@mkdir -p $(@D)
	@localedef -i de_DE -f UTF-8 $(CURDIR)/$@ >/dev/null 2>&1 || mkdir -p $@

# What specs need of C: a fork, a look-up that hangs or a lock that is let go
# slowly when they are preloaded, and Lua states that close while the program
# goes on.
SPEC_HELP := $(B)/$(LUA)/forker.so $(B)/hanging_lookup.so $(B)/slow_unlock.so $(B)/$(LUA)/threads_host

$(B)/$(LUA)/forker.so: $(SUPPORT)/forker.c $(B)/$(LUA)/flags
	$(call SAY,HELP $@)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) $(LUA_CFLAGS) -shared -o $@ $<

# Without a sanitizer: they stand before one in the program.
$(B)/hanging_lookup.so $(B)/slow_unlock.so: $(B)/%.so: $(SUPPORT)/%.c
	$(call SAY,HELP $@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c99 -D_GNU_SOURCE -fPIC $(WARN) $(CFLAGS) -shared -o $@ $< -ldl

specs-one: $(MODULE) $(SPEC_HELP) $(LOCALE) $(B)/$(LUA)/skynet_host $(if $(IN_HOST),$(B)/$(LUA)/lua_host)
	@echo "== $(LUA)$(if $(SPECS_UNDER), $(SPECS_UNDER))"
	@env AGORA_CHAT_BUILD=$(B) \
	  $(if $(IN_HOST),,LOCPATH=$(CURDIR)/$(dir $(LOCALE))) $(RUN_ENV) $(RUN_UNDER) \
	  $(if $(IN_HOST),$(B)/$(LUA)/lua_host,$$(command -v $(LUA))) $(BUSTED) \
	  $(if $(GC),-e 'collectgarbage("setpause", 0)') $(BUSTED_ARGS) $(SPEC)

# setpause alone: a huge setstepmul hangs LuaJIT.
gc: ## specs while the collector never pauses
	$(SETUP) test
	@+$(SUBMAKE) specs GC=1 SPECS_UNDER="with the collector always on"

# ------------------------------------------------------------- sanitizers
# Specs run in an interpreter of our own, with the sanitizer in it
# (spec/support/lua_host.c). A spec that starts Lua again, with the module,
# starts arg[-1].
ASAN_LUAS ?= lua5.4 luajit

ASAN_MAKE = $(SUBMAKE) B=build/asan HARDEN= CFLAGS="-O1 -g" SANITIZE="-fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
ASAN_ENV  = ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99 \
            UBSAN_OPTIONS=print_stacktrace=1 \
            LSAN_OPTIONS=suppressions=$(CURDIR)/$(SUPPORT)/lsan.supp:print_suppressions=0

asan: ## specs under ASan, UBSan and LSan; also the out-of-memory host
	$(SETUP) test
	@+$(ASAN_MAKE) oom
	@+$(ASAN_MAKE) specs IN_HOST=1 LUAS="$(ASAN_LUAS)" SPECS_UNDER="under ASan, UBSan, LSan" \
	  RUN_ENV="$(ASAN_ENV)"

TSAN_MAKE = $(SUBMAKE) B=build/tsan HARDEN= CFLAGS="-O1 -g" SANITIZE=-fsanitize=thread
TSAN_ENV  = TSAN_OPTIONS=suppressions=$(CURDIR)/$(SUPPORT)/tsan.supp:exitcode=66:second_deadlock_stack=1

tsan: ## 8 Lua states in 8 threads, and the specs, under ThreadSanitizer
	$(SETUP) test
	@+$(TSAN_MAKE) threads
	@+$(TSAN_MAKE) specs IN_HOST=1 LUAS=lua5.4 SPECS_UNDER="under TSan" \
	  RUN_ENV="$(TSAN_ENV)"

VALGRIND = valgrind -q --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite --error-exitcode=98

valgrind: ## specs under valgrind
	$(SETUP) test valgrind
	@+$(SUBMAKE) specs IN_HOST=1 LUAS=lua5.4 SPECS_UNDER="under valgrind" \
	  RUN_UNDER="$(VALGRIND)"

# The other hosts are programs that embed Lua, as games and skynet do.
HOST_LUA  = $(call once,HOST_LUA,$(PKG_CONFIG) --libs $(LUA))
HOST_PATH = LUA_PATH='lua/?.lua;;' LUA_CPATH='$(B)/$(LUA)/?.so;;'

$(B)/$(LUA)/%_host: $(SUPPORT)/%_host.c $(B)/$(LUA)/flags
	$(call SAY,HOST $@)
	$(Q)$(CC) $(filter-out -fPIC -fvisibility=hidden -MMD -MP,$(ALL_CFLAGS)) \
	  $(LUA_CFLAGS) -o $@ $< $(HOST_LUA) $(HOST_EXPORTS)

# It has a skynet_send that the module finds.
$(B)/$(LUA)/skynet_host: HOST_EXPORTS = -rdynamic

oom: $(MODULE) $(B)/$(LUA)/oom_host
	@echo "== $(LUA), the n-th allocation fails, for every n"
	@env $(HOST_PATH) $(ASAN_ENV) $(B)/$(LUA)/oom_host $(SUPPORT)/oom_chunk.lua

threads: $(MODULE) $(B)/$(LUA)/threads_host
	@echo "== $(LUA), 8 states in 8 threads"
	@$(WITH_EMULATOR) --set auto_users=true --set auth=any -- \
	  env $(HOST_PATH) $(TSAN_ENV) $(B)/$(LUA)/threads_host $(SUPPORT)/threads_chunk.lua 8

# -------------------------------------------------------------------- nginx
# A real nginx: Debian's with ngx_lua, or the OpenResty tree that OPENRESTY=
# names. busted runs in Lua 5.4 and drives it; the module inside is LuaJIT's.
nginx-test: ## specs inside a real nginx, under load (OPENRESTY=tree for another)
	$(SETUP) test nginx
	@+$(SUBMAKE) LUA=luajit all $(B)/hanging_lookup.so
	@+$(SUBMAKE) LUA=lua5.4 all
	@env AGORA_CHAT_BUILD=$(B) lua5.4 $(BUSTED) --run nginx $(BUSTED_ARGS) $(SPEC)

nginx-bench: ## what waiting costs a worker of nginx (RESTY_HTTP=lua-resty-http's folder)
	$(SETUP) test nginx
	@+$(SUBMAKE) LUA=luajit all
	@lua5.4 bench/nginx/run.lua

# ------------------------------------------------------ emulator, examples
WITH_EMULATOR = sh $(SUPPORT)/with_emulator.sh

demo: ## the main job against the emulator; set-up included
	$(SETUP) build
	@+$(SUBMAKE) all
	@$(WITH_EMULATOR) lua5.4 examples/quickstart.lua

emulator: ## the emulator alone, until Ctrl-C (EMULATOR_ARGS="--port 8080")
	$(SETUP) build
	@exec lua5.4 spec/emulator/main.lua $(EMULATOR_ARGS)

examples: ## every example against the emulator
	$(SETUP) test
	@+$(SUBMAKE) all $(if $(SKYNET),skynet)
	@+$(SUBMAKE) LUA=luajit all
	@SKYNET='$(SKYNET)' sh $(SUPPORT)/examples.sh

# ------------------------------------------------------------------ benches
# Short, and each ends by itself; bench/README.md says what they print.
BENCHES    ?= poll frame calls batch token
BENCH_LUAS ?= lua5.4 luajit
BENCH_LUA   = LUA_PATH='lua/?.lua;./?.lua;;' LUA_CPATH='$(B)/$(LUA)/?.so;;' AGORA_CHAT_BUILD=$(B)

bench: ## what calls, frames and polls cost, beside others (BENCHES="calls")
	$(SETUP) test bench
	@+for lua in $(BENCH_LUAS); do $(SUBMAKE) LUA=$$lua bench-build || exit 1; done
	@+for name in $(BENCHES); do $(SUBMAKE) bench-$$name || exit 1; done

bench-build: $(MODULE) $(B)/$(LUA)/bench_clock.so $(B)/floor

# calls starts the other Luas itself.
bench-calls bench-frame: bench-build
	@env $(BENCH_LUA) $(LUA) bench/$(@:bench-%=%).lua $(BENCH_ARGS)

bench-poll bench-batch bench-token:
	@+for lua in $(BENCH_LUAS); do $(SUBMAKE) LUA=$$lua one-$(@:bench-%=%) || exit 1; done

one-%: bench-build
	@env $(BENCH_LUA) $(LUA) bench/$*.lua $(BENCH_ARGS)

$(B)/floor: bench/floor.c $(B)/core/flags
	$(call SAY,CC   $@)
	$(Q)$(CC) $(filter-out -fPIC -fvisibility=hidden -MMD -MP,$(ALL_CFLAGS)) $(DEPS_CFLAGS) \
	  -o $@ $< $(DEPS_LIBS)

$(B)/$(LUA)/bench_clock.so: bench/clock.c $(B)/$(LUA)/flags
	$(call SAY,CC   $@)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) $(LUA_CFLAGS) -shared -o $@ $<

.PHONY: bench bench-build bench-calls bench-frame bench-poll bench-batch bench-token

# --------------------------------------------------------------- long runs
load: ## long sweeps and 100,000 calls against the emulator, with bounds; minutes
	$(SETUP) test
	@+$(SUBMAKE) all
	@env LUA_PATH='lua/?.lua;?.lua;;' LUA_CPATH='$(B)/$(LUA)/?.so;;' $(LUA) spec/load/load.lua $(LOAD)

# CHAOS_SECONDS=60 CHAOS_SEED=1 and more: see spec/load/chaos.lua.
chaos: ## a minute of faults, cancels and closes at random, with every promise checked
	$(SETUP) test
	@+$(SUBMAKE) chaos-run

chaos-asan: ## the same under ASan, UBSan, LSan
	$(SETUP) test
	@+$(ASAN_MAKE) chaos-run IN_HOST=1 RUN_ENV="CHAOS_RSS_KIB=0 $(ASAN_ENV)"

chaos-tsan: ## the same under ThreadSanitizer, with I/O threads only
	$(SETUP) test
	@+$(TSAN_MAKE) chaos-run IN_HOST=1 RUN_ENV="CHAOS_KINDS=threaded CHAOS_RSS_KIB=0 $(TSAN_ENV)"

chaos-valgrind: ## the same under valgrind
	$(SETUP) test valgrind
	@+$(SUBMAKE) chaos-run IN_HOST=1 RUN_ENV="CHAOS_CALLS=50 CHAOS_LATE_MS=8000 CHAOS_RSS_KIB=0" RUN_UNDER="$(VALGRIND)"

chaos-run: $(MODULE) $(if $(IN_HOST),$(B)/$(LUA)/lua_host)
	@env LUA_PATH='lua/?.lua;?.lua;;' LUA_CPATH='$(B)/$(LUA)/?.so;;' $(RUN_ENV) $(RUN_UNDER) \
	  $(if $(IN_HOST),$(B)/$(LUA)/lua_host,$(LUA)) spec/load/chaos.lua

.PHONY: chaos chaos-asan chaos-tsan chaos-valgrind chaos-run

# ------------------------------------------------------------------- skynet
# skynet brings its own Lua. SKYNET= names a built tree; its headers are used,
# and its version of Lua (5.4, 5.5) gets a folder of its own.
SKYNET_LUA = $(call once,SKYNET_LUA,echo lua5.$$$$(($$$$(echo LUA_VERSION_NUM | \
  $(CC) -E -P -include $(SKYNET)/3rd/lua/lua.h - | tail -n 1) % 100)))

skynet: ## the module for skynet (SKYNET=tree), as build/skynet/agora_chat/core.so
	@test -x '$(SKYNET)/skynet' || \
	  { echo "SKYNET= must name a built skynet tree, such as ../skynet" >&2; exit 1; }
	@+$(SUBMAKE) all B=build/skynet LUA=$(SKYNET_LUA) LUA_INCDIR='$(SKYNET)/3rd/lua'
	@mkdir -p build/skynet/agora_chat
	@$(INSTALL) -m 755 build/skynet/$(SKYNET_LUA)/agora_chat/core.so build/skynet/agora_chat/core.so

# busted itself runs on LUA=; it starts skynet, which runs the services.
skynet-test: skynet ## the specs that run in a real skynet (SKYNET=tree)
	$(SETUP) test
	@+$(SUBMAKE) specs-one SPEC=spec/network/skynet_spec.lua \
	  RUN_ENV="SKYNET='$(abspath $(SKYNET))'"

skynet-bench: skynet $(MODULE) ## round trips and their price in skynet (SKYNET=tree)
	@env $(HOST_PATH) SKYNET='$(abspath $(SKYNET))' $(LUA) bench/skynet.lua

# ------------------------------------------------------- what is not a spec
check: ## luacheck, layers, warnings as errors, stubs, rockspec; no specs
	$(SETUP) test check
	@+$(SUBMAKE) LUA=lua5.4 all
	@sh $(SUPPORT)/check.sh

# In two steps: a generator that fails must not leave half a file.
meta: all ## rewrite lua/agora_chat/meta.lua from the endpoint table
	@env $(HOST_PATH) $(LUA) $(SUPPORT)/meta.lua > $(B)/meta.lua
	@cmp -s $(B)/meta.lua lua/agora_chat/meta.lua || \
	  cp $(B)/meta.lua lua/agora_chat/meta.lua

format: ## clang-format, changed lines only
	@git clang-format --extensions c,h || true

# ---------------------------------------------------------------- packaging
LUA_SRC := $(wildcard lua/*.lua lua/*/*.lua lua/*/*/*.lua)

install: all ## into PREFIX, or LIBDIR and LUADIR, below DESTDIR
	@$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/agora_chat'
	@$(INSTALL) -m 755 $(MODULE) '$(DESTDIR)$(LIBDIR)/agora_chat/core.so'
	@for file in $(LUA_SRC:lua/%=%); do \
	  $(INSTALL) -d '$(DESTDIR)$(LUADIR)'/$$(dirname $$file) && \
	  $(INSTALL) -m 644 lua/$$file '$(DESTDIR)$(LUADIR)'/$$file || exit 1; \
	done

rock: ## through LuaRocks, into build/rocks
	@env -u MAKEFLAGS luarocks --lua-version $(LUA_ABI) make --tree $(CURDIR)/$(B)/rocks agora_chat-scm-1.rockspec

setup: ## install what is missing (Debian, Ubuntu), or say what is
	$(SETUP) test check

clean: ## remove everything that was built
	@rm -rf build

help: ## this table
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	  while IFS='|' read -r word does; do printf '  make %-12s %s\n' "$$word" "$$does"; done

# `make -j2 test check`: one habit after the other, each as parallel as it is.
ifneq ($(filter clean test gc asan tsan valgrind demo examples load chaos chaos-asan chaos-tsan chaos-valgrind check meta rock bench nginx-test nginx-bench skynet-test skynet-bench,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

FORCE:
.PHONY: all libraries test specs specs-one gc asan tsan valgrind oom threads \
        demo emulator examples load skynet skynet-test skynet-bench check meta format install rock setup clean \
        nginx-test nginx-bench \
        help FORCE
.DELETE_ON_ERROR:
