--- server: listens, reads requests, and sends what service, scripts and
--- faults decide.

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local connection = require "emulator.connection"
local faults = require "emulator.faults"
local http = require "emulator.http"
local json = require "emulator.json"

local Server = {}
Server.__index = Server

local server = {}

local function mono_ms() return cqueues.monotime() * 1000 end

function server.new(queue, service, log)
  return setmetatable({
    queue = queue, service = service, log = log, listeners = {},
    connections = {}, connection_count = 0, started_ms = mono_ms(),
  }, Server)
end

local function listen(host, port)
  local sock = socket.listen { host = host, port = port, reuseaddr = true,
                               v6only = host:find(":") and true or nil }
  sock:onerror(function(_, _, code) return code end)
  local ok, err = sock:listen()
  if not ok then return nil, err end
  local _, _, bound = sock:localname()
  return sock, bound
end

--- Opens a port; `handler(connection)` runs in a coroutine of its own.
--- Returns the listener, which has `port`.
function Server:listen(name, host, port, handler)
  local sock, bound = listen(host, port)
  if not sock then
    return nil, ("cannot listen on %s port %d: error %s")
      :format(host, port, tostring(bound))
  end
  local listener = { name = name, host = host, port = bound, sock = sock,
                     handler = handler }
  self.listeners[#self.listeners + 1] = listener
  self:accept_on(listener)
  return listener
end

function Server:accept_on(listener)
  local sock = listener.sock
  self.queue:wrap(function()
    while listener.sock == sock do
      local peer = sock:accept({ nodelay = true }, 1)
      if peer then
        if listener.sock ~= sock then peer:close() break end
        self:begin(listener, peer)
      end
    end
  end)
end

-- Plain Lua 5.1 cannot yield across pcall; there an error ends in the loop of
-- main.lua, with the same message on stderr.
local function guarded(handler, conn)
  if _VERSION == "Lua 5.1" and not rawget(_G, "jit") then
    handler(conn)
    return true
  end
  return xpcall(function() handler(conn) end, debug.traceback)
end

function Server:begin(listener, peer)
  self.connection_count = self.connection_count + 1
  local conn = connection.new(peer, self.connection_count, listener.name)
  self.connections[conn] = true
  if not listener.quiet then self.log:connected(1, listener.name) end
  self.queue:wrap(function()
    local ok, err = guarded(listener.handler, conn)
    if not ok then io.stderr:write("emulator: ", tostring(err), "\n") end
    conn:close()
    self.connections[conn] = nil
    if not listener.quiet then self.log:connected(-1, listener.name) end
  end)
end

-- One plan out of a scripted answer.
local function scripted(self, answer, request)
  local plan = { after = answer.after, status = answer.status or 200 }
  local bytes = answer.raw
  if not bytes then
    local fields, body, content_type = {}, answer.body, nil
    for name, value in pairs(answer.headers or {}) do
      if name:lower() == "content-type" then content_type = value
      else fields[#fields + 1] = name .. ": " .. tostring(value) .. "\r\n" end
    end
    if type(body) == "table" then body = json.encode(body) end
    if answer.error then
      body, plan.status =
        self.service.error_body(answer.error, self.service.clock.wall_ms())
      plan.status = answer.status or plan.status
    elseif not body and not answer.status then
      plan.status, body = self.service:answer(request, request.record)
    elseif not body then
      body = self.service.error_of_status(answer.status,
                                          self.service.clock.wall_ms())
    end
    bytes = self.service:render(plan.status, body, table.concat(fields),
                                content_type)
  end
  if answer.cut then bytes = bytes:sub(1, answer.cut) end
  if answer.delay_ms then plan[1] = { sleep_ms = answer.delay_ms } end
  if answer.drip then
    local drip = type(answer.drip) == "table" and answer.drip or {}
    plan[#plan + 1] = { drip = bytes, size = drip.size,
                        every_ms = drip.every_ms }
  elseif answer.after ~= "hold" or answer.raw or answer.body or answer.cut then
    if #bytes > 0 then plan[#plan + 1] = { send = bytes } end
  end
  if answer.then_send then
    plan[#plan + 1] = { sleep_ms = answer.then_after_ms or 5 }
    plan[#plan + 1] = { send = answer.then_send }
  end
  return plan
end

-- The answer to one request: bytes and status, or a plan.
function Server:decide(conn, request)
  local service = self.service
  if #service.scripts > 0 then
    local answer = service:next_scripted(request)
    if answer then return scripted(self, answer, request) end
  end
  local plan, code = faults.plan(service, conn, request)
  if plan then return plan, code end
  local status, body, fields = service:answer(request, request.record)
  return service:render(status, body, fields), status
end

local function latency_s(service)
  local latency = service.settings.latency_ms
  if type(latency) == "table" then
    local least, most = latency[1] or 0, latency[2] or latency[1] or 0
    latency = least + (most - least) * service:random()
  end
  return latency / 1000
end

--- The life of one connection to the API.
function Server:serve(conn)
  local service, log = self.service, self.log
  local buffer = ""
  local function more(before)
    local idle_ms = conn.idle_ms or service.settings.idle_timeout_ms
    local bytes = conn:receive(idle_ms > 0 and idle_ms / 1000 or nil)
    return bytes and before .. bytes
  end
  local function continue() conn:send("HTTP/1.1 100 Continue\r\n\r\n") end

  while conn.open do
    local request, rest = http.read_request(buffer, more, continue)
    if not request then
      if rest == "malformed" or rest == "head too long" then
        local body, status =
          service.error_body("illegal_argument", service.clock.wall_ms())
        conn:send(service:render(status, body, "Connection: close\r\n"))
      elseif rest == "cut" then
        log.counters.cut = log.counters.cut + 1
      end
      break
    end
    buffer = rest
    conn.requests = conn.requests + 1

    local authorization =
      request.head:match("\r\n[Aa]uthorization:[ \t]*([^\r\n]*)")
    local bearer = authorization and authorization:match("^Bearer (%S+)$")
    local record = bearer and service:token(bearer)
    request.bearer, request.record = bearer, record
    local now_ms = mono_ms()
    local entry = {
      time_ms = now_ms - self.started_ms, connection = conn.number,
      number = conn.requests, port = conn.port, method = request.method,
      path = request.path, head = request.head, body = request.body,
      bearer = bearer and true or false,
      generation = record and record.generation, sha = record and record.sha,
    }
    log:add(entry)

    local answer, status, good
    if conn.always then
      answer = conn.always
    elseif conn.silent or self.silent_until
       and cqueues.monotime() < self.silent_until then
      answer = { status = 0, after = "hold", fault = "silent" }
    else
      local pause_s = latency_s(service)
      if pause_s > 0 then cqueues.sleep(pause_s) end
      answer, status = self:decide(conn, request)
    end
    local last = request.version == "0"
      or request.head:find("\n[Cc]onnection: [Cc]lose") ~= nil
    if type(answer) == "string" then
      if last then
        answer = answer:gsub("\r\n", "\r\nConnection: close\r\n", 1)
      end
      if status ~= 429 then log:accepted(now_ms) end
      good = conn:send(answer)
    else
      status, entry.fault = answer.status or 0, answer.fault
      entry.whole = answer.whole
      if status ~= 429 then log:accepted(now_ms) end
      good = conn:run(answer)
    end
    log:answered(entry, status, mono_ms() - self.started_ms)
    log.counters.in_flight = log.counters.in_flight - 1

    if not good or last then break end
    if conn.one_answer then
      if conn.one_answer == "fin" then conn:close() else conn:finish() end
      break
    end
    local limit = service.settings.connection_requests
    if limit > 0 and conn.requests >= limit then break end
  end
  if conn.open and conn.tls then conn:finish() end
end

--- Nobody there for a while: kills what is open, refuses what comes, and
--- listens on the same ports again afterwards.
function Server:dead(ms, how)
  for _, listener in ipairs(self.listeners) do
    if not listener.quiet then
      listener.sock:close()
      listener.sock = nil
    end
  end
  for conn in pairs(self.connections) do
    if not conn.quiet then
      if how == "fin" then conn:close() else conn:reset() end
    end
  end
  self.queue:wrap(function()
    cqueues.sleep(ms / 1000)
    for _, listener in ipairs(self.listeners) do
      if not listener.sock then
        listener.sock = assert(listen(listener.host, listener.port))
        self:accept_on(listener)
      end
    end
  end)
end

server.mono_ms = mono_ms

return server
