--- inside: what the spec's Lua code in a worker shares.

local inside = { said = {} }

local function file(path)
  local f = io.open(path)
  if not f then return "" end
  local text = f:read("*a")
  f:close()
  return text
end

--- Answers with a count, or with the error's kind and code.
function inside.say(res, err)
  if res then return ngx.say(res.count) end
  ngx.status = 502
  ngx.say(err.kind, "/", err.code or "-", " ", tostring(err))
end

--- Keeps a word until /said asks for all of them, in order.
function inside.note(...)
  local said = inside.said
  said[#said + 1] = table.concat({ ... }, " ")
end

local function size(t)
  local count = 0
  for _ in pairs(t) do count = count + 1 end
  return count
end

local function words(command)
  local pipe = io.popen(command)
  local text = pipe:read("*a")
  pipe:close()
  return select(2, text:gsub("%S+", ""))
end

--- Facts about this worker and its client, a line each.
function inside.facts()
  local client = inside.client
  local status = file("/proc/self/status")
  ngx.say("pid ", ngx.worker.pid())
  ngx.say("calls ", size(client.calls))
  ngx.say("pending ", client:pending() or -1)
  ngx.say("expected ", size(client.resty.expected))
  ngx.say("handed ", size(client.resty.handed))
  ngx.say("courier ", client.resty.courier_seen and 1 or 0)
  ngx.say("accepted ", (client:stats() or {}).accepted or -1)
  ngx.say("threads ", status:match("Threads:%s*(%d+)"))
  ngx.say("rss_kb ", status:match("VmRSS:%s*(%d+)"))
  ngx.say("descriptors ", words("ls /proc/" .. ngx.worker.pid() .. "/fd"))
end

return inside
