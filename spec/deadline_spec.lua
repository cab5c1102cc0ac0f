--- Deadlines: what timeout_ms covers, which phase is named, and when a call need
--- not wait for its end.

local fake = require "spec.support.fake"
local simulated = require "spec.support.simulated"

local function silent() end

--- A service that answers after so many ms.
local function slow(delay_ms)
  return function() return delay_ms, 200 end
end

describe("timeout_ms", function()
  it("covers an attempt that never ends", function()
    local world = simulated.new({ timeout_ms = 700, attempt_timeout_ms = 5000 }, silent)
    local _, err = world:ask "alice"
    assert.equal("timeout", err.kind)
    assert.equal("first_byte", err.code)
    assert.equal(700, err.elapsed_ms)
    assert.equal(1, err.attempts)
    assert.equal(700, world.now_ms)
  end)

  it("covers attempts, and the waits between them", function()
    for seed = 1, 30 do
      local world = simulated.new({ timeout_ms = 1200, attempt_timeout_ms = 500, seed = seed }, silent)
      local _, err = world:ask "alice"
      assert.equal("timeout", err.kind)
      assert.is_true(err.elapsed_ms <= 1200)
      assert.is_true(err.attempts >= 2 and err.attempts <= 3)
    end
  end)

  it("covers the queue", function()
    local world = simulated.new({ timeout_ms = 300, max_in_flight = 1 }, slow(1000))
    local first = world:submit "alice"
    local second = world:submit "bob"
    world:run()
    assert.equal("first_byte", world.ended[first].err.code)
    local err = world.ended[second].err
    assert.equal("timeout", err.kind)
    assert.equal("queue", err.code)
    assert.equal(0, err.attempts)
    assert.equal(300, err.elapsed_ms)
    assert.equal(1, #world.sent)
  end)

  it("is the call's own, or the client's", function()
    local world = simulated.new({ timeout_ms = 800 }, silent)
    local a = world:submit "alice"
    local b = world:submit("bob", { timeout_ms = 200 })
    local c = world:submit("carol", { timeout_ms = 1500 })
    world:run()
    assert.equal(800, world.ended[a].at_ms)
    assert.equal(200, world.ended[b].at_ms)
    assert.equal(1500, world.ended[c].at_ms)
  end)

  it("is 10 s, and that of an attempt 5 s, unless told otherwise", function()
    local world = simulated.new({ max_attempts = 1 }, silent)
    local _, err = world:ask "alice"
    assert.equal(5000, err.elapsed_ms)
    world = simulated.new({ max_in_flight = 1, max_attempts = 1 }, silent)
    world:submit("alice", { attempt_timeout_ms = 60000 })
    local second = world:submit("bob")
    world:run()
    assert.equal(10000, world.ended[second].at_ms)
  end)

  it("counts from submit, whatever the answer's moment", function()
    local world = simulated.new({ timeout_ms = 300 }, slow(299))
    assert.is_not_nil(world:ask "alice")
    local late = simulated.new({ timeout_ms = 300 }, slow(301))
    local _, err = late:ask "alice"
    assert.equal(300, err.elapsed_ms)
  end)
end)

describe("attempt_timeout_ms", function()
  it("ends an attempt; the next one may do better", function()
    local n = 0
    local world = simulated.new({ attempt_timeout_ms = 500, timeout_ms = 5000 }, function()
      n = n + 1
      if n == 3 then return 20, 200 end
    end)
    assert.is_not_nil(world:ask "alice")
    assert.equal(3, #world.sent)
    assert.is_true(world.sent[2].at_ms >= 500)
  end)

  it("is the call's own, or the client's", function()
    local world = simulated.new({ attempt_timeout_ms = 500, max_attempts = 1 }, silent)
    local a = world:submit "alice"
    local b = world:submit("bob", { attempt_timeout_ms = 40 })
    local c = world:submit("carol", { attempt_timeout_ms = 900 })
    world:run()
    assert.equal(500, world.ended[a].at_ms)
    assert.equal(40, world.ended[b].at_ms)
    assert.equal(900, world.ended[c].at_ms)
  end)

  it("never outlives the deadline", function()
    local world = simulated.new({ attempt_timeout_ms = 400, timeout_ms = 1000, backoff_ms = 1 }, silent)
    local call = world.ended[world:submit "alice"]
    world:run()
    assert.is_true(call.at_ms <= 1000)
    assert.equal("first_byte", call.err.code)
  end)
end)

describe("the code of a timeout", function()
  it("names the phase that the last attempt was in", function()
    for _, phase in ipairs { "dns", "connect", "tls", "first_byte", "body" } do
      local world = simulated.new({ max_attempts = 2 }, simulated.replies { { kind = "timeout", code = phase } })
      local _, err = world:ask "alice"
      assert.equal("timeout", err.kind)
      assert.equal(phase, err.code)
      assert.equal(2, err.attempts)
    end
  end)
end)

describe("a wait that passes the deadline", function()
  it("is not waited for: the call ends at once with what it has", function()
    local seen = 0
    for seed = 1, 60 do
      local world = simulated.new({ timeout_ms = 60, seed = seed },
        simulated.replies { { kind = "network", code = "reset" } })
      local call = world.ended[world:submit "alice"]
      world:run()
      assert.equal("network", call.err.kind)
      assert.is_true(call.at_ms < 60)
      if #world.sent == 1 then
        seen = seen + 1
        assert.equal(0, call.at_ms)
      end
    end
    assert.is_true(seen > 10)
  end)

  it("ends a retry in the queue as timeout/queue, with the cause in its words", function()
    local n = 0
    local world = simulated.new({ timeout_ms = 400, max_in_flight = 1, backoff_ms = 50 }, function(request)
      n = n + 1
      if request.user == "alice" then return 0, 503 end
      return 1000, 200
    end)
    local call = world.ended[world:submit "alice"]
    world:submit("bob", { timeout_ms = 5000 })
    world:run()
    assert.equal("timeout", call.err.kind)
    assert.equal("queue", call.err.code)
    assert.equal(400, call.at_ms)
    assert.equal(1, call.err.attempts)
    assert.truthy(call.err.message:find("server", 1, true), call.err.message)
  end)
end)

describe("a call whose turn would come after its deadline", function()
  it("fails at once, unsent, and burns no slot (M13)", function()
    local world = simulated.new({ rate_per_s = 10, burst = 1, timeout_ms = 1000 }, slow(0))
    local ids = {}
    for i = 1, 30 do ids[i] = world:submit("u" .. i) end
    world:collect()
    local late = 0
    for i = 1, 30 do
      local call = world.ended[ids[i]]
      if call.times == 1 then
        late = late + 1
        assert.equal("timeout", call.err.kind)
        assert.equal("queue", call.err.code)
        assert.equal(0, call.err.attempts)
        assert.equal(0, call.err.elapsed_ms)
        assert.is_true(call.err.retryable)
        assert.is_true(i > 10)
      end
    end
    -- Slots at 0, 100, ... 900; the one at 1000 would come with the deadline.
    assert.equal(20, late)
    world:run()
    assert.same({ ok = 10, timeout = 20 }, (world:tally()))
    assert.equal(10, #world.sent)
    -- No slot was taken by those who failed: the next goes when its own is due.
    world:submit "late"
    world:run()
    assert.equal(1000, world.sent[11].at_ms)
  end)

  it("knows its place behind the batch calls that go in between", function()
    local world = simulated.new({ rate_per_s = 10, burst = 1, timeout_ms = 100000 }, slow(0))
    for i = 1, 40 do world:submit("b" .. i, { batch = true }) end
    for i = 1, 8 do world:submit("s" .. i) end
    -- Eight single calls and two of the batch go before: the turn is at 1000 ms.
    local early = world:submit("early", { timeout_ms = 900 })
    local right = world:submit("right", { timeout_ms = 1050 })
    world:collect()
    assert.equal(1, world.ended[early].times)
    assert.equal(0, world.ended[right].times)
    world:run()
    assert.is_nil(world.ended[right].err)
    assert.equal(1000, world.ended[right].at_ms)
  end)

  it("is not judged by an idle past", function()
    local world = simulated.new({ rate_per_s = 10, burst = 3, timeout_ms = 50 }, slow(0))
    world:jump(100000)
    for i = 1, 5 do world:submit("u" .. i) end
    world:run()
    assert.same({ ok = 3, timeout = 2 }, (world:tally()))
  end)

  it("is never judged so without a pace", function()
    local world = simulated.new({ timeout_ms = 1 }, slow(0))
    for i = 1, 500 do world:submit("u" .. i) end
    world:run()
    assert.same({ ok = 500 }, (world:tally()))
  end)
end)

describe("a batch's call", function()
  it("has its deadline from its turn on", function()
    local world = simulated.new({ rate_per_s = 5, burst = 1, timeout_ms = 300 }, slow(200))
    for i = 1, 20 do world:submit("u" .. i, { batch = true }) end
    world:run()
    assert.same({ ok = 20 }, (world:tally()))
    assert.equal(4000, world.now_ms)
  end)

  it("then has it: attempts and waits are covered", function()
    local world = simulated.new({ timeout_ms = 1000, attempt_timeout_ms = 600, max_in_flight = 1 }, function(request)
      if request.user ~= "mute" then return 100, 200 end
    end)
    for i = 1, 5 do world:submit("u" .. i, { batch = true }) end
    local mute = world:submit("mute", { batch = true })
    world:run()
    local call = world.ended[mute]
    assert.equal("timeout", call.err.kind)
    assert.is_true(call.at_ms <= 1500)
    assert.same({ ok = 5, timeout = 1 }, (world:tally()))
  end)

  it("that was throttled has a new one with its next turn", function()
    local world = simulated.new({ timeout_ms = 500 },
      simulated.replies { { 429, "", { ["Retry-After"] = "30" } }, 200 })
    assert.is_not_nil(world:ask("alice", { batch = true }))
    assert.equal(30000, world.now_ms)
  end)
end)

describe("a clock that jumps", function()
  it("ends everything that is overdue, each once and with its own reason", function()
    local world = simulated.new({ timeout_ms = 1000, max_in_flight = 1, backoff_ms = 400 }, function(request)
      if request.user == "delayed" then return 0, 503, "", { ["Retry-After"] = "1" } end
    end)
    local delayed = world:submit("delayed", { timeout_ms = 2000 })
    world:send()
    world.events = {}
    world.core:deliver(world.sent[1].id, { http_status = 503, body = "", headers = { ["Retry-After"] = "1" } })
    local out = world:submit "out"
    world:send()
    local waiting = world:submit "waiting"
    world:jump(100000)
    world:collect()
    assert.equal("first_byte", world.ended[out].err.code)
    assert.equal("queue", world.ended[waiting].err.code)
    assert.equal(0, world.ended[waiting].err.attempts)
    assert.equal("queue", world.ended[delayed].err.code)
    assert.equal(1, world.ended[delayed].err.attempts)
    assert.same({ timeout = 3 }, (world:tally()))
    assert.equal(-1, world.core:due_in_ms())
    assert.equal(0, world:send())
    assert.is_true(world:balanced())
  end)

  it("on the wall changes no deadline, no wait and no pace (L05)", function()
    local core = fake.core { timeout_ms = 1000, attempt_timeout_ms = 400, rate_per_s = 10, burst = 1 }
    core:submit("offline_msg_count", nil, "alice")
    local request = fake.outgoing(core)
    core:submit("offline_msg_count", nil, "bob")
    assert.is_nil(core:next_outgoing())
    for _, wall_s in ipairs { 0, 4000000000, 1700000000 } do
      core:set_now(fake.now_ms + 50, wall_s)
      assert.is_nil(core:next_outgoing())
      assert.equal(50, core:due_in_ms())
    end
    core:deliver(request.id, { http_status = 503, body = "", headers = { ["Retry-After"] = "0" } })
    core:set_now(fake.now_ms + 1000, 0)
    core:poll(0)
    local ended = {}
    local id, _, err = core:next_done()
    while id do
      ended[#ended + 1] = err.code
      id, _, err = core:next_done()
    end
    assert.same({ "queue", "queue" }, ended)
  end)
end)

describe("due_in_ms", function()
  --- Whatever may be sent is; then how long nothing is to be done.
  local function due(world)
    world:send()
    world:collect()
    return world.core:due_in_ms()
  end

  it("is -1 when nothing is outstanding", function()
    local world = simulated.new(nil, slow(0))
    assert.equal(-1, world.core:due_in_ms())
    world:ask "alice"
    assert.equal(-1, world.core:due_in_ms())
  end)

  it("is 0 for a call that may go, and no longer", function()
    local world = simulated.new(nil, silent)
    world:submit "alice"
    assert.equal(0, world.core:due_in_ms())
    assert.equal(5000, due(world))
  end)

  it("is the attempt's end, the deadline, the retry, the slot: what comes first", function()
    local world = simulated.new({ timeout_ms = 3000, attempt_timeout_ms = 1000, max_in_flight = 2 }, silent)
    world:submit "a"
    assert.equal(1000, due(world))
    world:jump(100)
    assert.equal(900, due(world))
    world:submit("b", { timeout_ms = 500 })
    assert.equal(500, due(world))
    world:submit("c", { timeout_ms = 200 })             -- waits: two are out
    assert.equal(200, due(world))
    world:jump(299)
    assert.equal(1, due(world))
    world:jump(300)
    assert.equal(300, due(world))
    world.core:deliver(world.sent[1].id, { http_status = 503, body = "", headers = { ["Retry-After"] = "2" } })
    assert.equal(300, due(world))
    world:cancel(world.sent[2].id)
    world:jump(400)
    assert.equal(1900, due(world))                      -- the retry, at 2300
    world:jump(2300)
    assert.equal(0, world.core:due_in_ms())
    assert.equal(700, due(world))                       -- its attempt ends with the deadline
  end)

  it("is the next slot of the pace, exactly", function()
    local world = simulated.new({ rate_per_s = 8, burst = 1 }, silent)
    for i = 1, 5 do world:submit("u" .. i) end
    assert.equal(125, due(world))
    world:jump(124)
    assert.equal(1, due(world))
    assert.equal(1, #world.sent)
    world:jump(125)
    assert.equal(125, due(world))
    assert.equal(2, #world.sent)
  end)

  it("does not tick for a call that waits for a place", function()
    local world = simulated.new({ max_in_flight = 1, rate_per_s = 100, burst = 5, timeout_ms = 60000 }, silent)
    world:submit "a"
    world:submit "b"
    assert.equal(5000, due(world))
    world:jump(1000)
    assert.equal(4000, due(world))
  end)
end)
