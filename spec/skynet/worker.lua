-- worker: a service with a client that it leaves behind in every possible way,
-- calls under way.
--   call  "fly", calls, ticks   starts calls, most to somebody who never answers, and
--                               keeps asking for so many ticks
--   send  "exit" | "close" | "drop"
local skynet = require "skynet"
local client = require("spec.skynet.client_of").new { max_in_flight = 4 }

local command = {}

function command.fly(calls, ticks)
  for i = 1, calls do
    local name = i % 4 == 0 and "u" .. i % 100 + 1 or "hang"
    if i % 2 == 0 then
      client:start("offline_msg_count", { name }, function() end)
    else
      skynet.fork(function() client:offline_msg_count(name) end)
    end
  end
  skynet.sleep(ticks)
  return true
end

function command.exit() skynet.exit() end

function command.close()
  client:close()
  skynet.exit()
end

skynet.start(function()
  skynet.dispatch("lua", function(session, _, name, ...)
    local answer = command[name](...)
    if session ~= 0 then skynet.ret(skynet.pack(answer)) end
  end)
end)
