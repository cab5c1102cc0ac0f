--- batch: many calls, a bounded window of them at a time.
---
--- The core sends batch calls after single ones, starts their deadline when
--- they get their turn, and holds them while the service is down. Here is the
--- rest: what comes next, who has ended, and an orderly end.

local core = require "agora_chat.core"
local fifo = require "agora_chat.fifo"

local unpack = rawget(table, "unpack") or rawget(_G, "unpack")
local is_puc_51 = _VERSION == "Lua 5.1" and rawget(_G, "jit") == nil

local DEFAULT_WINDOW = 32
local REFUSED = { timeout_ms = 0 }

local batch = {}

--- Many calls under way. What `each` returns as its fourth value.
---@class agora_chat.Sweep
---@field out integer  calls that have not ended
local Sweep = {}
Sweep.__index = Sweep
Sweep.__name = "agora_chat.Sweep"

-- ------------------------------------------------------------------- options

-- Where `true`, the core checks the value.
local OPTIONS = {
  window = "number", on_progress = "function", max_pause_ms = true,
  timeout_ms = true, attempt_timeout_ms = true, max_attempts = true, envelope = true,
}

local function unknown_option(name)
  local names = {}
  for known in pairs(OPTIONS) do names[#names + 1] = known end
  table.sort(names)
  return core.unknown("option", tostring(name), names)
end

--- What is wrong with the types of these options, in words; nil: nothing.
local function option_problem(opts)
  if opts == nil then return end
  if type(opts) ~= "table" then return "options must be a table, got " .. type(opts) end
  for name, value in pairs(opts) do
    local wanted = OPTIONS[name]
    if not wanted then return unknown_option(name) end
    if wanted ~= true and type(value) ~= wanted then
      return ("%s must be a %s, got %s"):format(name, wanted, type(value))
    end
  end
end

local function window_of(opts)
  local window = opts.window or DEFAULT_WINDOW
  if window >= 1 and window % 1 == 0 and window <= 1e6 then return window end
  return nil, "window must be a whole number from 1 to 1000000"
end

--- The options that every call of a batch gets.
local function call_options(opts)
  local to = { batch = true }
  for name, value in pairs(opts) do
    if OPTIONS[name] == true then to[name] = value end
  end
  if to.max_pause_ms == 0 then to.max_pause_ms = 1 end     -- to the core, 0 is "not given"
  return to
end

local function argument_count(operation)
  for _, row in ipairs(core.endpoints()) do
    if row.name == operation then return #row.arguments end
  end
  return 1                                                 -- request, or unknown
end

--- Asks the core whether it takes the options, before the first item: with
--- arguments that it refuses in any case, so that nothing is sent. Another
--- refusal than without options is about the options.
---@return boolean? ok
---@return any problem  an error object; a sentence when it is a wrong type
local function check_call_options(handle, operation, count, opts)
  local refused = {}
  for i = 1, count do refused[i] = "" end
  if operation == "request" then refused = { { method = "GET", path = { "" } } } end
  local ok, _, plain = pcall(handle.submit, handle, operation, nil, unpack(refused))
  if not ok then return nil, _ end                         -- no such operation
  if plain.kind == "memory" then return nil, plain end
  local err
  ok, _, err = pcall(handle.submit, handle, operation, opts, unpack(refused))
  if not ok then return nil, _ end
  if err.message ~= plain.message then return nil, err end
  return true
end

-- --------------------------------------------------------------------- items

local function not_text(value)
  if type(value) ~= "number" then return "must be a string, got " .. type(value) end
  local why = "must be a string, got a number: ids are strings, because a number cannot hold every id"
  local number_type = rawget(math, "type")                 -- Lua 5.3 and newer
  if number_type and number_type(value) == "integer" then
    why = why .. '; for an integer, ("%d"):format(id) makes the text'
  end
  return why
end

--- Why an item is of a wrong type; nil: it is not.
local function item_problem(sweep, item)
  local count = sweep.argument_count
  if sweep.operation == "request" then
    if type(item) ~= "table" then return "must be a table, got " .. type(item) end
    if type(item.method) ~= "string" then return "has no method" end
    if type(item.path) ~= "table" then return "has no path" end
    return
  end
  if type(item) == "string" and count == 1 then return end
  if type(item) ~= "table" then
    if count == 1 then return not_text(item) end
    return ("must be a list of %d strings, got %s"):format(count, type(item))
  end
  for i = 1, count do
    if type(item[i]) ~= "string" then return ("[%d] %s"):format(i, not_text(item[i])) end
  end
  if item[count + 1] ~= nil then return ("must be a list of %d strings"):format(count) end
end

--- The same for a list, before anything is sent. Of a request the core knows
--- more: with an option that it refuses in any case it only looks.
local function list_problem(sweep, handle, list)
  for index = 1, #list do
    local item = list[index]
    local wrong = item_problem(sweep, item)
    if not wrong and sweep.operation == "request" then
      local ok, why = pcall(handle.submit, handle, "request", REFUSED, item)
      if not ok then wrong = "is wrong: " .. tostring(why) end
    end
    if wrong then return ("%s: item %d %s"):format(sweep.operation, index, wrong) end
  end
end

local function arguments_of(sweep, item)
  if type(item) == "string" or sweep.operation == "request" then return item end
  return unpack(item, 1, sweep.argument_count)
end

-- --------------------------------------------------------------------- sweep

-- A problem: what is to be raised where the program called us. A sentence of
-- ours gets that place in front; what the program's own code raised stays.
local function sentence(text) return { value = text, ours = true } end
local function raised(value) return { value = value } end

local function raise(problem)
  error(problem.value, problem.ours and 3 or 0)
end

local function wake(client, sweep)
  local turn = sweep.turn
  if turn then
    sweep.turn = nil
    client:wake_later(turn)
  end
end

--- The client's `finish` calls it: one of ours has ended.
local function call_ended(client, call)
  local sweep = call.sweep
  sweep.calls[call] = nil
  sweep.out = sweep.out - 1
  fifo.push(sweep.ended, call)
  wake(client, sweep)
end

--- And this: any call has ended, which makes room in the queue.
function batch.has_room(client)
  local crowded_out = client.crowded_out
  client.crowded_out = nil
  for sweep in pairs(crowded_out) do wake(client, sweep) end
end

local function new_sweep(client, operation, source, opts)
  return setmetatable({
    client = client,
    operation = operation,
    argument_count = argument_count(operation),
    source = source,
    total = type(source) == "table" and #source or nil,
    index = 0,                       -- of the last item taken
    more = true,
    calls = {},                      -- that have not ended
    out = 0,
    ended = fifo.new(),              -- not yet handed out
    done = 0, failures = 0,
    window = opts.window,
    on_progress = opts.on_progress,
  }, Sweep)
end

--- Everything of a sweep that can fail, before anything is sent.
---@return agora_chat.Sweep? sweep
---@return agora_chat.Error? err
---@return string? wrong_type
local function prepare(client, operation, source, opts)
  if type(operation) ~= "string" then
    return nil, nil, "the operation must be a string, got " .. type(operation)
  end
  local wrong = option_problem(opts)
  if wrong then return nil, nil, wrong end
  opts = opts or {}
  local ok, err = client:may_wait(operation)
  if err and err.code ~= "cannot_wait" then return nil, err end      -- closed, forked
  local sweep = new_sweep(client, operation, source, opts)
  sweep.opts = call_options(opts)
  local good, problem = check_call_options(client.core, operation, sweep.argument_count, sweep.opts)
  if not good then
    if type(problem) == "table" then return nil, problem end
    return nil, nil, problem
  end
  if not ok then return nil, err end
  local why
  sweep.window, why = window_of(opts)
  if not sweep.window then return nil, core.error("argument", nil, why, operation) end
  return sweep
end

--- The next item; nil: there is none.
local function next_item(sweep)
  local source = sweep.source
  local ok, item = true
  if type(source) == "table" then
    item = source[sweep.index + 1]
  else
    ok, item = pcall(source)
  end
  if not ok then return nil, raised(item) end
  if item == nil then
    sweep.more = false
    return nil
  end
  sweep.index = sweep.index + 1
  return item
end

local function end_unsent(sweep, item, index, err)
  fifo.push(sweep.ended, { item = item, index = index, err = err })
end

--- Starts one item. "full" when the core's queue is: it is tried again when a
--- call has ended.
local function start_item(sweep, item)
  if sweep.stopped then
    end_unsent(sweep, item, sweep.index,
      core.error("cancelled", nil, "cancelled before it was sent", sweep.operation))
    return
  end
  local client = sweep.client
  local call = client:new_turn(sweep.operation)
  call.item, call.index, call.sweep, call.ended = item, sweep.index, sweep, call_ended
  sweep.calls[call] = true           -- before: it may have ended when submit returns
  sweep.out = sweep.out + 1
  local ok, started, err = client:submit(call, sweep.opts, arguments_of(sweep, item))
  if ok and started then return end
  sweep.calls[call] = nil
  sweep.out = sweep.out - 1
  if not ok then return sentence(started) end
  if err.kind == "overload" then
    sweep.held = item
    return "full"
  end
  end_unsent(sweep, item, sweep.index, err)
end

--- Keeps the window full. Returns a problem, or nil.
local function fill(sweep)
  while sweep.more and sweep.out + fifo.count(sweep.ended) < sweep.window do
    local item = sweep.held
    if item ~= nil then
      sweep.held = nil
    else
      local problem
      item, problem = next_item(sweep)
      if problem or item == nil or sweep.closed then return problem end
      local wrong = item_problem(sweep, item)
      if wrong then return sentence(("%s: item %d %s"):format(sweep.operation, sweep.index, wrong)) end
    end
    local problem = start_item(sweep, item)
    if problem == "full" then return end
    if problem then return problem end
  end
end

--- on_progress said false: what is out is cancelled, what is left of a list ends
--- as cancelled; of an iterator nothing more is taken.
local function stop(sweep)
  sweep.stopped = true
  if not sweep.total then sweep.more = sweep.held ~= nil end
  for call in pairs(sweep.calls) do call:cancel() end
end

local function note_progress(sweep, call)
  sweep.done = sweep.done + 1
  if call.err then sweep.failures = sweep.failures + 1 end
  local on_progress = sweep.on_progress
  if not on_progress or sweep.stopped then return end
  local ok, go_on = pcall(on_progress, sweep.done, sweep.total, sweep.failures)
  if not ok then return raised(go_on) end
  if go_on == false then stop(sweep) end
end

local function wait_for_one(sweep)
  local turn = sweep.turn
  if not turn then
    turn = sweep.client:new_turn(sweep.operation)
    sweep.turn = turn
  end
  if sweep.out == 0 then                                   -- the queue is full of others' calls
    local crowded_out = sweep.client.crowded_out or {}
    sweep.client.crowded_out = crowded_out
    crowded_out[sweep] = true
  end
  local _, err = turn:wait()
  return err and sentence(tostring(err))
end

--- The next that has ended, waited for: { item, index, result, err }. nil: there
--- is none any more; nil and a problem: the window has been cancelled.
local function take(sweep)
  while not sweep.closed do
    local call
    local problem = fill(sweep)
    if not problem then
      call = fifo.pop(sweep.ended)
      if call then
        problem = note_progress(sweep, call)
        if not problem then return call end
      elseif sweep.out == 0 and sweep.held == nil then
        sweep.more = false
        return nil
      else
        problem = wait_for_one(sweep)
      end
    end
    if problem then
      sweep:close()
      return nil, problem
    end
  end
end

--- Ends the sweep at once: what is out is cancelled, nothing more is taken,
--- nothing is waited for. Lua 5.4 does it when a `for` is left.
function Sweep:close()
  if self.closed then return end
  self.closed, self.more, self.held = true, false, nil
  local calls, turn = self.calls, self.turn
  self.calls, self.turn, self.out, self.ended = {}, nil, 0, fifo.new()
  for call in pairs(calls) do
    call.ended = nil                 -- unheard
    call:cancel()
  end
  if turn then self.client:wake_later(turn) end
end

function Sweep.__close(sweep)
  sweep:close()
end

function Sweep:__tostring()
  return ("agora_chat.Sweep: %s (%d done, %d out)"):format(self.operation, self.done, self.out)
end

-- ----------------------------------------------------------------- two faces

--- One call for each item of a list, in its order: results[i] is the result or
--- false, failed[i] its error. nil, err only when nothing was started.
---@async
---@param client agora_chat.Client
---@param operation string
---@param list table  user names, or { user name, message id } pairs
---@param opts? agora_chat.BatchOptions
---@return (table|false)[]? results
---@return table<integer, agora_chat.Error> failed_or_err
---@return integer? failures
function batch.batch(client, operation, list, opts)
  if type(list) ~= "table" then error("batch takes a list, got " .. type(list), 2) end
  local sweep, err, wrong = prepare(client, operation, list, opts)
  if wrong then error("batch: " .. wrong, 2) end
  if sweep or err.code == "cannot_wait" then
    local check = sweep or { operation = operation, argument_count = argument_count(operation) }
    wrong = list_problem(check, client.core, list)
    if wrong then error(wrong, 2) end
  end
  if not sweep then return nil, err end

  local results, failed = {}, {}
  for index = 1, #list do results[index] = false end
  local call, problem = take(sweep)
  while call do
    if call.err then failed[call.index] = call.err else results[call.index] = call.result end
    call, problem = take(sweep)
  end
  if problem then error(problem.value, problem.ours and 2 or 0) end
  return results, failed, sweep.failures
end

local FOR_FORM = [[on Lua 5.1 a for iterator cannot wait; write it so:
  local step, _, _, sweep = client:each(...)
  local item, res, err = step()
  while item ~= nil do
    ...
    item, res, err = step()
  end]]

--- Would waiting in this call of the iterator be a yield that Lua 5.1 refuses?
local function is_51_for(client)
  if not is_puc_51 or client.loop.blocks or not coroutine.running() then return false end
  return debug.getinfo(2, "n").name == "(for generator)"
end

--- One call for each item, as it ends: for item, res, err in client:each(...) do.
--- At most `window` calls are held, whatever the length.
---@param client agora_chat.Client
---@param operation string
---@param source table|function  a list, or an iterator such as file:lines()
---@param opts? agora_chat.BatchOptions
---@return fun(): any, table?, agora_chat.Error? step
---@return nil
---@return nil
---@return agora_chat.Sweep sweep  closes what is under way
function batch.each(client, operation, source, opts)
  if type(source) ~= "table" and type(source) ~= "function" then
    error("each takes a list or an iterator, got " .. type(source), 2)
  end
  local sweep, err, wrong = prepare(client, operation, source, opts)
  if wrong then error("each: " .. wrong, 2) end
  if not sweep then return nil, err end

  local function step()
    if is_51_for(client) then
      sweep:close()
      error(FOR_FORM, 2)
    end
    local call, problem = take(sweep)
    if problem then raise(problem) end
    if not call then return nil end
    return call.item, call.result, call.err
  end
  return step, nil, nil, sweep
end

return batch
