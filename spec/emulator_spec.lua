-- The emulator itself, over plain LuaSocket: what everybody else's specs
-- stand on has to stand by itself.

local emulator = require "spec.emulator.client"
local json = require "spec.emulator.json"
local socket = require "socket"

local APP_ID = "970CA35de60c44645bbae8a215061b33"
local CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
-- The published example token of AgoraIO/Tools: issued at 1111111, good for
-- 600 s, privilege "user". Once as zlib writes it, once as Go does.
local TOKENS = {
  "007eJxTYNDNaz3snC8huEfHWdz6s98qltq4zqy9fl99Uh0FDvy6F6DAYGlu4OxobJqSam"
    .. "aQbGJiZmKalJSYapFoZGhqYGaYZGzs/kWAIYKJgYGRAYRZgZgJzGdgAACt8hhr",
  "007eJxSYNDNaz3snC8huEfHWdz6s98qltq4zqy9fl99Uh0FDvy6F6DAYGlu4OxobJqSam"
    .. "aQbGJiZmKalJSYapFoZGhqYGaYZGzs/kWAIYKJgYGRAYRZGRgZmMB8BgZAAAAA//"
    .. "+t8hhr",
}

describe("the emulator", function()
  local e
  setup(function()
    e = emulator.start { tls = true, tls_faults = true, port_faults = true }
  end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  local function connect(port)
    local c = assert(socket.connect("127.0.0.1", port or e.port))
    c:settimeout(2)
    return c
  end

  local function ask(c, path, options)
    options = options or {}
    local body = options.body or ""
    assert(c:send((options.method or "GET") .. " " .. path
      .. " HTTP/1.1\r\nHost: here:" .. e.port .. "\r\n"
      .. (options.no_token and ""
          or "Authorization: Bearer " .. (options.token or "T") .. "\r\n")
      .. (options.fields or "")
      .. (body ~= "" and "Content-Length: " .. #body .. "\r\n" or "")
      .. "\r\n" .. body))
  end

  -- status, body (decoded when it can be), raw head
  local function read(c)
    local head, length = {}, nil
    repeat
      local line, err = c:receive("*l")
      if not line then return nil, err end
      head[#head + 1] = line
      length = tonumber(line:match("^Content%-Length: (%d+)")) or length
    until line == ""
    local text = c:receive(length or 0)
    return tonumber(head[1]:match("^HTTP/%d%.%d (%d+)")),
           text and json.decode(text) or text, table.concat(head, "\n")
  end

  local function get(path, options)
    local c = connect()
    ask(c, path, options)
    local status, body, head = read(c)
    c:close()
    return status, body, head
  end

  local function data(path, options)
    local _, body = get(path, options)
    return body.data
  end

  local function count_of(user) return "/app-id/A/users/" .. user
    .. "/offline_msg_count" end

  it("counts what waits, under both kinds of path and any prefix", function()
    for _, base in ipairs { "/app-id/A", "/o/a", "/some/prefix/o/a" } do
      local status, body = get(base .. "/users/alice/offline_msg_count")
      assert.equal(200, status)
      assert.equal(2, body.data.alice)
      assert.equal("get", body.action)
      assert.equal(0, body.count)
    end
  end)

  it("knows the status of a message, and says when it does not", function()
    local base = "/app-id/A/users/alice/offline_msg_status/"
    for id, expected in pairs { ["1029457500870543736"] = "undelivered",
                                ["1028442084794698104"] = "delivered",
                                ["12903244353"] = "msg_not_found" } do
      local status, body = get(base .. id)
      assert.equal(200, status)
      assert.equal(expected, body.data[id])
    end
  end)

  it("compares names without case and decodes them", function()
    local _, body = get(count_of "ALICE")
    assert.equal(2, body.data.ALICE)
    local status
    status, body = get(count_of "%E5%B0%8F%E6%98%8E")
    assert.equal(200, status)
    assert.equal(1, body.data["小明"])
  end)

  it("refuses with the documented words", function()
    local function refused(status, word, path, options)
      local got, body = get(path, options)
      assert.equal(status, got)
      assert.equal(word, body.error)
    end
    refused(404, "service_resource_not_found", count_of "nobody")
    refused(404, "organization_application_not_found",
            "/nobody/nothing/users/alice/offline_msg_count")
    refused(401, "unauthorized", count_of "alice", { no_token = true })
    refused(500, "unsupported_service_operation", count_of "alice",
            { method = "POST" })
    refused(500, "web_application", "/app-id/A/users/alice/offline")
    e:user("alice", { refuse = "resource_limited" })
    refused(429, "resource_limited", count_of "alice")
  end)

  it("keeps a connection for request after request", function()
    local c = connect()
    ask(c, count_of "alice")
    ask(c, count_of "bob")                           -- two in one go
    local _, first = read(c)
    local _, second = read(c)
    c:close()
    assert.equal(2, first.data.alice)
    assert.equal(0, second.data.bob)
    local log = e:log()
    assert.equal(log[1].connection, log[2].connection)
    assert.equal(2, log[2].number)
  end)

  it("takes messages, gives tokens, tells who is online", function()
    local json_body = '{"from":"x","to":["alice"],"type":"txt",'
      .. '"body":{"msg":"hello"}}'
    local status, body = get("/o/a/messages/users",
                             { method = "POST", body = json_body })
    assert.equal(200, status)
    local id = body.data.alice
    assert.equal(3, data(count_of "alice").alice)
    assert.equal("undelivered",
                 data("/o/a/users/alice/offline_msg_status/" .. id)[id])
    assert.equal("online", data("/o/a/users/bob/status").bob)
    assert.equal("online", data("/o/a/users/batch/status",
      { method = "POST", body = '{"usernames":["alice","bob"]}' })[2].bob)

    e:set { auth = "list", tokens = { "listed" } }
    status = get(count_of "alice")
    assert.equal(401, status)
    status, body = get("/o/a/token", { method = "POST", no_token = true,
      body = '{"grant_type":"client_credentials","client_id":"i",'
             .. '"client_secret":"s","ttl":60}' })
    assert.equal(200, status)
    assert.equal(60, body.expires_in)
    assert.equal(200, (get(count_of "alice", { token = body.access_token })))
    assert.equal(200, (get(count_of "alice", { token = "listed" })))
    e:set { clock_offset_s = 61 }
    assert.equal(401, (get(count_of "alice", { token = body.access_token })))
  end)

  it("reads 007 tokens with eyes of its own", function()
    e:set { auth = "007", app_certificate = CERTIFICATE,
            clock_offset_s = 1111200 - os.time() }
    local path = "/app-id/" .. APP_ID .. "/users/alice/offline_msg_count"
    local function refused(token, word)
      local status, body = get(path, { token = token })
      assert.equal(401, status)
      assert.is_truthy(body.error_description:find(word, 1, true))
    end
    for _, token in ipairs(TOKENS) do
      assert.equal(200, (get(path, { token = token })))
    end
    refused("007nonsense", "corrupt")
    refused(TOKENS[1]:gsub("Dvy6", "Dvy5"), "corrupt")
    assert.equal(401, (get(count_of "alice", { token = TOKENS[1] })))
    e:set { clock_offset_s = 1111111 - 100 - os.time() }
    refused(TOKENS[1], "OAuth")                      -- issued in the future
    e:set { clock_offset_s = 1111111 + 601 - os.time() }
    refused(TOKENS[1], "expired")
    e:reset()
    e:set { auth = "007", app_certificate = ("0"):rep(32) }
    refused(TOKENS[1], "Unable to authenticate")
  end)

  it("revokes what it has seen, and shows no token in its log", function()
    assert.equal(200, (get(count_of "alice", { token = "secret-one" })))
    e:revoke "all"
    local status, body = get(count_of "alice", { token = "secret-one" })
    assert.equal(401, status)
    assert.is_truthy(body.error_description:find("expired", 1, true))
    assert.equal(200, (get(count_of "alice", { token = "secret-two" })))
    get(count_of "alice", { no_token = true,
                            fields = "authorization: Basic secret\r\n" })
    local log = e:log()
    assert.same({ 1, 1, 2, 0 }, { log[1].token, log[2].token, log[3].token,
                                  log[4].token })
    assert.same({ 200, 401, 200, 401 },
                { log[1].status, log[2].status, log[3].status,
                  log[4].status })
    assert.is_false(log[4].token_well_formed)
    assert.is_nil(json.encode(log):find("secret", 1, true))
  end)

  it("limits in three ways, and counts somebody else in", function()
    local function passed(n)
      local c, ok = connect(), 0
      for _ = 1, n do
        ask(c, count_of "alice")
        if read(c) == 200 then ok = ok + 1 end
      end
      c:close()
      return ok
    end
    e:set { limit = { kind = "sliding", rate = 5, retry_after_s = 3 } }
    assert.equal(5, passed(12))
    local status, body, head = get(count_of "alice")
    assert.equal(429, status)
    assert.equal("reach_limit", body.error)
    assert.is_truthy(head:find("Retry-After: 3", 1, true))
    assert.equal(8, e:counters().refused_429)
    assert.equal(5, e:counters().max_accepted_in_1s)
    e:set { limit = { kind = "fixed", rate = 5 } }
    local ok = passed(12)                            -- a window may end here
    assert.is_true(ok >= 5 and ok <= 10)
    e:set { limit = { kind = "bucket", rate = 1, burst = 4 } }
    assert.equal(4, passed(8))
    e:set { limit = { kind = "sliding", rate = 1000, foreign_rate = 1e6 } }
    socket.sleep(0.005)
    assert.equal(0, passed(3))
    e:set { limit = false }
    assert.equal(3, passed(3))
  end)

  it("answers as a script says", function()
    e:script("alice", { { status = 503, headers = { ["Retry-After"] = 1 } },
                        { body = { data = { alice = 41 } } },
                        { raw = "HTTP/1.1 2", after = "fin" } })
    e:script({ path = "/token" }, { { error = "invalid_grant" } })
    local status, _, head = get(count_of "alice")
    assert.equal(503, status)
    assert.is_truthy(head:find("Retry-After: 1", 1, true))
    assert.equal(41, data(count_of "alice").alice)
    assert.is_nil((get(count_of "alice")))
    assert.equal(200, (get(count_of "alice")))
    assert.equal(400, (get("/o/a/token", { method = "POST", body = "{}" })))
    assert.has_error(function() e:script("alice", { { error = "not_an_error" } }) end, "unknown error 'not_an_error'")
    assert.equal(200, (get(count_of "alice")))
  end)

  it("cuts an answer after any byte", function()
    local first = connect()
    ask(first, count_of "f.B15.9999")
    local whole = #assert(first:receive("*a"))
    first:close()
    for _, k in ipairs { 0, 1, 20, 80, whole - 1 } do
      local c = connect()
      ask(c, count_of("f.B15." .. 1000 + k))
      assert.equal(k, #(c:receive("*a") or ""))
      c:close()
    end
  end)

  it("makes faults end when the id says so", function()
    assert.equal(401, (get(count_of "f.I02.1")))
    assert.equal(200, (get(count_of "f.I02.1")))
    assert.is_nil((get(count_of "f.B01.1.n2")))
    assert.is_nil((get(count_of "f.B01.1.n2")))
    local status, body = get(count_of "f.B01.1.n2")
    assert.equal(200, status)
    assert.equal(7, body.data["f.B01.1.n2"])
    assert.equal("B01", e:log()[3].fault)
  end)

  it("names the asked key in odd bodies", function()
    local _, body = get(count_of "f.J06.1")
    assert.equal(2147483648, body.data["f.J06.1"])
    _, body = get("/o/a/users/f.J21.3/offline_msg_status/123")
    assert.equal("deliverd", body.data["123"])
    _, body = get("/o/a/users/f.J23.1/offline_msg_status/1299")
    assert.equal("delivered", body.data["1300"])
    assert.equal(9, e:faults().J03)
  end)

  it("sends an answer nobody asked for", function()
    local c = connect()
    ask(c, count_of "f.C23.1")
    local _, good = read(c)
    local _, bad = read(c)
    c:close()
    assert.equal(7, good.data["f.C23.1"])
    assert.equal(999, bad.data.victim)
  end)

  it("is dead for a while and back on the same port", function()
    local c = connect()
    ask(c, count_of "alice")
    assert.equal(200, (read(c)))
    e:dead(100)
    assert.is_nil((c:receive(1)))                    -- killed
    assert.is_nil((socket.connect("127.0.0.1", e.port)))
    local up
    local stop = socket.gettime() + 2
    repeat
      socket.sleep(0.02)
      up = socket.connect("127.0.0.1", e.port)
    until up or socket.gettime() > stop
    ask(up, count_of "alice")
    up:settimeout(2)
    assert.equal(200, (read(up)))
    up:close()
  end)

  it("drops the next connections, then is good again", function()
    for _, how in ipairs { "rst", "fin" } do
      e:drop(2, how)
      for _ = 1, 2 do
        local c = socket.connect("127.0.0.1", e.port)
        if c then
          c:settimeout(2)
          assert.equal("closed", (select(2, c:receive(1))))
          c:close()
        end
      end
      assert.equal(200, (get(count_of "alice")))
    end
  end)

  it("falls silent, for all or for who is connected", function()
    local c = connect()
    ask(c, count_of "alice")
    read(c)
    e:silent "open"
    ask(c, count_of "alice")
    c:settimeout(0.1)
    assert.equal("timeout", select(2, c:receive(1)))
    assert.equal(200, (get(count_of "alice")))
    c:close()
  end)

  it("draws faults at random, the same with the same seed", function()
    local function run()
      e:set { seed = 7, chaos = { p = 0.5, rows = { "I22", "J01" } } }
      local seen = {}
      for i = 1, 12 do seen[i] = get(count_of "alice") end
      return table.concat(seen, " ")
    end
    local first = run()
    assert.equal(first, run())
    assert.is_truthy(first:find "200" and first:find "50[23]")
  end)

  it("tells two apps apart", function()
    e:set { auth = "007", clock_offset_s = 1111200 - os.time(),
            certificates = { [APP_ID] = CERTIFICATE } }
    local status = get("/app-id/" .. APP_ID
                       .. "/users/alice/offline_msg_count",
                       { token = TOKENS[1] })
    assert.equal(200, status)
    local body
    status, body = get(count_of "alice", { token = TOKENS[1] })
    assert.equal(401, status)
    assert.equal("auth_bad_access_token", body.error)
  end)

  it("has a port for each way TCP goes wrong", function()
    local function port(kind) return tonumber(e.ports[kind]:match("%d+$")) end
    assert.is_nil((socket.connect("127.0.0.1", port "closed")))
    for kind, seen in pairs { accept_fin = "closed", accept_rst = "closed",
                              accept_silence = "timeout" } do
      local c, err = socket.connect("127.0.0.1", port(kind))
      if c then                          -- an RST may be faster than we are
        c:settimeout(0.1)
        err = select(2, c:receive(1))
        c:close()
      end
      assert.equal(seen, err)
    end
    local c = socket.tcp()
    c:settimeout(0.1)
    assert.is_nil((c:connect("127.0.0.1", port "backlog_full")))
    c:close()
  end)

  it("speaks TLS with a certificate of its own authority", function()
    -- The emulator needs these two anyway; here they only block.
    local cq_socket = require "cqueues.socket"
    local context = require "openssl.ssl.context"
    local store = require("openssl.x509.store").new()
    store:add(e.ca_file)
    local function shake(url)
      local ctx = context.new("TLS", false)
      ctx:setStore(store)
      ctx:setVerify(context.VERIFY_PEER)
      local c = cq_socket.connect("127.0.0.1", tonumber(url:match("%d+$")))
      c:onerror(function(_, _, code) return code end)
      c:settimeout(2)
      c:setmode("b", "b")
      local ok = c:starttls(ctx)
      local answer
      if ok then
        c:write("GET " .. count_of "alice" .. " HTTP/1.0\r\n"
                .. "Authorization: Bearer T\r\n\r\n")
        c:flush()
        answer = c:read("*a")
      end
      c:close()
      return ok and true or false, answer
    end
    local ok, answer = shake(e.tls_url)
    assert.is_true(ok)
    assert.is_truthy(answer:find('"alice":2', 1, true))
    assert.is_true((shake(e.ports.tls12)))
    for _, kind in ipairs { "unknown_ca", "self_signed", "expired",
                            "not_yet_valid", "tls11", "handshake_fin",
                            "handshake_rst" } do
      assert.is_false((shake(e.ports[kind])), kind)
    end
    e:certificate "expired"
    assert.is_false((shake(e.tls_url)))
  end)

  it("says what it does not understand", function()
    assert.has_error(function() e:set { colour = "red" } end,
                     "unknown setting 'colour'")
    assert.has_error(function() e:control("dance") end, "no verb 'dance'")
    assert.has_error(function() emulator.start { colour = "red" } end)
  end)
end)

describe("an emulator that is not stopped", function()
  it("ends with its parent, and its files go when it is stopped", function()
    local e = emulator.start { max_seconds = 1, tls = true }
    local ca_file = e.ca_file
    assert(io.open(ca_file)):close()
    local stop = socket.gettime() + 3
    while io.open("/proc/" .. e.pid .. "/fd/0") and socket.gettime() < stop do
      socket.sleep(0.05)
    end
    assert.is_true(socket.gettime() < stop)
    assert.is_nil((io.open(ca_file)))
    e:stop()
  end)
end)
