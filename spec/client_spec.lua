--- What a program sees of single calls: start, wait, cancel, tick, close.

local agora_chat = require "agora_chat"
local core = require "agora_chat.core"
local scripted = require "spec.support.scripted"
local tick_loop = require "agora_chat.loop.tick"

local go = scripted.go
local kill = rawget(coroutine, "close")     -- Lua 5.4
local is_puc_51 = _VERSION == "Lua 5.1" and rawget(_G, "jit") == nil

local function tick_client(options)
  options = options or {}
  options.loop = options.loop or tick_loop
  return scripted.client(options)
end

local function serve_and_tick(client, max)
  scripted.serve(client)
  return client:tick(max)
end

local function quiet() end

describe("agora_chat.new", function()
  it("raises for what is a bug of the program", function()
    assert.has_error(function() agora_chat.new() end, "agora_chat.new takes a table of options, got nil")
    assert.has_error(function() agora_chat.new "https://chat.example" end)
    local ok, message = pcall(function() agora_chat.new { bas_url = "https://chat.example" } end)
    assert.is_false(ok)
    assert.truthy(message:find("client_spec.lua:", 1, true), message)
    assert.truthy(message:find("unknown option 'bas_url'; did you mean 'base_url'?", 1, true), message)
    assert.has_error(function() scripted.client { loop = "tick" } end)
    assert.has_error(function() scripted.client { loop = {} } end)
    ok, message = pcall(scripted.client, { threaded = "yes" })
    assert.is_false(ok)
    assert.truthy(message:find("threaded must be a boolean, got string", 1, true), message)
    assert.has_error(function() scripted.client { loop = { wait = print, wake = 5 } } end,
      "loop.wake must be a function, got number")
    assert.has_error(function() scripted.client { loop = { wait = print, threaded = "no" } } end,
      "loop.threaded must be a boolean, got string")
    assert.has_error(function() scripted.client { threaded = 1 } end)
    assert.has_error(function() scripted.client { on_error = {} } end)
  end)

  it("refuses brackets without an IPv6 address in them", function()
    for _, threaded in ipairs { false, true } do
      for _, host in ipairs { "[::1::2]", "[:::]", "[1.2.3.4]" } do
        local client, err = agora_chat.new {
          base_url = "https://" .. host, app_id = "an-app", credentials = { token = "t" }, threaded = threaded,
        }
        assert.is_nil(client)
        assert.equal("argument", err.kind)
        assert.truthy(err.message:find("base_url", 1, true), err.message)
      end
    end
  end)

  it("returns an error for what the world may do", function()
    local client, err = agora_chat.new { app_id = "970ca35de60c44645bbae8a215061b33", credentials = { token = "t" } }
    assert.is_nil(client)
    assert.equal("argument", err.kind)
    assert.truthy(err.message:find("base_url", 1, true))
    assert.is_true(agora_chat.is_error(err))
  end)

  it("asks a function for the certificate, and repeats nothing of it", function()
    local function ask(give)
      return agora_chat.new {
        base_url = "https://chat.example", app_id = "970ca35de60c44645bbae8a215061b33",
        transport = "lua", credentials = { app_certificate = give },
      }
    end
    local asked = 0
    local client = assert(ask(function()
      asked = asked + 1
      return "5cfd2fd1755d40ecb72977518be15d3b"
    end))
    assert.equal(1, asked)
    client:close()
    for _, give in ipairs {
      function() error "5cfd2fd1755d40ecb72977518be15d3b" end,
      function() return 5 end,
      quiet,
    } do
      local none, err = ask(give)
      assert.is_nil(none)
      assert.equal("argument", err.kind)
      assert.truthy(err.message:find("app_certificate", 1, true))
      assert.is_nil(tostring(err):find("5cfd", 1, true))
    end
  end)

  it("lets a loop refuse, and closes what it had made", function()
    local seen
    local client, err = agora_chat.new {
      base_url = "https://chat.example", app_id = "970ca35de60c44645bbae8a215061b33",
      credentials = { token = "t" }, transport = "lua",
      loop = { wait = quiet, attach = function(c) seen = c; return nil, "not before the fork" end },
    }
    assert.is_nil(client)
    assert.equal("argument", err.kind)
    assert.truthy(tostring(err):find("not before the fork", 1, true))
    assert.is_true(seen.closed)
  end)

  it("refuses to block an OpenResty worker, and names the right loop", function()
    rawset(_G, "ngx", { get_phase = quiet })
    local client, err = agora_chat.new {
      base_url = "https://chat.example", app_id = "970ca35de60c44645bbae8a215061b33",
      credentials = { token = "t" }, transport = "lua",
    }
    rawset(_G, "ngx", nil)
    assert.is_nil(client)
    assert.truthy(tostring(err):find("agora_chat.loop.resty", 1, true))
  end)
end)

describe("an error", function()
  it("is plain data that reads like a sentence", function()
    local client = scripted.client()
    local res, err = client:offline_msg_count "a/b"
    assert.is_nil(res)
    assert.equal("agora_chat: " .. err.message, tostring(err))
    assert.equal("chat: " .. tostring(err), "chat: " .. err)
    assert.equal(tostring(err) .. "!", err .. "!")
    assert.equal(tostring(err) .. tostring(err), err .. err)
    assert.has_error(function() return err .. {} end)
    assert.is_nil(getmetatable(err).__pairs)
    assert.equal("offline_msg_count", err.operation)
    assert.is_boolean(err.retryable)
    client:close()
  end)

  it("is known without its metatable, other tables are not", function()
    local err = core.error("timeout", "queue", "too late", "offline_msg_count")
    local plain = {}
    for name, value in pairs(err) do plain[name] = value end
    assert.is_true(agora_chat.is_error(err))
    assert.is_true(agora_chat.is_error(plain))
    assert.is_false(agora_chat.is_error { kind = "strange", message = "x" })
    assert.is_false(agora_chat.is_error { kind = "timeout", operation = "offline_msg_count" })   -- an event
    assert.is_false(agora_chat.is_error "timeout")
    assert.is_false(agora_chat.is_error(nil))
    assert.is_false(agora_chat.is_error(setmetatable({}, { __index = function() error "a strict table" end })))
  end)
end)

describe("a method", function()
  it("waits and returns the result", function()
    local client = scripted.client()
    local res = assert(client:offline_msg_count "alice")
    assert.equal("alice", res.username)
    assert.equal(5, res.count)
    assert.is_table(res.envelope)
    res = assert(client:offline_msg_status("alice", "123", { envelope = false }))
    assert.is_true(res.delivered)
    assert.is_nil(res.envelope)
    client:close()
  end)

  it("raises for wrong types, at the line that made the mistake", function()
    local client = scripted.client()
    for _, mistake in ipairs {
      { "must be a string", function() client:offline_msg_count(12) end },
      { "must be a string", function() client:offline_msg_count() end },
      { "must be a table, got string", function() client:offline_msg_count("alice", "bob") end },
      { "unknown call option 'timeout'; did you mean 'timeout_ms'", function()
        client:offline_msg_count("alice", { timeout = 5 })
      end },
      { "unknown call option 'batch'", function() client:offline_msg_count("alice", { batch = true }) end },
      { "takes 1 arguments", function() client:offline_msg_count("alice", nil, "more") end },
      { "with a colon", function() client.offline_msg_count("alice") end },
      { "unknown operation 'offline_msg_cont'; did you mean 'offline_msg_count'", function()
        client:start("offline_msg_cont", { "alice" })
      end },
      { "must be a list", function() client:start("offline_msg_count", "alice") end },
      { "callback must be a function, got table", function()
        client:start("offline_msg_count", { "alice" }, setmetatable({}, { __call = quiet }))
      end },
    } do
      local ok, message = pcall(mistake[2])
      assert.is_false(ok)
      assert.truthy(message:find(mistake[1], 1, true), message)
    end
    local ok, message = pcall(function() client:offline_msg_count("alice", { timeout = 5 }) end)
    assert.is_false(ok)
    assert.truthy(message:find("client_spec.lua:", 1, true), message)
    assert.equal(0, client:stats().accepted)
    client:close()
  end)

  it("stands for any other operation too", function()
    local client = scripted.client { answer = function(request)
      return 200, ('{"data":{"method":"%s"}}'):format(request.method)
    end }
    local res = assert(client:request { method = "GET", path = { "users", "alice", "status" }, idempotent = true })
    assert.equal(200, res.http_status)
    assert.equal("GET", res.envelope.data.method)
    local call = assert(client:start("request", { { method = "POST", path = { "users" }, json = {} } }))
    assert.equal("POST", call:wait().envelope.data.method)
    assert.has_error(function() client:request { path = { "users" } } end)
    client:close()
  end)
end)

describe("start and wait", function()
  it("lets two calls travel side by side", function()
    local client = scripted.client()
    local count = assert(client:start("offline_msg_count", { "alice" }))
    local status = assert(client:start("offline_msg_status", { "alice", "123" }))
    assert.equal(2, client:pending())
    assert.equal(5, count:wait().count)
    assert.is_true(status:wait().delivered)
    assert.equal(0, client:pending())
    client:close()
  end)

  it("gives the same again, also beside a callback", function()
    local client = scripted.client()
    local calls = 0
    local call = assert(client:start("offline_msg_count", { "alice" }, function() calls = calls + 1 end))
    local first = call:wait()
    assert.equal(first, call:wait())
    assert.equal(5, first.count)
    client:poll(0)
    assert.equal(1, calls)
    local bad = assert(client:start("offline_msg_count", { "alice" }))
    bad:cancel()
    local _, err = bad:wait()
    local _, again = bad:wait()
    assert.equal("cancelled", err.kind)
    assert.equal(err, again)
    client:close()
    assert.equal(first, call:wait())
  end)

  it("hands data to the callback", function()
    local client = scripted.client()
    local seen = {}
    client:start("offline_msg_count", { "alice" }, function(res, err, data)
      seen.count, seen.err, seen.data = res.count, err, data
    end, { data = seen, timeout_ms = 500 })
    assert.is_nil(seen.count)
    scripted.serve(client)
    assert.equal(1, client:poll(0))
    assert.same({ 5, seen }, { seen.count, seen.data })
    assert.is_nil(seen.err)
    client:close()
  end)

  it("accepts nothing when it returns an error", function()
    local client = scripted.client()
    local called = false
    local call, err = client:start("offline_msg_count", { "a/b" }, function() called = true end)
    assert.is_nil(call)
    assert.equal("argument", err.kind)
    client:close()
    assert.is_false(called)
  end)

  it("refuses a second coroutine that waits for the same call", function()
    local client = tick_client()
    local call = assert(client:start("offline_msg_count", { "alice" }))
    local first, second, err
    go(function() first = call:wait() end)
    go(function() second, err = call:wait() end)
    assert.is_nil(second)
    assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
    assert.truthy(err.message:find("another coroutine", 1, true))
    serve_and_tick(client)
    assert.equal(5, first.count)
    client:close()
  end)

  it("lets another wait when the first coroutine is dead", function()
    if not kill then return end
    local client = tick_client()
    local call = assert(client:start("offline_msg_count", { "alice" }))
    kill(go(function() call:wait() end))
    local res
    go(function() res = call:wait() end)
    serve_and_tick(client)
    assert.equal(5, res.count)
    client:close()
  end)
end)

describe("in a tick loop", function()
  it("two coroutines wait side by side", function()
    local client = tick_client()
    local got = {}
    for _, user in ipairs { "alice", "bob" } do
      go(function() got[user] = client:offline_msg_count(user).count end)
    end
    assert.same({}, got)
    assert.equal(2, scripted.serve(client))
    assert.equal(2, client:tick())
    assert.same({ alice = 5, bob = 3 }, got)
    client:close()
  end)

  it("a foreign resume does not end a wait", function()
    local client = tick_client()
    local res
    local co = go(function() res = client:offline_msg_count "alice" end)
    assert.is_true(coroutine.resume(co))
    assert.is_nil(res)
    serve_and_tick(client)
    assert.equal(5, res.count)
    client:close()
  end)

  it("refuses where one cannot wait; nothing is sent", function()
    local client = tick_client()
    local res, err = client:offline_msg_count "alice"         -- the main coroutine
    assert.is_nil(res)
    assert.same({ "argument", "cannot_wait" }, { err.kind, err.code })
    assert.equal("offline_msg_count", err.operation)
    local inside
    go(function()
      table.sort({ 1, 2 }, function()
        inside = inside or select(2, client:offline_msg_count "alice")
        return false
      end)
    end)
    assert.equal("cannot_wait", inside.code)
    assert.equal(0, client:stats().accepted)
    client:close()
  end)

  it("a wait where one cannot leaves the call alone", function()
    local client = tick_client()
    local plain = assert(client:start("offline_msg_count", { "alice" }))
    local heard
    local with_callback = assert(client:start("offline_msg_count", { "bob" }, function(res) heard = res.count end))
    for _, call in ipairs { plain, with_callback } do
      local res, err = call:wait()
      assert.is_nil(res)
      assert.equal("cannot_wait", err.code)
    end
    serve_and_tick(client)
    assert.equal(5, plain:wait().count)
    assert.equal(3, heard)
    client:close()
  end)

  it("waits inside pcall, where this Lua can", function()
    local client = tick_client()
    local res, err
    go(function()
      pcall(function() res, err = client:offline_msg_count "alice" end)
    end)
    serve_and_tick(client)
    if is_puc_51 then
      assert.equal("cannot_wait", err.code)
    else
      assert.equal(5, res.count)
    end
    client:close()
  end)

  it("a yield that Lua 5.1 refuses in a metamethod ends the coroutine, nobody else", function()
    if not is_puc_51 then return end
    local client = tick_client()
    local proxy = setmetatable({}, { __index = function(_, user) return client:offline_msg_count(user) end })
    local co = coroutine.create(function() return proxy.alice end)
    assert.is_false(coroutine.resume(co))
    scripted.serve(client)
    assert.equal(1, client:tick())
    assert.equal(0, client:pending())
    client:close()
  end)

  it("what a woken coroutine raises goes to on_error", function()
    local value, traceback
    local client = tick_client { on_error = function(v, t) value, traceback = v, t end }
    go(function()
      client:offline_msg_count "alice"
      error { mine = true }
    end)
    assert.equal(1, serve_and_tick(client))
    assert.is_true(value.mine)
    assert.is_string(traceback)
    client:close()
  end)

  it("a killed coroutine's answer is dropped", function()
    if not kill then return end
    local client = tick_client()
    local co = go(function() client:offline_msg_count "alice" end)
    kill(co)
    assert.equal(1, serve_and_tick(client))
    assert.equal(0, client:pending())
    assert.equal(1, client:stats().ok)
    client:close()
  end)

  it("a client known only to a coroutine that waits is collected with it", function()
    local gone = setmetatable({}, { __mode = "k" })
    do
      local client = tick_client()
      gone[client] = true
      go(function() client:offline_msg_count "alice" end)
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(gone))
  end)

  it("a callback may wait", function()
    if is_puc_51 then return end
    local client = tick_client()
    local got
    client:start("offline_msg_count", { "alice" }, function(res)
      got = res.count + client:offline_msg_count("bob").count
    end)
    serve_and_tick(client)
    assert.is_nil(got)
    serve_and_tick(client)
    assert.equal(8, got)
    client:close()
  end)
end)

describe("tick", function()
  it("does at most so much", function()
    local client = tick_client()
    local called = 0
    for _ = 1, 10 do client:start("offline_msg_count", { "alice" }, function() called = called + 1 end) end
    scripted.serve(client)
    assert.equal(0, called)
    assert.equal(3, client:tick(3))
    assert.equal(3, called)
    assert.equal(7, client:pending())
    assert.equal(0, client:tick(0))
    assert.equal(7, client:tick())
    assert.equal(10, called)
    assert.equal(0, client:tick())
    client:close()
  end)

  it("finishes what a collect took", function()
    local client = tick_client()
    local called = 0
    local call = client:start("offline_msg_count", { "alice" }, function() called = called + 1 end)
    client:start("offline_msg_count", { "alice" }, function() called = called + 1 end)
    scripted.serve(client)
    assert.equal(2, client:collect())
    assert.is_true(call.done)
    assert.equal(0, called)
    assert.equal(2, client:pending())          -- not delivered
    assert.equal(0, client:due_in_ms())
    client:tick(1)
    assert.equal(1, called)
    client:tick()
    assert.equal(2, called)
    assert.equal(0, client:pending())
    assert.equal(-1, client:due_in_ms())
    client:close()
  end)

  it("survives a callback that raises, and tells on_error where", function()
    local errors = {}
    local client = tick_client { on_error = function(value, traceback)
      errors[#errors + 1] = { value, traceback }
    end }
    local other = false
    client:start("offline_msg_count", { "alice" }, function() error "first" end)
    client:start("offline_msg_count", { "alice" }, function() error { code = 7 } end)
    client:start("offline_msg_count", { "alice" }, function()
      error(setmetatable({}, { __tostring = function() error "nasty" end }))
    end)
    client:start("offline_msg_count", { "alice" }, function() other = true end)
    assert.equal(4, serve_and_tick(client))
    assert.is_true(other)
    assert.equal(3, #errors)
    assert.truthy(errors[1][1]:find("first", 1, true))
    assert.truthy(errors[1][2]:find("client_spec.lua", 1, true))
    assert.equal(7, errors[2][1].code)
    client:close()
  end)

  it("survives an on_error that raises", function()
    local stderr, said = io.stderr, {}
    local client = tick_client { on_error = function() error "again" end }
    client:start("offline_msg_count", { "alice" }, function() error "first" end)
    io.stderr = { write = function(_, ...) said[#said + 1] = table.concat { ... } end }   -- luacheck: ignore
    local ok, count = pcall(serve_and_tick, client)
    io.stderr = stderr                                                                   -- luacheck: ignore
    assert.is_true(ok)
    assert.equal(1, count)
    assert.truthy(said[1]:find("first", 1, true))
    client:close()
  end)

  it("lets a callback start calls, which end in a later tick", function()
    local client = tick_client()
    local seen = {}
    client:start("offline_msg_count", { "alice" }, function()
      seen[#seen + 1] = "alice"
      client:start("offline_msg_count", { "bob" }, function() seen[#seen + 1] = "bob" end)
    end)
    serve_and_tick(client)
    assert.same({ "alice" }, seen)
    serve_and_tick(client)
    assert.same({ "alice", "bob" }, seen)
    client:close()
  end)

  it("lets a callback tick, and gives each answer once", function()
    local client = tick_client()
    local seen = {}
    for i = 1, 5 do
      client:start("offline_msg_count", { "alice" }, function()
        seen[#seen + 1] = i
        client:tick()
      end)
    end
    serve_and_tick(client)
    table.sort(seen)
    assert.same({ 1, 2, 3, 4, 5 }, seen)
    client:close()
  end)

  it("stops when a callback closes the client; all have been answered once", function()
    local client = tick_client()
    local ended = {}
    for i = 1, 6 do
      client:start("offline_msg_count", { "alice" }, function(res, err)
        ended[i] = (ended[i] or "") .. (res and "ok" or err.kind)
        if i == 2 then
          client:close()
          assert(client.closed)
          local _, late = client:start("offline_msg_count", { "bob" }, quiet)
          ended.late = late.kind
        end
      end)
    end
    scripted.serve(client, 4)
    assert.equal(4, client:tick())
    assert.same({ "ok", "ok", "ok", "ok", "closed", "closed", late = "closed" }, ended)
  end)

  it("stops when a waiter closes the client; the others still wake", function()
    local client = tick_client()
    local ended = {}
    for i = 1, 4 do
      go(function()
        local res, err = client:offline_msg_count "alice"
        ended[i] = res and "ok" or err.kind
        if i == 1 then client:close() end
      end)
    end
    scripted.serve(client, 2)
    client:tick()
    assert.same({ "ok", "ok", "closed", "closed" }, ended)
  end)

  it("raises for a wrong type", function()
    local client = tick_client()
    assert.has_error(function() client:tick "8" end)
    assert.has_error(function() client:poll "8" end)
    local ok, message = pcall(client.collect, client, "8")
    assert.is_false(ok)
    assert.truthy(message:find("collect: max must be a number, got string", 1, true), message)
    client:close()
  end)
end)

describe("poll", function()
  it("returns at once when nothing is outstanding", function()
    local client = scripted.client()
    assert.equal(0, client:poll(60000))
    client:close()
  end)
end)

describe("cancel", function()
  it("ends the call as cancelled, later, once", function()
    local client = tick_client()
    local ends = {}
    local function note(res, err) ends[#ends + 1] = res and "ok" or err.kind end
    local queued = assert(client:start("offline_msg_count", { "alice" }, note))
    queued:cancel()
    queued:cancel()
    assert.same({}, ends)
    client:tick()
    assert.same({ "cancelled" }, ends)
    local out = assert(client:start("offline_msg_count", { "alice" }, note))
    local request = client.core:next_outgoing()
    out:cancel()
    assert.has_error(function() client.core:deliver(request.id, { http_status = 200, body = "{}" }) end)
    client:tick()
    queued:cancel()
    out:cancel()
    client:tick()
    assert.same({ "cancelled", "cancelled" }, ends)
    assert.equal(2, client:stats().cancelled)
    client:close()
  end)

  it("holds for an answer that nobody has seen yet, too", function()
    local client = tick_client { max_attempts = 1 }
    for count, reply in ipairs { { http_status = 200, body = '{"data":{"alice":5}}' }, { http_status = 404 } } do
      local heard
      local call = assert(client:start("offline_msg_count", { "alice" }, function(...) heard = { ... } end))
      client.core:deliver(client.core:next_outgoing().id, reply)
      call:cancel()
      assert.is_nil(heard)
      assert.equal(1, client:tick())
      assert.is_nil(heard[1])
      assert.equal("cancelled", heard[2].kind)
      assert.equal("offline_msg_count", heard[2].operation)
      assert.equal(1, heard[2].attempts)
      assert.equal(0, heard[2].elapsed_ms)
      local s = client:stats()
      assert.same({ count, 0, 0, count }, { s.accepted, s.ok, s.failed, s.cancelled })
    end
    client:close()
  end)

  it("wakes who waits, in the next tick", function()
    local client = tick_client()
    local call = assert(client:start("offline_msg_count", { "alice" }))
    local err
    go(function() err = select(2, call:wait()) end)
    call:cancel()
    assert.is_nil(err)
    client:tick()
    assert.equal("cancelled", err.kind)
    client:close()
  end)

  it("of a call that has ended changes nothing", function()
    local client = scripted.client()
    local call = assert(client:start("offline_msg_count", { "alice" }))
    assert.equal(5, call:wait().count)
    call:cancel()
    assert.equal(5, call:wait().count)
    client:close()
    call:cancel()
  end)
end)

describe("close", function()
  it("answers every outstanding call before it returns", function()
    local client = tick_client()
    local kinds = {}
    local function note(_, err) kinds[#kinds + 1] = err.kind end
    for _ = 1, 3 do client:start("offline_msg_count", { "alice" }, note) end
    client.core:next_outgoing()
    go(function() note(client:offline_msg_count "bob") end)
    client:close()
    assert.same({ "closed", "closed", "closed", "closed" }, kinds)
    assert.is_nil(next(client.calls))
  end)

  it("delivers answers that had come", function()
    local client = tick_client()
    local seen
    client:start("offline_msg_count", { "alice" }, function(res) seen = res.count end)
    scripted.serve(client)
    client:close()
    assert.equal(5, seen)
  end)

  it("twice is fine, every other method says closed", function()
    local client = tick_client()
    client:close()
    client:close()
    for _, use in ipairs {
      function() return client:offline_msg_count "alice" end,
      function() return client:offline_msg_status("alice", "1") end,
      function() return client:request { method = "GET", path = { "users" } } end,
      function() return client:start("offline_msg_count", { "alice" }) end,
      function() return client:batch("offline_msg_count", { "alice" }) end,
      function() return client:each("offline_msg_count", { "alice" }) end,
      function() return client:poll(5) end,
      function() return client:tick() end,
      function() return client:collect() end,
      function() return client:pending() end,
      function() return client:fd() end,
      function() return client:due_in_ms() end,
      function() return client:set_token "t" end,
      function() return client:stats() end,
    } do
      local nothing, err = use()
      assert.is_nil(nothing)
      assert.equal("closed", err.kind)
    end
    assert.is_true(client.closed)
    assert.equal("agora_chat.Client (closed)", tostring(client))
  end)

  it("may be called by what it calls back", function()
    local client = tick_client()
    local ends = 0
    for _ = 1, 3 do
      client:start("offline_msg_count", { "alice" }, function()
        ends = ends + 1
        client:close()
      end)
    end
    client:close()
    assert.equal(3, ends)
  end)

  it("detaches the loop first, while the descriptor is open", function()
    local pending
    local client = scripted.client { loop = {
      wait = quiet,
      attach = quiet,
      detach = function(c) pending = c.core:pending() end,
    } }
    client:start("offline_msg_count", { "alice" })
    client:close()
    assert.equal(1, pending)
  end)

  it("lets a loop that is detached ask for the descriptor it watched", function()
    for _, threaded in ipairs { false, true } do
      local watched, left
      local client = assert(agora_chat.new {
        base_url = "http://127.0.0.1:1", app_id = "an-app", credentials = { token = "t" }, threaded = threaded,
        loop = {
          wait = quiet,
          attach = function(c) watched = c:fd() end,
          detach = function(c) left = c:fd() end,
        },
      })
      client:close()
      assert.is_true(watched >= 0)
      assert.equal(watched, left)
      local fd, err = client:fd()
      assert.is_nil(fd)
      assert.equal("closed", err.kind)
    end
  end)

  it("is what <close> does", function()
    local meta = getmetatable(scripted.client())
    local client = scripted.client()
    meta.__close(client)
    assert.is_true(client.closed)
  end)
end)

describe("a loop", function()
  it("hears of every call that was submitted, and of a cancel", function()
    local started = {}
    local loop = setmetatable({ started = function(_, call) started[#started + 1] = call.operation end },
      { __index = scripted.loop })
    local client = scripted.client { loop = loop }
    local call = client:start("offline_msg_count", { "alice" })
    client:offline_msg_count "a/b"
    call:cancel()
    assert.same({ "offline_msg_count", "offline_msg_count" }, started)
    client:close()
  end)

  it("is asked before anything is submitted", function()
    local asked = {}
    local client = scripted.client { loop = {
      wait = quiet,
      admit = function(_, call)
        asked[#asked + 1] = call.callback and "callback" or "wait"
        return nil, "not in this phase"
      end,
    } }
    local _, err = client:offline_msg_count "alice"
    assert.same({ "argument", "cannot_wait", "offline_msg_count" }, { err.kind, err.code, err.operation })
    assert.truthy(err.message:find("not in this phase", 1, true))
    local called = false
    _, err = client:start("offline_msg_count", { "alice" }, function() called = true end)
    assert.equal("cannot_wait", err.code)
    _, err = client:batch("offline_msg_count", { "alice" })
    assert.equal("cannot_wait", err.code)
    assert.same({ "wait", "callback", "wait" }, asked)
    assert(client:start("offline_msg_count", { "alice" }))    -- nobody waits: not asked
    assert.equal(3, #asked)
    assert.equal(1, client:stats().accepted)
    client:close()
    assert.is_false(called)
  end)

  it("gets callbacks to spawn, and the client runs each once", function()
    local spawned, called = {}, 0
    local client = scripted.client { loop = {
      wait = quiet,
      spawn = function(_, call) spawned[#spawned + 1] = call end,
    } }
    client:start("offline_msg_count", { "alice" }, function() called = called + 1 end)
    scripted.serve(client)
    client:tick()
    assert.equal(0, called)
    client:call_back(spawned[1])
    client:call_back(spawned[1])
    assert.equal(1, called)
    client:close()
  end)
end)

describe("on_event", function()
  it("hears of every attempt, in tick", function()
    local events = {}
    local times = 0
    local client = tick_client {
      on_event = function(event) events[#events + 1] = event end,
      answer = function(request)
        times = times + 1
        if times == 1 then return { kind = "network", code = "reset" } end
        return scripted.everybody(request)
      end,
    }
    local call = client:start("offline_msg_count", { "alice" })
    assert.equal(0, #events)
    while not call.done do
      serve_and_tick(client)
      client.now_ms = client.now_ms + 500
      client.core:set_now(client.now_ms)
    end
    client:tick()
    assert.equal(2, #events)
    assert.same({ 1, "network", "reset" }, { events[1].attempt, events[1].kind, events[1].code })
    assert.same({ 2, 200 }, { events[2].attempt, events[2].http_status })
    client:close()
  end)

  it("may raise", function()
    local errors = 0
    local client = tick_client { on_event = error, on_error = function() errors = errors + 1 end }
    client:start("offline_msg_count", { "alice" })
    assert.equal(1, serve_and_tick(client))
    assert.equal(1, errors)
    client:close()
  end)
end)

describe("a credentials function", function()
  local function client_with(give, options)
    options = options or {}
    options.credentials = give
    return tick_client(options)
  end

  local function run(client, call)
    for _ = 1, 100 do
      if call.done then break end
      serve_and_tick(client)
      client.now_ms = client.now_ms + 500
      client.core:set_now(client.now_ms)
    end
    return call.result, call.err
  end

  it("is asked when a token is wanted, and not before", function()
    local asked = 0
    local seen
    local client = client_with(function() asked = asked + 1; return "token-" .. asked, 3600 end, {
      answer = function(request)
        seen = request.headers.Authorization
        return scripted.everybody(request)
      end,
    })
    assert.equal(0, asked)
    local res = run(client, assert(client:start("offline_msg_count", { "alice" })))
    assert.equal(5, res.count)
    assert.equal("Bearer token-1", seen)
    run(client, assert(client:start("offline_msg_count", { "alice" })))
    assert.equal(1, asked)
    client:close()
  end)

  it("may wait", function()
    if is_puc_51 then return end
    local vault
    local client = client_with(function()
      vault = coroutine.running()
      return coroutine.yield()
    end)
    local call = assert(client:start("offline_msg_count", { "alice" }))
    serve_and_tick(client)
    assert.is_thread(vault)
    assert.is_nil(call.done)
    coroutine.resume(vault, "from-the-vault", 60)
    assert.equal(5, run(client, call).count)
    client:close()
  end)

  it("that gives nothing usable fails calls as unauthorized, without its text", function()
    local reported = 0
    for _, case in ipairs {
      { function() return nil, "the vault is sealed" end, "the vault is sealed" },
      { function() return 5 end, "must return a string, got number" },
      { function() return "s3cret", "3600" end, "ttl_s as a number" },
      { function() return "s3cret\r\nX-Evil: 1" end, "" },
      { function() return "s3cret", -5 end, "ttl_s" },
      { function() error "s3cret" end, "raised" },
    } do
      local client = client_with(case[1], { on_error = function() reported = reported + 1 end })
      local res, err = run(client, assert(client:start("offline_msg_count", { "alice" }, nil, { timeout_ms = 3000 })))
      assert.is_nil(res)
      assert.equal("unauthorized", err.kind)
      assert.truthy(err.message:find(case[2], 1, true), err.message)
      assert.is_nil(err.message:find("s3cret", 1, true), err.message)
      client:close()
    end
    assert.is_true(reported >= 1)
  end)

  it("may close the client", function()
    local client
    client = client_with(function() client:close() end)
    local err
    client:start("offline_msg_count", { "alice" }, function(_, e) err = e end)
    serve_and_tick(client)
    client:tick()
    assert.equal("closed", err.kind)
  end)
end)

describe("set_token", function()
  it("is what is sent from then on", function()
    local seen
    local client = scripted.client { answer = function(request)
      seen = request.headers.Authorization
      return scripted.everybody(request)
    end }
    assert.is_true(client:set_token("another", 60))
    client:offline_msg_count "alice"
    assert.equal("Bearer another", seen)
    local ok, err = client:set_token "with space"
    assert.is_nil(ok)
    assert.equal("argument", err.kind)
    assert.has_error(function() client:set_token(5) end)
    assert.has_error(function() client:set_token("t", "60") end)
    client:close()
  end)
end)

describe("stats", function()
  it("add up at every moment", function()
    local client = tick_client()
    local function check()
      local s = client:stats()
      assert.equal(s.accepted, s.ok + s.failed + s.cancelled + s.in_flight + s.queued)
    end
    local calls = {}
    for i = 1, 50 do
      calls[i] = client:start("offline_msg_count", { "alice" })
      check()
      if i % 5 == 0 then calls[i - 2]:cancel() end
      if i % 7 == 0 then scripted.serve(client, 3) end
      if i % 3 == 0 then client:tick() end
      check()
    end
    serve_and_tick(client)
    check()
    client:close()
  end)
end)
