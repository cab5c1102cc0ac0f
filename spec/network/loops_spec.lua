--- One contract for every world: the same program, whichever way it waits.
local emulator = require "spec.emulator.client"
local worlds = require "spec.support.worlds"

local is_puc_51 = worlds.is_puc_51
local e

setup(function() e = emulator.start() end)
teardown(function() e:stop() end)
before_each(function() e:reset() end)

--- Counts calls of the function that it returns, by key.
local function counter()
  local counts = {}
  return counts, function(key) counts[key] = (counts[key] or 0) + 1 end
end

local function collect_garbage()
  for _ = 1, 4 do collectgarbage() end
end

worlds.each(function(world)
  describe(world.name, function()
    local clients

    before_each(function() clients = {} end)
    after_each(function()
      for _, client in ipairs(clients) do client:close() end
      world.rest()
    end)

    local function new(options)
      options = options or {}
      options.base_url = options.base_url or e.url
      local client = world.client(options)
      clients[#clients + 1] = client
      return client
    end

    --- May a call wait in a callback, and inside a pcall?
    local waits_below_c = not (is_puc_51 and world.side_by_side)

    it("gives results and errors", function()
      local client = new()
      local ended
      world.run(function()
        local res = assert(client:offline_msg_count "alice")
        assert.equal(2, res.count)
        local status = assert(client:offline_msg_status("alice", "1029457500870543736"))
        assert.is_boolean(status.delivered)
        local none, err = client:offline_msg_count "nobody-of-that-name"
        assert.is_nil(none)
        assert.same({ "not_found", "user", 404 }, { err.kind, err.code, err.http_status })
        none, err = client:offline_msg_count "a/b"
        assert.is_nil(none)
        assert.equal("argument", err.kind)
        ended = true
      end)
      assert.is_true(ended)
      assert.equal(0, client:pending())
    end)

    it("serves 50 calls side by side, slow ones among them", function()
      e:set { auto_users = true }
      local client = new { max_in_flight = 50 }
      local answers, waiting = {}, {}
      local function name_of(i) return i % 10 == 0 and "f.E03.400" or "u" .. i end
      world.run(function()
        for i = 1, 50 do
          if world.side_by_side then
            world.go(function() answers[i] = assert(client:offline_msg_count(name_of(i))) end)
          else
            waiting[i] = assert(client:start("offline_msg_count", { name_of(i) }))
          end
        end
        for i, call in pairs(waiting) do answers[i] = assert(call:wait()) end
      end)
      for i = 1, 50 do assert.equal(i % 10 == 0 and 7 or i, answers[i].count) end

      -- Nobody stood behind a slow one: every quick answer was given before the first slow one.
      local first_slow, last_quick = math.huge, 0
      local log = e:log()
      assert.equal(50, #log)
      for _, entry in ipairs(log) do
        if entry.path:find("/users/f.", 1, true) then
          first_slow = math.min(first_slow, entry.done_ms)
        else
          last_quick = math.max(last_quick, entry.done_ms)
        end
      end
      assert.is_true(last_quick < first_slow)
    end)

    it("calls back once, with what was given to start", function()
      local client = new()
      local counts, count = counter()
      world.run(function()
        for _, name in ipairs { "alice", "bob", "nobody-of-that-name" } do
          assert(client:start("offline_msg_count", { name }, function(res, err, data)
            count(data .. " " .. (res and res.count or err.kind))
          end, { data = name }))
        end
        assert.same({}, counts)
      end)
      assert.same({ ["alice 2"] = 1, ["bob 0"] = 1, ["nobody-of-that-name not_found"] = 1 }, counts)
    end)

    it("lets a callback start calls", function()
      local client = new()
      local seen = {}
      world.run(function()
        client:start("offline_msg_count", { "alice" }, function(res)
          seen[#seen + 1] = res.count
          client:start("offline_msg_count", { "bob" }, function(again)
            seen[#seen + 1] = again.count
          end)
        end)
      end)
      assert.same({ 2, 0 }, seen)
    end)

    it("lets a callback close the client", function()
      local client = new()
      local kinds, count = counter()
      world.run(function()
        for _ = 1, 5 do
          client:start("offline_msg_count", { "alice" }, function(res, err)
            count(res and "ok" or err.kind)
            client:close()
          end)
        end
      end)
      assert.is_true(client.closed)
      assert.equal(5, (kinds.ok or 0) + (kinds.closed or 0))
      assert.is_true(kinds.ok >= 1)
    end)

    it("hands what a callback raises to on_error, and serves the others", function()
      local raised = {}
      local client = new { on_error = function(value, traceback)
        raised[#raised + 1] = tostring(value)
        assert(type(traceback) == "string")
      end }
      local served = 0
      world.run(function()
        for i = 1, 6 do
          client:start("offline_msg_count", { "alice" }, function()
            if i % 2 == 0 then error("callback " .. i, 0) end
            served = served + 1
          end)
        end
      end)
      table.sort(raised)
      assert.same({ "callback 2", "callback 4", "callback 6" }, raised)
      assert.equal(3, served)
    end)

    it("survives an on_error that raises", function()
      local client = new { on_error = function() error("and this too", 0) end }
      local served = 0
      local stderr = io.stderr
      rawset(io, "stderr", { write = function() return true end })      -- where the report goes then
      local ok, why = pcall(world.run, function()
        client:start("offline_msg_count", { "alice" }, function() error("raised", 0) end)
        client:start("offline_msg_count", { "bob" }, function() served = served + 1 end)
      end)
      rawset(io, "stderr", stderr)
      assert(ok, why)
      assert.equal(1, served)
    end)

    it("lets a callback wait", function()
      local client = new()
      local first, second, err
      world.run(function()
        client:start("offline_msg_count", { "alice" }, function(res)
          first = res
          second, err = client:offline_msg_count "bob"
        end)
        client:start("offline_msg_count", { "alice" }, function() end)      -- not behind it
      end)
      assert.equal(2, first.count)
      if waits_below_c then
        assert.equal(0, second.count)
      else
        assert.is_nil(second)
        assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
      end
    end)

    it("waits inside a pcall, or says that it cannot", function()
      local client = new()
      world.run(function()
        local ok, res, err = pcall(client.offline_msg_count, client, "alice")
        assert.is_true(ok)
        if waits_below_c then
          assert.equal(2, res.count)
        else
          assert.is_nil(res)
          assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
          assert.equal(0, client:stats().accepted)
        end
      end)
    end)

    it("does not wait below a C function that cannot", function()
      local client = new()
      local res, err
      world.run(function()
        string.gsub("x", "x", function() res, err = client:offline_msg_count "alice" end)
      end)
      if world.side_by_side then
        assert.is_nil(res)
        assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
        assert.equal(0, client:stats().accepted)
      else
        assert.equal(2, res.count)
      end
    end)

    it("wakes who waits for a call that is cancelled", function()
      local client = new()
      local call, res, err
      world.run(function()
        call = assert(client:start("offline_msg_count", { "f.E05.1" }))
        local function wait() res, err = call:wait() end
        if world.side_by_side then
          world.go(wait)
          assert(client:offline_msg_count "alice")          -- it waits by now
          assert.is_nil(err)
          call:cancel()
        else
          call:cancel()
          wait()
        end
      end)
      assert.is_nil(res)
      assert.equal("cancelled", err.kind)
      assert.equal(1, client:stats().cancelled)
    end)

    it("ends every outstanding call once as closed", function()
      local client = new { max_in_flight = 4 }
      local ends, count = counter()
      world.run(function()
        for _ = 1, 6 do
          assert(client:start("offline_msg_count", { "f.E05.1" }, function(_, err) count("callback " .. err.kind) end))
        end
        if world.side_by_side then
          for _ = 1, 6 do
            world.go(function()
              local _, err = client:offline_msg_count "f.E05.1"
              count("waiter " .. err.kind)
            end)
          end
          -- Let tasks begin that a controller begins later.
          new():offline_msg_count "alice"
        end
        client:close()
        client:close()
      end)
      assert.same({ ["callback closed"] = 6, ["waiter closed"] = world.side_by_side and 6 or nil }, ends)
      local _, err = client:offline_msg_count "alice"
      assert.equal("closed", err.kind)
    end)

    it("lets one wait for a call, and refuses the second", function()
      if not world.side_by_side then
        -- One waits at a time here; who asks again gets the same.
        local client = new()
        local call = assert(client:start("offline_msg_count", { "alice" }))
        assert.equal(call:wait(), call:wait())
        return
      end
      local client = new()
      local first, second, err
      world.run(function()
        local call = assert(client:start("offline_msg_count", { "f.E03.100" }))
        world.go(function() first = call:wait() end)
        assert(client:offline_msg_count "alice")
        second, err = call:wait()
      end)
      assert.equal(7, first.count)
      assert.is_nil(second)
      assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
    end)

    it("is not fooled by somebody else who resumes the coroutine", function()
      local client = new()
      if not world.side_by_side then
        -- The same mischief where nobody yields: the clock of another call.
        local call = assert(client:start("offline_msg_count", { "f.E03.100" }))
        assert(client:offline_msg_count "alice")
        assert.equal(7, call:wait().count)
        return
      end
      local co, res
      local resumed = 0
      world.run(function()
        world.go(function()
          co = coroutine.running()
          res = assert(client:offline_msg_count "f.E03.100")
        end)
        assert(client:offline_msg_count "alice")
        for _ = 1, 3 do
          if coroutine.status(co) == "suspended" then
            resumed = resumed + 1
            assert(coroutine.resume(co, "not an answer"))
            assert.is_nil(res)
          end
        end
      end)
      assert.equal(3, resumed)
      assert.equal(7, res.count)
    end)

    it("answers a waiting coroutine that nobody else holds", function()
      local client = new()
      local res
      world.run(function()
        world.go(function() res = assert(client:offline_msg_count "f.E03.100") end)
        collect_garbage()
        assert(client:offline_msg_count "alice")
        collect_garbage()
      end)
      assert.equal(7, res.count)
    end)

    it("lets client and coroutine be collected with a call under way, and answers nobody", function()
      local woken = false
      local seen = setmetatable({}, { __mode = "k" })
      local function abandon()
        local client = world.client { base_url = e.url }
        seen[client] = true
        if world.side_by_side then
          world.go(function()
            seen[coroutine.running()] = true
            client:offline_msg_count "f.E03.300"
            woken = true
          end)
        else
          client:start("offline_msg_count", { "f.E03.300" }, function() woken = true end)
        end
      end
      abandon()
      world.forget()
      collect_garbage()
      if world.kind == "luv" then
        -- libuv holds what it watches: as long as a call is outstanding.
        assert.is_not_nil(next(seen))
        world.rest()
        assert.is_true(woken)
        collect_garbage()
      else
        assert.is_false(woken)
      end
      assert.is_nil(next(seen))
      -- And the next one is none the worse for it.
      local client = new()
      world.run(function() assert.equal(2, client:offline_msg_count("alice").count) end)
    end)

    it("sweeps with each and batch", function()
      e:set { auto_users = true }
      local client = new()
      local names = {}
      for i = 1, 40 do names[i] = "u" .. i end
      world.run(function()
        local results, failed, failures = client:batch("offline_msg_count", names, { window = 7 })
        assert.equal(0, failures)
        assert.same({}, failed)
        for i = 1, 40 do assert.equal(i, results[i].count) end

        local sum = 0
        if waits_below_c then
          for name, res in client:each("offline_msg_count", names, { window = 7 }) do
            assert.equal(name, res.username)
            sum = sum + res.count
          end
        else
          -- Lua 5.1 cannot yield in a `for`: it says so, and how to write it.
          -- (In a coroutine, not a pcall: there the call of `each` itself is refused.)
          local ok, why = coroutine.resume(coroutine.create(function()
            for name in client:each("offline_msg_count", names) do error("gave " .. name) end
          end))
          assert.is_false(ok)
          assert.truthy(why:find("while item ~= nil do", 1, true))
          local step = client:each("offline_msg_count", names, { window = 7 })
          local name, res = step()
          while name ~= nil do
            sum = sum + res.count
            name, res = step()
          end
        end
        assert.equal(820, sum)
      end)
    end)

    it("fails at the deadline when the service is silent", function()
      e:silent(60000)
      local client = new()
      local waited, called
      world.run(function()
        client:start("offline_msg_count", { "bob" }, function(_, err) called = err end, { timeout_ms = 150 })
        local _
        _, waited = client:offline_msg_count("alice", { timeout_ms = 200 })
      end)
      assert.same({ "timeout", "timeout" }, { waited.kind, called.kind })
      assert.is_true(waited.elapsed_ms >= 200 and waited.elapsed_ms < 10000)
    end)

    it("hears of a deadline that is sooner than the one it sleeps for", function()
      local client = new()
      world.run(function()
        assert(client:offline_msg_count "alice")            -- connected: no timers of that any more
        local long = client:start("offline_msg_count", { "f.E03.400" })
        if world.side_by_side then world.go(function() long:wait() end) end
        assert(new():offline_msg_count "alice")             -- the loop sleeps now, for the long one
        local _, err = client:offline_msg_count("f.E05.1", { timeout_ms = 100 })
        assert.equal("timeout", err.kind)
        assert.is_nil(long.done)
      end)
    end)

    it("retries after a pause, with nothing to hear from a socket", function()
      local client = new { max_attempts = 3, backoff_ms = 20 }
      e:script("alice", { { status = 503 }, { status = 503 } })
      world.run(function() assert.equal(2, client:offline_msg_count("alice").count) end)
      assert.equal(2, client:stats().retries)
    end)

    it("asks a function for the token, which may wait", function()
      local other = new()
      local waited, client
      client = new { credentials = function()
        local res, err = other:offline_msg_count "alice"
        waited = res and res.count or err.code
        return "a-token", 3600
      end }
      world.run(function() assert.equal(2, client:offline_msg_count("alice").count) end)
      assert.equal(waits_below_c and 2 or "cannot_wait", waited)
    end)

    it("comes to rest while an idle client is open", function()
      local client = new()
      world.run(function() assert(client:offline_msg_count "alice") end)      -- run returns
      assert.is_false(client.closed)
      assert.equal(0, client:pending())
      assert.equal(0, client:poll(60000))                                     -- at once
      world.run(function() assert(client:offline_msg_count "bob") end)        -- and goes on
      assert.equal(1, client:stats().connections)
    end)

    it("has nothing to run when a client has never been used", function()
      new()
      world.run(function() end)
    end)

    it("serves 100 clients in a row on the same descriptors", function()
      local numbers, different = {}, 0
      world.run(function()
        for i = 1, 100 do
          local client = world.client { base_url = e.url }
          local fd = client:fd()
          if not numbers[fd] then
            numbers[fd] = true
            different = different + 1
          end
          assert.equal(2, client:offline_msg_count("alice").count)
          if i % 2 == 0 then client:start("offline_msg_count", { "f.E05.1" }) end
          client:close()
        end
      end)
      assert.is_true(different < 50)
    end)

    it("serves after clients that were forgotten on the same descriptors", function()
      world.run(function()
        for i = 1, 30 do
          assert.equal(2, world.client({ base_url = e.url }):offline_msg_count("alice").count)
          if i % 5 == 0 then collect_garbage() end
        end
      end)
    end)

    it("waits on the main coroutine, or says why not", function()
      local client = new()
      local res, err = client:offline_msg_count "alice"
      if world.kind == "tick" then
        assert.is_nil(res)
        assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
        assert.truthy(err.message:find("inside a coroutine", 1, true))
        assert.equal(0, client:stats().accepted)
      else
        assert.equal(2, res.count)
      end
      world.rest()
    end)
  end)
end)

describe("luv", function()
  local uv = require "luv"
  local loop = require "agora_chat.loop.luv"
  local agora_chat = require "agora_chat"

  it("refuses to wait in a callback of libuv's own, outside of a coroutine", function()
    local client = assert(agora_chat.new {
      base_url = e.url, app_id = "an-app", credentials = { token = "t" }, loop = loop,
    })
    local res, err, later
    local timer = uv.new_timer()
    timer:start(0, 0, function()
      timer:close()
      res, err = client:offline_msg_count "alice"
      coroutine.wrap(function() later = client:offline_msg_count "alice" end)()
    end)
    uv.run()
    assert.is_nil(res)
    assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
    assert.truthy(err.message:find("coroutine.wrap", 1, true))
    assert.equal(2, later.count)
    client:close()
    uv.run()
  end)

  it("survives the end of a program that closed its client and ran libuv no more", function()
    local first = 0
    while arg[first - 1] do first = first - 1 end
    local pipe = io.popen(("env LUA_PATH='%s' LUA_CPATH='%s' %s spec/support/luv_program.lua %s; echo status $?")
      :format(package.path, package.cpath, arg[first], e.url))
    local text = pipe:read "*a"
    pipe:close()
    local kind, status = text:match "^(%a+)\nstatus (%d+)\n$"
    assert.equal("closed", kind, text)
    assert.is_true(tonumber(status) < 128, text)           -- not by a signal
  end)
end)

describe("cqueues", function()
  local cqueues = require "cqueues"
  local agora_chat = require "agora_chat"
  local loop = require "agora_chat.loop.cqueues"

  local function new(options)
    local all = { base_url = e.url, app_id = "an-app", credentials = { token = "t" }, loop = loop }
    for name, value in pairs(options or {}) do all[name] = value end
    return assert(agora_chat.new(all))
  end

  it("serves in the controller of now a client whose controller was abandoned", function()
    for _, threaded in ipairs { false, true } do
      local client = new { threaded = threaded }
      local first = cqueues.new()
      local woken, res = false, nil
      first:wrap(function()
        client:offline_msg_count "f.E03.100"
        woken = true
      end)
      assert(first:step(0))                     -- never again
      local second = cqueues.new()
      second:wrap(function() res = client:offline_msg_count "alice" end)
      assert(second:loop(10))
      assert.equal(2, res.count)
      assert.is_false(woken)
      client:close()
    end
  end)

  it("waits inside for what was started outside", function()
    local client = new()
    local call = assert(client:start("offline_msg_count", { "alice" }))
    local controller, res = cqueues.new(), nil
    controller:wrap(function() res = call:wait() end)
    assert(controller:loop(10))
    assert.equal(2, res.count)
    client:close()
  end)

  it("waits in a coroutine of the program's own that knows cqueues", function()
    local wrap = require("cqueues.auxlib").wrap
    local client = new()
    local controller, seen = cqueues.new(), {}
    controller:wrap(function()
      local names = wrap(function()
        for _, name in ipairs { "alice", "bob" } do
          coroutine.yield(client:offline_msg_count(name).count)
        end
      end)
      seen[1], seen[2] = names(), names()
    end)
    assert(controller:loop(10))
    assert.same({ 2, 0 }, seen)
    client:close()
  end)
end)

describe("a plain script", function()
  it("may wait in any number of callbacks that are due together", function()
    local raised = {}
    local client = require("agora_chat").new {
      base_url = e.url, app_id = "an-app", credentials = { token = "t" }, rate_per_s = false,
      on_error = function(value) raised[#raised + 1] = value end,
    }
    local counts = 0
    for _ = 1, 300 do
      assert(client:start("offline_msg_count", { "bob" }, function()
        local res = assert(client:offline_msg_count "alice")
        counts = counts + res.count
      end))
    end
    while client:pending() > 0 do client:poll(1000) end
    assert.same({}, raised)
    assert.equal(600, counts)
    client:close()
  end)
end)
