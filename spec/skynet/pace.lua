-- pace: how long calls take in skynet, and what they cost. AC_HOW:
--   idle      no client, for comparison
--   direct    the service's own client
--   owner     by skynet.call, through agora_chatd
-- AC_RATE calls a second (0: 32 coroutines, each as soon as it has its answer),
-- for AC_SECONDS.
local skynet = require "skynet"
require "skynet.manager"

local HOW, RATE = os.getenv "AC_HOW", tonumber(os.getenv "AC_RATE")
local SECONDS, WARM_UP = tonumber(os.getenv "AC_SECONDS"), 0.5
local TOGETHER = 32

local function now_us() return skynet.hpc() / 1000 end

--- Processor time of this process so far, in us; the kernel counts in 10 ms.
local function cpu_us()
  local file = assert(io.open "/proc/self/stat")
  local text = file:read("a"):match "%) (.*)"
  file:close()
  local fields = {}
  for field in text:gmatch "%S+" do fields[#fields + 1] = field end
  return (fields[12] + fields[13]) * 10000
end

local times, failed, warm = {}, 0, false

local function asker()
  if HOW == "owner" then
    local chat = skynet.newservice "agora_chatd"
    return function(name) return skynet.call(chat, "lua", "offline_msg_count", name) end
  elseif HOW == "direct" then
    local client = require("spec.skynet.client_of").new()
    return function(name) return client:offline_msg_count(name) end
  end
end

local function one(ask, i)
  local from = now_us()
  local res = ask("u" .. i % 100 + 1)
  if not warm then return end
  if res then times[#times + 1] = now_us() - from else failed = failed + 1 end
end

local function run(ask, seconds)
  local until_us, sent, from = now_us() + seconds * 1e6, 0, now_us()
  if not ask then return skynet.sleep(seconds * 100 // 1) end
  if RATE == 0 then
    local left = TOGETHER
    for i = 1, TOGETHER do
      skynet.fork(function()
        while now_us() < until_us do one(ask, i) end
        left = left - 1
      end)
    end
    while left > 0 do skynet.sleep(1) end
    return
  end
  while now_us() < until_us do
    while sent < (now_us() - from) / 1e6 * RATE do
      sent = sent + 1
      skynet.fork(one, ask, sent)
    end
    skynet.sleep(1)
  end
  skynet.sleep(10)
end

skynet.start(function()
  local ask = asker()
  run(ask, WARM_UP)
  warm = true
  local from, cpu = now_us(), cpu_us()
  run(ask, SECONDS)
  local took = now_us() - from
  cpu = cpu_us() - cpu
  table.sort(times)
  local function at(share) return times[math.max(1, math.ceil(#times * share))] or 0 end
  print(("spec: figure\tpace\t%d %d %.0f %.0f %.0f %.1f %.1f %.0f"):format(#times, failed, at(0.5), at(0.99), at(1),
    cpu / took * 100, #times > 0 and cpu / #times or 0, #times / took * 1e6))
  skynet.abort()
end)
