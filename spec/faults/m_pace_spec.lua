-- Faults M10 to M14: the pace and the queue. The figures (calls a second, how many 429) are those of
-- `make load`; here it is that nobody is lost. M01 to M09 and M15 are about many processes.
local agora_chat = require "agora_chat"
local emulator = require "spec.emulator.client"
local harness = require "spec.faults.harness"
local socket = require "socket"
local tick = require "agora_chat.loop.tick"

local function names(count)
  local list = {}
  for i = 1, count do list[i] = "u" .. i end
  return list
end

describe("M: a service with a limit", function()
  local USERS = 150
  local worlds = {}

  -- One sweep against an emulator of its own; all go at the same time.
  local function begin(name, limit, threaded)
    limit.kind, limit.rate = "sliding", 100
    local e = emulator.start { settings = { auto_users = true, latency_ms = { 20, 60 } } }
    e:set { limit = limit }
    local client, err = agora_chat.new { base_url = e.url, app_id = harness.app_id, loop = tick, threaded = threaded,
                                         credentials = { token = harness.token } }
    assert.is_nil(err)
    local world = { e = e, client = client }
    worlds[name] = world
    coroutine.wrap(function()
      world.results, world.failed, world.failures = client:batch("offline_msg_count", names(USERS))
    end)()
    return world
  end

  setup(function()
    begin("M01", {}, true)
    begin("M10", { foreign_rate = 30 }, false)
    begin("M11", { foreign_rate = 30, count_refused = true }, false)
    local mixed = begin("M14", {}, true)
    mixed.singles = {}
    local stop, next_single = socket.gettime() + 30, socket.gettime() + 0.5
    repeat
      local busy = false
      for _, world in pairs(worlds) do
        world.client:tick()
        busy = busy or world.failures == nil
      end
      -- A call of somebody who waits, now and then.
      if socket.gettime() > next_single and mixed.failures == nil then
        next_single = next_single + 0.1
        mixed.singles[#mixed.singles + 1] = harness.start(mixed.client, "offline_msg_count", { "u5" })
      end
      socket.sleep(0.002)
    until not busy or socket.gettime() > stop
    harness.run({ mixed.client }, mixed.singles)
  end)
  teardown(function()
    for _, world in pairs(worlds) do
      world.client:close()
      world.e:stop()
    end
  end)

  local function check_all_answered(world)
    assert.equal(0, world.failures)
    for i = 1, USERS do assert.equal(i, world.results[i].count) end
    harness.check_stats(world.client)
  end

  -- When the machine stops for a moment, calls that were apart arrive together.
  it("M01: alone, next to nothing is refused", function()
    check_all_answered(worlds.M01)
    local counters = worlds.M01.e:counters()
    assert.is_true(counters.refused_429 <= 3, "refused: " .. counters.refused_429)
  end)

  it("M10: somebody else takes a part: the pace gives way, and nobody is lost", function()
    check_all_answered(worlds.M10)
    local counters = worlds.M10.e:counters()
    -- Three steps down, a second each, until the pace fits.
    assert.is_true(counters.refused_429 <= USERS / 3, "refused: " .. counters.refused_429)
  end)

  it("M11: refused calls count as well: still nobody is lost", function()
    check_all_answered(worlds.M11)
    local counters = worlds.M11.e:counters()
    assert.is_true(counters.refused_429 <= USERS, "refused: " .. counters.refused_429)
  end)

  it("M14: single calls do not wait for the batch", function()
    local mixed = worlds.M14
    check_all_answered(mixed)
    local slow = 0
    assert.is_true(#mixed.singles >= 10)
    for _, outcome in ipairs(mixed.singles) do
      harness.check_end(5, outcome)
      if outcome.elapsed_ms > 1000 then slow = slow + 1 end        -- 300 on a machine of one's own
    end
    assert.is_true(slow <= #mixed.singles / 10, slow .. " of " .. #mixed.singles .. " were slow")
  end)
end)

describe("M: the queue", function()
  local e, new
  setup(function() e, new = harness.emulator() end)
  teardown(function() e:stop() end)
  before_each(function()
    e:reset()
    e:set { auto_users = true }
  end)

  for _, mode in ipairs { "inline", "threaded" } do
    local threaded = mode == "threaded"

    it("M12: the 10,001st call that waits is refused at once, " .. mode, function()
      e:silent(30000)
      local client = new { threaded = threaded, timeout_ms = 60000, attempt_timeout_ms = 60000 }
      local outcomes, refused = {}, 0
      for i = 1, 10100 do
        local outcome = harness.start(client, "offline_msg_count", { "u" .. i })
        outcomes[i] = outcome
        if outcome.refused then
          refused = refused + 1
          assert.same({ "overload", true }, { outcome.err.kind, outcome.err.retryable })
        end
      end
      -- Nobody who is in flight waits; nothing else has made room.
      assert.is_true(refused <= 100 and refused >= 100 - 8, "refused: " .. refused)
      client:close()
      for _, outcome in ipairs(outcomes) do
        assert.equal(1, outcome.count)
        assert.equal(outcome.refused and "overload" or "closed", outcome.err.kind)
      end
    end)

    it("M13: who cannot have a turn in time is not sent, " .. mode, function()
      local client = new { threaded = threaded, rate_per_s = 20, burst = 1, timeout_ms = 500 }
      local outcomes = harness.all(client, names(100))
      local answered, late = 0, 0
      for i, outcome in ipairs(outcomes) do
        if outcome.res then
          harness.check_end(i, outcome)
          answered = answered + 1
        else
          harness.check_end("timeout/queue", outcome)
          assert.equal(0, outcome.err.attempts)
          late = late + 1
        end
      end
      assert.is_true(answered >= 1 and late >= 80, ("%d answered, %d late"):format(answered, late))
      assert.equal(answered, e:counters().requests)
      harness.check_stats(client)
      client:close()
    end)
  end
end)
