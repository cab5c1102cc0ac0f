--- control: the door for specs. Plain HTTP, POST /VERB with a JSON object,
--- answers {"ok":true,...} or {"ok":false,"message":"..."} with status 400.

local cqueues = require "cqueues"
local faults = require "emulator.faults"
local http = require "emulator.http"
local json = require "emulator.json"

local verbs = {}

function verbs.ping() return {} end

-- { setting = value, ... }, see DEFAULTS in service.lua
function verbs.set(server, body)
  local ok, err = server.service:set(body)
  if not ok then return nil, err end
  return {}
end

function verbs.settings(server)
  return { settings = server.service.settings }
end

-- { alice = { messages = {...} }, bob = false }; false removes
function verbs.users(server, body)
  for name, user in pairs(body) do
    if user == false then server.service:remove_user(name)
    else server.service:put_user(name, user) end
  end
  return {}
end

-- { prefix = "u", first = 1, count = 3000, waiting = 3 | nil }
-- u1, u2, ...; without `waiting` the number in the name is the count
function verbs.many_users(server, body)
  local first = body.first or 1
  for i = first, first + body.count - 1 do
    server.service:put_user((body.prefix or "u") .. ("%d"):format(i),
                            { count = body.waiting or i })
  end
  return {}
end

-- { user = "alice", id = "1029...", status = "delivered" }; no status removes
function verbs.message(server, body)
  local ok, err =
    server.service:put_message(body.user, body.id, body.status)
  if not ok then return nil, err end
  return {}
end

-- { user =, path =, answers = {...} }
function verbs.script(server, body)
  local ok, err = server.service:add_script(body)
  if not ok then return nil, err end
  return {}
end

function verbs.clear_scripts(server)
  server.service.scripts = {}
  return {}
end

-- { token = "..." | "all", as = "expired" }
function verbs.revoke(server, body)
  if body.as and not server.service.ERRORS[body.as] then
    return nil, "unknown error '" .. tostring(body.as) .. "'"
  end
  server.service:revoke(body.token or "all", body.as)
  return {}
end

-- { ms = 300, how = "rst" | "fin" }
function verbs.dead(server, body)
  server:dead(body.ms or 300, body.how)
  return {}
end

-- { ms = 1000 }: nothing is answered for so long, nothing is closed.
-- { open = true }: the connections that are open now never answer again, new
-- ones do.
function verbs.silent(server, body)
  if body.open then
    for conn in pairs(server.connections) do
      if not conn.quiet then conn.silent = true end
    end
  else
    server.silent_until = cqueues.monotime() + (body.ms or 1000) / 1000
  end
  return {}
end

-- { name = "good" | "expired" | ... }: what the TLS port shows from now on
function verbs.certificate(server, body)
  if not server.set_certificate then return nil, "started without --tls" end
  local ok, err = server.set_certificate(body.name or "good")
  if not ok then return nil, err end
  return {}
end

-- Sends bytes on every idle connection, or closes them: { send =, after = }
function verbs.idle(server, body)
  local n = 0
  for conn in pairs(server.connections) do
    if not conn.quiet then
      n = n + 1
      if body.send then conn:send(body.send) end
      if body.after == "rst" then conn:reset()
      elseif body.after == "fin" then conn:close() end
    end
  end
  return { connections = n }
end

-- { limit = 100, brief = true, clear = true }
function verbs.log(server, body)
  local list = json.array(server.log:list(body.limit, body.brief))
  if body.clear then server.log:clear() end
  return { log = list }
end

-- How many variants each fault id has
function verbs.faults() return { faults = faults.variants } end

function verbs.clear_log(server)
  server.log:clear()
  return {}
end

function verbs.counters(server)
  local c, out = server.log.counters, {}
  for name, value in pairs(c) do out[name] = value end
  out.tokens_seen = server.service.generations
  out.tokens_issued = server.service.issued
  -- Lists, since a JSON name is a text: { second, how many }, { status, n }.
  local function pairs_of(map)
    local list = {}
    for key, n in pairs(map) do list[#list + 1] = { key, n } end
    table.sort(list, function(a, b) return a[1] < b[1] end)
    return json.array(list)
  end
  out.per_second = pairs_of(c.per_second)
  out.answered = pairs_of(c.answered)
  return { counters = out }
end

-- Users, settings, scripts, tokens, log: all as at the start.
function verbs.reset(server)
  server.service:reset()
  server.silent_until = nil
  if server.set_certificate then server.set_certificate("good") end
  server.log:clear()
  return {}
end

function verbs.shutdown(server)
  server.stopping = true
  return {}
end

local control = {}

local function answer(server, request)
  local name = request.path:match("^/([%w_]*)")
  local verb = verbs[name ~= "" and name or "ping"]
  if not verb then return 404, { message = "no verb '" .. name .. "'" } end
  local body = {}
  if #request.body > 0 then
    local err
    body, err = json.decode(request.body)
    if type(body) ~= "table" then
      return 400, { message = "not a JSON object: " .. tostring(err) }
    end
  end
  local ok, result, err = pcall(verb, server, body)
  if not ok then return 400, { message = tostring(result) } end
  if not result then return 400, { message = err } end
  result.ok = true
  return 200, result
end

--- The life of one connection to the control port.
function control.serve(server, conn)
  conn.quiet = true
  local buffer = ""
  local function more(before)
    local bytes = conn:receive()
    return bytes and before .. bytes
  end
  local function continue() conn:send("HTTP/1.1 100 Continue\r\n\r\n") end
  while conn.open do
    local request, rest = http.read_request(buffer, more, continue)
    if not request then break end
    buffer = rest
    local status, result = answer(server, request)
    if not result.ok then result.ok = false end
    local date = http.date(os.time())
    if not conn:send(http.answer(status, date, nil, json.encode(result))) then
      break
    end
    if server.stopping then
      server.stop()
      break
    end
  end
end

return control
