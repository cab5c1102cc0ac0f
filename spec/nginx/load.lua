--- load: requests at an even pace, whether answers come or not.
---
---   local done = load.run { port = s.port, target = "/badge?user=alice", per_s = 100, seconds = 3,
---     at = { { 1, function() s:reload() end } } }
---   done.sent, done.bad (a list of what went wrong), done.ms (sorted)
---
--- Every request has a connection of its own, so that a lost one shows. One
--- process, LuaSocket's select: at most 900 requests at once.

local socket = require "socket"

local load = {}

local MOST_AT_ONCE = 900              -- select knows 1024 descriptors
local LONGEST_WAIT_S = 30

local function ask(port, target)
  local c, why = socket.connect("127.0.0.1", port)
  if not c then return nil, "connect: " .. why end
  c:setoption("tcp-nodelay", true)
  c:settimeout(0)
  local sent
  sent, why = c:send("GET " .. target .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  if not sent then return nil, "send: " .. why end
  return { socket = c, began = socket.gettime(), parts = {} }
end

--- true: over; what it says is in request.text.
local function read(request)
  local text, why, partial = request.socket:receive("*a")
  request.parts[#request.parts + 1] = text or partial
  if not text and why == "timeout" then return false end
  request.text = table.concat(request.parts)
  request.ms = (socket.gettime() - request.began) * 1000
  request.socket:close()
  return true
end

local function judge(done, request, target)
  local status = tonumber(request.text:match("^HTTP/1%.1 (%d+)"))
  if status == 200 then
    done.ms[#done.ms + 1] = request.ms
  else
    done.bad[#done.bad + 1] = ("%s: %s"):format(target, request.text == "" and "no answer" or request.text)
  end
end

--- options: port, target (or a function of the request's number), per_s,
--- seconds, at: a list of { second, function }.
function load.run(options)
  local done = { sent = 0, bad = {}, ms = {} }
  local out, sockets = {}, {}           -- by socket; a list for select
  local began, next_action = socket.gettime(), 1
  local actions = options.at or {}
  local total = math.floor(options.per_s * options.seconds + 0.5)

  local function add()
    done.sent = done.sent + 1
    local target = options.target
    if type(target) == "function" then target = target(done.sent) end
    local request, why = ask(options.port, target)
    if not request then
      done.bad[#done.bad + 1] = target .. ": " .. why
      return
    end
    request.target = target
    assert(#sockets < MOST_AT_ONCE, "too many requests at once")
    out[request.socket] = request
    sockets[#sockets + 1] = request.socket
  end

  local function take(c)
    local request = out[c]
    if not read(request) then return end
    out[c] = nil
    for i, other in ipairs(sockets) do
      if other == c then
        sockets[i] = sockets[#sockets]
        sockets[#sockets] = nil
        break
      end
    end
    judge(done, request, request.target)
  end

  while done.sent < total or #sockets > 0 do
    local now = socket.gettime() - began
    local action = actions[next_action]
    if action and now >= action[1] then
      next_action = next_action + 1
      action[2]()
    elseif done.sent < total and now >= done.sent / options.per_s then
      add()
    else
      local wait = done.sent < total and done.sent / options.per_s - now or 0.1
      if #sockets == 0 then
        socket.sleep(wait)
      else
        for _, c in ipairs(socket.select(sockets, nil, wait)) do take(c) end
      end
    end
    if now > options.seconds + LONGEST_WAIT_S then
      for _, c in ipairs(sockets) do
        done.bad[#done.bad + 1] = out[c].target .. ": no answer in time"
        c:close()
      end
      break
    end
  end
  table.sort(done.ms)
  return done
end

--- The p-th part (0.5, 0.99) of a sorted list.
function load.quantile(sorted, p)
  return sorted[math.max(1, math.ceil(#sorted * p))]
end

return load
