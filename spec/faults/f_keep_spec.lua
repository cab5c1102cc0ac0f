-- Faults F: kept connections, and how they end. F01 is in spec/network/quick_spec.lua.
local harness = require "spec.faults.harness"

describe("F: kept connections", function()
  local e, new
  setup(function() e, new = harness.emulator { tls = true } end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  -- One after the other; how many connections and requests that made.
  local function ask(client, users, pause_s)
    local before = e:counters()
    for i, user in ipairs(users) do
      if i > 1 and pause_s then harness.pause(pause_s) end
      harness.check_end(user == "alice" and 2 or 7, harness.all(client, { user })[1])
    end
    local after = e:counters()
    return after.connections_opened - before.connections_opened, after.requests - before.requests
  end

  local function times(user, n)
    local users = {}
    for i = 1, n do users[i] = user end
    return users
  end

  for _, mode in ipairs { "inline", "threaded" } do
    for _, scheme in ipairs { "http", "https" } do
      describe(mode .. ", " .. scheme, function()
        local client
        before_each(function()
          client = new { threaded = mode == "threaded", base_url = scheme == "https" and e.tls_url or e.url,
                         ca_file = scheme == "https" and e.ca_file or nil }
        end)
        after_each(function()
          harness.check_stats(client)
          client:close()
        end)

        it("F02: Connection: close is a connection for each call", function()
          assert.same({ 3, 3 }, { ask(client, times("f.F02.1", 3)) })
        end)

        it("F03: ended by a FIN while nobody asks", function()
          assert.same({ 2, 2 }, { ask(client, { "f.F03.1", "alice" }, 0.05) })
          assert.equal(0, client:stats().retries)
        end)

        it("F04: ended by an RST while nobody asks", function()
          assert.same({ 2, 2 }, { ask(client, { "f.F04.1", "alice" }, 0.05) })
          assert.equal(0, client:stats().retries)
        end)

        -- Again and again: libcurl 7.88 counts its own retries for the life of a handle.
        for id, how in pairs { F05 = "a FIN", F06 = "an RST" } do
          it(id .. ": ended by " .. how .. " when the second question has come", function()
            local connections, requests = ask(client, times("f." .. id .. ".1", 12))
            assert.equal(12, connections)
            assert.equal(23, requests)                     -- one more for each but the first
            assert.is_true(client:stats().retries <= 11)
          end)
        end

        it("F08: the service ends each fifth without saying so", function()
          local connections, requests = ask(client, times("f.F08.1", 23))
          assert.equal(5, connections)
          assert.is_true(requests <= 23 + 5, "requests: " .. requests)
        end)
      end)
    end

    -- The server gives up idle connections just before, when, and just after we ask again.
    it("F09: idle for as long as the server allows, " .. mode, function()
      local clients, outcomes = {}, {}
      for i = 1, 4 do clients[i] = new { threaded = mode == "threaded" } end
      for round = 1, 25 do
        local now = {}
        for i, client in ipairs(clients) do
          now[i] = harness.start(client, "offline_msg_count", { "f.F09.20" })
          outcomes[#outcomes + 1] = now[i]
        end
        harness.run(clients, now)
        harness.pause(0.014 + round % 10 * 0.001)
      end
      local retries = 0
      for _, outcome in ipairs(outcomes) do harness.check_end(7, outcome) end
      for _, client in ipairs(clients) do
        retries = retries + client:stats().retries
        client:close()
      end
      assert.is_true(e:counters().requests <= #outcomes + 10, "requests: " .. e:counters().requests)
      assert.is_true(retries <= 10)
    end)
  end

  it("F10: older than the lifetime allowed", function()
    pending "libcurl looks at the age of a connection (CURLOPT_MAXLIFETIME_CONN) in seconds: this would take 300 of them"
  end)
end)
