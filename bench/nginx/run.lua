--- run: what waiting costs a worker of nginx; `make nginx-bench` prints the
--- tables, README.md tells what they mean.
---
--- RESTY_HTTP: a folder with lua-resty-http, and lua-resty-string, below lib.
--- ROUNDS (1): of the rows under full load, interleaved; the middle is printed.
--- ROW_SECONDS (4), WAYS ("ours sockets"), PARTS ("load pace"): a closer look.

package.path = "lua/?.lua;?.lua;" .. package.path
local socket = require "socket"
local programs = require "spec.support.programs"
local server = require "spec.nginx.server"
local upstream = require "spec.nginx.upstream"
local load = require "spec.nginx.load"

local SECONDS = tonumber(os.getenv("ROW_SECONDS") or 4)
local ROUNDS = tonumber(os.getenv("ROUNDS") or 1)
local PARTS = os.getenv("PARTS") or "load pace"
local RESTY_HTTP = os.getenv("RESTY_HTTP")
local CONNECTIONS = 64

local function ways()
  local list = {}
  local default = RESTY_HTTP and "ours http sockets blocking" or "ours sockets blocking"
  for way in (os.getenv("WAYS") or default):gmatch("%a+") do list[#list + 1] = way end
  return list
end

local function gateway(url)
  local folder = RESTY_HTTP and ('package.path = package.path .. ";%s/?.lua"'):format(RESTY_HTTP .. "/lib") or ""
  return server.start {
    init_worker = folder .. (' require("bench.nginx.ways").start(%q)'):format(url),
    locations = [[
      location ~ "^/way/(\w+)$" { content_by_lua_block { require("bench.nginx.ways").answer(ngx.var[1]) } }
    ]],
  }
end

--- Nanoseconds that the worker's main thread has run.
local function loop_ns(pid)
  return tonumber(programs.read(("/proc/%d/task/%d/schedstat"):format(pid, pid)):match("^%d+"))
end

-- ---------------------------------------------------------------- far beyond use

--- Asks /ping, one after the other, until then: sorted milliseconds.
local function ping_until(port, ends)
  local ms = {}
  local c = assert(socket.connect("127.0.0.1", port))
  c:setoption("tcp-nodelay", true)
  c:settimeout(30)
  while socket.gettime() < ends do
    local began = socket.gettime()
    assert(c:send("GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    repeat
      local line = assert(c:receive("*l"))
    until line == "0"
    c:receive("*l")
    ms[#ms + 1] = (socket.gettime() - began) * 1000
    socket.sleep(0.005)
  end
  c:close()
  table.sort(ms)
  return ms
end

--- wrk's "1.25ms"; what it could not measure is nan.
local function in_ms(text)
  local number, unit = text:match("([%d.]+)(%a+)")
  local factor = ({ us = 0.001, ms = 1, s = 1000, m = 60000 })[unit]
  return number and factor and number * factor or 0 / 0
end

local function full_load(s, way)
  local pid = s:workers()[1]
  local command = ("wrk -t1 -c%d -d%ds --latency --timeout 30s http://127.0.0.1:%d/way/%s"):format(
    CONNECTIONS, SECONDS, s.port, way)
  for _ = 1, 50 do s:get("/way/" .. way) end
  local before, began = loop_ns(pid), socket.gettime()
  local pipe = assert(io.popen(command .. " 2>&1"))
  local ping = ping_until(s.port, began + SECONDS - 0.2)
  local text = pipe:read("*a")
  pipe:close()
  local used_ns = loop_ns(pid) - before
  local requests = tonumber(text:match("(%d+) requests in"))
  return {
    way = way,
    per_s = tonumber(text:match("Requests/sec:%s*([%d.]+)")),
    p50 = in_ms(text:match("50%%%s+(%S+)") or "-"), p99 = in_ms(text:match("99%%%s+(%S+)") or "-"),
    cpu_us = (used_ns / 1000) / requests,
    ping = ping,
    bad = tonumber(text:match("Non%-2xx or 3xx responses: (%d+)") or 0),
  }
end

local function median(values)
  table.sort(values)
  return values[math.ceil(#values / 2)]
end

--- The row of the middle of several rounds, number by number.
local function middle(rows)
  local one = { way = rows[1].way, ping = {}, bad = 0 }
  for _, name in ipairs { "per_s", "p50", "p99", "cpu_us" } do
    local values = {}
    for i, row in ipairs(rows) do values[i] = row[name] end
    one[name] = median(values)
  end
  for _, row in ipairs(rows) do
    one.bad = one.bad + row.bad
    for _, ms in ipairs(row.ping) do one.ping[#one.ping + 1] = ms end
  end
  table.sort(one.ping)
  return one
end

local function print_full_load(delay_ms)
  local up = upstream.start { delay_ms = delay_ms }
  local s = gateway(up.url)
  print(("\n%d connections of wrk, %g s a row, upstream %d ms"):format(CONNECTIONS, SECONDS, delay_ms))
  print("way         req/s   p50 ms   p99 ms   loop us/req   of peer   /ping p50    p99    max ms   errors")
  local rows = {}
  for _ = 1, ROUNDS do                            -- interleaved: the machine changes
    for i, way in ipairs(ways()) do
      rows[i] = rows[i] or {}
      table.insert(rows[i], full_load(s, way))
    end
  end
  local peer
  for i in ipairs(rows) do
    rows[i] = middle(rows[i])
    if not peer and (rows[i].way == "http" or rows[i].way == "sockets") then peer = rows[i].cpu_us end
  end
  for _, row in ipairs(rows) do
    print(("%-9s %7.0f  %7.2f  %7.2f  %12.1f  %8s  %10.2f  %5.2f  %8.2f  %7d"):format(row.way, row.per_s, row.p50,
      row.p99, row.cpu_us, peer and ("%.2f"):format(row.cpu_us / peer) or "-", load.quantile(row.ping, 0.5),
      load.quantile(row.ping, 0.99), row.ping[#row.ping], row.bad))
  end
  s:stop()
  up:stop()
end

-- ------------------------------------------------------------------- as it is used

local function at_pace(port, target, pid)
  local before, began = pid and loop_ns(pid) or 0, socket.gettime()
  local done = load.run { port = port, target = target, per_s = 100, seconds = SECONDS }
  assert(#done.bad == 0, done.bad[1])
  local share = pid and (loop_ns(pid) - before) / 1e7 / (socket.gettime() - began) or 0
  return { p50 = load.quantile(done.ms, 0.5), p99 = load.quantile(done.ms, 0.99), share = share }
end

local function print_at_pace(delay_ms)
  local up = upstream.start { delay_ms = delay_ms }
  local s = gateway(up.url)
  local pid = s:workers()[1]
  local direct = "/app-id/970ca35de60c44645bbae8a215061b33/users/alice/offline_msg_count"
  print(("\n100 calls/s, %g s a row, upstream %d ms"):format(SECONDS, delay_ms))
  print("way        p50 ms   added   p99 ms   added   loop % of a core")
  local rows = { direct = at_pace(up.port, direct) }
  print(("%-9s %7.2f  %6s  %7.2f  %6s  %17s"):format("direct", rows.direct.p50, "", rows.direct.p99, "", ""))
  for _, way in ipairs(ways()) do
    if way ~= "blocking" then
      local row = at_pace(s.port, "/way/" .. way, pid)
      print(("%-9s %7.2f  %6.2f  %7.2f  %6.2f  %17.1f"):format(way, row.p50, row.p50 - rows.direct.p50, row.p99,
        row.p99 - rows.direct.p99, row.share))
    end
  end
  s:stop()
  up:stop()
end

if PARTS:find "load" then
  print_full_load(20)
  print_full_load(0)
end
if PARTS:find "pace" then
  print_at_pace(20)
  print_at_pace(100)
end
