-- The client over the wire: what leaves, what comes back, over which connections.
local agora_chat = require "agora_chat"
local emulator = require "spec.emulator.client"
local socket = require "socket"
local tick = require "agora_chat.loop.tick"

local APP_ID = "970ca35de60c44645bbae8a215061b33"
local DELIVERED, WAITING = "1028442084794698104", "1029457500870543736"

describe("over the wire", function()
  local e, clients
  setup(function() e = emulator.start() end)
  teardown(function() e:stop() end)
  before_each(function()
    e:reset()
    clients = {}
  end)
  after_each(function()
    for _, client in ipairs(clients) do client:close() end
  end)

  local function new(options)
    local all = { base_url = e.url, app_id = APP_ID, credentials = { token = "a-secret-token" } }
    for name, value in pairs(options or {}) do all[name] = value end
    local client, err = agora_chat.new(all)
    assert.is_truthy(client, tostring(err))
    clients[#clients + 1] = client
    return client
  end

  -- A loop of the program's own, until `over`; bounded.
  local function frames(client, over)
    local stop = socket.gettime() + 10
    while not over() do
      client:tick()
      assert(socket.gettime() < stop, "it does not end")
      socket.sleep(0.002)
    end
  end

  for _, threaded in ipairs { false, true } do
    describe(threaded and "with an I/O thread" or "inline", function()
      it("asks both questions", function()
        local client = new { threaded = threaded }
        local res, err = client:offline_msg_count "alice"
        assert.is_nil(err)
        assert.equal("alice", res.username)
        assert.equal(2, res.count)
        assert.equal("get", res.envelope.action)
        res = client:offline_msg_status("alice", DELIVERED)
        assert.same({ "delivered", true, DELIVERED }, { res.status, res.delivered, res.msg_id })
        res = client:offline_msg_status("alice", WAITING)
        assert.same({ "undelivered", false }, { res.status, res.delivered })
        res, err = client:offline_msg_status("alice", "1")
        assert.is_nil(res)
        assert.same({ "not_found", "message" }, { err.kind, err.code })
        res, err = client:offline_msg_count "nobody"
        assert.is_nil(res)
        assert.same({ "not_found", "user", 404 }, { err.kind, err.code, err.http_status })
      end)

      it("sends what the service's documents ask for, and no more", function()
        new { threaded = threaded, user_agent = "spec/1" }:offline_msg_count "alice"
        local request = e:log()[1]
        assert.equal("GET", request.method)
        assert.equal("/app-id/" .. APP_ID .. "/users/alice/offline_msg_count", request.path)
        assert.is_true(request.token_well_formed)
        local names = {}
        for name in pairs(request.headers) do names[#names + 1] = name end
        table.sort(names)
        assert.same({ "accept", "authorization", "host", "user-agent" }, names)
        assert.equal("application/json", request.headers.accept)
        assert.equal("spec/1", request.headers["user-agent"])
      end)

      it("keeps its connection and uses it again (F01)", function()
        local reused = {}
        local client = new { threaded = threaded, on_event = function(event) reused[#reused + 1] = event.reused end }
        for _ = 1, 3 do assert.equal(7, assert(client:offline_msg_count "f.F01.1").count) end
        client:tick()
        assert.equal(1, e:counters().connections_opened)
        assert.same({ 1, 2, 3 }, { e:log()[1].number, e:log()[2].number, e:log()[3].number })
        local stats = client:stats()
        assert.equal(1, stats.connections)
        assert.equal(3, stats.attempts)
        assert.is_true(stats.bytes_in > 300 and stats.bytes_out > 300)
        assert.same({ false, true, true }, reused)
      end)

      it("has two calls on their way together", function()
        e:set { latency_ms = 150 }
        local client = new { threaded = threaded }
        local count = assert(client:start("offline_msg_count", { "alice" }))
        local status = assert(client:start("offline_msg_status", { "alice", DELIVERED }))
        assert.equal(2, assert(count:wait()).count)
        assert.is_true(assert(status:wait()).delivered)
        local log = e:log()
        assert.equal(2, #log)
        assert.equal(2, e:counters().max_in_flight)
        assert.is_true(log[2].time_ms < log[1].done_ms and log[1].time_ms < log[2].done_ms)
      end)

      it("lets coroutines of a frame wait side by side", function()
        e:set { latency_ms = 150 }
        local client = new { threaded = threaded, loop = tick }
        local ended, busy = 0, 0
        for _, name in ipairs { "alice", "bob", "小明" } do
          coroutine.wrap(function()
            local res = client:offline_msg_count(name)
            assert.equal(name, res.username)
            ended = ended + 1
          end)()
        end
        assert.equal(3, client:pending())
        frames(client, function()
          busy = busy + 1
          return ended == 3
        end)
        assert.is_true(busy > 3)                       -- frames went on meanwhile
        assert.equal(3, e:counters().max_in_flight)
      end)

      it("opens no more connections than calls may be in flight", function()
        e:set { latency_ms = { 0, 20 }, auto_users = true }
        local client = new { threaded = threaded, max_in_flight = 4, rate_per_s = false }
        local names = {}
        for i = 1, 100 do names[i] = "u" .. i end
        local results, _, failures = client:batch("offline_msg_count", names)
        assert.equal(0, failures)
        for i = 1, 100 do assert.equal(i, results[i].count) end
        local counters = e:counters()
        assert.equal(100, counters.requests)
        assert.is_true(counters.max_in_flight <= 4)
        assert.is_true(counters.connections_opened <= 4)
        assert.equal(counters.connections_opened, client:stats().connections)
      end)
    end)
  end

  -- Faults P01 to P05: whatever the name, the same number of segments.
  it("sends a name as one segment, or not at all", function()
    local client = new { rate_per_s = false }
    local sent = { "a?x=1", "a#f", "a;b", "a b", "a%2fb", "%2e%2e", "..%2f", "...", ".a", "a@b", "a+b", "a&b=c", "~", "*",
                   '"', "'", "<a>", "{a}", "[a]", "a:b", "小明", "\240\159\152\128", ("x"):rep(64) }
    local refused = { "", ".", "..", "../../admin", "a/b", "/", "a\\b", "a\r\nX-Evil: 1", "a\nb", "a\0b", "\0", "a\127",
                      "\1", "\27[2J", "\255", "\192\175", "\237\160\128", "a\194", ("x"):rep(65), ("x"):rep(1024 * 1024) }
    for _, name in ipairs(sent) do
      e:user(name, { count = 3 })
      local res, err = client:offline_msg_count(name)
      assert.is_truthy(res, name .. ": " .. tostring(err))
      assert.same({ name, 3 }, { res.username, res.count })
    end
    for _, name in ipairs(refused) do
      local res, err = client:offline_msg_count(name)
      assert.is_nil(res)
      assert.equal("argument", err.kind)
      assert.equal(0, err.attempts or 0)
    end
    local log = e:log()
    assert.equal(#sent, #log)
    for i, request in ipairs(log) do
      local base, segment = request.path:match "^(/app%-id/%w+/users/)([^/]+)/offline_msg_count$"
      assert.equal("/app-id/" .. APP_ID .. "/users/", base)
      assert.is_nil(segment:find "[^%w%%._~-]")
      assert.equal(sent[i], (segment:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)))
      assert.is_nil(request.headers["x-evil"])
    end
  end)

  it("sends a message id as it is, or not at all (P07)", function()
    local client = new { rate_per_s = false }
    local good = { "77225969013752296_pd7J8-20-c3104", "99999999999999999999", ("7"):rep(128), "a" }
    for _, id in ipairs(good) do
      e:message("alice", id, "delivered")
      assert.equal(id, assert(client:offline_msg_status("alice", id)).msg_id)
    end
    for _, id in ipairs { "", "+1", " 1", "1 ", "1.5", "123/../1", "..", "1?x", "%31", "1\r\nX-Evil: 1", ("7"):rep(129) } do
      local res, err = client:offline_msg_status("alice", id)
      assert.is_nil(res)
      assert.equal("argument", err.kind)
    end
    assert.equal(#good, #e:log())
  end)

  it("keeps connections of different clients apart, and closes its own", function()
    local first, second = new(), new()
    assert(first:offline_msg_count "alice")
    assert(second:offline_msg_count "alice")
    assert.equal(2, e:counters().connections_open)
    first:close()
    local stop = socket.gettime() + 5
    while e:counters().connections_open > 1 and socket.gettime() < stop do socket.sleep(0.01) end
    assert.equal(1, e:counters().connections_open)
    assert(second:offline_msg_count "alice")
    assert.equal(2, e:counters().connections_opened)
  end)
end)
