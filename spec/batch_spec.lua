--- batch and each: many calls, a bounded window of them at a time.

local scripted = require "spec.support.scripted"
local tick_loop = require "agora_chat.loop.tick"

local go = scripted.go
local is_puc_51 = _VERSION == "Lua 5.1" and rawget(_G, "jit") == nil

-- The most calls that were under way at once.
local function watch_window(client, most)
  local submit = client.submit
  client.submit = function(self, ...)
    local a, b, c = submit(self, ...)
    most.calls = math.max(most.calls or 0, self:pending())
    return a, b, c
  end
end

local function users(count)
  local list = {}
  for i = 1, count do list[i] = "user" .. i end
  return list
end

local function counter(count)
  local i = 0
  return function()
    if i < count then
      i = i + 1
      return "user" .. i
    end
  end
end

describe("batch", function()
  it("keeps the list's order, with false and an error where there is no result", function()
    local client = scripted.client()
    local results, failed, failures = client:batch("offline_msg_count", { "alice", "b/b", "carol", "bo" })
    assert.same({ 5, false, 5, 2 }, { results[1].count, results[2], results[3].count, results[4].count })
    assert.equal(4, #results)
    assert.equal("argument", failed[2].kind)
    assert.is_nil(failed[1])
    assert.equal(1, failures)
    assert.equal(3, client:stats().accepted)           -- the bad one was not sent
    client:close()
  end)

  it("takes lists of arguments, and whole requests", function()
    local client = scripted.client()
    local results = client:batch("offline_msg_status", { { "alice", "123" }, { "bob", "456" } }, { envelope = false })
    assert.same({ username = "bob", msg_id = "456", status = "delivered", delivered = true }, results[2])
    client.answer = function(request) return 200, ('{"data":"%s"}'):format(request.method) end
    results = client:batch("request", {
      { method = "GET", path = { "users", "alice", "status" } },
      { method = "PUT", path = { "users", "bob" }, json = { a = 1 } },
    })
    assert.equal("PUT", results[2].envelope.data)
    client:close()
  end)

  it("of nothing is nothing", function()
    local client = scripted.client()
    local results, failed, failures = client:batch("offline_msg_count", {})
    assert.same({ {}, {}, 0 }, { results, failed, failures })
    client:close()
  end)

  it("holds at most `window` calls", function()
    for window, expected in pairs { [3] = 3, [1] = 1, [1000] = 100 } do
      local client, most = scripted.client(), {}
      watch_window(client, most)
      local results, _, failures = client:batch("offline_msg_count", users(100), { window = window })
      assert.equal(100, #results)
      assert.equal(0, failures)
      assert.equal(expected, most.calls)
      client:close()
    end
    local client, most = scripted.client(), {}
    watch_window(client, most)
    client:batch("offline_msg_count", users(100))
    assert.equal(32, most.calls)
    client:close()
  end)

  it("tells on_progress of each end", function()
    local client = scripted.client()
    local seen = {}
    client:batch("offline_msg_count", { "alice", "b/b", "carol" }, {
      on_progress = function(done, total, failures) seen[#seen + 1] = { done, total, failures } end,
    })
    assert.equal(3, #seen)
    assert.same({ 3, 3, 1 }, seen[3])
    client:close()
  end)

  it("stops when on_progress returns false; the rest is cancelled", function()
    local client = scripted.client()
    client.answer = function(request)
      if request.url:find("user1/", 1, true) then return scripted.everybody(request) end
      return { kind = "network", code = "reset" }
    end
    local calls = 0
    local results, failed, failures = client:batch("offline_msg_count", users(20), {
      window = 4,
      on_progress = function() calls = calls + 1; return false end,
    })
    assert.equal(1, calls)
    assert.equal(5, results[1].count)
    assert.equal(19, failures)
    for i = 2, 20 do
      assert.is_false(results[i])
      assert.equal("cancelled", failed[i].kind)
      assert.equal("offline_msg_count", failed[i].operation)
    end
    assert.equal(0, client:pending())
    client:close()
  end)

  it("raises before anything is sent when an item is of a wrong type", function()
    local client = scripted.client()
    for _, case in ipairs {
      { "offline_msg_count", { "alice", 12 }, "item 2 must be a string, got a number: ids are strings" },
      { "offline_msg_count", { "alice", true }, "item 2 must be a string, got boolean" },
      { "offline_msg_count", { { 5 } }, "item 1 [1] must be a string, got a number" },
      { "offline_msg_count", { { "a", "b" } }, "item 1 must be a list of 1 strings" },
      { "offline_msg_status", { { "alice", "1" }, "bob" }, "item 2 must be a list of 2 strings, got string" },
      { "offline_msg_status", { { "alice", "1" }, { "bob", 2 } }, "item 2 [2] must be a string, got a number" },
      { "offline_msg_status", { { "alice" } }, "item 1 [2] must be a string, got nil" },
      { "request", { "GET" }, "item 1 must be a table" },
      { "request", { { path = { "users" } } }, "item 1 has no method" },
      { "request", { { method = "GET", path = { "a" } }, { method = "GET", path = { "a", 1 } } },
        "item 2 is wrong: path[2] must be a string" },
      { "request", { { method = "GET", path = { "a" } }, { method = "GET", path = { "a" }, qery = {} } },
        "item 2 is wrong: unknown request field 'qery'; did you mean 'query'?" },
      { "offline_msg_cout", { "alice" }, "unknown operation 'offline_msg_cout'; did you mean 'offline_msg_count'?" },
      { "offline_msg_count", "alice", "batch takes a list, got string" },
      { "offline_msg_count", function() end, "batch takes a list, got function" },
      { 5, { "alice" }, "the operation must be a string" },
    } do
      local ok, message = pcall(function() client:batch(case[1], case[2]) end)
      assert.is_false(ok)
      assert.truthy(message:find(case[3], 1, true), message)
      assert.truthy(message:find("batch_spec.lua:", 1, true), message)
    end
    assert.equal(0, client:stats().accepted)
    client:close()
  end)

  it("raises for unknown options and wrong types of options", function()
    local client = scripted.client()
    for _, case in ipairs {
      { { windw = 5 }, "unknown option 'windw'; did you mean 'window'?" },
      { { timeout = 5 }, "unknown option 'timeout'; did you mean 'timeout_ms'?" },
      { { on_progres = print }, "unknown option 'on_progres'; did you mean 'on_progress'?" },
      { { data = 5 }, "unknown option 'data'" },
      { { window = "5" }, "window must be a number, got string" },
      { { on_progress = {} }, "on_progress must be a function, got table" },
      { { timeout_ms = "5" }, "timeout_ms must be a number, got string" },
      { { max_pause_ms = true }, "max_pause_ms must be a number, got boolean" },
      { 5, "options must be a table, got number" },
    } do
      for _, name in ipairs { "batch", "each" } do
        local ok, message = pcall(function() client[name](client, "offline_msg_count", {}, case[1]) end)
        assert.is_false(ok)
        assert.truthy(message:find(case[2], 1, true), message)
        assert.truthy(message:find("batch_spec.lua:", 1, true), message)
      end
    end
    client:close()
  end)

  it("returns an error for a value that cannot work", function()
    local client = scripted.client()
    for _, opts in ipairs { { window = 0 }, { window = 1.5 }, { window = 0 / 0 }, { timeout_ms = -1 },
      { max_pause_ms = -1 }, { max_attempts = 0 } } do
      for _, name in ipairs { "batch", "each" } do
        local nothing, err = client[name](client, "offline_msg_count", { "alice" }, opts)
        assert.is_nil(nothing)
        assert.equal("argument", err.kind)
        assert.truthy(err.message:find((next(opts)), 1, true), err.message)
      end
    end
    assert.equal(0, client:stats().accepted)
    client:close()
  end)

  it("hands on what on_progress raises, after cancelling the window", function()
    local client = scripted.client()
    local ok, value = pcall(function()
      client:batch("offline_msg_count", users(50), { on_progress = function() error { mine = true } end })
    end)
    assert.is_false(ok)
    assert.is_true(value.mine)
    client:poll(0)
    assert.equal(0, client:pending())
    client:close()
  end)

  it("waits in a coroutine", function()
    local client = scripted.client { loop = tick_loop }
    local results
    go(function() results = client:batch("offline_msg_count", users(100), { window = 8 }) end)
    for _ = 1, 100 do
      if results then break end
      scripted.serve(client)
      client:tick()
    end
    assert.equal(100, #results)
    assert.equal(7, results[100].count)
    local nothing, err = client:batch("offline_msg_count", { "alice" })      -- the main coroutine
    assert.is_nil(nothing)
    assert.equal("cannot_wait", err.code)
    client:close()
  end)

  it("ends as closed when the client is closed under it", function()
    local client = scripted.client { loop = tick_loop }
    local results, failed, failures
    go(function() results, failed, failures = client:batch("offline_msg_count", users(100), { window = 8 }) end)
    scripted.serve(client, 3)
    client:tick()
    client:close()
    assert.is_not_nil(results)
    assert.equal(97, failures)
    assert.equal("closed", failed[100].kind)
  end)

  it("waits for a place in a queue that its own calls fill", function()
    local client = scripted.client { max_queue = 4, max_in_flight = 2 }
    local results, _, failures = client:batch("offline_msg_count", users(50), { window = 32 })
    assert.equal(50, #results)
    assert.equal(0, failures)
    client:close()
  end)
end)

describe("each", function()
  it("yields items as given, in the order in which answers come", function()
    local client = scripted.client()
    local pair = { "alice", "123" }
    for item, res, err in client:each("offline_msg_status", { pair }) do
      assert.equal(pair, item)
      assert.is_true(res.delivered)
      assert.is_nil(err)
    end
    local order = {}
    local step = client:each("offline_msg_count", { "alice", "bob" })
    client.answer = function(request)
      if request.url:find("alice", 1, true) and not order[1] then return 500, "" end     -- again, later
      return scripted.everybody(request)
    end
    local item = step()
    while item do
      order[#order + 1] = item
      item = step()
    end
    assert.same({ "bob", "alice" }, order)
    client:close()
  end)

  it("takes lists and iterators, and gives every item once", function()
    local client = scripted.client()
    for _, source in ipairs { users(100), counter(100) } do
      local seen, count = {}, 0
      for name, res, err in client:each("offline_msg_count", source, { window = 7 }) do
        assert.is_nil(seen[name])
        seen[name] = true
        assert.equal(#name, res.count, err)
        count = count + 1
      end
      assert.equal(100, count)
    end
    for _ in client:each("offline_msg_count", {}) do error "nothing to give" end
    for _ in client:each("offline_msg_count", function() end) do error "nothing to give" end
    client:close()
  end)

  it("gives a bad value its error, unsent, and goes on", function()
    local client = scripted.client()
    local kinds = {}
    for name, res, err in client:each("offline_msg_count", { "alice", "..", "", "bob" }) do
      kinds[name] = res and "ok" or err.kind
    end
    assert.same({ alice = "ok", [".."] = "argument", [""] = "argument", bob = "ok" }, kinds)
    assert.equal(2, client:stats().accepted)
    client:close()
  end)

  it("does not know the total of an iterator", function()
    local client = scripted.client()
    local seen
    local step = client:each("offline_msg_count", counter(2), {
      on_progress = function(done, total, failures) seen = { done = done, total = total, failures = failures } end,
    })
    repeat local item = step() until item == nil
    assert.same({ done = 2, failures = 0 }, seen)
    client:close()
  end)

  it("stops when on_progress returns false", function()
    local client = scripted.client()
    local taken = 0
    local kinds = {}
    local source = function() taken = taken + 1; return "user" .. taken end       -- without an end
    for _, res, err in client:each("offline_msg_count", source, {
      window = 4,
      on_progress = function(done) return done < 10 end,
    }) do
      local kind = res and "ok" or err.kind
      kinds[kind] = (kinds[kind] or 0) + 1
    end
    assert.is_true(kinds.ok >= 10)
    assert.is_true(taken <= 14)
    assert.equal(taken, kinds.ok + (kinds.cancelled or 0))
    client:close()
  end)

  it("holds what the window says, however slow the program is", function()
    local client, most = scripted.client(), {}
    watch_window(client, most)
    local taken = 0
    local source = counter(100)
    local count = 0
    for _ in client:each("offline_msg_count", function() taken = taken + 1; return source() end, { window = 5 }) do
      count = count + 1
      assert.is_true(taken <= count + 5)
    end
    assert.equal(100, count)
    assert.equal(5, most.calls)
    client:close()
  end)

  it("cancels the window when its source raises", function()
    local client = scripted.client()
    local given = 0
    local ok, value = pcall(function()
      for _ in client:each("offline_msg_count", function()
        given = given + 1
        if given == 4 then error { mine = true } end
        return "user" .. given
      end) do
        error "nothing has been answered"
      end
    end)
    assert.is_false(ok)
    assert.is_true(value.mine)
    client:poll(0)
    assert.equal(3, client:stats().cancelled)
    assert.equal(0, client:pending())
    client:close()
  end)

  it("raises where the program calls it when an item is of a wrong type", function()
    local client = scripted.client()
    local ok, message = pcall(function()
      for _ in client:each("offline_msg_count", { "alice", 12 }) do error "nothing has been answered" end
    end)
    assert.is_false(ok)
    assert.truthy(message:find("item 2 must be a string, got a number", 1, true), message)
    assert.truthy(message:find("batch_spec.lua:", 1, true), message)
    assert.has_error(function() client:each("offline_msg_count", "alice") end)
    assert.has_error(function() client:each("offline_msg_count") end)
    client:close()
  end)

  it("is closed by its fourth value: unsent dropped, sent cancelled, no waiting", function()
    local client = scripted.client()
    local step, _, _, sweep = client:each("offline_msg_count", counter(100), { window = 8 })
    assert(step())
    client.core:next_outgoing()
    local before = client:stats()
    sweep:close()
    sweep:close()
    assert.is_nil(step())
    client:poll(0)
    local after = client:stats()
    assert.equal(0, client:pending())
    assert.equal(before.accepted, after.accepted)
    assert.equal(after.accepted, after.ok + after.cancelled)
    client:close()
  end)

  it("is closed by Lua 5.4 when a for is left", function()
    local client = scripted.client()
    for _ in client:each("offline_msg_count", counter(100), { window = 8 }) do   -- luacheck: ignore 512
      break
    end
    client:poll(0)
    local version = tonumber(_VERSION:match "%d+%.%d+")
    assert.is_true(version < 5.4 or client:pending() == 0)
    assert.is_true(client:pending() <= 8)
    client:close()
  end)

  it("that is forgotten leaves at most a window of calls, which end unheard", function()
    local client = scripted.client()
    do
      local step = client:each("offline_msg_count", counter(100), { window = 8 })
      step()
    end
    collectgarbage()
    scripted.serve(client)
    client:poll(0)
    assert.equal(0, client:pending())
    assert.equal(8, client:stats().accepted)
    client:close()
  end)

  it("waits in a coroutine, in a for where this Lua can", function()
    local client = scripted.client { loop = tick_loop }
    local seen = 0
    local co = coroutine.create(function()
      for _, res in client:each("offline_msg_count", counter(100), { window = 8 }) do
        assert(res)
        seen = seen + 1
      end
    end)
    local ok, message = coroutine.resume(co)
    if is_puc_51 then
      assert.is_false(ok)
      assert.truthy(message:find("while item ~= nil do", 1, true), message)
      assert.truthy(message:find("batch_spec.lua:", 1, true), message)
      assert.equal(0, client:stats().accepted)
    else
      for _ = 1, 100 do
        scripted.serve(client)
        client:tick()
      end
      assert.equal("dead", coroutine.status(co))
      assert.equal(100, seen)
    end
    client:close()
  end)

  it("waits in a coroutine, in its while form on every Lua", function()
    local client = scripted.client { loop = tick_loop }
    local seen = 0
    go(function()
      local step = client:each("offline_msg_count", counter(100), { window = 8 })
      local item = step()
      while item ~= nil do
        seen = seen + 1
        item = step()
      end
    end)
    for _ = 1, 100 do
      scripted.serve(client)
      client:tick()
    end
    assert.equal(100, seen)
    local nothing, err = client:each("offline_msg_count", { "alice" })           -- the main coroutine
    assert.is_nil(nothing)
    assert.equal("cannot_wait", err.code)
    client:close()
  end)

  it("wakes a waiting iterator when another coroutine closes the sweep", function()
    local client = scripted.client { loop = tick_loop }
    local sweep, over
    go(function()
      local step, _, _, s = client:each("offline_msg_count", counter(100))
      sweep = s
      over = step() == nil
    end)
    assert.is_nil(over)
    sweep:close()
    client:tick()
    assert.is_true(over)
    client:close()
  end)

  it("leaves single calls their turn first", function()
    local client = scripted.client { loop = tick_loop, max_in_flight = 1 }
    local order = {}
    client.answer = function(request)
      order[#order + 1] = request.url:match "/users/([^/]+)/"
      return scripted.everybody(request)
    end
    go(function() client:batch("offline_msg_count", users(10), { window = 10 }) end)
    client:start("offline_msg_count", { "single" })
    for _ = 1, 30 do
      scripted.serve(client, 1)
      client:tick()
    end
    assert.equal("single", order[1])
    assert.equal(11, #order)
    client:close()
  end)

  it("gives the deadline of a call when its turn comes", function()
    local client = scripted.client { rate_per_s = 10, burst = 1 }
    local count = 0
    for _, res, err in client:each("offline_msg_count", users(50), { window = 50, timeout_ms = 300 }) do
      assert.is_not_nil(res, tostring(err))
      count = count + 1
    end
    assert.equal(50, count)
    assert.is_true(client.now_ms - scripted.now_ms >= 4900)
    client:close()
  end)

  it("sits out an outage", function()
    local client = scripted.client { max_attempts = 1 }
    local down_until = scripted.now_ms + 60000
    local sent = 0
    client.answer = function(request)
      sent = sent + 1
      if client.now_ms < down_until then return { kind = "network", code = "connect" } end
      return scripted.everybody(request)
    end
    local ok, failed = 0, 0
    for _, res in client:each("offline_msg_count", counter(500), { window = 8 }) do
      if res then ok = ok + 1 else failed = failed + 1 end
    end
    assert.equal(500, ok + failed)
    assert.is_true(failed <= 8, failed)              -- those that found out
    assert.is_true(sent <= 600)
    client:close()
  end)

  it("gives up an outage that is longer than max_pause_ms, unsent", function()
    local client = scripted.client { max_attempts = 1 }
    local sent = 0
    client.answer = function()
      sent = sent + 1
      return { kind = "network", code = "connect" }
    end
    local kinds = {}
    for _, _, err in client:each("offline_msg_count", counter(500), { window = 8, max_pause_ms = 3000 }) do
      kinds[err.kind] = (kinds[err.kind] or 0) + 1
    end
    assert.is_true(kinds.unavailable > 450)
    assert.equal(500, kinds.unavailable + kinds.network)
    assert.is_true(sent < 50)
    assert.is_true(client.now_ms - scripted.now_ms < 20000)
    client:close()
  end)
end)
