--- memory_chunk: run by memory_host against the emulator. Each scenario, again
--- and again, while the k-th allocation below Lua fails, alone or with all after
--- it: it ends with the right value or an error, leaves nothing, and
--- the same client works as soon as there is memory again.
local agora_chat = require "agora_chat"

local PLAIN, TLS = os.getenv "AGORA_CHAT_PLAIN_URL", os.getenv "AGORA_CHAT_BASE_URL"
local CA, APP_ID = os.getenv "AGORA_CHAT_CA_FILE", os.getenv "AGORA_CHAT_APP_ID"
local CERTIFICATE = os.getenv "AGORA_CHAT_APP_CERTIFICATE"

local function new(options)
  local all = { base_url = PLAIN, app_id = APP_ID, credentials = { token = "a-token" }, rate_per_s = false,
                timeout_ms = 4000, backoff_ms = 1 }
  for name, value in pairs(options or {}) do all[name] = value end
  return agora_chat.new(all)
end

local function call(client)
  local res, err = client:offline_msg_count "u7"
  return res and res.count, err
end

-- Makes a client with these options, asks once.
local function with(options)
  return { options = options, ask = call }
end

local SCENARIOS = {
  { "a new client", { options = {}, ask = function() return 7 end } },
  { "a call", with {} },
  { "a call over TLS", with { base_url = TLS, ca_file = CA } },
  { "a call with a made token", with { credentials = { app_certificate = CERTIFICATE } } },
  { "a call with an exchanged token",
    with { org_name = "org", app_name = "app", credentials = { app_certificate = CERTIFICATE, exchange = true } } },
  { "a batch", { options = {}, ask = function(client)
    local results, failed = client:batch("offline_msg_count", { "u7", "u7", "u7" })
    if not results then return nil, failed end
    for i = 1, 3 do
      if not results[i] then return nil, failed[i] end
      if results[i].count ~= 7 then return results[i].count end
    end
    return 7
  end } },
  { "a POST", { options = {}, ask = function(client)
    local res, err = client:request { method = "POST", path = { "users", "batch", "status" }, json = { usernames = { "alice" } } }
    return res and 7, err
  end } },
  { "a call of an I/O thread", with { threaded = true } },
  { "a cancelled call", { options = { threaded = true }, ask = function(client)
    local started, err = client:start("offline_msg_count", { "u7" })
    if not started then return nil, err end
    started:cancel()
    local res
    res, err = started:wait()
    if err and err.kind == "cancelled" then return 7 end
    return res and res.count, err
  end } },
  { "tokens", { options = {}, ask = function()
    local text, err = agora_chat.user_token { app_id = APP_ID, app_certificate = CERTIFICATE, username = "alice" }
    if not text then return nil, err end
    local token
    token, err = agora_chat.read_token(text, { app_certificate = CERTIFICATE })
    return token and (token.verified and 7 or 0), err
  end } },
}

local function descriptors()
  local pipe = io.popen "ls /proc/$PPID/fd | wc -l"
  local count = pipe:read "*n"
  pipe:close()
  return count
end

local function check(condition, name, k, lasting, what)
  if not condition then
    error(("%s, allocation %d (%s): %s"):format(name, k, lasting and "and all after it" or "alone", what), 0)
  end
end

local function run(name, scenario, k, lasting, kinds)
  fail(k, lasting)
  local client, err = new(scenario.options)
  local value
  if client then value, err = scenario.ask(client) end
  local hit = fail_stop()
  if value then
    check(value == 7, name, k, lasting, "a wrong value, " .. tostring(value))
  else
    check(type(err) == "table", name, k, lasting, "no error")
    check(hit, name, k, lasting, tostring(err))
    local for_token = err.kind == "unauthorized" and err.message:find("no token can be had: memory", 1, true)
    -- (libcurl leaves lines of a certificate out without a word when it has no memory for them.)
    local for_name = err.kind == "tls" and err.message:find("no subjectAltName", 1, true)
    check(err.kind == "memory" or for_token or for_name, name, k, lasting, tostring(err))
    kinds[err.kind] = (kinds[err.kind] or 0) + 1
    -- (Tokens are tried 5 s apart; given one, the client needs none.)
    if client and for_token then assert(client:set_token "another-token") end
  end
  if client then
    value, err = call(client)
    check(value == 7, name, k, lasting, "afterwards: " .. tostring(err))
    local s = client:stats()
    check(s.accepted == s.ok + s.failed + s.cancelled, name, k, lasting, "the sums of stats")
    client:close()
  end
  return hit
end

local before
for _, scenario in ipairs(SCENARIOS) do
  local name, count, kinds = scenario[1], 0, {}
  run(name, scenario[2], 1e9, false, kinds)            -- what is opened only once
  before = before or descriptors()
  for _, lasting in ipairs { false, true } do
    local k = 0
    repeat k = k + 1 until not run(name, scenario[2], k, lasting, kinds)
    count = math.max(count, k - 1)
  end
  collectgarbage()
  local text = {}
  for kind, times in pairs(kinds) do text[#text + 1] = times .. " " .. kind end
  table.sort(text)
  print(("ok    out of memory below Lua: %s, each of %d allocations failed, alone and with all after it (%s)"):format(
    name, count, table.concat(text, ", ")))
  io.stdout:flush()
end
local after = descriptors()
if after > before then error(("%d descriptors are left"):format(after - before), 0) end
