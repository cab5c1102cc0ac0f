--- scripted: clients whose service is a function of the spec's, on a frozen
--- clock, in whichever loop; for what happens above the core.
---
---     local client = scripted.client { answer = function(request) return 200, "{...}" end }
---     client:offline_msg_count("alice")        -- waits: answers, then ticks
---
--- Without `answer`, the service knows everybody: alice has 5 messages, one for
--- each letter; every message is delivered.
local agora_chat = require "agora_chat"

local scripted = {}

scripted.now_ms = 5000000

--- What the service says to a request by default.
function scripted.everybody(request)
  local user, message = request.url:match "/users/([^/]+)/offline_msg_status/([^/]+)$"
  if user then return 200, ('{"data":{"%s":"delivered"}}'):format(message) end
  user = request.url:match "/users/([^/]+)/offline_msg_count$"
  return 200, ('{"data":{"%s":%d}}'):format(user, #user)
end

--- Answers what is to be sent: all, or at most `max`. Returns how many.
function scripted.serve(client, max)
  local count = 0
  while not client.closed and (not max or count < max) do
    local request = client.core:next_outgoing()
    if not request then break end
    count = count + 1
    client.requests = (client.requests or 0) + 1
    local status, body, headers = client.answer(request)
    if type(status) == "table" then
      client.core:deliver(request.id, status)
    else
      client.core:deliver(request.id, { http_status = status, body = body, headers = headers })
    end
  end
  return count
end

--- A plain script's loop, whose waiting moves the clock when nothing else
--- helps.
scripted.loop = {
  blocks = true,
  wait = function(client, call)
    while not call.done and not client.closed do
      local served = scripted.serve(client)
      if client:tick() == 0 and served == 0 and not call.done then
        local due = client:due_in_ms()
        assert(due and due >= 0, "this call would wait for ever")
        client.now_ms = client.now_ms + math.max(due, 1)
        client.core:set_now(client.now_ms)
      end
    end
  end,
}

--- options: those of agora_chat.new, and answer(request) -> status, body, headers
--- or a transport's verdict.
function scripted.client(options)
  local all = {
    base_url = "https://chat.example",
    app_id = "970ca35de60c44645bbae8a215061b33",
    credentials = { token = "a-fixed-token" },
    rate_per_s = false,
    transport = "lua",
    frozen_ms = scripted.now_ms,
    frozen_wall_s = 1700000000,
    seed = 1,
    loop = scripted.loop,
  }
  for name, value in pairs(options or {}) do all[name] = value end
  all.answer = nil
  local client = assert(agora_chat.new(all))
  client.answer = options and options.answer or scripted.everybody
  client.now_ms = scripted.now_ms
  return client
end

--- Runs f in a coroutine; what it raises is raised here.
function scripted.go(f, ...)
  local co = coroutine.create(f)
  local ok, err = coroutine.resume(co, ...)
  if not ok then error(err, 0) end
  return co
end

return scripted
