-- Certificate, client secret and tokens: in no error, no tostring, no event, no
-- traceback, no statistics; and not in memory once the client is closed.
local agora_chat = require "agora_chat"
local fake = require "spec.support.fake"
local programs = require "spec.support.programs"
local scripted = require "spec.support.scripted"
local tick = require "agora_chat.loop.tick"

local CERTIFICATE = "5cfd2fd1755d40ecb72977518be15d3b"
local SECRET = "YXA6-a-client-secret-of-easemob"
local TOKEN = "007eJx-a-token-that-the-program-was-given"
local FETCHED = "YWMtAn+/access/token=of-the-service"

--- Every text that a value shows, however one looks at it.
local function shown(value, seen)
  seen = seen or {}
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] then return "" end
  seen[value] = true
  local texts = { tostring(value) }
  for key, item in pairs(value) do
    texts[#texts + 1] = shown(key, seen)
    texts[#texts + 1] = shown(item, seen)
  end
  return table.concat(texts, "\n")
end

--- No secret, nor a part of one worth having.
local function assert_clean(value, secrets)
  local text = shown(value)
  for _, secret in ipairs(secrets) do
    assert.is_nil(text:find(secret, 1, true), text)
    if #secret >= 24 then assert.is_nil(text:find(secret:sub(1, 12), 1, true), text) end
  end
end

local KINDS = {
  { name = "token", credentials = { token = TOKEN } },
  { name = "certificate", credentials = { app_certificate = CERTIFICATE } },
  { name = "exchange", credentials = { app_certificate = CERTIFICATE, exchange = true }, org = true },
  { name = "client_id", credentials = { client_id = "an-id", client_secret = SECRET }, org = true },
  { name = "function", credentials = function() return TOKEN, 60 end },
}

--- A client of that kind whose service answers by `answer`; all that was said
--- about it; and the tokens that were seen.
local function watched(kind, answer)
  local w = { said = {}, secrets = { CERTIFICATE, SECRET, TOKEN, FETCHED } }
  local function hear(...) w.said[#w.said + 1] = { ... } end
  local options = {
    credentials = kind.credentials, loop = tick, threaded = false, max_attempts = 1,
    on_event = hear, on_error = hear,
    answer = function(request)
      local token = fake.token_of(request)
      if token then w.secrets[#w.secrets + 1] = token end
      if request.method == "POST" and not w.no_token then
        return 200, ('{"access_token":"%s","expires_in":1000}'):format(FETCHED)
      end
      return answer(request, token or "", request.body or "")
    end,
  }
  if kind.org then options.org_name, options.app_name = "org", "app" end
  w.client = scripted.client(options)
  w.hear = hear
  return w
end

local function step(client)
  for _ = 1, 4 do
    client:tick()
    scripted.serve(client)
    client:tick()
    client.now_ms = client.now_ms + 600
    client.core:set_now(client.now_ms)
  end
end

--- A call of every sort that this service answers.
local function try(w)
  local client = w.client
  client:start("offline_msg_count", { "alice" }, function(res, err, data)
    w.hear(res and "ok", err, data, debug.traceback("in a callback"))
    error(err or "a callback raised")
  end)
  step(client)
  local call = client:start("offline_msg_status", { "alice", "123" })
  step(client)
  w.hear(tostring(call), call.err)                             -- an answer that is good is the program's
  call = client:start("request", { { method = "POST", path = { "x" }, json = {} } })
  step(client)
  w.hear(tostring(call), call.err, client:stats())
  w.hear(tostring(client), tostring(client.core), client.calls)
end

describe("a secret is not told", function()
  for _, kind in ipairs(KINDS) do
    it("by whatever goes wrong: " .. kind.name, function()
      for _, answer in ipairs {
        function() return 200, "no JSON" end, function() return 200, "{}" end,
        function() return 401, fake.fixture "err_401_expired.json" end, function() return 500 end,
        function() return { kind = "network", code = "reset", message = "reset" } end,
        function() return { kind = "tls", message = "no" } end, function() return 302 end,
      } do
        local w = watched(kind, answer)
        try(w)
        assert.is_true(#w.said > 3)
        assert_clean(w.said, w.secrets)
        w.client.provider = nil                                -- the program's own function
        assert_clean(w.client, w.secrets)
        w.client:close()
      end
    end)

    -- The service, or a proxy that is meant to help, may say what it was told.
    it("by a server that echoes it: " .. kind.name, function()
      local function json(status, error_word, description)
        return function(_, token, body)
          local function fill(text)
            return (text:gsub("TOKEN", function() return token end):gsub("BODY", function() return body:gsub('"', "'") end))
          end
          return status, ('{"error":"%s","error_description":"%s"}'):format(fill(error_word), fill(description))
        end
      end
      local function plain(status, text)
        return function(_, token, body)
          return status, (text:gsub("TOKEN", function() return token end):gsub("BODY", function() return body end))
        end
      end
      for _, answer in ipairs {
        json(401, "unauthorized", "bad token TOKEN"), json(401, "unauthorized", "TOKEN"),
        json(401, "unauthorized", ("x"):rep(100) .. " Bearer TOKEN,TOKEN TOKEN"),
        json(403, "forbidden_op", ("long "):rep(45) .. "TOKEN"), json(403, "TOKEN", "no"),
        json(400, "illegal_argument", "body was BODY"), json(500, "TOKEN", "TOKEN"),
        json(404, "entity_not_found", "Authorization: Bearer TOKEN"),
        plain(502, "<html>Authorization: Bearer TOKEN</html>"), plain(400, "BODY"), plain(401, "TOKEN"),
        plain(200, "TOKEN"), plain(200, '{"data":"TOKEN"}'), plain(200, '{"data":{"alice":"TOKEN"}}'),
        plain(200, '{"data":{"123":"TOKEN"}}'), plain(200, '{"data":{"TOKEN":7}}'), plain(200, '{"error":"TOKEN"}'),
      } do
        for _, no_token in ipairs { false, true } do
          local w = watched(kind, answer)
          w.no_token = no_token                                -- the token request is refused like that, too
          try(w)
          assert_clean(w.said, w.secrets)
          w.client:close()
        end
      end
    end)
  end

  it("though the words around it are kept", function()
    local w = watched(KINDS[1], function(_, token)
      return 403, ('{"error":"forbidden_op","error_description":"the token %s may not do that"}'):format(token)
    end)
    local call = w.client:start("offline_msg_count", { "alice" })
    step(w.client)
    assert.equal("the token *** may not do that", call.err.description)
    w.client:close()
  end)

  it("even when the token has changed since the request went out", function()
    local client = fake.core { credentials = { token = TOKEN }, max_attempts = 1 }
    assert(client:submit("offline_msg_count", nil, "alice"))
    local request = fake.outgoing(client)
    assert(client:set_token "another-token-of-the-program")
    client:deliver(request.id, { http_status = 403,
      body = ('{"error":"forbidden_op","error_description":"%s"}'):format(TOKEN) })
    local _, err = fake.result(client)
    assert_clean(err, { TOKEN })
    client:close()
  end)
end)

describe("a mistake does not tell it either", function()
  local function of(credentials, more)
    local all = { base_url = "https://chat.example", app_id = fake.app_id, credentials = credentials }
    for name, value in pairs(more or {}) do all[name] = value end
    return all
  end

  it("in new, whatever was mixed up", function()
    for _, options in ipairs {
      of(CERTIFICATE), of { CERTIFICATE }, of { [CERTIFICATE] = true }, of { app_certificate = CERTIFICATE .. "0" },
      of { app_certificate = { CERTIFICATE } }, of { app_certificate_file = CERTIFICATE },
      of { app_certificate = function() error(CERTIFICATE) end },
      of { app_certificate = function() return CERTIFICATE .. "!" end },
      of { app_certificate = function() return { CERTIFICATE } end },
      of { app_certificate = CERTIFICATE, token = TOKEN }, of { app_certificate = CERTIFICATE, ttl_s = 0 },
      of { app_certificate = CERTIFICATE, ttl_s = "60" }, of { app_certificate = CERTIFICATE, tll_s = 1 },
      of { client_id = SECRET }, of { client_secret = SECRET }, of { client_id = "x", client_secret = { SECRET } },
      of { token = TOKEN .. "\n" }, of { token = { TOKEN } }, of({ token = TOKEN }, { [CERTIFICATE] = 1 }),
      of({ token = TOKEN }, { app_id = CERTIFICATE .. "/" }), of({ token = TOKEN }, { base_url = CERTIFICATE }),
      of({ token = TOKEN }, { ca_file = CERTIFICATE }), of({ token = TOKEN }, { proxy = CERTIFICATE }),
      of({ token = TOKEN }, { user_agent = CERTIFICATE .. "\n" }), of({ token = TOKEN }, { transport = CERTIFICATE }),
      of({ token = TOKEN }, { proxy = "socks5://user:" .. SECRET .. "@host" }),
      of({ token = TOKEN }, { base_url = "https://user:" .. SECRET .. "@chat.example" }),
      CERTIFICATE,
    } do
      local traceback
      local ok, client, err = xpcall(function() return agora_chat.new(options) end, function(message)
        traceback = debug.traceback(tostring(message))
        return message
      end)
      assert.is_true(not ok or not client)
      assert_clean({ client, err, traceback }, { CERTIFICATE, SECRET, TOKEN })
    end
  end)

  it("in set_token, start and a method", function()
    local client = fake.client()
    local function check(f, ...)
      local result = { pcall(f, client, ...) }
      assert_clean(result, { TOKEN, CERTIFICATE })
      assert.is_true(not result[1] or result[2] == nil)
    end
    check(client.set_token, TOKEN .. "\r\n")
    check(client.set_token, { TOKEN })
    check(client.set_token, TOKEN, TOKEN)
    check(client.set_token, TOKEN, -1)
    check(client.start, CERTIFICATE, {})
    check(client.offline_msg_count, "alice", { [CERTIFICATE] = 1 })
    client:close()
  end)
end)

-- A process that looks at itself: /proc/self/mem, in a Lua of its own. There the
-- certificate comes from a file and is only ever named backwards, so that Lua
-- never holds it.
describe("memory", function()
  local CHILD = [[
    local agora_chat = require "agora_chat.core"
    local path, backwards, close, kind = arg[1], arg[2], arg[3] == "close", arg[4]
    local options = { base_url = "https://chat.example", app_id = ("a"):rep(32), transport = "lua", seed = 1,
      credentials = { app_certificate_file = path } }
    if kind == "exchange" then
      options.org_name, options.app_name, options.credentials.exchange = "org", "app", true
    end
    local client = assert(agora_chat.new(options, false))
    assert(client:submit("offline_msg_count", nil, "alice"))
    local request = assert(client:next_outgoing())
    if kind ~= "in flight" then
      client:deliver(request.id, { http_status = 401, body = "" })
      while client:next_outgoing() do end
    end
    if close then client:close() end

    local maps, found, scanned = assert(io.open "/proc/self/maps"), 0, 0
    local regions = {}
    for line in maps:lines() do
      local from, to, name = line:match "^(%x+)%-(%x+) rw%-p %S+ %S+ %S+ *(.*)$"
      if from then
        from, to = tonumber(from, 16), tonumber(to, 16)
        -- A sanitizer's shadow is terabytes; what a program allocates is not.
        if to - from <= 64 * 1024 * 1024 and name ~= "[vvar]" then regions[#regions + 1] = { from, to } end
      end
    end
    maps:close()
    local memory = assert(io.open("/proc/self/mem", "rb"))
    for _, region in ipairs(regions) do
      local at = region[1]
      while at < region[2] do
        local size = math.min(65536, region[2] - at)
        if not memory:seek("set", at) then break end
        local bytes = memory:read(size)
        if not bytes then break end
        scanned = scanned + #bytes
        if bytes:reverse():find(backwards, 1, true) then found = found + 1 end
        at = at + size
      end
    end
    print(found, scanned)
  ]]

  --- How many pieces of the child's memory hold the certificate; nil where one cannot look.
  local function look(close, kind)
    local folder = os.tmpname()
    os.remove(folder)
    local backwards = "0123456789abcdef" .. ("%08x%08x"):format(os.time() % 65536 * 7, math.random(1, 2 ^ 30))
    assert(#backwards == 32)
    programs.write(folder .. ".hex", backwards:reverse())
    programs.write(folder .. ".lua", CHILD)
    local out = programs.run_lua { folder .. ".lua", folder .. ".hex", backwards, close and "close" or "open", kind }
    os.remove(folder .. ".hex")
    os.remove(folder .. ".lua")
    local found, scanned = out:match "^(%d+)%s+(%d+)"
    if found and tonumber(scanned) > 100000 then return tonumber(found) end
    return nil, out
  end

  it("holds a certificate until close, and not after it", function()
    if not programs.interpreter() then return pending "needs to know its own interpreter" end
    for _, kind in ipairs { "answered", "in flight", "exchange" } do
      local before, why = look(false, kind)
      if not before then return pending("cannot look at its own memory here: " .. tostring(why)) end
      assert.is_true(before >= 1, "the look finds nothing")
      assert.equal(0, look(true, kind), kind)
    end
  end)
end)
