--- A sweep over very many users: at most a window of calls at any moment, and
--- memory that does not grow, in Lua and below it.

local process = require "spec.support.process"
local scripted = require "spec.support.scripted"

--- AGORA_CHAT_SWEEP_USERS says how many. A million takes five to ten seconds;
--- sanitizers, and a collector that never pauses, sweep fewer unless told to.
local function how_many()
  local pause = collectgarbage("setpause", 0)
  collectgarbage("setpause", pause)
  local plain = (os.getenv "AGORA_CHAT_BUILD" or "build") == "build" and pause > 0
  return tonumber(os.getenv "AGORA_CHAT_SWEEP_USERS") or (plain and 1000000 or 50000), plain
end

local function lua_kib()
  collectgarbage()
  collectgarbage()
  return collectgarbage "count"
end

describe("each", function()
  it("sweeps a million users in flat memory, a window at a time", function()
    local total, plain = how_many()
    local window = 32
    local client = scripted.client()
    local reply = { http_status = 200, body = '{"data":{"user":4}}' }
    local served = 0
    local most = 0
    client.answer = function()
      served = served + 1
      if served % 101 == 0 then
        local s = client:stats()
        most = math.max(most, s.in_flight + s.queued, client:pending())
      end
      return reply
    end
    local taken = 0
    local function users()
      taken = taken + 1
      if taken <= total then return "user" end
    end

    local done, sum = 0, 0
    local lua_before, resident_before
    for _, res, err in client:each("offline_msg_count", users, { window = window, envelope = false }) do
      if not res then error(tostring(err)) end
      done, sum = done + 1, sum + res.count
      if done == total / 10 then lua_before, resident_before = lua_kib(), process.resident_kib() end
    end
    local lua_after, resident_after = lua_kib(), process.resident_kib()

    assert.equal(total, done)
    assert.equal(4 * total, sum)
    assert.equal(total, served)
    assert.is_true(most <= window and most >= window / 2, most)
    assert.is_true(lua_after < lua_before + 256, lua_after - lua_before)
    -- The smallest piece of memory, lost once for each call, would be twice this.
    if plain then
      assert.is_true(resident_after < resident_before + 12288, resident_after - resident_before)
    end
    local s = client:stats()
    assert.equal(total, s.ok)
    assert.equal(total, s.accepted)
    assert.equal(0, client:pending())
    assert.same({}, client.calls)
    client:close()
  end)

  it("in which calls fail, wait for retries and end late does so too", function()
    local total = 20000
    local client = scripted.client { backoff_ms = 1, timeout_ms = 500 }
    local n = 0
    local verdicts = {
      { http_status = 503, body = "" }, { http_status = 429, body = "", headers = { ["Retry-After"] = "1" } },
      { kind = "network", code = "reset" }, { http_status = 404, body = "" },
    }
    local most = 0
    client.answer = function()
      n = n + 1
      local s = client:stats()
      most = math.max(most, s.in_flight + s.queued)
      if n % 7 == 0 then return verdicts[n / 7 % #verdicts + 1] end
      return 200, '{"data":{"user":4}}'
    end
    local taken, done, lua_before = 0, 0, nil
    for _ in client:each("offline_msg_count", function()
      taken = taken + 1
      return taken <= total and "user" or nil
    end, { window = 50, envelope = false }) do
      done = done + 1
      if done == total / 10 then lua_before = lua_kib() end
    end
    assert.equal(total, done)
    assert.is_true(most <= 50)
    assert.is_true(lua_kib() < lua_before + 256)    -- KiB; 16 bytes a call would be more
    local s = client:stats()
    assert.equal(total, s.ok + s.failed)
    assert.same({}, client.calls)
    client:close()
  end)
end)
