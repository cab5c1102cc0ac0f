local emulator = require "spec.emulator.client"
local load = require "spec.nginx.load"
local server = require "spec.nginx.server"
local upstream = require "spec.nginx.upstream"
local world = require "spec.nginx.world"

local function many(target, count)
  local targets = {}
  for i = 1, count do targets[i] = target end
  return targets
end

local function all_gone(pids)
  for _, pid in ipairs(pids) do
    if server.alive(pid) then return false end
  end
  return true
end

describe("reload under load", function()
  it("loses no request, and leaves nothing behind", function()
    local up = upstream.start { delay_ms = 10 }
    local w = world.start { url = up.url, workers = 2, client = "max_in_flight = 128," }
    finally(function() w:stop() up:stop() end)
    w:get "/count?user=alice"
    local master = server.holdings(w.pid)
    local actions, pids = {}, {}
    for i = 1, 10 do
      actions[i] = { 0.3 * i, function()
        for _, pid in ipairs(w:workers()) do pids[#pids + 1] = pid end
        w:reload()
      end }
    end
    local done = load.run { port = w.port, target = "/count?user=alice", per_s = 400, seconds = 4, at = actions }
    assert.same({}, done.bad)
    assert.equal(1600, done.sent)
    assert.is_true(server.eventually(5, function() return #w:workers() == 2 end))
    local now = w:workers()
    for i = #pids, 1, -1 do
      if pids[i] == now[1] or pids[i] == now[2] then table.remove(pids, i) end
    end
    assert.is_true(#pids >= 10 and all_gone(pids))
    local after = server.holdings(w.pid)
    assert.equal(1, after.threads)
    assert.is_true(after.descriptors <= master.descriptors + 2)
    for _, pid in ipairs(now) do assert.is_true(server.holdings(pid).threads <= 2) end
    assert.equal("", w:log())
  end)
end)

describe("the end of a worker", function()
  local function busy(delay_ms, client)
    local up = upstream.start { delay_ms = delay_ms }
    local w = world.start { url = up.url, client = client }
    finally(function() w:stop() up:stop() end)
    return w
  end

  it("quit answers all that are under way", function()
    local w = busy(300, "max_in_flight = 64,")
    local workers = w:workers()
    local connections = w:ask_all(many("/count?user=alice", 60))
    assert.is_true(server.eventually(5, function() return w:facts().accepted == 60 end))
    local took = w:leave("QUIT", 5)
    for _, answer in ipairs(server.answers(connections)) do assert.same({ 200, "3\n" }, answer) end
    assert.is_true(took and took < 2)
    assert.is_true(all_gone(workers))
  end)

  it("stop does not wait for them", function()
    local w = busy(3000, "max_in_flight = 64,")
    local workers = w:workers()
    local connections = w:ask_all(many("/count?user=alice", 60))
    assert.is_true(server.eventually(5, function() return w:facts().accepted == 60 end))
    local took = w:leave("TERM", 5)
    server.abort(connections)
    assert.is_true(took and took < 1.5)
    assert.is_true(all_gone(workers))
  end)

  it("killed, its requests are lost and the next worker serves", function()
    local w = busy(300)
    local connections = w:ask_all(many("/count?user=alice", 5))
    local pid = w:workers()[1]
    os.execute("sleep 0.1; kill -KILL " .. pid)
    for _, answer in ipairs(server.answers(connections)) do assert.is_nil(answer[1]) end
    assert.is_true(server.eventually(5, function() return w:workers()[1] and w:workers()[1] ~= pid end))
    assert.same({ 200, "3\n" }, { w:get "/count?user=alice" })
  end)

  it("idle, it leaves at once", function()
    local w = busy(0)
    w:get "/count?user=alice"
    local took = w:leave("QUIT", 5)
    assert.is_true(took and took < 1.5)
  end)

  -- What hangs: { name, how a world for it is started }.
  local function silent()
    local w = world.start { client = "timeout_ms = 2000, max_attempts = 1," }
    w.emulator:silent(20000)
    return w
  end
  local function hanging_lookup()
    return world.start {
      url = "http://hang.example:1", client = "allow_http = true, timeout_ms = 2000, max_attempts = 1,",
      env = "HANGING_LOOKUP_MS=20000 LD_PRELOAD=$PWD/build/hanging_lookup.so",
    }
  end

  for name, start in pairs { ["a transfer that hangs"] = silent, ["a name lookup that hangs"] = hanging_lookup } do
    it("quit waits for " .. name .. ", but not beyond its deadline", function()
      local w = start()
      finally(function() w:stop() end)
      local workers = w:workers()
      local connections = w:ask_all { "/count?user=alice" }
      assert.is_true(server.eventually(5, function() return w:facts().accepted == 1 end))
      local took = w:leave("QUIT", 10)
      local answer = server.answers(connections)[1]
      assert.equal(502, answer[1])
      assert.matches("^timeout", answer[2])
      assert.is_true(took and took > 1 and took < 5)
      assert.is_true(all_gone(workers))
    end)

    it("stop does not wait for " .. name, function()
      local w = start()
      finally(function() w:stop() end)
      local workers = w:workers()
      local connections = w:ask_all { "/count?user=alice" }
      assert.is_true(server.eventually(5, function() return w:facts().accepted == 1 end))
      local took = w:leave("TERM", 10)
      server.abort(connections)
      assert.is_true(took and took < 1.5)
      assert.is_true(all_gone(workers))
    end)
  end

  it("quit while a call with a callback is under way calls it back", function()
    local w = world.start {
      locations = [[
        location = /start { content_by_lua_block {
          assert(chat:start("offline_msg_count", { "alice" }, function(res)
            ngx.log(ngx.WARN, "called back with ", res and res.count)
          end))
          ngx.say "x"
        } }
      ]],
    }
    finally(function() w:stop() end)
    w.emulator:set { latency_ms = 300 }
    w:get "/start"
    assert.is_truthy(w:leave("QUIT", 5))
    assert.matches("called back with 2", w:log())
  end)
end)

describe("nginx as a daemon", function()
  it("has a client in its worker", function()
    local w = world.start { daemon = true }
    finally(function() w:stop() end)
    assert.same({ 200, "2\n" }, { w:get "/count?user=alice" })
  end)
end)

describe("a client for each request (lua_code_cache off)", function()
  for _, how in ipairs { "closed", "left to the collector" } do
    it(how .. " leaves no thread, descriptor or memory behind", function()
      local e = emulator.start()
      local w = server.start {
        http = "lua_code_cache off;", log_level = "crit",
        locations = ([[
          location = /own { content_by_lua_block {
            local client = assert(require("agora_chat").new { base_url = %q, app_id = %q,
              credentials = { token = "t" }, loop = require "agora_chat.loop.resty" })
            local res, err = client:offline_msg_count "alice"
            if ngx.var.arg_close then client:close() end
            ngx.say(res and res.count or tostring(err))
          } }
        ]]):format(e.url, world.APP_ID),
      }
      finally(function() w:stop() e:stop() end)
      local target = "/own" .. (how == "closed" and "?close=1" or "")
      local function ask(count)
        for _ = 1, count do assert.same({ 200, "2\n" }, { w:get(target) }) end
      end
      ask(50)
      local pid = w:workers()[1]
      local before = server.holdings(pid)
      ask(300)
      assert.is_true(server.eventually(3, function() return server.holdings(pid).threads <= before.threads end))
      local after = server.holdings(pid)
      assert.is_true(after.descriptors <= before.descriptors + 1)
      assert.is_true(after.rss_kb - before.rss_kb < 3000)
    end)
  end
end)
