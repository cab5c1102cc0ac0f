local server = require "spec.nginx.server"
local world = require "spec.nginx.world"

local SAID = [[
  location = /said { content_by_lua_block { ngx.say(table.concat(inside.said, "\n")) } }
]]

local function said(w)
  local _, body = w:get "/said"
  return (body:gsub("\n$", ""))
end

local function eventually_said(w, pattern)
  return server.eventually(5, function() return said(w):find(pattern) ~= nil end)
end

describe("start with a callback", function()
  local w

  setup(function()
    w = world.start {
      client = "on_error = function(value) inside.note('raised', tostring(value)) end,",
      locations = SAID .. [[
        location = /log {
          content_by_lua_block { ngx.say "x" }
          log_by_lua_block {
            local call, err = chat:start("offline_msg_count", { "alice" }, function(res, err, data)
              inside.note("called", res and res.count or err.kind, ngx.get_phase(), data)
            end, { data = "a-word" })
            if not call then inside.note("refused", tostring(err)) end
          }
        }
        location = /bad { content_by_lua_block {
          local words = {
            raise = function() error "a-raise" end,
            exit = function() ngx.exit(500) end,
            sleep = function() ngx.sleep(0.5) inside.note "slept" end,
            good = function() inside.note "good" end,
            wait = function()
              local res = chat:offline_msg_count "alice"
              inside.note("waited", res and res.count)
            end,
          }
          for word in ngx.var.arg_do:gmatch("%a+") do
            assert(chat:start("offline_msg_count", { "alice" }, words[word]))
          end
          ngx.say "x"
        } }
        location = /clear { content_by_lua_block { inside.said = {} ngx.say "x" } }
        location = /many { content_by_lua_block {
          inside.called = 0
          for _ = 1, 3000 do
            assert(chat:start("offline_msg_count", { "alice" }, function() inside.called = inside.called + 1 end))
          end
          ngx.say "x"
        } }
        location = /called { content_by_lua_block { ngx.say(inside.called) } }
        location = /start_and_close { content_by_lua_block {
          local other = assert(new_client())
          assert(other:start("offline_msg_count", { "alice" }, function(res, err)
            inside.note("closing", tostring(res), err.kind, ngx.get_phase())
          end))
          other:close()
          ngx.say "x"
        } }
      ]],
    }
  end)
  before_each(function() w:get "/clear" end)
  teardown(function() w:stop() end)

  it("works in log_by_lua: once, in a timer", function()
    assert.equal(200, (w:get "/log"))
    assert.is_true(eventually_said(w, "called"))
    w:get "/count?user=alice"
    os.execute("sleep 0.1")
    assert.equal("called 2 timer a-word", said(w))
    local facts = w:facts()
    assert.equal(0, facts.expected + facts.handed + facts.courier + facts.calls)
  end)

  it("one that raises touches nobody else", function()
    w:get "/bad?do=raise,good"
    assert.is_true(eventually_said(w, "good"))
    assert.is_true(eventually_said(w, "raised .*a%-raise"))
  end)

  it("one that ends its request touches nobody else", function()
    w:get "/bad?do=exit,good,exit,good"
    assert.is_true(eventually_said(w, "good\ngood"))
    assert.same({ 200, "2\n" }, { w:get "/count?user=alice" })
  end)

  it("one that sleeps holds up nobody else", function()
    w:get "/bad?do=sleep,good"
    assert.same({ 200, "2\n" }, { w:get "/count?user=alice" })
    assert.is_true(eventually_said(w, "slept"))
    assert.equal("good\nslept", said(w))
  end)

  it("one may wait itself", function()
    w:get "/bad?do=wait"
    assert.is_true(eventually_said(w, "waited 2"))
  end)

  it("comes for many more calls than nginx has timers", function()
    w:get "/many"
    assert.is_true(server.eventually(20, function() return select(2, w:get "/called") == "3000\n" end))
    local facts = w:facts()
    assert.equal(0, facts.expected + facts.handed + facts.calls)
  end)

  it("comes with kind closed when the client is closed", function()
    w:get "/start_and_close"
    assert.is_true(eventually_said(w, "closing nil closed timer"))
  end)
end)

describe("when nginx has no timer to give", function()
  local HOG = [[
    location = /hog { content_by_lua_block {
      ngx.timer.at(0, function() while not inside.released do ngx.sleep(0.01) end end)
      ngx.sleep(0.05)
      if ngx.var.arg_pending then ngx.timer.at(1000, function() end) end
      ngx.say "x"
    } }
    location = /release { content_by_lua_block { inside.released = true ngx.say "x" } }
    location = /start { content_by_lua_block {
      local call, err = chat:start("offline_msg_count", { ngx.var.arg_user or "alice" }, function(res)
        inside.note("called", res and res.count)
      end)
      ngx.say(call and "started" or err.kind .. "/" .. err.code .. " " .. tostring(err))
    } }
  ]]

  it("a refused one (lua_max_pending_timers) is said by start, nothing is sent; waiting works", function()
    local w = world.start {
      http = "lua_max_pending_timers 1; lua_max_running_timers 1;", locations = SAID .. HOG, log_level = "crit",
    }
    finally(function() w:stop() end)
    w:get "/hog?pending=1"
    assert.matches("^argument/cannot_wait .*too many pending timers", select(2, w:get "/start"))
    assert.equal(0, #w.emulator:log())
    for _ = 1, 20 do assert.same({ 200, "2\n" }, { w:get "/count?user=alice" }) end
    assert.equal(0, w:facts().pending)
  end)

  it("a dropped one (lua_max_running_timers) is asked for again; waiting works", function()
    local w = world.start { http = "lua_max_running_timers 1;", locations = SAID .. HOG, log_level = "crit" }
    finally(function() w:stop() end)
    w:get "/hog"
    assert.equal("started\n", select(2, w:get "/start"))
    for _ = 1, 20 do assert.same({ 200, "2\n" }, { w:get "/count?user=alice" }) end
    assert.equal("", said(w))
    assert.matches("lua_max_running_timers are not enough", w:log())
    w:get "/release"
    assert.is_true(server.eventually(5, function()
      w:get "/count?user=alice"                     -- somebody has to look
      return said(w):find "called 2" ~= nil
    end))
    assert.equal("called 2", said(w))
  end)
end)

describe("a courier that nginx dropped", function()
  it("is asked for again by whoever looks, and then needs nobody", function()
    local w = world.start { http = "lua_max_running_timers 1;", log_level = "crit", locations = SAID .. [[
      location = /hog_and_start { content_by_lua_block {
        ngx.timer.at(0, function() ngx.sleep(0.3) end)
        ngx.sleep(0.05)
        chat:start("offline_msg_count", { "f.E04.3000" }, function(res) inside.note("called", res and res.count) end)
        ngx.say "x"
      } }
    ]] }
    finally(function() w:stop() end)
    w:get "/hog_and_start"
    os.execute("sleep 1.2")
    assert.matches("lua_max_running_timers are not enough", w:log())
    w:get "/count?user=alice"
    assert.equal("", said(w))
    assert.is_true(eventually_said(w, "called 7"))
  end)
end)

describe("a credentials function", function()
  local function start(provider)
    return world.start {
      client = ("credentials = %s,"):format(provider),
      locations = SAID,
      emulator = { tokens = { "good-token" }, settings = { auth = "list" } },
    }
  end

  it("runs in a timer, where it may wait", function()
    local w = start [[function()
      inside.note("asked", ngx.get_phase())
      ngx.sleep(0.05)
      return "good-token", 3600
    end]]
    finally(function() w:stop() end)
    for _ = 1, 3 do assert.same({ 200, "2\n" }, { w:get "/count?user=alice" }) end
    assert.equal("asked timer", said(w))
  end)

  it("that raises makes calls fail with kind unauthorized", function()
    local w = start [[function() error "no-token-today" end]]
    finally(function() w:stop() end)
    assert.matches("^unauthorized", select(2, w:get "/count?user=alice"))
  end)

  it("that ends its light thread holds calls up no longer than their deadline", function()
    local w = start [[function() ngx.exit(500) end, timeout_ms = 500]]
    finally(function() w:stop() end)
    assert.matches("^timeout", select(2, w:get "/count?user=alice"))
    assert.equal(0, w:facts().pending)
  end)
end)

describe("on_event", function()
  it("runs in a timer", function()
    local w = world.start {
      client = "on_event = function(event) inside.note(event.operation, event.attempt, ngx.get_phase()) end,",
      locations = SAID,
    }
    finally(function() w:stop() end)
    assert.equal(200, (w:get "/count?user=alice"))
    assert.is_true(eventually_said(w, "offline_msg_count 1 timer"))
  end)
end)

describe("variables of a light thread that was ended from outside", function()
  -- ngx_lua gives them to the next request (lua-nginx-module issue 2312): a
  -- callback takes what it needs as `data`.
  it("do not matter to a callback that gets its data handed over", function()
    local w = world.start { locations = SAID .. [[
      location = /ended { content_by_lua_block {
        chat:start("offline_msg_count", { "alice" }, function(res, _, data)
          inside.note("called", res and res.count, data)
        end, { data = "mine" })
        ngx.exit(200)
      } }
      location = /other { content_by_lua_block { local mine = "not mine" ngx.sleep(0.01) ngx.say(mine) } }
    ]] }
    finally(function() w:stop() end)
    w.emulator:set { latency_ms = 100 }
    w:get "/ended"
    for _ = 1, 8 do w:get "/other" end
    assert.is_true(eventually_said(w, "called"))
    assert.equal("called 2 mine", said(w))
  end)
end)
