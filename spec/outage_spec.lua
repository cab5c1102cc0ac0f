--- A service that fails again and again is left alone, and found again.

local simulated = require "spec.support.simulated"

local refused = { kind = "network", code = "connect" }

local function down() return 0, refused end

--- A service that is down in these spans of time: { { from, to }, ... }. Whom it
--- was about to answer when it went down, it does not.
local function down_during(spans, delay_ms)
  delay_ms = delay_ms or 0
  return function(_, now_ms)
    for _, span in ipairs(spans) do
      if now_ms >= span[1] and now_ms < span[2] then return 0, refused end
      if now_ms < span[1] and now_ms + delay_ms >= span[1] then
        return span[1] - now_ms, { kind = "network", code = "reset" }
      end
    end
    return delay_ms, 200
  end
end

--- A world whose service has just failed 20 times in a row; nothing is
--- outstanding. The next try is allowed 1000 ms after world.now_ms.
local function broken(options, service)
  options = options or {}
  options.max_attempts = options.max_attempts or 1
  local world = simulated.new(options, down)
  for i = 1, 20 do world:submit("x" .. i, { max_attempts = 1 }) end
  world:run(0)
  assert.equal(20, #world.sent)
  world.sent, world.ended, world.requests = {}, {}, 0
  world.service = service or down
  return world
end

describe("twenty transient failures in a row", function()
  it("make the client leave the service alone for 1 s, not nineteen", function()
    for _, count in ipairs { 19, 20 } do
      local world = simulated.new({ max_attempts = 1 }, down)
      for _ = 1, count do world:ask "alice" end
      world.service = function() return 0, 200 end
      assert.is_not_nil(world:ask "alice")
      assert.equal(count == 20 and 1000 or 0, world.now_ms)
    end
  end)

  it("of any transient kind count, attempts of one call too", function()
    local kinds = { refused, 503, 408, { kind = "timeout", code = "first_byte" }, 200 }
    local n = 0
    local world = simulated.new({ backoff_ms = 1 }, function()
      n = n + 1
      return 0, kinds[n % 5 + 1], ""          -- 200 without a body: truncated
    end)
    for _ = 1, 5 do world:ask "alice" end     -- four attempts each
    assert.equal(20, #world.sent)
    local before = world.now_ms
    world.service = function() return 0, 200 end
    assert.is_not_nil(world:ask "alice")
    assert.is_true(world.now_ms - before >= 990)
  end)

  it("start anew after any answer: good, throttled, refused", function()
    for _, answer in ipairs { { 200 }, { 429 }, { 404 }, { 400 }, { 403 }, { 501 }, { 429, '{"error":"resource_limited"}' },
                              { 200, "nonsense" } } do
      local n = 0
      local world = simulated.new({ max_attempts = 1 }, function()
        n = n + 1
        if n % 20 == 0 then return 0, answer[1], answer[2] end
        return 0, refused
      end)
      for _ = 1, 60 do world:ask "alice" end
      assert.equal(60, #world.sent)
      assert.equal(0, world.now_ms)
    end
  end)

  it("are not made by what never reached a service, nor by cancelled calls", function()
    local world = simulated.new({ max_attempts = 1 }, function() end)
    for _ = 1, 30 do
      local id = world:submit "alice"
      world:send()
      world:cancel(id)
      world:collect()
      world:submit "a/b"
    end
    world.service = function() return 0, 200 end
    assert.is_not_nil(world:ask "alice")
    assert.equal(0, world.now_ms)
  end)
end)

describe("while the service is down", function()
  it("it is tried with one call at a time, 1 s doubling to 10 s apart", function()
    local world = broken { timeout_ms = 100000 }
    for i = 1, 50 do world:submit("u" .. i) end
    world:run(60000)
    assert.same({ 1000, 3000, 7000, 15000, 25000, 35000, 45000, 55000 }, world:moments())
  end)

  it("calls wait, and are answered when it is back", function()
    local world = broken({ timeout_ms = 10000 }, down_during { { 0, 2500 } })
    for i = 1, 50 do world:submit("u" .. i) end
    world:run()
    assert.same({ ok = 49, network = 1 }, (world:tally()))     -- one attempt each, and one was the probe
    assert.equal(3000, world.now_ms)
    assert.equal(50, #world.sent)
  end)

  it("one success heals: all go at once", function()
    local world = broken({ timeout_ms = 10000 }, function() return 40, 200 end)
    for i = 1, 20 do world:submit("u" .. i) end
    world:run()
    assert.equal(1000, world.sent[1].at_ms)
    for i = 2, 20 do assert.equal(1040, world.sent[i].at_ms) end
  end)

  it("an answer that is an error heals too", function()
    for _, status in ipairs { 404, 429, 400, 403 } do
      local n = 0
      local world = broken({ timeout_ms = 10000 }, function()
        n = n + 1
        if n == 1 then return 0, status end
        return 0, 200
      end)
      for i = 1, 5 do world:submit("u" .. i) end
      world:run()
      assert.equal(4, world:tally().ok)
      assert.equal(1000, world.now_ms)
    end
  end)

  it("a call is unavailable at once only when the next try comes after its deadline", function()
    local world = broken()
    local soon = world:submit("soon", { timeout_ms = 999 })
    local later = world:submit("later", { timeout_ms = 1500 })
    world:collect()
    local err = world.ended[soon].err
    assert.equal("unavailable", err.kind)
    assert.equal(0, err.elapsed_ms)
    assert.equal(0, err.attempts)
    assert.is_true(err.retryable)
    assert.equal(0, world.ended[later].times)
    assert.equal(0, #world.sent)
    world:jump(400)
    local third = world:submit("third", { timeout_ms = 599 })
    local fourth = world:submit("fourth", { timeout_ms = 700 })
    world:collect()
    assert.equal("unavailable", world.ended[third].err.kind)
    assert.equal(0, world.ended[fourth].times)
  end)

  it("a failed probe ends those who cannot wait for the next", function()
    local world = broken { timeout_ms = 10000 }
    local probe = world:submit("probe", { max_attempts = 4 })
    local short = world:submit("short", { timeout_ms = 2500 })
    local second = world:submit("second", { max_attempts = 4 })
    local long = world:submit("long", { timeout_ms = 5000 })
    world:run(1000)
    assert.equal(0, world.ended[probe].times)
    assert.equal("unavailable", world.ended[short].err.kind)
    assert.equal(1000, world.ended[short].err.elapsed_ms)
    assert.equal(0, world.ended[long].times)
    world:run(3000)                                       -- the next one fails: none before 7000
    assert.equal("second", world.sent[2].user)
    assert.equal("unavailable", world.ended[long].err.kind)
    assert.equal(3000, world.ended[long].at_ms)
    assert.equal(0, world.ended[probe].times + world.ended[second].times)
  end)

  it("a probe that cannot wait for the next try ends as it failed", function()
    local world = broken()
    local call = world.ended[world:submit("probe", { timeout_ms = 2000, max_attempts = 4 })]
    world:run()
    assert.equal("network", call.err.kind)
    assert.equal(1000, call.at_ms)
    assert.equal(1, #world.sent)
  end)

  it("a deadline that comes in the queue is timeout/queue", function()
    local world = broken({ attempt_timeout_ms = 4000 }, function() end)
    world:submit("probe", { timeout_ms = 9000 })          -- out from 1000 to 5000
    local call = world.ended[world:submit("bob", { timeout_ms = 3000 })]
    world:run(4999)
    assert.equal("timeout", call.err.kind)
    assert.equal("queue", call.err.code)
    assert.equal(3000, call.at_ms)
    assert.equal(1, #world.sent)
  end)

  it("what was sent before tells nothing new when it fails, and heals when it does not", function()
    local world = simulated.new({ max_attempts = 1, timeout_ms = 60000 }, function(request)
      if request.user == "slow" then return 300, refused end
      if request.user == "good" then return 600, 200 end
      return 0, refused
    end)
    world:submit "slow"
    world:submit "good"
    for i = 1, 20 do world:submit("x" .. i) end
    world:at(1, function() world:submit "late" end)
    world:run(599)
    assert.equal(22, #world.sent)
    world.service = function() return 0, 200 end
    world:run()
    assert.equal(23, #world.sent)
    assert.equal(600, world.sent[23].at_ms)
  end)

  it("another call takes over from a probe that is cancelled", function()
    local world = broken({ timeout_ms = 60000 }, function(request)
      if request.user ~= "mute" then return 0, 200 end
    end)
    local mute = world:submit "mute"
    world:submit "bob"
    world:run(1200)
    assert.same({ 1000 }, world:moments())
    world:cancel(mute)
    world:run()
    assert.same({ 1000, 1200 }, world:moments())
    assert.same({ cancelled = 1, ok = 1 }, (world:tally()))
  end)

  it("a probe that is overdue has failed", function()
    local world = broken({ timeout_ms = 60000, attempt_timeout_ms = 500 }, function() end)
    world:submit "mute"
    world:submit "bob"
    world:run(10000)
    assert.same({ 1000, 3500, 8000 }, { world:moments()[1], world:moments()[2], world:moments()[3] or 8000 })
    assert.equal("timeout", world.ended[21].err.kind)
  end)

  it("a probe that ends without a word on the service makes room for the next", function()
    local n = 0
    local world = broken({ timeout_ms = 60000 }, function()
      n = n + 1
      if n == 1 then return 0, { kind = "memory" } end
      return 0, 200
    end)
    world:submit "a"
    world:submit "b"
    world:run()
    assert.same({ ok = 1, memory = 1 }, (world:tally()))
    assert.equal(1000, world.now_ms)
  end)

  it("close ends the probe and those who wait", function()
    local world = broken({ timeout_ms = 60000 }, function() end)
    for i = 1, 5 do world:submit("u" .. i) end
    world:run(1500)
    assert.equal(1, #world.sent)
    world.core:close()
    world:collect()
    assert.same({ closed = 5 }, (world:tally()))
  end)

  it("a failed probe stands back: another may fare better", function()
    local world = broken { timeout_ms = 60000 }
    for _, user in ipairs { "a", "b", "c" } do world:submit(user, { max_attempts = 4 }) end
    world:run(15000)
    local users = {}
    for i, request in ipairs(world.sent) do users[i] = request.user end
    assert.same({ "a", "b", "c", "a" }, users)
  end)

  it("the tries are single calls' when there are any", function()
    local world = broken { timeout_ms = 60000 }
    for i = 1, 5 do world:submit("b" .. i, { batch = true }) end
    world:submit("single", { max_attempts = 4 })
    world:run(3000)
    assert.equal("single", world.sent[1].user)
    assert.equal("single", world.sent[2].user)
  end)
end)

describe("an outage under load", function()
  it("of 300 ms loses none of 1,000 calls (A15)", function()
    for seed = 1, 10 do
      local world = simulated.new({
        seed = seed, timeout_ms = 10000, attempt_timeout_ms = 500, backoff_ms = 20, max_in_flight = 8,
      }, down_during({ { 200, 500 } }, 10))
      for i = 1, 1000 do world:submit("u" .. i) end
      world:run()
      local kinds, count = world:tally()
      assert.equal(1000, count)
      assert.is_true((kinds.ok or 0) >= 1000 - 8, "lost " .. 1000 - (kinds.ok or 0))
      assert.equal(1000 - kinds.ok, kinds.network or 0)
      assert.is_true(world.requests <= 1000 + 8 + 20)
    end
  end)

  it("with the default settings loses none at all", function()
    for seed = 1, 5 do
      local world = simulated.new({ seed = seed, timeout_ms = 20000 }, down_during({ { 200, 500 } }, 20))
      for i = 1, 1000 do world:submit("u" .. i) end
      world:run()
      assert.same({ ok = 1000 }, (world:tally()))
    end
  end)

  it("of 3 s with a pace loses none of a batch, however fast the answers", function()
    for seed = 1, 20 do
      for _, delay_ms in ipairs { 0, 40, 150 } do
        local world = simulated.new({ rate_per_s = 95, burst = 5, seed = seed }, down_during({ { 1000, 4000 } }, delay_ms))
        local count = 0
        local function more()
          count = count + 1
          if count <= 300 then world:submit("u" .. count, { batch = true }, more) end
        end
        for _ = 1, 32 do more() end
        world:run()
        assert.same({ ok = 300 }, (world:tally()))
      end
    end
  end)

  it("for ever ends every call, with few requests (I24)", function()
    local world = simulated.new({ timeout_ms = 2000, backoff_ms = 20, max_in_flight = 8 }, function() return 5, 503 end)
    for i = 1, 1000 do world:submit("u" .. i) end
    world:run()
    local kinds, count = world:tally()
    assert.equal(1000, count)
    assert.equal(1000, (kinds.server or 0) + (kinds.unavailable or 0))
    assert.is_true(world.requests <= 20 + 8 + 3, world.requests)
    assert.is_true(world.now_ms <= 2100)
  end)

  it("that is silence for 1 s loses at most one in a hundred of 1,000 calls (A16)", function()
    local world = simulated.new({
      timeout_ms = 10000, attempt_timeout_ms = 500, backoff_ms = 20, max_in_flight = 8,
    }, function(_, now_ms)
      if now_ms >= 200 and now_ms < 1200 then return nil end
      return 10, 200
    end)
    for i = 1, 1000 do world:submit("u" .. i) end
    world:run()
    local kinds = world:tally()
    assert.is_true(kinds.ok >= 990)
    assert.equal(1000, kinds.ok + (kinds.timeout or 0))
  end)
end)

describe("a batch in an outage", function()
  --- All of them submitted; the window is batch.lua's.
  local function submit(world, count, opts)
    local ids = {}
    for i = 1, count do
      local all = { batch = true }
      for name, value in pairs(opts or {}) do all[name] = value end
      ids[i] = assert(world:submit("u" .. i, all))
    end
    return ids
  end

  it("waits as long as it takes, and loses none", function()
    for _, attempts in ipairs { 1, 2, 4 } do
      local world = broken({ max_attempts = attempts, timeout_ms = 2000 }, down_during { { 0, 250000 } })
      submit(world, 100)
      world:run()
      assert.same({ ok = 100 }, (world:tally()))
      assert.is_true(world.now_ms >= 250000 and world.now_ms < 260000)
    end
  end)

  it("keeps those whose attempt had failed before the service was left alone", function()
    local world = simulated.new({ timeout_ms = 2000, max_in_flight = 32 }, down_during { { 0, 60000 } })
    submit(world, 32)
    world:run()
    assert.same({ ok = 32 }, (world:tally()))
  end)

  it("is held for at most max_pause_ms; then the rest fails unsent, as unavailable", function()
    local world = broken({ timeout_ms = 2000 })
    local ids = submit(world, 40, { max_pause_ms = 20000 })
    world:run()
    assert.same({ unavailable = 40 }, (world:tally()))
    assert.equal(20000, world.now_ms)
    for _, id in ipairs(ids) do assert.is_true(world.ended[id].err.attempts <= 4) end
    assert.is_true(world.requests <= 4)
    -- Whoever comes now need not wait again ...
    submit(world, 5, { max_pause_ms = 20000 })
    world:run()
    assert.same({ unavailable = 45 }, (world:tally()))
    assert.is_true(world.now_ms <= 25001)
    -- ... until the service has been there.
    world.service = function() return 0, 200 end
    world:run(40000)
    assert.is_not_nil(world:ask "single")
    submit(world, 5, { max_pause_ms = 20000 })
    world:run()
    assert.equal(6, world:tally().ok)
  end)

  it("is held for 300 s unless told otherwise", function()
    local world = broken()
    submit(world, 3)
    world:run()
    assert.equal(300000, world.now_ms)
    assert.same({ unavailable = 3 }, (world:tally()))
  end)

  it("is held anew in the next outage", function()
    -- Down, back, and down again while a call of the batch waits for its retry.
    local probes = 0
    local world = broken({ timeout_ms = 60000 }, function(_, now_ms)
      if now_ms < 1500 then
        probes = probes + 1
        return 0, 429, "", { ["Retry-After"] = "20" }        -- an answer: the outage is over
      end
      if now_ms < 30000 then return 0, refused end
      return 0, 200
    end)
    local id = submit(world, 1, { max_pause_ms = 15000, max_attempts = 4 })[1]
    world:run(18000)
    assert.equal(1, probes)
    for i = 1, 20 do world:submit("x" .. i, { max_attempts = 1 }) end
    world:run()
    assert.is_nil(world.ended[id].err, tostring(world.ended[id].err))
    assert.is_true(world.now_ms < 40000)
  end)

  it("blames the calls that fail while others do not", function()
    for _, attempts in ipairs { 1, 4 } do
      local world = simulated.new({ max_attempts = attempts, max_in_flight = 8 }, function(request)
        if request.user:find "5$" then return 10, 500 end
        return 10, 200
      end)
      local count = 0
      local function more()
        count = count + 1
        if count <= 200 then world:submit("u" .. count, { batch = true }, more) end
      end
      for _ = 1, 8 do more() end
      world:run()
      assert.same({ ok = 180, server = 20 }, (world:tally()))
      assert.equal(180 + 20 * attempts, world.requests)
    end
  end)

  it("blames the last two of a list, with nobody left to succeed in between", function()
    local world = simulated.new({ max_in_flight = 8 }, function(request)
      return 10, (request.user == "u9" or request.user == "u10") and 500 or 200
    end)
    submit(world, 10)
    world:run()
    assert.same({ ok = 8, server = 2 }, (world:tally()))
    assert.equal(16, world.requests)
  end)

  it("is not kept down by one of its calls that always fails", function()
    local world = broken({ timeout_ms = 2000 }, function(request, now_ms)
      if now_ms < 5000 or request.user == "u1" then return 0, 500 end
      return 0, 200
    end)
    local ids = submit(world, 20, { max_attempts = 4 })
    world:run()
    assert.same({ ok = 19, server = 1 }, (world:tally()))
    assert.equal("server", world.ended[ids[1]].err.kind)
    assert.is_true(world.now_ms < 30000)
  end)

  it("gives way to single calls at the end of the outage", function()
    local world = broken({ timeout_ms = 60000, max_in_flight = 1 }, down_during({ { 0, 2000 } }, 10))
    submit(world, 20)
    world:submit("single", { max_attempts = 4 })
    world:run()
    assert.same({ ok = 21 }, (world:tally()))
    local first_ok
    for _, request in ipairs(world.sent) do
      if request.at_ms >= 2000 then first_ok = first_ok or request.user end
    end
    assert.equal("single", first_ok)
  end)
end)
