--- simulated: a client, its service and time itself, as one program without
--- network or sleep.
---
---     local world = simulated.new({ max_attempts = 2 }, function(request, now_ms)
---       return 150, 200                       -- after 150 ms, the good answer
---     end)
---     local id = world:submit "alice"
---     world:run()                             -- until nothing is left to happen
---     world.ended[id]                         -- { result = , err = , at_ms = , times = 1 }
---
--- A service gives delay_ms, then an HTTP status (body, headers) or a
--- transport's verdict; no delay: it never answers. The clock jumps from event
--- to event. Moments (at_ms) count from the world's beginning.
---
--- Every run checks two promises by the way: a call ends once, and a client
--- that says it has something to do now has it.
local fake = require "spec.support.fake"

local simulated = {}

local World = {}
World.__index = World

-- ------------------------------------------------------- what is to happen

local function earlier(a, b)
  return a.at_ms < b.at_ms or (a.at_ms == b.at_ms and a.number < b.number)
end

local function push(heap, event)
  local i = #heap + 1
  heap[i] = event
  while i > 1 do
    local parent = (i - i % 2) / 2
    if not earlier(heap[i], heap[parent]) then break end
    heap[i], heap[parent] = heap[parent], heap[i]
    i = parent
  end
end

local function pop(heap)
  local first, count = heap[1], #heap
  heap[1] = heap[count]
  heap[count] = nil
  local i = 1
  while 2 * i < count do
    local child = 2 * i
    if heap[child + 1] and earlier(heap[child + 1], heap[child]) then child = child + 1 end
    if not earlier(heap[child], heap[i]) then break end
    heap[i], heap[child] = heap[child], heap[i]
    i = child
  end
  return first
end

--- f(world) at a moment.
function World:at(at_ms, f)
  self.number = self.number + 1
  push(self.events, { at_ms = at_ms, number = self.number, f = f })
end

-- ---------------------------------------------------------------- the calls

--- Submits offline_msg_count; returns its id. on_end(world, call) is called
--- when it ends.
function World:submit(user, opts, on_end)
  local id, err = self.core:submit("offline_msg_count", opts, user or "alice")
  if not id then return nil, err end
  self.ended[id] = { user = user, submitted_ms = self.now_ms, times = 0, on_end = on_end }
  return id
end

--- Any other operation; spec: method, path, idempotent.
function World:request(spec, opts)
  local id = assert(self.core:submit("request", opts, spec))
  self.ended[id] = { submitted_ms = self.now_ms, times = 0 }
  return id
end

function World:cancel(id)
  self.core:cancel(id)
end

local function good_body(request)
  return ('{"data":{"%s":1}}'):format(request.url:match "/users/([^/]+)/" or "x")
end

local function deliver(world, flight, status, body, headers)
  local request = flight.request
  if world.flights[request.id] ~= flight then return end     -- given up since, and sent again
  world.flights[request.id] = nil
  local reply = status
  if type(status) ~= "table" then
    if status == 200 and not body then body = good_body(request) end
    reply = { http_status = status, body = body or "", headers = headers }
  end
  local ok, message = pcall(world.core.deliver, world.core, request.id, reply)
  if not ok and not message:find("no such call is out", 1, true) then error(message, 0) end
end

--- Sends what may be sent now. Returns how many.
function World:send()
  local count = 0
  local request = self.core:next_outgoing()
  while request do
    count = count + 1
    local flight = { request = request }
    self.flights[request.id] = flight
    request.at_ms = self.now_ms
    request.user = request.url:match "/users/([^/]+)/"
    if self.sent then self.sent[#self.sent + 1] = request end
    self.requests = self.requests + 1
    local delay_ms, status, body, headers = self.service(request, self.now_ms)
    if delay_ms then
      self:at(self.now_ms + delay_ms, function(world) deliver(world, flight, status, body, headers) end)
    end
    request = self.core:next_outgoing()
  end
  return count
end

--- Takes what has ended. Returns how many.
function World:collect()
  self.core:poll(0)
  local count = 0
  local id, result, err = self.core:next_done()
  while id do
    count = count + 1
    local call = assert(self.ended[id], "an end of no call of ours")
    assert(call.times == 0, "a call has ended twice")
    call.times, call.result, call.err, call.at_ms = 1, result or nil, err, self.now_ms
    if call.on_end then call.on_end(self, call) end
    id, result, err = self.core:next_done()
  end
  return count
end

-- ------------------------------------------------------------------- the time

--- The clock jumps to a moment; the program does nothing on the way.
function World:jump(at_ms)
  self.now_ms = at_ms
  self.core:set_now(fake.now_ms + at_ms)
end

--- Runs until nothing is left to happen, or until a moment.
function World:run(until_ms)
  local idle = 0
  while true do
    local busy = self:send() + self:collect()
    local due = self.core:due_in_ms()
    local first = self.events[1]
    local next_ms = first and first.at_ms
    if due >= 0 and (not next_ms or self.now_ms + due < next_ms) then next_ms = self.now_ms + due end
    if not next_ms or (until_ms and next_ms > until_ms) then break end
    idle = busy == 0 and next_ms == self.now_ms and idle + 1 or 0
    assert(idle < 3, "the client says that it has something to do now, and has not")
    if next_ms > self.now_ms then self:jump(next_ms) end
    while self.events[1] and self.events[1].at_ms <= self.now_ms do
      idle = 0
      pop(self.events).f(self)
    end
  end
  if until_ms and until_ms > self.now_ms then
    self:jump(until_ms)
    self:send()
    self:collect()
  end
end

--- One call, run to its end: result, err.
function World:ask(user, opts)
  local call = self.ended[assert(self:submit(user, opts))]
  self:run()
  assert(call.times == 1, "the call has not ended")
  return call.result, call.err
end

--- How many calls ended how: { ok = , timeout = , ... }, and how many there were.
function World:tally()
  local kinds, count = {}, 0
  for _, call in pairs(self.ended) do
    local kind = call.times == 0 and "pending" or call.err and call.err.kind or "ok"
    kinds[kind] = (kinds[kind] or 0) + 1
    count = count + 1
  end
  return kinds, count
end

--- The counters add up.
function World:balanced()
  local s = self.core:stats()
  return s.accepted == s.ok + s.failed + s.cancelled + s.in_flight + s.queued
end

--- When each request was sent, in order.
function World:moments()
  local list = {}
  for i, request in ipairs(self.sent) do list[i] = request.at_ms end
  return list
end

-- ------------------------------------------------------------------ beginnings

--- options: those of fake.core. world.sent lists the requests in order, each with
--- at_ms and user.
function simulated.new(options, service)
  return setmetatable({
    core = fake.core(options),
    service = service,
    now_ms = 0,
    number = 0,
    events = {},
    flights = {},                      -- by id: what the last request of a call waits for
    ended = {},                        -- by id
    sent = {},
    requests = 0,
  }, World)
end

--- A service that gives these replies one by one, at once, the last for ever.
--- Each: a status, { status, body, headers }, or a verdict { kind = , code = }.
function simulated.replies(list)
  local i = 0
  return function()
    i = math.min(i + 1, #list)
    local reply = list[i]
    if type(reply) == "table" and not reply.kind then return 0, reply[1], reply[2], reply[3] end
    return 0, reply
  end
end

return simulated
