--- A client made before a fork is the parent's: the child cannot use it, and
--- whatever the child does leaves the parent's connections alone.
local agora_chat = require "agora_chat"
local emulator = require "spec.emulator.client"
local programs = require "spec.support.programs"
local socket = require "socket"
local worlds = require "spec.support.worlds"

local e

setup(function() e = emulator.start { tls = true } end)
teardown(function() e:stop() end)
before_each(function() e:reset() end)

--- Runs `check` in a forked child; fails here when it raised there.
local function in_child(check)
  assert.equal(0, programs.in_child(check))
end

--- What spec/support/fork_program.lua printed.
local function run_program(...)
  -- A child leaves behind what is the parent's: not to be called a leak.
  local options = (os.getenv "ASAN_OPTIONS" or "") .. ":detect_leaks=0"
  local said = programs.run_lua({ "spec/support/fork_program.lua", ... }, { ASAN_OPTIONS = options })
  return (said:gsub("%s+$", ""))
end

for _, threaded in ipairs { false, true } do
  local name = threaded and "threaded" or "inline"

  describe("a client of the parent's, " .. name, function()
    local client

    before_each(function()
      client = assert(agora_chat.new {
        base_url = e.tls_url, ca_file = e.ca_file, app_id = "an-app", credentials = { token = "t" },
        threaded = threaded, max_attempts = 1, rate_per_s = false,
      })
    end)
    after_each(function() client:close() end)

    it("says forked from every method but close", function()
      assert(client:offline_msg_count "alice")
      local call = assert(client:start("offline_msg_count", { "f.E03.300" }))
      client:poll(0)
      in_child(function()
        local methods = {
          offline_msg_count = { "alice" },
          offline_msg_status = { "alice", "1" },
          request = { { method = "GET", path = { "users" } } },
          start = { "offline_msg_count", { "alice" } },
          batch = { "offline_msg_count", { "alice" } },
          each = { "offline_msg_count", { "alice" } },
          may_wait = {}, tick = {}, collect = {}, poll = { 10 }, pending = {}, fd = {}, due_in_ms = {},
          set_token = { "another" }, stats = {},
        }
        for method, arguments in pairs(methods) do
          local value, err = client[method](client, arguments[1], arguments[2])
          assert(value == nil and err.kind == "forked", method)
          if type(arguments[1]) == "table" or arguments[1] == "alice" or method == "start" then
            assert(err.operation == (method == "start" and arguments[1] or method), method)
            assert(err.attempts == 0 and err.elapsed_ms == 0, method)
          end
        end
        local value, err = call:wait()
        assert(value == nil and err.kind == "forked" and err.operation == "offline_msg_count")
        call:cancel()
        client:close()
        assert(client.closed)
      end)
      assert.equal(7, call:wait().count)               -- also the call that was under way
      assert.equal(2, client:offline_msg_count("alice").count)
      assert.equal(1, client:stats().connections)
    end)

    it("runs no callback of the parent's in the child", function()
      local called = 0
      assert(client:start("offline_msg_count", { "alice" }, function() called = called + 1 end))
      while client:collect() == 0 do socket.sleep(0.005) end         -- it has ended, its callback is due
      in_child(function()
        for method, argument in pairs { tick = 1, poll = 0, due_in_ms = 0 } do
          local value, err = client[method](client, argument)
          assert(value == nil and err.kind == "forked", method)
        end
        assert(called == 0)
      end)
      assert.equal(1, client:tick())
      assert.equal(1, called)
    end)

    it("is usable in the child when the child makes its own", function()
      assert(client:offline_msg_count "alice")
      in_child(function()
        local own = assert(agora_chat.new {
          base_url = e.url, app_id = "an-app", credentials = { token = "t" },
        })
        assert(own:offline_msg_count("alice").count == 2)
        own:close()
      end)
      assert.equal(2, client:offline_msg_count("alice").count)
      assert.equal(1, client:stats().connections)
    end)

    for _, how in ipairs { "close", "end", "exit", "collect" } do
      it("keeps its connection when the child comes to its end by: " .. how, function()
        assert.equal("child 0, count 2, connections 1", run_program(e.tls_url, e.ca_file, name, how))
        local requests = e:log()
        assert.equal(2, #requests)                     -- none of them the child's
        assert.equal(requests[1].connection, requests[2].connection)
      end)
    end
  end)
end

worlds.each(function(world)
  if world.kind ~= "cqueues" and world.kind ~= "luv" then return end

  it("still hears of its calls when the child has closed the client: " .. world.name, function()
    local client = world.client { base_url = e.url }
    local res
    world.run(function()
      world.go(function() res = assert(client:offline_msg_count "f.E03.300") end)
      assert(client:offline_msg_count "alice")
      local from = socket.gettime()
      in_child(function() client:close() end)
      assert(socket.gettime() - from < 10)
    end)
    assert.equal(7, res.count)
    client:close()
    world.rest()
  end)
end)
