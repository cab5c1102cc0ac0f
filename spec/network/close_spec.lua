--- The end is prompt, whatever is in flight: a name that is looked up and never
--- found, a hundred calls that nobody answers.
---
--- Each in a program of its own (spec/support/close_program.lua), because
--- a hanging look-up is made by preloading a library.
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"
local socket = require "socket"
local unpack = table.unpack or unpack

local BUILD = os.getenv "AGORA_CHAT_BUILD" or "build"
local HANGING = BUILD .. "/hanging_lookup.so"
local LIMIT_MS = 100

local e

setup(function() e = emulator.start() end)
teardown(function() e:stop() end)

--- What the program printed: callbacks, ms, what the last callback got.
local function run_once(words, preload)
  local began = os.tmpname()
  os.remove(began)
  -- (TSan sleeps a second at every exit, for threads that are still to be caught.)
  local environment = { TSAN_OPTIONS = (os.getenv "TSAN_OPTIONS" or "") .. ":atexit_sleep_ms=0" }
  if preload then
    words[#words + 1] = began
    -- (ASan wants to stand first; this library brings nothing of its kind.)
    environment.ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0"
    environment.HANGING_LOOKUP_BEGAN, environment.LD_PRELOAD = began, preload
  end
  local text = programs.run_lua({ "spec/support/close_program.lua", unpack(words) }, environment)
  local ended = socket.gettime()
  local hung = os.remove(began)
  if preload then assert(hung, "no look-up hung: " .. text) end
  local called, at = text:match "^(%d+) called, at (%S+)\n$"
  if called then return tonumber(called), 1000 * (ended - tonumber(at)), "none" end
  local ms, last
  called, ms, last = text:match "^(%d+) called, took (%S+) ms, (%S+)\n$"
  assert(called, text)
  return tonumber(called), tonumber(ms), last
end

--- Takes its time on a busy machine: the best of a few tries counts.
local function run(words, preload)
  local called, ms, last
  for _ = 1, 4 do
    called, ms, last = run_once({ unpack(words) }, preload)
    if ms < LIMIT_MS then break end
  end
  return called, ms, last
end

for _, kind in ipairs { "inline", "threaded" } do
  describe("a client with a look-up that hangs, " .. kind, function()
    for _, how in ipairs { "close", "collect", "end" } do
      it("ends promptly by: " .. how, function()
        local called, ms, last = run({ "http://hang.example:1", kind, how, "1" }, HANGING)
        assert.is_true(ms < LIMIT_MS, ms .. " ms")
        assert.equal(how == "close" and 1 or 0, called)
        assert.equal(how == "close" and "closed/nil" or "none", last)
      end)
    end

    it("keeps to its deadline", function()
      local called, ms, last = run_once({ "http://hang.example:1", kind, "deadline", "1" }, HANGING)
      assert.same({ 1, "timeout/dns" }, { called, last })
      assert.is_true(ms < 5000, ms .. " ms")               -- the look-up takes 10 s
    end)
  end)

  describe("a client with 100 calls in flight, " .. kind, function()
    for _, how in ipairs { "close", "collect", "end" } do
      it("ends promptly by: " .. how, function()
        local called, ms, last = run { e.url, kind, how, "100" }
        assert.is_true(ms < LIMIT_MS, ms .. " ms")
        assert.equal(how == "close" and 100 or 0, called)  -- a finalizer answers nobody
        assert.equal(how == "close" and "closed/nil" or "none", last)
      end)
    end
  end)
end

describe("a client that is closed while its last call ends", function()
  -- The I/O thread finds the stop by itself then, before it is woken, and is gone when it would be
  -- (spec/support/slow_unlock.c makes it so).
  it("wakes no thread that is gone", function()
    local file = os.tmpname()
    os.remove(file)
    local text = programs.run_lua({ "spec/support/close_program.lua", e.url, "threaded", "crossed", "1", file }, {
      ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0",
      TSAN_OPTIONS = (os.getenv "TSAN_OPTIONS" or "") .. ":atexit_sleep_ms=0",
      SLOW_UNLOCK_WHILE = file, LD_PRELOAD = BUILD .. "/slow_unlock.so",
    })
    os.remove(file)
    assert.matches("^1 called, took [%d.]+ ms, %a+/%a+\n$", text)
  end)
end)

describe("a Lua state that is closed while a look-up hangs", function()
  -- The module and libcurl must stay: the look-up's thread returns into them. (TSan sees races between
  -- threads that load and unload modules: it does not know the loader's lock. Here only a crash counts.)
  for _, kind in ipairs { "inline", "threaded" } do
    it("leaves nothing behind that could crash later, " .. kind, function()
      local lua = jit and "luajit" or _VERSION:lower():gsub(" ", "")
      local began = os.tmpname()
      os.remove(began)
      local text = programs.run(("env LUA_PATH='%s' LUA_CPATH='%s' HANGING_LOOKUP_BEGAN='%s' HANGING_LOOKUP_MS=400"
        .. " CLIENT_KIND=%s LD_PRELOAD='%s' TSAN_OPTIONS=report_bugs=0 ASAN_OPTIONS='%s'"
        .. " %s/%s/threads_host spec/support/unload_chunk.lua 2; echo status $?"):format(package.path, package.cpath, began, kind, HANGING,
          (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0", BUILD, lua))
      assert(os.remove(began), "no look-up hung: " .. text)
      assert.equal("ok    2 Lua states in 2 threads\nstatus 0\n", text)
    end)
  end
end)
