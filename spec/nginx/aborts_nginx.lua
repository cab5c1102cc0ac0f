local load = require "spec.nginx.load"
local server = require "spec.nginx.server"
local upstream = require "spec.nginx.upstream"
local world = require "spec.nginx.world"

local function many(target, count)
  local targets = {}
  for i = 1, count do targets[i] = target end
  return targets
end

local function wait(seconds)
  os.execute("sleep " .. seconds)
end

-- Other requests, which get what the dead light threads had.
local OTHERS = [[
  location = /other { content_by_lua_block {
    local a, b, c, d, e = 1, "two", {}, false, function() end
    ngx.sleep(0.001)
    assert(a == 1 and b == "two" and type(c) == "table" and d == false and type(e) == "function")
    ngx.say "x"
  } }
  location = /collect { content_by_lua_block { collectgarbage() collectgarbage() ngx.say "x" } }
]]

describe("1,000 clients that leave beside 100 calls/s", function()
  for _, check in ipairs { "on", "off" } do
    for _, collecting in ipairs { false, true } do
      it(("hurt nobody and leave nothing behind (lua_check_client_abort %s%s)"):format(check,
        collecting and ", with garbage collections in between" or ""), function()
        local up = upstream.start { delay_ms = 300 }
        local w = world.start {
          url = up.url, server = ("lua_check_client_abort %s;"):format(check),
          client = "max_in_flight = 256,", locations = OTHERS,
        }
        finally(function() w:stop() up:stop() end)
        local actions = {}
        for i = 1, 4 do
          local left
          actions[#actions + 1] = { 0.4 * i, function() left = w:ask_all(many("/count?user=bob", 250)) end }
          actions[#actions + 1] = { 0.4 * i + 0.1, function() server.abort(left) end }
          if collecting then
            actions[#actions + 1] = { 0.4 * i + 0.15, function()
              w:get "/collect"
              for _ = 1, 8 do w:get "/other" end
              w:get "/collect"
            end }
          end
        end
        local done = load.run { port = w.port, target = "/count?user=alice", per_s = 100, seconds = 3, at = actions }
        assert.same({}, done.bad)
        assert.equal(300, done.sent)
        assert.is_true(server.eventually(10, function()
          w:get "/count?user=alice"
          local facts = w:facts()
          return facts.calls == 0 and facts.pending == 0
        end))
        assert.equal("", w:log())
      end)
    end
  end
end)

describe("calls whose client has left", function()
  it("give up their place, so that others do not queue behind them", function()
    local w = world.start { server = "lua_check_client_abort on;", client = "max_in_flight = 4,", locations = [[
      location = /soon { content_by_lua_block { inside.say(chat:offline_msg_count("alice", { timeout_ms = 3000 })) } }
    ]] }
    finally(function() w:stop() end)
    local left = w:ask_all(many("/count?user=f.E04.8000", 40))     -- 8 s each: 80 s of work
    assert.is_true(server.eventually(5, function() return w:facts().accepted == 40 end))
    server.abort(left)
    assert.same({ 200, "2\n" }, { w:get "/soon" })
    assert.is_true(server.eventually(5, function()
      w:get "/count?user=alice"
      return w:facts().calls == 0
    end))
  end)

  it("are not given up while somebody may still ask for them", function()
    local w = world.start { locations = [[
      location = /start { content_by_lua_block {
        local call = chat:start("offline_msg_count", { "alice" })
        inside.call = call
        ngx.thread.kill(ngx.thread.spawn(call.wait, call))
        ngx.say "x"
      } }
      location = /finish { content_by_lua_block { inside.say(inside.call:wait()) } }
    ]] }
    finally(function() w:stop() end)
    w.emulator:set { latency_ms = 1500 }
    w:get "/start"
    assert.equal(200, (w:get "/count?user=bob"))                   -- looks all the while
    assert.same({ 200, "2\n" }, { w:get "/finish" })
  end)
end)

describe("a light thread that is ended from outside", function()
  it("holds up nobody who waits beside it", function()
    local w = world.start { locations = [[
      location = /killed { content_by_lua_block {
        local one = ngx.thread.spawn(chat.offline_msg_count, chat, "bob")
        local two = ngx.thread.spawn(chat.offline_msg_count, chat, "alice")
        ngx.sleep(0.02)
        ngx.thread.kill(one)
        local _, res, err = ngx.thread.wait(two)
        inside.say(res, err)
      } }
      location = /exit { content_by_lua_block {
        ngx.thread.spawn(chat.offline_msg_count, chat, "bob")
        ngx.sleep(0.02)
        ngx.exit(200)
      } }
      location = /any { content_by_lua_block {
        local slow = ngx.thread.spawn(chat.offline_msg_count, chat, "f.E04.3000")
        local quick = ngx.thread.spawn(chat.offline_msg_count, chat, "alice")
        local _, res, err = ngx.thread.wait(slow, quick)
        ngx.thread.kill(slow)
        inside.say(res, err)
      } }
    ]] }
    finally(function() w:stop() end)
    w.emulator:set { latency_ms = 100 }
    for _ = 1, 10 do
      assert.same({ 200, "2\n" }, { w:get "/killed" })
      assert.equal(200, (w:get "/exit"))
      assert.same({ 200, "2\n" }, { w:get "/any" })
    end
    assert.is_true(server.eventually(5, function()
      w:get "/count?user=alice"
      return w:facts().calls == 0
    end))
    assert.equal("", w:log())
  end)
end)

describe("1,000 waiters at once", function()
  it("all get their answer, and others theirs meanwhile", function()
    local up = upstream.start { delay_ms = 300 }
    local w = world.start {
      url = up.url, client = "max_in_flight = 128,",
      locations = [[
        location = /crowd { content_by_lua_block {
          local threads, sum = {}, 0
          for i = 1, 1000 do threads[i] = ngx.thread.spawn(chat.offline_msg_count, chat, "u" .. i) end
          for i = 1, 1000 do
            local _, res, err = ngx.thread.wait(threads[i])
            if not res then return inside.say(res, err) end
            sum = sum + res.count
          end
          ngx.say(sum)
        } }
      ]],
    }
    finally(function() w:stop() up:stop() end)
    local connections = w:ask_all { "/crowd" }
    wait(0.2)
    for _ = 1, 20 do assert.same({ 200, "pong\n" }, { w:get "/ping" }) end
    assert.is_true(w:facts().calls > 0)                            -- and they still wait
    assert.same({ { 200, "3000\n" } }, server.answers(connections))
    assert.equal("", w:log())
  end)
end)

describe("a service that is down", function()
  it("gives errors, not stalls", function()
    local w = world.start { url = "http://127.0.0.1:1" }
    finally(function() w:stop() end)
    local done = load.run { port = w.port, per_s = 100, seconds = 3,
      target = function(number) return number % 2 == 0 and "/ping" or "/count?user=alice" end }
    assert.equal(150, #done.ms)                                    -- every /ping
    assert.is_true(load.quantile(done.ms, 0.9) < 200)
    assert.equal(150, #done.bad)
    for _, why in ipairs(done.bad) do
      local kind = why:match("\r\n\r\n%x*\r?\n?(%a+)/")
      assert.is_truthy(kind == "network" or kind == "unavailable" or kind == "timeout", why)
    end
  end)
end)
