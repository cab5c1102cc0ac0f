--- try_gateway: asks the gateway of examples/openresty a few things.
--- arg[1]: its port. Prints what it says; fails when that is not what it
--- should be, with the emulator's users behind it.

local http = require "socket.http"
local socket = require "socket"

local base = "http://127.0.0.1:" .. arg[1]

local ends = socket.gettime() + 10
repeat
  local _, status = http.request(base .. "/healthz")
  if status ~= 200 then socket.sleep(0.05) end
  assert(socket.gettime() < ends, "the gateway does not answer")
until status == 200

local function expect(target, wanted_status, ...)
  local body, status = http.request(base .. target)
  print(("%-52s %s %s"):format(target, status, (body or ""):gsub("%s+$", "")))
  assert(status == wanted_status, target)
  for _, part in ipairs { ... } do assert(body:find(part, 1, true), part) end
end

expect("/badge?user=alice", 200, '"unread":2')
expect("/badge?user=alice", 200, '"unread":2')
expect("/badge?user=%E5%B0%8F%E6%98%8E", 200, '"unread":1')
expect("/badge?user=nobody", 404, '"error":"not_found"', '"code":"user"')
expect("/badge?user=a%2Fb", 400, '"error":"argument"')
expect("/badge", 400, '"error":"argument"')
expect("/badges?users=alice,bob,nobody", 200, '"alice":2', '"bob":0', '"nobody":{"error":"not_found"}')
expect("/message?user=alice&id=1029457500870543736", 200, '"delivered":')
expect("/message?user=alice&id=1", 404, '"code":"message"')
expect("/status", 200, '"accepted":', '"in_flight":0')
expect("/healthz", 200, '"ok":true')
