--- calls: whole calls against a fast server, this client beside others.
---
--- Every contender is a process of its own, all take turns in each round, and
--- the figures are medians over the rounds; x is the ratio to the floor, paired
--- per round. The server is nginx with a fixed answer, so what is measured is
--- the client.
---
---   calls.lua [rounds [floor|ours|all]]
local support = require "bench.support"

local ROUNDS = tonumber(arg[1]) or 3
local WHO = arg[2] or "all"
local BUILD = os.getenv "AGORA_CHAT_BUILD" or "build"

local server = support.fast()
if not server then
  print "calls: there is no nginx here; `make setup` says what to install"
  return
end

-- name, interpreter, arguments; calls: what a slow one does fewer of
local contenders = {
  { name = "floor: libcurl and cJSON in C", floor = true },
  { name = "agora_chat, inline", lua = "lua5.4", ours = "inline plain" },
  { name = "  with the envelope", lua = "lua5.4", ours = "inline envelope" },
  { name = "agora_chat, threaded", lua = "lua5.4", ours = "threaded plain" },
  { name = "  with the envelope", lua = "lua5.4", ours = "threaded envelope" },
  { name = "agora_chat, inline", lua = "luajit", ours = "inline plain" },
  { name = "  with the envelope", lua = "luajit", ours = "inline envelope" },
  { name = "agora_chat, threaded", lua = "luajit", ours = "threaded plain" },
  { name = "LuaSocket, a connection per call", lua = "lua5.4", peer = "luasocket", plain_only = true, one_only = true,
    fewer = 5 },
  { name = "lua-http, a connection per call", lua = "luajit", peer = "lua_http", fewer = 20 },
  { name = "lua-http, kept by hand", lua = "luajit", peer = "lua_http_kept", fewer = 4 },
}

local function command(who, case, calls)
  local url = case.tls and server.tls_url or server.url
  local ca_file = case.tls and server.ca_file or "-"
  if who.floor then
    return ("%s/floor %s/app-id/%s %d %d %s"):format(BUILD, url, support.app_id, calls, case.at_once,
      case.tls and ca_file or "")
  end
  return ("LUA_PATH='lua/?.lua;./?.lua;;' LUA_CPATH='%s/%s/?.so;;' %s bench/%s.lua %s %s %d %d %s"):format(BUILD,
    who.lua, who.lua, who.ours and "ours" or "peers", url, ca_file, calls, case.at_once, who.ours or who.peer)
end

--- us of CPU per call, us of the caller's thread, calls per second; nil, why.
local function measure(who, case)
  local calls = math.floor(case.calls / (who.fewer or 1))
  local text = support.run("timeout 60 env " .. command(who, case, calls))
  local done, cpu, thread, wall = text:match "(%d+) ([%d.]+) ([%d.]+) ([%d.]+)\n$"
  if not done then return nil, text end
  return { us = cpu / done * 1e6, thread_us = thread / done * 1e6, rate = done / wall }
end

local function takes_part(who, case)
  if WHO == "floor" and not who.floor then return false end
  if WHO == "ours" and not (who.floor or who.ours) then return false end
  if who.plain_only and case.tls or who.one_only and case.at_once > 1 then return false end
  return true
end

local function median_of(list, field)
  local values = {}
  for i, item in ipairs(list) do values[i] = item[field] end
  return support.median(values)
end

local function compare(case)
  local results, why = {}, {}
  for _ = 1, ROUNDS do
    local floor
    for i, who in ipairs(contenders) do
      if takes_part(who, case) then
        local result, text = measure(who, case)
        if not result then
          why[i] = text:match "[^\n]+" or "nothing was printed"
        else
          floor = floor or result
          result.ratio = result.us / floor.us
          results[i] = results[i] or {}
          table.insert(results[i], result)
        end
      end
    end
  end
  print(("\n%s, %d at once"):format(case.tls and "TLS" or "plain", case.at_once))
  print(("  %-34s %-7s %9s %6s %9s %9s"):format("", "", "us CPU", "x", "caller's", "calls/s"))
  for i, who in ipairs(contenders) do
    if why[i] then
      print(("  %-34s %-7s %s"):format(who.name, who.lua or "", why[i]))
    elseif results[i] then
      local list = results[i]
      print(("  %-34s %-7s %9.1f %6.2f %9.1f %9.0f"):format(who.name, who.lua or "", median_of(list, "us"),
        median_of(list, "ratio"), median_of(list, "thread_us"), median_of(list, "rate")))
    end
  end
end

print(("calls: medians of %d rounds; CPU per call of all threads, and of the caller's alone"):format(ROUNDS))
for _, case in ipairs {
  { at_once = 1, calls = 10000 }, { at_once = 8, calls = 10000 }, { at_once = 64, calls = 10000 },
  { at_once = 1, calls = 5000, tls = true }, { at_once = 8, calls = 10000, tls = true },
} do
  compare(case)
end
server.stop()
