local core = require "agora_chat.core"
local programs = require "spec.support.programs"

local APP_ID = "970ca35de60c44645bbae8a215061b33"
local CERTIFICATE = "5cfd2fd1755d40ecb72977518be15d3b"
local type_of_number = rawget(math, "type")   -- Lua 5.3 has integers
local has_integers = type_of_number ~= nil

local function copy(from, into)
  for name, value in pairs(from or {}) do into[name] = value end
  return into
end

--- Options that work; an override of NONE takes one away.
local NONE = {}
local function options(overrides)
  local all = copy(overrides, {
    base_url = "https://a61.chat.agora.io",
    app_id = APP_ID,
    credentials = { token = "007token" },
    transport = "lua", frozen_ms = 1000, frozen_wall_s = 1700000000, seed = 1,
    rate_per_s = false,
  })
  for name, value in pairs(all) do
    if value == NONE then all[name] = nil end
  end
  return all
end

local function new(overrides)
  return core.new(options(overrides))
end

--- The error of options (or a call) that must be refused without a raise.
local function refused(overrides)
  local client, err = new(overrides)
  assert.is_nil(client)
  assert.equal("argument", err.kind)
  return err.message
end

--- What a call raises.
local function raised(f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  return tostring(message)
end

local function contains(part, text)
  assert.is_truthy(text:find(part, 1, true), ("%q is not in %q"):format(part, text))
end

local function answer(client, body, status)
  local out = assert(client:next_outgoing())
  client:deliver(out.id, { http_status = status or 200, headers = {}, body = body })
  return out
end

describe("options", function()
  it("raise for an unknown name and say the nearest known one", function()
    local near = {
      timeout = "timeout_ms", attempts = "max_attempts", appId = "app_id",
      base_ulr = "base_url", user_agnet = "user_agent", credential = "credentials",
      rate = "rate_per_s", cafile = "ca_file",
    }
    for wrong, right in pairs(near) do
      contains(("unknown option '%s'; did you mean '%s'?"):format(wrong, right),
        raised(new, { [wrong] = 1 }))
    end
    local message = raised(new, { zzzz = 1 })
    contains("unknown option 'zzzz'", message)
    assert.is_nil(message:find("did you mean"))
    raised(new, { ["a\0b\27[31m" .. ("x"):rep(1000)] = 1 })
    contains("are strings", raised(new, { "timeout_ms" }))
  end)

  it("raise for a wrong Lua type and name the option", function()
    contains("timeout_ms must be a number, got string", raised(new, { timeout_ms = "5" }))
    contains("base_url must be a string, got number", raised(new, { base_url = 5 }))
    contains("allow_http must be a boolean, got number", raised(new, { allow_http = 1 }))
    contains("credentials must be a table or a function, got string", raised(new, { credentials = "x" }))
    contains("rate_per_s must be a number or false, got true", raised(new, { rate_per_s = true }))
    contains("rate_per_s must be a number or false, got string", raised(new, { rate_per_s = "95" }))
    contains("on_event must be a function, got table", raised(new, { on_event = setmetatable({}, { __call = print }) }))
    contains("loop must be a table", raised(new, { loop = "tick" }))
    contains("threaded must be a boolean", raised(new, { threaded = 1 }))
    contains("shared_limiter must be a string or a table", raised(new, { shared_limiter = 1 }))
    assert.is_false((pcall(core.new)))
    assert.is_false((pcall(core.new, "https://a61.chat.agora.io")))
    assert.is_false((pcall(core.new, options(), "threaded")))
  end)

  it("raise also when another value is bad", function()
    contains("timeout", raised(new, { timeout_ms = 0, timeout = 1 }))
    contains("credentials.token", raised(new, { timeout_ms = 0, credentials = { token = 1 } }))
  end)

  it("do not ask metamethods, so that no Lua runs", function()
    local function fail() error("asked") end
    local given = setmetatable(options(), { __index = fail, __pairs = fail, __len = fail })
    assert(core.new(given)):close()
  end)

  it("refuse numbers that cannot be, without a raise", function()
    local bad = { 0, -1, 1.5, 1e308, 2 ^ 31, 0 / 0, 1 / 0, -1 / 0 }
    for _, name in ipairs { "timeout_ms", "connect_timeout_ms", "attempt_timeout_ms", "backoff_ms" } do
      for _, value in ipairs(bad) do contains(name, refused { [name] = value }) end
      assert(new { [name] = 1 }):close()
      assert(new { [name] = 2 ^ 31 - 1 }):close()
    end
    for _, name in ipairs { "burst", "max_in_flight", "max_queue", "max_attempts" } do
      for _, value in ipairs { 0, -1, 1.5, 1e308, 0 / 0 } do contains(name, refused { [name] = value }) end
      assert(new { [name] = 1 }):close()
    end
    contains("max_in_flight", refused { max_in_flight = 1001 })
    for _, value in ipairs { 0, -1, 0 / 0, 1 / 0, 1e-300 } do
      contains("rate_per_s", refused { rate_per_s = value })
    end
    for _, value in ipairs { 0.5, 95, false } do assert(new { rate_per_s = value }):close() end
  end)

  it("name what is missing", function()
    contains("base_url is missing", refused { base_url = NONE })
    contains("app_id", refused { app_id = NONE })
    contains("app_name is missing", refused { app_id = NONE, org_name = "org" })
    contains("org_name is missing", refused { app_id = NONE, app_name = "app" })
    contains("credentials is missing", refused { credentials = NONE })
    assert(new { app_id = NONE, org_name = "org", app_name = "app" }):close()
    local client, err = core.new {}
    assert.is_nil(client)
    contains("base_url is missing", err.message)
  end)

  it("refuse texts that would break a request", function()
    for _, text in ipairs { "a\r\nX-Evil: 1", "a\nb", "a\0b", "\27[31m", ("x"):rep(257), "" } do
      contains("user_agent", refused { user_agent = text })
    end
    assert(new { user_agent = ("x"):rep(256) }):close()
    local bad = { "", "ftp://h:1", "socks5://h:1", "http://", "h", "h:", ":80", "h:80\r\n", "a b:80", "http://h:80\0" }
    for _, text in ipairs(bad) do
      contains("proxy", refused { proxy = text })
    end
    for _, text in ipairs { "http://h:3128", "HTTPS://user:secret@h:1", "h:80" } do
      assert(new { proxy = text }):close()
    end
    assert.is_nil(refused({ proxy = "ftp://user:secret@h" }):find("secret"))
    for _, text in ipairs { "/nonexistent/ca.pem", "/", "", "/etc/hostname\0" } do
      contains("ca_file", refused { ca_file = text })
    end
    contains("base_url", refused { base_url = "https://a61.chat.agora.io\0.evil" })
    contains("app_id", refused { app_id = APP_ID .. "\0" })
    contains("transport", refused { transport = "curl" })
    contains("shared_limiter", refused { shared_limiter = "/run/agora_chat/pace" })
  end)
end)

describe("credentials", function()
  local function with(credentials, more)
    return copy(more, { credentials = credentials })
  end

  it("raise for unknown fields and wrong types", function()
    contains("unknown credentials field 'tokn'; did you mean 'token'?", raised(new, with { tokn = "x" }))
    contains("did you mean 'app_certificate'?", raised(new, with { certificate = "x" }))
    contains("credentials.token must be a string, got number", raised(new, with { token = 7 }))
    contains("credentials.ttl_s must be a number, got string",
      raised(new, with { app_certificate = CERTIFICATE, ttl_s = "60" }))
    contains("credentials.exchange must be a boolean",
      raised(new, with { app_certificate = CERTIFICATE, exchange = 1 }))
  end)

  it("are exactly one kind", function()
    contains("give one of", refused(with {}))
    contains("give only one of", refused(with { token = "x", app_certificate = CERTIFICATE }))
    contains("give only one of", refused(with { token = "x", client_id = "y" }))
    contains("give only one of", refused(with { app_certificate = CERTIFICATE, app_certificate_file = "x" }))
    contains("client_secret is missing", refused(with { client_id = "x" }))
    contains("client_id is missing", refused(with { client_secret = "x" }))
    contains("exchange", refused(with { token = "x", exchange = true }))
    assert(new(with(function() end))):close()
    assert(new(with { app_certificate = CERTIFICATE })):close()
  end)

  it("refuse a life that cannot be", function()
    for _, ttl_s in ipairs { 0, -1, 1.5, 1e9, 0 / 0, 86401 } do
      contains("ttl_s", refused(with { app_certificate = CERTIFICATE, ttl_s = ttl_s }))
    end
    assert(new(with { app_certificate = CERTIFICATE, ttl_s = 86400 })):close()
  end)

  it("need org_name for what the service fetches, and app_id for what is made here", function()
    local org = { org_name = "org", app_name = "app" }
    contains("org_name", refused(with { app_certificate = CERTIFICATE, exchange = true }))
    contains("org_name", refused(with { client_id = "x", client_secret = "y" }))
    assert(new(with({ client_id = "x", client_secret = "y", ttl_s = 5184000 }, org))):close()
    contains("app_id", refused(copy(org, with({ app_certificate = CERTIFICATE }, { app_id = NONE }))))
  end)

  it("never repeat a certificate", function()
    local secret = "5cfd2fd1755d40ecb72977518be15dXX"
    local clues = {
      with { app_certificate = secret }, with { app_certificate_file = secret },
      with { app_certificate = secret, ttl_s = 0 }, with { app_certificate = secret, token = secret },
      with { app_certificate = secret .. "\0" }, with { client_id = secret },
    }
    for _, overrides in ipairs(clues) do
      local message = refused(overrides)
      assert.is_nil(message:find("5cfd2fd1", 1, true))
    end
  end)

  describe("from a file", function()
    local path
    local function write(text)
      path = os.tmpname()
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      return with { app_certificate_file = path }
    end
    after_each(function()
      if path then os.remove(path) end
      path = nil
    end)

    it("are trimmed", function()
      assert(new(write(CERTIFICATE .. " \r\n\n"))):close()
    end)

    it("are refused when they cannot be one", function()
      contains("is empty", refused(write "\n"))
      contains("NUL", refused(write(CERTIFICATE .. "\0x")))
      contains("NUL", refused(write(CERTIFICATE .. "\0")))
      contains("longer than 4096", refused(write(("a"):rep(4097))))
      contains("app_certificate_file must hold 32 hex digits", refused(write(("a"):rep(4096))))
      contains("app_certificate_file must hold 32 hex digits", refused(write("\239\187\191" .. CERTIFICATE)))
      contains("cannot be opened", refused(with { app_certificate_file = "/nonexistent" }))
      contains("regular file", refused(with { app_certificate_file = "/dev/zero" }))
      contains("regular file", refused(with { app_certificate_file = "/tmp" }))
    end)
  end)
end)

describe("arguments of an operation", function()
  local client
  before_each(function() client = assert(new()) end)
  after_each(function()
    assert.is_nil(client:next_outgoing()) -- nothing reached the network
    client:close()
  end)

  it("raise unless they are strings", function()
    for _, wrong in ipairs { true, {}, print, 1, 1.5, 0 / 0, 2 ^ 53 } do
      contains("offline_msg_count: username must be a string",
        raised(client.submit, client, "offline_msg_count", nil, wrong))
      contains("offline_msg_status: msg_id must be a string",
        raised(client.submit, client, "offline_msg_status", nil, "alice", wrong))
    end
    contains("got nil", raised(client.submit, client, "offline_msg_count", nil, nil))
    contains("got no value", raised(client.submit, client, "offline_msg_count", nil))
    contains("takes 1 argument", raised(client.submit, client, "offline_msg_count", nil, "alice", "bob"))
  end)

  it("say that ids are strings, because a number cannot hold one", function()
    local message = raised(client.submit, client, "offline_msg_status", nil, "alice", 123)
    contains("ids are strings, because a number cannot hold every id", message)
    if has_integers then contains('("%d"):format(id)', message) end
    message = raised(client.submit, client, "offline_msg_status", nil, "alice", 1.5)
    assert.is_nil(message:find("%d", 1, true))
  end)

  it("with a bad value are an error of that call", function()
    for _, name in ipairs { "", ".", "..", "a/b", "a\\b", "a\0b", "a\nb", "\255", ("x"):rep(65) } do
      local id, err = client:submit("offline_msg_count", nil, name)
      assert.is_nil(id)
      assert.equal("argument", err.kind)
      assert.equal("offline_msg_count", err.operation)
      assert.equal(0, err.attempts)
      contains("offline_msg_count: argument: username", err.message)
    end
    for _, id in ipairs { "", "1 2", "+1", "1.0", "123/../1", ("1"):rep(129) } do
      local _, err = client:submit("offline_msg_status", nil, "alice", id)
      contains("msg_id", err.message)
    end
  end)

  it("raise for an unknown operation", function()
    contains("unknown operation 'offline_msg_cuont'; did you mean 'offline_msg_count'?",
      raised(client.submit, client, "offline_msg_cuont", nil, "alice"))
    contains("unknown operation", raised(client.submit, client, "zz", nil))
    raised(client.submit, client, nil)
    raised(client.submit, client)
  end)

  it("take options of the call", function()
    contains("unknown call option 'timeout'; did you mean 'timeout_ms'?",
      raised(client.submit, client, "offline_msg_count", { timeout = 1 }, "alice"))
    contains("timeout_ms must be a number, got string",
      raised(client.submit, client, "offline_msg_count", { timeout_ms = "5" }, "alice"))
    contains("options must be a table, got number",
      raised(client.submit, client, "offline_msg_count", 5, "alice"))
    for _, value in ipairs { 0, -1, 1.5, 0 / 0, 1 / 0, 2 ^ 31 } do
      local id, err = client:submit("offline_msg_count", { timeout_ms = value }, "alice")
      assert.is_nil(id)
      contains("timeout_ms", err.message)
      assert.equal("offline_msg_count", err.operation)
    end
    raised(client.submit, client, "offline_msg_count", { timeout_ms = 0 }, 5)
  end)
end)

describe("a request", function()
  local client
  before_each(function() client = assert(new()) end)
  after_each(function() client:close() end)

  local function sent(spec)
    local id, err = client:submit("request", nil, spec)
    if not id then error(err.message, 0) end
    return answer(client, "{}")
  end
  local function json(value)
    return sent({ method = "POST", path = { "x" }, json = value }).body
  end
  local function bad_json(value)
    local id, err = client:submit("request", nil, { method = "POST", path = { "x" }, json = value })
    assert.is_nil(id)
    assert.equal("argument", err.kind)
    assert.equal("request", err.operation)
    return err.message
  end

  it("raises for what a program got wrong", function()
    contains("method is missing", raised(client.submit, client, "request", nil, { path = { "x" } }))
    contains("path is missing", raised(client.submit, client, "request", nil, { method = "GET" }))
    contains("did you mean 'idempotent'?", raised(client.submit, client, "request", nil,
      { method = "GET", path = { "x" }, idempotnet = true }))
    contains("path must be a table", raised(client.submit, client, "request", nil, { method = "GET", path = "x" }))
    contains("path[2] must be a string, got a number", raised(client.submit, client, "request", nil,
      { method = "GET", path = { "x", 1 } }))
    contains("without holes", raised(client.submit, client, "request", nil,
      { method = "GET", path = { "x", nil, "y", name = "z" } }))
    contains("json must be a string or a table", raised(client.submit, client, "request", nil,
      { method = "GET", path = { "x" }, json = 5 }))
    contains("query.a must be", raised(client.submit, client, "request", nil,
      { method = "GET", path = { "x" }, query = { a = {} } }))
    contains("names in query", raised(client.submit, client, "request", nil,
      { method = "GET", path = { "x" }, query = { "a" } }))
    contains("must be a table", raised(client.submit, client, "request", nil, "GET"))
    contains("must be a table", raised(client.submit, client, "request"))
  end)

  it("refuses values that cannot be sent", function()
    local function message(spec)
      local id, err = client:submit("request", nil, spec)
      assert.is_nil(id)
      return err.kind .. " " .. err.message
    end
    contains("argument", message { method = "get", path = { "x" } })
    contains("argument", message { method = "GET", path = {} })
    contains("argument", message { method = "GET", path = { "..", "x" } })
    contains("argument", message { method = "GET", path = { "a/b" } })
    contains("NaN", message { method = "GET", path = { "x" }, query = { a = 0 / 0 } })
    local many = {}
    for i = 1, 65 do many[i] = "x" end
    contains("64 parts", message { method = "GET", path = many })
    local names = {}
    for i = 1, 65 do names["n" .. i] = i end
    contains("64 names", message { method = "GET", path = { "x" }, query = names })
  end)

  it("escapes its path and sorts its query", function()
    local out = sent { method = "GET", path = { "users", "a b%2f", "status" },
      query = { z = 1, a = true, m = 1.5, b = false, s = "ä&=", big = 2 ^ 40 } }
    assert.equal("GET", out.method)
    assert.equal("https://a61.chat.agora.io/app-id/" .. APP_ID .. "/users/a%20b%252f/status"
      .. "?a=true&b=false&big=1099511627776&m=1.5&s=%C3%A4%26%3D&z=1", out.url)
    assert.is_nil(out.body)
    assert.is_nil(out.headers["Content-Type"])
    assert.equal("Bearer 007token", out.headers.Authorization)
    assert.equal("application/json", out.headers.Accept)
    assert.equal("agora_chat/" .. core.version, out.headers["User-Agent"])
  end)

  it("writes tables as JSON", function()
    assert.equal("{}", json {})
    assert.equal("[1,2,3]", json { 1, 2, 3 })
    assert.equal('{"a":{"b":[{"c":"d"}]}}', json { a = { b = { { c = "d" } } } })
    assert.equal('[true,false,"",{}]', json { true, false, "", {} })
    assert.equal([=[["\"\\/\u000a\u0001é]=] .. '\127"]', json { "\"\\/\n\1é\127" })
    assert.equal("application/json", sent { method = "POST", path = { "x" }, json = {} }.headers["Content-Type"])
  end)

  it("writes numbers exactly", function()
    assert.equal("[0,-1,0.1,1.5,1e+300,9007199254740991]", json { -0.0, -1, 0.1, 1.5, 1e300, 2 ^ 53 - 1 })
    for _, number in ipairs { 0.1 + 0.2, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308 } do
      assert.equal(number, tonumber(json({ number }):sub(2, -2)))
    end
    if has_integers then
      local largest = tonumber "0x7fffffffffffffff"
      assert.equal("[9223372036854775807,-9223372036854775808]", json { largest, -largest - 1 })
    end
  end)

  it("writes numbers the same where the comma is decimal", function()
    local before = os.setlocale()
    local found = os.setlocale("de_DE.UTF-8") or os.setlocale("de_DE.utf8") or os.setlocale("fr_FR.UTF-8")
    local ok, body = pcall(json, { 1.5, 0.1 })
    os.setlocale(before)
    if not found then return pending("no locale with a decimal comma here") end
    assert.is_true(ok)
    assert.equal("[1.5,0.1]", body)
  end)

  it("takes text that is JSON already", function()
    assert.equal(' {"a": 1}', json ' {"a": 1}')
    for _, text in ipairs { "", '{"a":', "{'a':1}", "[1,]" } do contains("json", bad_json(text)) end
  end)

  it("says where a table cannot be JSON", function()
    local cycle = {}
    cycle.again = cycle
    contains("json.again.again", bad_json(cycle))
    contains("json.a.b[2]: a function", bad_json { a = { b = { 1, print } } })
    contains("json.a: a number that is NaN", bad_json { a = 0 / 0 })
    contains("json.a: a number that is NaN or infinite", bad_json { a = 1 / 0 })
    contains("json.list: a table that is neither", bad_json { list = { 1, nil, 3 } })
    contains("json: a table that is neither", bad_json { 1, a = 2 })
    contains("json: a table that is neither", bad_json { [1.5] = 2 })
    contains("json: a table that is neither", bad_json { [0] = 1 })
    contains("json: a table that is neither", bad_json { [true] = 1 })
    contains("json: a table that is neither", bad_json { [2 ^ 60] = 1 })
    contains("json.a: text that is not UTF-8", bad_json { a = "\255" })
    contains("json.a: text with a NUL", bad_json { a = "x\0" })
    contains("UTF-8", bad_json { ["\255"] = 1 })
    contains("longer than 1048576", bad_json { ("x"):rep(1048576) })
    local deep = {}
    for _ = 1, 100 do deep = { deep } end
    contains("inside each other", bad_json(deep))
    -- and the client goes on
    assert.equal("[1]", json { 1 })
  end)

  it("uses no metamethods", function()
    local function fail() error("asked") end
    local strange = { __index = fail, __pairs = fail, __len = fail, __tostring = fail }
    assert.equal('{"a":1}', json(setmetatable({ a = 1 }, strange)))
  end)
end)

describe("results", function()
  local client
  before_each(function() client = assert(new()) end)
  after_each(function() client:close() end)

  local function envelope(text)
    local id = assert(client:submit("request", nil, { method = "GET", path = { "x" } }))
    answer(client, text)
    local ended, result, err = client:next_done()
    assert.equal(id, ended)
    if not result then error(err.message, 0) end
    return result.envelope
  end

  it("are tables: null is nil, arrays are sequences", function()
    local e = envelope '{"a":null,"b":[1,[],{"c":true}],"d":false,"e":"é","f":{},"g":[null,2]}'
    assert.same({ b = { 1, {}, { c = true } }, d = false, e = "é", f = {}, g = { nil, 2 } }, e)
  end)

  it("keep whole numbers whole", function()
    local e = envelope('{"a":1542601518137,"b":9007199254740991,"c":-9007199254740991,"d":1.0,"e":-0.0,'
      .. '"x":1.5,"y":1e300}')
    assert.equal(1542601518137, e.a)
    assert.equal(9007199254740991, e.b)
    assert.equal(-9007199254740991, e.c)
    assert.equal(1.5, e.x)
    assert.equal(1e300, e.y)
    if has_integers then
      for _, name in ipairs { "a", "b", "c", "d", "e" } do assert.equal("integer", type_of_number(e[name])) end
      for _, name in ipairs { "x", "y" } do assert.equal("float", type_of_number(e[name])) end
    end
  end)

  it("may nest as deep as an answer may, and be wide", function()
    local e = envelope('{"a":[[[[[[[1]]]]]]]}')
    assert.equal(1, e.a[1][1][1][1][1][1][1])
    local keys = {}
    for i = 1, 5000 do keys[i] = ('"k%d":%d'):format(i, i) end
    e = envelope("{" .. table.concat(keys, ",") .. "}")
    for i = 1, 5000 do assert.equal(i, e["k" .. i]) end
    e = envelope('{"a":[' .. ("1,"):rep(20000) .. "1]}")
    assert.equal(20001, #e.a)
  end)

  it("have an envelope unless the call or the client says no", function()
    local body = '{"data":{"alice":3},"count":0}'
    local function result(c, opts)
      assert(c:submit("offline_msg_count", opts, "alice"))
      answer(c, body)
      return select(2, c:next_done())
    end
    assert.same({ username = "alice", count = 3, envelope = { data = { alice = 3 }, count = 0 } }, result(client))
    assert.same({ username = "alice", count = 3 }, result(client, { envelope = false }))
    local bare = assert(new { envelope = false })
    assert.same({ username = "alice", count = 3 }, result(bare))
    assert.is_table(result(bare, { envelope = true }).envelope)
  end)
end)

describe("errors", function()
  it("are plain tables with raw fields and one metatable", function()
    local client = assert(new { max_attempts = 1 })
    local id = assert(client:submit("offline_msg_count", nil, "alice"))
    answer(client, '{"error":"service_resource_not_found","error_description":"Service resource not found"}', 404)
    local ended, result, err = client:next_done()
    assert.equal(id, ended)
    assert.is_nil(result)
    assert.equal(core.error_metatable, getmetatable(err))
    local raw = {}
    for name, value in next, err do raw[name] = value end
    assert.same({
      kind = "not_found", code = "user", http_status = 404, attempts = 1, elapsed_ms = 0,
      operation = "offline_msg_count", description = "Service resource not found", retryable = false,
      message = "offline_msg_count: not_found/user (HTTP 404): Service resource not found",
    }, raw)
  end)

  it("are made for the Lua layer too", function()
    local err = core.error("argument", "cannot_wait", "use start", "offline_msg_count")
    assert.equal("offline_msg_count: argument/cannot_wait: use start", err.message)
    assert.equal(core.error_metatable, getmetatable(err))
    err = core.error("network", nil, "broken")
    assert.is_nil(err.code)
    assert.is_nil(err.operation)
    assert.is_true(err.retryable)
    contains("unknown kind of error 'netwrok'; did you mean 'network'?", raised(core.error, "netwrok", nil, "x"))
    raised(core.error, "network")
    raised(core.error)
    raised(core.error, "network", 5, "x")
  end)

  it("have a closed set of kinds", function()
    local count = 0
    for kind, value in pairs(core.kinds) do
      assert.is_true(value)
      assert.equal(kind, core.error(kind, nil, "x").kind)
      count = count + 1
    end
    assert.equal(18, count)
  end)
end)

describe("endpoints", function()
  it("are told as the table has them", function()
    local rows = {}
    for _, row in ipairs(core.endpoints()) do rows[row.name] = row end
    local status = rows.offline_msg_status
    assert.same({ "username", "msg_id" }, status.arguments)
    assert.equal("GET", status.method)
    assert.equal("/users/{username}/offline_msg_status/{msg_id}", status.path)
    assert.is_true(status.idempotent)
    assert.is_string(status.source)
    local count = rows.offline_msg_count.result
    assert.equal("count", count[1][1])
    assert.equal("integer", count[1][2])
  end)
end)

describe("a client", function()
  local function collect(client)
    return debug.getmetatable(client).__gc(client)
  end

  it("says what it is, also when closed", function()
    local client = assert(new())
    assert.is_truthy(tostring(client):match("^agora_chat%.core%.client: "))
    client:close()
    assert.is_truthy(tostring(client):match(" %(closed%)$"))
    collect(client)
    assert.is_truthy(tostring(client):match(" %(closed%)$"))
  end)

  it("refuses what is not one", function()
    local methods = debug.getmetatable(assert(new())).__index
    for name, method in pairs(methods) do
      for _, wrong in ipairs { io.stdout, {}, 5, "x", false } do
        assert.is_false((pcall(method, wrong)), name)
      end
      assert.is_false((pcall(method)), name)
    end
    assert.is_false((pcall(debug.getmetatable(assert(new())).__gc, io.stdout)))
  end)

  it("closes twice; then every method says so", function()
    local client = assert(new())
    client:close()
    client:close()
    local calls = {
      submit = { "offline_msg_count", nil, "alice" }, cancel = { 1 }, poll = { 0 }, ready = {}, fd = {},
      due_in_ms = {}, stats = {}, set_token = { "x" }, wants_token = {}, token_failed = { "x" },
      wake_skynet = { 1, 1 }, next_outgoing = {}, deliver = { 1, {} }, set_now = { 1 },
    }
    for name, arguments in pairs(calls) do
      local value, err = client[name](client, arguments[1], arguments[2], arguments[3])
      assert.is_nil(value, name)
      assert.equal("closed", err.kind, name)
    end
    assert.equal(0, client:pending())
    assert.is_nil(client:next_done())
    assert.is_false(client:forked())
  end)

  it("still hands out what close has ended, each once", function()
    local client = assert(new { max_in_flight = 2 })
    local ids = {}
    for i = 1, 5 do ids[assert(client:submit("offline_msg_count", nil, "user" .. i))] = true end
    client:next_outgoing()
    client:close()
    assert.equal(5, client:pending())
    for i = 1, 5 do
      local id, result, err = client:next_done()
      assert.is_true(ids[id])
      ids[id] = nil
      assert.is_nil(result)
      assert.equal("closed", err.kind)
      assert.equal(5 - i, client:pending())
    end
    assert.equal(0, select("#", client:next_done()))
  end)

  it("survives its finalizer by hand, in any state", function()
    local client = assert(new())
    assert(client:submit("offline_msg_count", nil, "alice"))
    client:next_outgoing()
    collect(client)
    collect(client)
    client:close()
    assert.equal("closed", select(2, client:poll(0)).kind)
    assert.equal("closed", select(2, client:stats()).kind)
    assert.equal(0, select("#", client:next_done()))
    assert.equal(0, client:pending())
    assert.is_false(client:forked())
  end)

  it("is collected with calls in flight", function()
    for _ = 1, 50 do
      local client = assert(new())
      for i = 1, 10 do assert(client:submit("offline_msg_count", nil, "user" .. i)) end
      client:next_outgoing()
    end
    collectgarbage()
    collectgarbage()
  end)

  it("can be marked <close> where Lua has it", function()
    local chunk = (rawget(_G, "loadstring") or load)("local c <close> = ... return c")
    if not chunk then return pending("not on this Lua") end
    local client = chunk(assert(new()))
    assert.is_truthy(tostring(client):match("closed"))
  end)

  it("keeps its accounts", function()
    local client = assert(new { max_attempts = 1, max_in_flight = 2, max_queue = 2 })
    local function balanced()
      local s = client:stats()
      assert.equal(s.accepted, s.ok + s.failed + s.cancelled + s.in_flight + s.queued)
      return s
    end
    balanced()
    local ids = {}
    for i = 1, 2 do
      ids[i] = assert(client:submit("offline_msg_count", nil, "u" .. i))
      client:next_outgoing()
    end
    for i = 3, 4 do ids[i] = assert(client:submit("offline_msg_count", nil, "u" .. i)) end
    local id, err = client:submit("offline_msg_count", nil, "u5")
    assert.is_nil(id)
    assert.equal("overload", err.kind)
    local s = balanced()
    assert.equal(4, s.accepted)
    assert.equal(2, s.in_flight)
    assert.equal(2, s.queued)
    client:cancel(ids[4])
    client:deliver(ids[1], { http_status = 200, body = '{"data":{"u1":1}}' })
    client:deliver(ids[2], { kind = "network", code = "reset" })
    s = balanced()
    assert.equal(1, s.ok)
    assert.equal(1, s.failed)
    assert.equal(1, s.cancelled)
    assert.is_false(s.rate_per_s)
    for _, name in ipairs { "queue", "dns", "connect", "tls", "first_byte", "body" } do
      assert.is_number(s.ms[name])
    end
    for _, name in ipairs { "attempts", "retries", "renewals", "connections", "bytes_in", "bytes_out" } do
      assert.is_number(s[name])
    end
    client:close()
  end)

  it("tells of attempts when it is asked to", function()
    local client = assert(new { on_event = function() end, max_attempts = 1 })
    assert(client:submit("offline_msg_count", nil, "alice"))
    answer(client, "{}", 403)
    assert.same({ operation = "offline_msg_count", attempt = 1, kind = "forbidden", http_status = 403,
      elapsed_ms = 0, reused = false }, client:next_event())
    assert.is_nil(client:next_event())
    client:close()
  end)

  it("takes any number where it waits or cancels", function()
    local client = assert(new())
    for _, ms in ipairs { 0, -1, 0 / 0, -1 / 0, 0.2 } do assert.equal(0, client:poll(ms)) end
    assert.equal(0, client:poll(1 / 0)) -- nothing outstanding: at once
    for _, id in ipairs { 0, -1, 1.5, 0 / 0, 1 / 0, 2 ^ 60, 7 } do
      assert.equal(0, select("#", client:cancel(id)))
    end
    raised(client.poll, client, "5")
    raised(client.cancel, client, "1")
    raised(client.cancel, client)
    client:close()
  end)

  it("takes a token from outside", function()
    local client = assert(new())
    assert.is_true(client:set_token("another", 60))
    assert.is_true(client:set_token("another"))
    for _, ttl_s in ipairs { 0, -1, 1.5, 0 / 0, 1e9 } do
      local ok, err = client:set_token("another", ttl_s)
      assert.is_nil(ok)
      contains("ttl_s", err.message)
    end
    for _, text in ipairs { "", "a b", "a\r\nX-Evil: 1", "a\0b", ("x"):rep(8193) } do
      local ok, err = client:set_token(text)
      assert.is_nil(ok)
      assert.equal("argument", err.kind)
    end
    raised(client.set_token, client, 5)
    raised(client.set_token, client, "x", "60")
    assert(client:submit("offline_msg_count", nil, "alice"))
    assert.equal("Bearer another", client:next_outgoing().headers.Authorization)
    client:close()
  end)

  it("asks a function's token once", function()
    local client = assert(new { credentials = function() end })
    assert.is_false(client:wants_token())
    local id = assert(client:submit("offline_msg_count", nil, "alice"))
    assert.is_nil(client:next_outgoing())
    assert.is_true(client:wants_token())
    assert.is_false(client:wants_token())
    client:token_failed("no token\27[31m today")
    assert.is_nil(client:next_outgoing())
    local ended, _, err = client:next_done()
    assert.equal(id, ended)
    assert.equal("unauthorized", err.kind)
    assert.is_nil(err.message:find("\27"))
    client:close()
  end)

  it("posts to skynet only where there is one", function()
    local client = assert(new())
    assert.is_false(client:wake_skynet(16, 230))
    raised(client.wake_skynet, client, "16", 230)
    client:close()
  end)

  it("moves its frozen clock", function()
    local client = assert(new { max_attempts = 1, attempt_timeout_ms = 500 })
    assert(client:submit("offline_msg_count", nil, "alice"))
    local out = client:next_outgoing()
    client:set_now(1499)
    assert.equal(0, client:ready())
    client:set_now(1500, 1700000001)
    assert.equal(1, client:ready())
    local _, _, err = client:next_done()
    assert.equal("timeout", err.kind)
    assert.equal("first_byte", err.code)
    assert.equal(500, err.elapsed_ms)
    raised(client.deliver, client, out.id, { http_status = 200 })
    client:close()
  end)

  it("keeps the tools of specs to specs", function()
    local client = assert(core.new(options { transport = NONE, frozen_ms = NONE, frozen_wall_s = NONE }))
    for _, name in ipairs { "next_outgoing", "deliver", "set_now" } do
      contains("transport = 'lua'", raised(client[name], client, 1, {}))
    end
    client:close()
  end)
end)

describe("a client of a parent process", function()
  it("says forked, but closes", function()
    local client = assert(new())
    assert(client:submit("offline_msg_count", nil, "alice"))
    local status = programs.in_child(function()
      assert(client:forked())
      for _, name in ipairs { "poll", "ready", "next_done", "next_event", "fd", "due_in_ms", "pending", "stats",
                              "wants_token", "next_outgoing", "submit", "cancel", "set_token" } do
        local value, err = client[name](client, 1)
        assert(value == nil and err.kind == "forked", name)
      end
      client:close()
      assert(select(2, client:poll(0)).kind == "forked")
      debug.getmetatable(client).__gc(client)
      assert(tostring(client):match("closed"))
    end)
    assert.equal(0, status)
    assert.is_false(client:forked())
    answer(client, '{"data":{"alice":3}}')
    assert.equal(3, select(2, client:next_done()).count)
    client:close()
  end)
end)

describe("tokens", function()
  local good = { app_id = APP_ID, app_certificate = CERTIFICATE }
  local function with(more) return copy(more, copy(good, {})) end

  it("raise for unknown fields and wrong types", function()
    contains("unknown field 'username'", raised(core.app_token, with { username = "alice" }))
    contains("did you mean 'ttl_s'?", raised(core.app_token, with { ttl = 1 }))
    contains("ttl_s must be a number, got string", raised(core.app_token, with { ttl_s = "60" }))
    contains("username must be a string, got number", raised(core.user_token, with { username = 5 }))
    raised(core.app_token)
    raised(core.read_token)
    raised(core.read_token, 5)
    raised(core.read_token, "007", "certificate")
    contains("unknown field 'app_id'", raised(core.read_token, "007", { app_id = APP_ID }))
  end)

  it("refuse values that cannot be, and never repeat a certificate", function()
    local function message(make, fields)
      local token, err = make(fields)
      assert.is_nil(token)
      assert.equal("argument", err.kind)
      assert.is_nil(err.message:find(CERTIFICATE:sub(1, 8), 1, true))
      return err.message
    end
    for _, ttl_s in ipairs { 0, -1, 1.5, 0 / 0, 1e9, 86401 } do
      contains("ttl_s", message(core.app_token, with { ttl_s = ttl_s }))
    end
    contains("app_id is missing", message(core.app_token, { app_certificate = CERTIFICATE }))
    contains("app_certificate is missing", message(core.app_token, { app_id = APP_ID }))
    contains("username is missing", message(core.user_token, good))
    for _, name in ipairs { "", "..", "a/b", "a\0b", "a\n", ("x"):rep(65) } do
      contains("username", message(core.user_token, with { username = name }))
    end
    message(core.app_token, with { app_id = "x" })
    message(core.app_token, with { app_certificate = CERTIFICATE .. "x" })
  end)

  it("are made and read", function()
    local before = os.time()
    local token = assert(core.user_token(with { username = "alice", ttl_s = 600 }))
    local read = assert(core.read_token(token, { app_certificate = CERTIFICATE }))
    assert.equal(APP_ID, read.app_id)
    assert.is_true(read.verified)
    assert.is_true(read.issued_at_s >= before and read.issued_at_s <= os.time())
    assert.equal(read.issued_at_s + 600, read.expires_at_s)
    assert.equal(1, #read.services)
    assert.equal(5, read.services[1].type)
    assert.equal("alice", read.services[1].user_id)
    assert.same({ [1] = 600 }, read.services[1].privileges)

    token = assert(core.app_token(good))
    read = assert(core.read_token(token))
    assert.is_nil(read.verified)
    assert.same({ [2] = 3600 }, read.services[1].privileges)
    assert.are_not.equal(token, core.app_token(good)) -- salted

    local _, err = core.read_token(token, { app_certificate = ("0"):rep(32) })
    assert.equal("argument", err.kind)
    assert.equal("signature", err.code)
    for _, text in ipairs { "", "007", "006" .. token:sub(4), token:sub(1, 50), ("x"):rep(1048576) } do
      _, err = core.read_token(text)
      assert.equal("argument", err.kind)
    end
  end)
end)
