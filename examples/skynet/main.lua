-- main: asks agora_chatd from another service: three counts side by side, two
-- message statuses, a batch, and an error as it arrives.
--
--   make skynet SKYNET=/path/to/skynet      # builds the module for its Lua
--   SKYNET=/path/to/skynet AGORA_CHAT_BASE_URL=https://a61.chat.agora.io \
--   AGORA_CHAT_APP_ID=970c... AGORA_CHAT_TOKEN=007... \
--   /path/to/skynet/skynet examples/skynet/config
--
-- AGORA_CHAT_APP_CERTIFICATE instead of a token: tokens are made here. The
-- users and ids below are the emulator's (make emulator).

local skynet = require "skynet"
require "skynet.manager"                         -- for skynet.abort
local agora_chat = require "agora_chat"

local function show(what, res, err)
  local text = res and (res.status or ("%d messages wait"):format(res.count)) or err.message
  print(("%s: %s"):format(what, text))
end

skynet.start(function()
  local chat = skynet.uniqueservice "agora_chatd"

  -- 1. Side by side: each asks in a coroutine of its own.
  local left = 0
  local me = coroutine.running()
  for _, name in ipairs { "alice", "bob", "小明" } do
    left = left + 1
    skynet.fork(function()
      show(name, skynet.call(chat, "lua", "offline_msg_count", name))
      left = left - 1
      if left == 0 then skynet.wakeup(me) end
    end)
  end
  skynet.wait(me)

  -- 2. One after the other.
  for _, id in ipairs { "1029457500870543736", "1028442084794698104" } do
    show("message " .. id, skynet.call(chat, "lua", "offline_msg_status", "alice", id))
  end

  -- 3. Many at once: one message there, one back.
  local results, failed, failures = skynet.call(chat, "lua", "batch", "offline_msg_count",
    { "alice", "bob", "nobody-of-that-name" })
  print(("batch: %d of %d answered"):format(#results - failures, #results))

  -- 4. An error is a plain table here; it says the same.
  local err = failed[3]
  print(("an error: %s (kind %s, is_error %s)"):format(err.message, err.kind, tostring(agora_chat.is_error(err))))

  skynet.call(chat, "lua", "close")
  skynet.abort()
end)
