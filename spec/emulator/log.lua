--- log: what was asked, bounded, and how much of it.

local http = require "emulator.http"

local Log = {}
Log.__index = Log

local CAPACITY = 20000

local function new()
  return setmetatable({}, Log):clear()
end

function Log:clear()
  self.entries, self.total = {}, 0
  self.counters = {
    requests = 0, accepted = 0, refused_429 = 0, answered = {},
    in_flight = self.counters and self.counters.in_flight or 0,
    max_in_flight = 0, max_accepted_in_1s = 0, per_second = {},
    connections_opened = 0, max_connections = 0, cut = 0, tls_failed = 0,
    connections_by_port = {},
    connections_open = self.counters and self.counters.connections_open or 0,
  }
  self.recent, self.first, self.last = {}, 1, 0
  return self
end

--- A place for one request; the oldest of 20,000 makes room.
function Log:add(entry)
  self.total = self.total + 1
  self.entries[(self.total - 1) % CAPACITY + 1] = entry
  local c = self.counters
  c.requests = c.requests + 1
  c.in_flight = c.in_flight + 1
  if c.in_flight > c.max_in_flight then c.max_in_flight = c.in_flight end
end

function Log:answered(entry, status, done_ms)
  local c = self.counters
  entry.status, entry.done_ms = status, done_ms
  c.answered[status] = (c.answered[status] or 0) + 1
  if status == 429 then c.refused_429 = c.refused_429 + 1 end
end

--- The request passed the rate limit: the moment counts for the histogram and
--- for "never more than n in any second".
function Log:accepted(now_ms)
  local c = self.counters
  c.accepted = c.accepted + 1
  local second = math.floor(now_ms / 1000)
  c.per_second[second] = (c.per_second[second] or 0) + 1
  local recent = self.recent
  self.last = self.last + 1
  recent[self.last] = now_ms
  while recent[self.first] <= now_ms - 1000 do
    recent[self.first] = nil
    self.first = self.first + 1
  end
  local n = self.last - self.first + 1
  if n > c.max_accepted_in_1s then c.max_accepted_in_1s = n end
end

function Log:connected(delta, port)
  local c = self.counters
  c.connections_open = c.connections_open + delta
  if delta > 0 then
    c.connections_opened = c.connections_opened + 1
    local by_port = c.connections_by_port
    by_port[port] = (by_port[port] or 0) + 1
    if c.connections_open > c.max_connections then
      c.max_connections = c.connections_open
    end
  end
end

-- The token itself is never shown; its generation tells one from another.
local function readable(entry, brief)
  if brief then
    return { time_ms = entry.time_ms, connection = entry.connection,
             token = entry.generation or 0, status = entry.status or 0 }
  end
  local fields = {}
  for _, field in ipairs(http.fields(entry.head)) do
    local name, value = field[1], field[2]
    local key = name:lower()
    if key == "authorization" then
      value = entry.bearer
        and ("Bearer #%d sha256:%s"):format(entry.generation, entry.sha)
        or "(malformed)"
    end
    fields[key] = fields[key] and fields[key] .. ", " .. value or value
  end
  return {
    time_ms = entry.time_ms, done_ms = entry.done_ms,
    connection = entry.connection, number = entry.number,
    port = entry.port, method = entry.method, path = entry.path,
    headers = fields, body = entry.body, token = entry.generation or 0,
    token_sha256 = entry.sha, token_well_formed = entry.bearer or false,
    status = entry.status or 0, fault = entry.fault, whole = entry.whole,
  }
end

--- The last `limit` requests, oldest first; `brief`: numbers only, which is
--- what one wants after 20,000 of them.
function Log:list(limit, brief)
  local list = {}
  local n = math.min(self.total, CAPACITY, limit or CAPACITY)
  for i = self.total - n + 1, self.total do
    list[#list + 1] = readable(self.entries[(i - 1) % CAPACITY + 1], brief)
  end
  return list
end

return { new = new }
