-- agora_chatd: a skynet service that owns the one client of a process, so that
-- all services share its connections, its pace and its token.
--
--   local chat = skynet.uniqueservice "agora_chatd"
--   local res, err = skynet.call(chat, "lua", "offline_msg_count", "alice")
--   skynet.call(chat, "lua", "offline_msg_status", "alice", "1029457500870543736", { timeout_ms = 500 })
--   skynet.call(chat, "lua", "batch", "offline_msg_count", { "alice", "bob" })
--   skynet.call(chat, "lua", "request", { method = "GET", path = { "users", "alice", "status" }, idempotent = true })
--   skynet.call(chat, "lua", "stats");  skynet.call(chat, "lua", "close")
--
-- Results and errors arrive as plain tables; agora_chat.is_error(err) knows
-- them, err.message is the sentence. Settings come from the environment, see
-- examples/skynet/config. How to run it: examples/skynet/main.lua.

local skynet = require "skynet"
local agora_chat = require "agora_chat"

local client, problem = agora_chat.new {
  base_url = os.getenv "AGORA_CHAT_BASE_URL",
  app_id = os.getenv "AGORA_CHAT_APP_ID",
  credentials = {
    token = os.getenv "AGORA_CHAT_TOKEN",
    app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
  },
  ca_file = os.getenv "AGORA_CHAT_CA_FILE",
  loop = require "agora_chat.loop.skynet",
  on_error = function(value, traceback) skynet.error(traceback or tostring(value)) end,
}
if not client then error(tostring(problem)) end  -- skynet shows only strings

local command = {}

for _, name in ipairs { "offline_msg_count", "offline_msg_status", "request", "batch", "stats" } do
  command[name] = function(...) return client[name](client, ...) end
end

--- Whoever still waits hears `closed`, before this service is gone.
function command.close()
  client:close()
  skynet.yield()                 -- the woken coroutines answer their callers
  skynet.ret(skynet.pack(true))
  skynet.exit()
end

local function unknown(name)
  return nil, { kind = "argument", message = ("agora_chatd knows no '%s'"):format(tostring(name)) }
end

local function answer(session, ...)
  if session ~= 0 then skynet.ret(skynet.pack(...)) end      -- 0: skynet.send, nobody waits
end

skynet.start(function()
  skynet.dispatch("lua", function(session, _, name, ...)
    local run = command[name]
    if run then
      answer(session, run(...))
    else
      answer(session, unknown(name))
    end
  end)
end)
