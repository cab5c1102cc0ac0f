--- client: calls from ask to answer, on the Lua side.
---
--- The C core knows calls by their ids and never calls Lua. Here `client.calls`
--- holds what belongs to an id: who waits for it, or its callback. The
--- client's loop says how one waits (agora_chat.Loop); nothing here does.
---
--- Waiters and callbacks may do anything: start calls, close the client, tick
--- it again, raise. So whatever is to be woken or called back stands in a queue
--- of the client's, taken one by one, and never in a local list.

local core = require "agora_chat.core"
local batch = require "agora_chat.batch"
local fifo = require "agora_chat.fifo"
require "agora_chat.error"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")

local MOST_NESTED = 50           -- callbacks that wait inside each other

--- How one waits in some world: a plain table, of which only `wait` is required.
---   wait     returns when call.done; puts what wakes it into call.waiter
---   wake     the call has ended: wake call.waiter
---   admit    may a call wait here, or have a callback? nil and a sentence: no
---   started  something was asked of the core: somebody must tick
---   spawn    client:call_back(call), in a place where that may wait
---   attach   makes handles; nil and a sentence refuse
---   detach   drops them; the descriptor is still open
---   threaded this world wants the I/O thread
---   blocks   waiting never yields here
---@class agora_chat.Loop
---@field wait fun(client: agora_chat.Client, call: agora_chat.Call)
---@field wake? fun(client: agora_chat.Client, call: agora_chat.Call)
---@field admit? fun(client: agora_chat.Client, call: agora_chat.Call): boolean?, string?
---@field started? fun(client: agora_chat.Client, call: agora_chat.Call)
---@field spawn? fun(client: agora_chat.Client, call: agora_chat.Call)
---@field attach? fun(client: agora_chat.Client): boolean?, string?
---@field detach? fun(client: agora_chat.Client)
---@field threaded? boolean
---@field blocks? boolean

--- One use of an operation, from start to its end.
---@class agora_chat.Call
---@field id integer
---@field operation string
---@field client agora_chat.Client
---@field callback? fun(result: table?, err: agora_chat.Error?, data: any)
---@field data any
---@field done boolean?
---@field waiter any  the loop's
---@field sole boolean?  nobody but its waiter knows it
---@field cancelled boolean?  ends so, even if its answer is there already
local Call = {}
Call.__index = Call
Call.__name = "agora_chat.Call"

---@class agora_chat.Client
---@field core userdata
---@field loop agora_chat.Loop
---@field closed boolean
---@field threaded boolean  an I/O thread works, or every tick does
---@field calls table<integer, agora_chat.Call>
local Client = {}
Client.__index = Client
Client.__name = "agora_chat.Client"

-- ---------------------------------------------------------------- small help

local function closed_error(operation)
  return core.error("closed", nil, "this client is closed", operation)
end

--- nil, err when the client cannot be used: closed, or forked.
local function usable(client, operation)
  if client.closed then return nil, closed_error(operation) end
  return client.core:ready(operation)
end

local function check_client(client, name, level)
  if getmetatable(client) ~= Client then
    error(("%s is a method: client:%s(...), with a colon"):format(name, name), level + 1)
  end
end

local function check_options(opts, level)
  if opts == nil then return end
  if type(opts) ~= "table" then
    error(("options of a call must be a table, got %s"):format(type(opts)), level + 1)
  end
  for _, name in ipairs { "batch", "max_pause_ms" } do     -- batch.lua's own way in
    if opts[name] ~= nil then error(("unknown call option '%s'"):format(name), level + 1) end
  end
end

local function check_number(value, what, level)
  if type(value) ~= "number" then
    error(("%s must be a number, got %s"):format(what, type(value)), level + 1)
  end
end

--- pcall that hands errors on to the place which made the mistake.
local function at_level(level, ok, ...)
  if not ok then error((...), level + 1) end
  return ...
end

local function kick(client, call)
  local started = client.loop.started
  if started and not client.closed then started(client, call) end
end

--- What was raised, and where. A raised value may be anything, and its
--- __tostring may raise in turn.
local function trace(value)
  local ok, text = pcall(tostring, value)
  return { value = value, traceback = debug.traceback(ok and text or "(an error value)", 2) }
end

--- Where what callbacks raise goes. For loops too.
---@param value any
---@param traceback? string
function Client:report(value, traceback)
  if self.on_error and pcall(self.on_error, value, traceback) then return end
  local ok, text = pcall(tostring, value)
  io.stderr:write("agora_chat: a callback raised: ", traceback or (ok and text) or "(an error value)", "\n")
end

-- 5.1's xpcall passes no arguments on.
local passes_on = select(2, xpcall(function(value) return value end, trace, true))

local function guarded(client, f, ...)
  local ok, failure
  if passes_on then
    ok, failure = xpcall(f, trace, ...)
  else
    local arguments, count = { ... }, select("#", ...)
    ok, failure = xpcall(function() return f(unpack(arguments, 1, count)) end, trace)
  end
  if ok then return true end
  if type(failure) ~= "table" then failure = { value = failure } end   -- out of memory
  client:report(failure.value, failure.traceback)
  return false
end

-- ------------------------------------------------------------------- waiting

-- Lua 5.1 has no object for the main coroutine.
local MAIN = {}

local function running()
  return coroutine.running() or MAIN
end

local function is_dead(co)
  return co ~= MAIN and coroutine.status(co) == "dead"
end

local function cannot_wait(why, operation)
  return nil, core.error("argument", "cannot_wait", why, operation)
end

local function admit(client, call)
  local ask = client.loop.admit
  if not ask then return true end
  local ok, why = ask(client, call)
  if ok then return true end
  return cannot_wait(why or "one cannot wait here", call.operation)
end

local function await(call)
  local client = call.client
  if not call.done then
    call.holder = running()
    client.loop.wait(client, call)
    call.holder = nil
  end
  if call.done then return call.result, call.err end
  local _, err = usable(client, call.operation)      -- forked
  return nil, err or closed_error(call.operation)
end

--- The result, waited for the way this client's loop waits. After it has come
--- once, or beside a callback, the same again.
---@async
---@return table? result
---@return agora_chat.Error? err
function Call:wait()
  if self.done then return self.result, self.err end
  local client = self.client
  local ok, err = usable(client, self.operation)
  if not ok then return nil, err end
  local holder = self.holder
  if holder and holder ~= running() and not is_dead(holder) then
    return cannot_wait("another coroutine waits for this call", self.operation)
  end
  -- A loop admits calls with a callback anywhere; here it is the waiting that is asked for.
  ok, err = admit(client, self.callback and { operation = self.operation } or self)
  if not ok then return nil, err end
  return await(self)
end

--- Ends the call as cancelled, if it has not ended yet; its waiter and its
--- callback learn of it in the next tick.
function Call:cancel()
  local client = self.client
  if self.done or client.closed then return end
  self.cancelled = true
  client.core:cancel(self.id)
  kick(client, self)
end

function Call:__tostring()
  return ("agora_chat.Call: %s (%s)"):format(self.operation, self.done and "done" or "pending")
end

-- -------------------------------------------------------------------- asking

--- The nils make room for what comes later: a table that grows is built again.
local function new_call(client, operation, callback, data, sole)
  return setmetatable({
    operation = operation, client = client, callback = callback, data = data, sole = sole,
    id = nil, done = nil, result = nil,
  }, Call)
end

--- Gives a call to the core. Like a pcall: false and a sentence for wrong
--- types; true, nil, err when nothing was accepted; true, call.
function Client:submit(call, opts, ...)
  if self.closed then return true, nil, closed_error(call.operation) end
  local ok, id, err = pcall(self.core.submit, self.core, call.operation, opts, ...)
  if not ok then return false, id end
  if not id then return true, nil, err end
  call.id = id
  self.calls[id] = call
  kick(self, call)
  return true, call
end

local function perform(client, operation, count, ...)
  check_client(client, operation, 3)
  local given, opts = select("#", ...), nil
  if given > count + 1 then
    error(("%s takes %d arguments and options, got %d"):format(operation, count, given), 3)
  end
  if given > count then
    opts = select(count + 1, ...)
    check_options(opts, 3)
  end
  if client.closed then return nil, closed_error(operation) end
  local call = new_call(client, operation, nil, nil, true)
  local ok, err = admit(client, call)
  if not ok then return nil, err end
  if opts == nil then
    ok, err = at_level(3, client:submit(call, nil, ...))
  else
    ok, err = at_level(3, client:submit(call, opts, unpack({ ... }, 1, count)))
  end
  if not ok then return nil, err end
  return await(call)
end

--- Methods exist because rows exist.
local function method(operation, count)
  return function(client, ...)
    local result, err = perform(client, operation, count, ...)   -- no tail call: errors name the caller
    return result, err
  end
end

for _, row in ipairs(core.endpoints()) do
  Client[row.name] = method(row.name, #row.arguments)
end

--- Any other operation of the service:
--- client:request { method = "GET", path = { "users", name, "status" }, idempotent = true }
---@async
---@param spec table  method, path, query, json, idempotent
---@param opts? agora_chat.CallOptions
---@return { http_status: integer, envelope: table? }? result
---@return agora_chat.Error? err
Client.request = method("request", 1)

--- Starts a call and returns at once. The callback runs inside tick, poll or
--- close, never in here; without one, call:wait() gives the result.
---@param operation string  "offline_msg_count", ..., "request"
---@param arguments table  a list: { "alice" }
---@param callback? fun(result: table?, err: agora_chat.Error?, data: any)
---@param opts? agora_chat.CallOptions  and `data`, handed to the callback
---@return agora_chat.Call? call
---@return agora_chat.Error? err
function Client:start(operation, arguments, callback, opts)
  check_client(self, "start", 2)
  if type(operation) ~= "string" then
    error("start: the operation must be a string, got " .. type(operation), 2)
  end
  if type(arguments) ~= "table" then
    error(("start: the arguments of %s must be a list, got %s"):format(operation, type(arguments)), 2)
  end
  if callback ~= nil and type(callback) ~= "function" then
    error("start: the callback must be a function, got " .. type(callback), 2)
  end
  check_options(opts, 2)
  if self.closed then return nil, closed_error(operation) end
  local call = new_call(self, operation, callback, opts and opts.data)
  if callback then
    local ok, err = admit(self, call)
    if not ok then return nil, err end
  end
  local started, err = at_level(2, self:submit(call, opts, unpack(arguments)))
  return started, err
end

--- Something else to wait for than the end of one call: whoever makes it sets
--- `done` and passes it to client:wake_later. Never submitted.
---@return agora_chat.Call
function Client:new_turn(operation)
  return new_call(self, operation)
end

--- May one wait here, with this client? nil, err: no.
---@return boolean? ok
---@return agora_chat.Error? err
function Client:may_wait(operation)
  local ok, err = usable(self, operation)
  if not ok then return nil, err end
  return admit(self, { operation = operation })
end

--- Wakes who waits for a turn, in the next collect.
---@param turn agora_chat.Call
function Client:wake_later(turn)
  turn.done = true
  if turn.waiter ~= nil then fifo.push(self.waking, turn) end
end

--- Many calls, see batch.lua.
Client.batch = batch.batch
Client.each = batch.each

-- ------------------------------------------------------------ what has ended

local function finish(client, call, result, err)
  call.result, call.err, call.done = result, err, true
  if call.ended then call.ended(client, call) end              -- batch.lua's
  if call.waiter ~= nil then fifo.push(client.waking, call) end
  if call.callback then fifo.push(client.due, call) end
end

--- The core had its end before it heard of the cancel; the program had not.
local function cancelled_late(client, call, result, err, attempts, elapsed_ms)
  local counted = result and "ok" or "failed"
  client.late[counted] = client.late[counted] + 1
  local cancelled = core.error("cancelled", nil, "cancelled by the program", call.operation)
  cancelled.attempts = err and err.attempts or attempts
  cancelled.elapsed_ms = err and err.elapsed_ms or elapsed_ms
  return cancelled
end

local function take_ended(client, max)
  local calls, count = client.calls, 0
  while not max or count < max do
    local id, result, err, attempts, elapsed_ms = client.core:next_done()
    if not id then break end
    count = count + 1
    local call = calls[id]
    if call then
      calls[id] = nil
      if call.cancelled and not (err and err.kind == "cancelled") then
        result, err = nil, cancelled_late(client, call, result, err, attempts, elapsed_ms)
      end
      finish(client, call, result, err)
    end
  end
  return count
end

--- Nobody may be left asleep because another could not be woken.
local function wake_waiters(client)
  local wake = client.loop.wake
  local call = fifo.pop(client.waking)
  while call do
    if wake then
      local ok, value = pcall(wake, client, call)
      if not ok then client:report(value) end
    end
    call = fifo.pop(client.waking)
  end
end

local function hand_out(client, max)
  local count = take_ended(client, max)
  wake_waiters(client)
  return count
end

--- Takes ended calls (at most `max`), marks them done, wakes who waits for
--- them. Runs no callback. Returns how many.
---@param max? integer
---@return integer? count
---@return agora_chat.Error? err
function Client:collect(max)
  if max ~= nil then check_number(max, "collect: max", 2) end
  if self.closed then return nil, closed_error() end
  local ready, err = self.core:poll(0)
  if not ready then return nil, err end
  return hand_out(self, max)
end

--- Runs the callback of an ended call, once. For loops' `spawn`.
---@param call agora_chat.Call
function Client:call_back(call)
  if call.called then return end
  call.called = true
  self.nested = self.nested + 1
  guarded(self, call.callback, call.result, call.err, call.data)
  self.nested = self.nested - 1
end

--- Code of the program's runs where its world lets it wait.
local function hand_over(client, job)
  local spawn = client.loop.spawn
  if not spawn then return client:call_back(job) end
  local ok, value = pcall(spawn, client, job)
  if not ok then
    client:report(value)
    client:call_back(job)
  end
end

--- The callbacks that are due now, not those that they make due.
local function run_due(client, max)
  local left = fifo.count(client.due)
  if max and max < left then left = max end
  local count = 0
  while count < left do
    local call = fifo.pop(client.due)
    if not call then break end                  -- a callback ticked, or closed
    count = count + 1
    hand_over(client, call)
  end
  return count
end

-- ------------------------------------------- events, and tokens from outside

local function run_events(events, _, client)
  for _, event in ipairs(events) do
    guarded(client, function() return client.on_event(event) end)
  end
end

local function tell_events(client)
  if not client.on_event then return end
  local events = {}
  local event = client.core:next_event()
  while event do
    events[#events + 1] = event
    event = client.core:next_event()
  end
  if events[1] then
    hand_over(client, { operation = "on_event", callback = run_events, result = events, data = client })
  end
end

local function token_problem(ok, token, ttl_s)
  if not ok then return "the credentials function raised an error" end
  if token == nil then
    local why = ttl_s
    if type(why) == "table" then why = rawget(why, "message") end       -- an error of ours, say
    return "the credentials function gave no token" .. (type(why) == "string" and ": " .. why or "")
  end
  if type(token) ~= "string" then
    return "the credentials function must return a string, got " .. type(token)
  end
  if ttl_s ~= nil and type(ttl_s) ~= "number" then
    return "the credentials function must return its ttl_s as a number, got " .. type(ttl_s)
  end
end

local function fetch_token(_, _, client)
  local token, ttl_s
  local ok = guarded(client, function() token, ttl_s = client.provider() end)
  if client.closed then return end              -- it may have taken its time
  local problem = token_problem(ok, token, ttl_s)
  if not problem then
    local taken, err = client.core:set_token(token, ttl_s)
    problem = not taken and err.message
  end
  if problem then client.core:token_failed(problem) end
  kick(client, { operation = "token" })
end

local function serve_token(client)
  if client.provider and client.core:wants_token() then
    hand_over(client, { operation = "token", callback = fetch_token, data = client })
  end
end

-- ---------------------------------------------------------------------- time

--- What comes after a collect.
local function after(client, max)
  if not client.closed then serve_token(client) end
  if not client.closed then run_due(client, max) end
  if not client.closed then tell_events(client) end
end

--- Does what is due without waiting; at most `max` ends. Returns how many.
--- Whatever callbacks raise goes to on_error, nothing of it comes out here.
---@param max? integer
---@return integer? count
---@return agora_chat.Error? err
function Client:tick(max)
  if max ~= nil then check_number(max, "tick: max", 2) end
  if self.closed then return nil, closed_error() end
  local count = 0
  if fifo.count(self.due) > 0 then              -- left by a collect, or a smaller max
    local ready, err = usable(self)             -- not in a forked child
    if not ready then return nil, err end
    count = run_due(self, max)
    if self.closed then return count end
  end
  local taken, err = self:collect(max and max - count)
  if not taken then return nil, err end
  after(self, max and max - count)
  return count + taken
end

--- Waits at most `ms` until a call has ended, does what is due, returns how
--- many have ended. At once when nothing is outstanding; a signal ends it early.
---@param ms number
---@return integer? count
---@return agora_chat.Error? err
function Client:poll(ms)
  if ms == nil then ms = 0 end
  check_number(ms, "poll: ms", 2)
  if self.closed then return nil, closed_error() end
  if fifo.count(self.due) > 0 then
    local count, err = self:tick()
    return count, err
  end
  local ready, err = self.core:poll(ms)
  if not ready then return nil, err end
  local count = hand_out(self)
  after(self)
  return count
end

--- A poll for loops whose waiting is polling. A callback that waits here runs
--- others, which may wait too. Each takes one of the 200 levels of C that Lua
--- has: when many wait inside each other, the rest stays due until they return.
---@param ms number
---@return integer? count
---@return agora_chat.Error? err
function Client:poll_inside(ms)
  if self.nested < MOST_NESTED then
    local count, err = self:poll(ms)
    return count, err
  end
  if self.closed then return nil, closed_error() end
  local ready, err = self.core:poll(ms)
  if not ready then return nil, err end
  local count = hand_out(self)
  if not self.closed then serve_token(self) end
  return count
end

--- Calls accepted and not yet ended; one whose callback has still to run counts.
---@return integer? count
---@return agora_chat.Error? err
function Client:pending()
  if self.closed then return nil, closed_error() end
  local count, err = self.core:pending()
  if not count then return nil, err end
  return count + fifo.count(self.due)
end

--- The descriptor: readable means tick. For loops, also in their `detach`.
---@return integer? fd
---@return agora_chat.Error? err
function Client:fd()
  local fd, err = self.core:fd()
  return fd, err
end

--- Milliseconds until tick has something to do that the descriptor does not
--- tell; 0: now, -1: nothing.
---@return integer? ms
---@return agora_chat.Error? err
function Client:due_in_ms()
  if self.closed then return nil, closed_error() end
  local ms, err = self.core:due_in_ms()
  if not ms then return nil, err end
  return fifo.count(self.due) > 0 and 0 or ms
end

--- Gives the client a token, with its life in seconds if that is known.
---@param text string
---@param ttl_s? number
---@return boolean? ok
---@return agora_chat.Error? err
function Client:set_token(text, ttl_s)
  if type(text) ~= "string" then error("set_token: the token must be a string, got " .. type(text), 2) end
  if ttl_s ~= nil then check_number(ttl_s, "set_token: ttl_s", 2) end
  if self.closed then return nil, closed_error() end
  local ok, err = self.core:set_token(text, ttl_s)
  if not ok then return nil, err end
  kick(self, { operation = "token" })
  return true
end

--- What the client has done so far.
---@return agora_chat.Stats? stats
---@return agora_chat.Error? err
function Client:stats()
  if self.closed then return nil, closed_error() end
  local stats, err = self.core:stats()
  if not stats then return nil, err end
  local late = self.late
  stats.ok = stats.ok - late.ok
  stats.failed = stats.failed - late.failed
  stats.cancelled = stats.cancelled + late.ok + late.failed
  return stats
end

-- ------------------------------------------------------------ birth and death

--- Ends every outstanding call with kind closed. Its waiters are woken and its
--- callbacks have run, or have been handed to the loop's spawn, when this
--- returns. A second close does nothing.
function Client:close()
  if self.closed then return end
  self.closed = true                            -- before anybody else hears of it
  local detach = self.loop.detach
  if detach then guarded(self, function() detach(self) end) end
  self.core:close()
  take_ended(self)
  local left = self.calls                       -- in a forked child: the parent's
  self.calls = {}
  for _, call in pairs(left) do finish(self, call, nil, closed_error(call.operation)) end
  wake_waiters(self)
  while fifo.count(self.due) > 0 do run_due(self) end
  tell_events(self)
end

--- Lua 5.4's <close>. There is no __gc here: the core's finalizer stops
--- everything and answers nobody.
function Client.__close(client)
  client:close()
end

function Client:__tostring()
  return ("agora_chat.Client (%s)"):format(self.closed and "closed" or "open")
end

--- Only agora_chat.new calls this.
---@return agora_chat.Client? client
---@return agora_chat.Error? err
function Client.new(handle, loop, options, threaded)
  local credentials = options.credentials
  local client = setmetatable({
    core = handle,
    loop = loop,
    closed = false,
    threaded = threaded,
    calls = {},
    waking = fifo.new(),                        -- ended calls whose waiter sleeps
    due = fifo.new(),                           -- ended calls whose callback has to run
    nested = 0,                                 -- callbacks that have not returned
    late = { ok = 0, failed = 0 },              -- counted so by the core, but cancelled
    on_event = options.on_event,
    on_error = options.on_error,
    provider = type(credentials) == "function" and credentials or nil,
  }, Client)
  if loop.attach then
    local ok, accepted, why = pcall(loop.attach, client)
    if not ok or (not accepted and why) then
      client.closed = true
      handle:close()
      if not ok then error(accepted, 0) end
      return nil, core.error("argument", nil, why)
    end
  end
  return client
end

return Client
