-- contract: runs checks.lua in a skynet service, says how each went, and ends
-- the process.
local skynet = require "skynet"
require "skynet.manager"
local agora_chat = require "agora_chat"
local client_of = require "spec.skynet.client_of"
local checks = require "spec.skynet.checks"

local t = { skynet = skynet, agora_chat = agora_chat, new = client_of.new }

local running, problem

function t.now_ms() return skynet.hpc() / 1000000 end

function t.go(f)
  running = running + 1
  return skynet.fork(function()
    local ok, err = xpcall(f, debug.traceback)
    if not ok then problem = problem or err end
    running = running - 1
  end)
end

function t.until_true(f)
  for _ = 1, 1000 do
    if problem then error(problem, 0) end
    if f() then return end
    skynet.sleep(1)
  end
  error("waited for 10 s", 2)
end

function t.join()
  t.until_true(function() return running == 0 end)
end

skynet.start(function()
  for _, check in ipairs(checks) do
    running, problem = 0, nil
    local ok, err = xpcall(check.run, debug.traceback, t)
    print(("spec: %s\t%s\t%s"):format(ok and "ok" or "FAIL", check.name,
      ok and "" or tostring(err):gsub("%s*\n%s*", " | ")))
  end
  skynet.abort()
end)
