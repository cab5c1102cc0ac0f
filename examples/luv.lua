-- needs: luv
-- luv: coroutines and callbacks under libuv; the loop ends when nothing is left.
--
--   AGORA_CHAT_BASE_URL=https://a61.chat.agora.io AGORA_CHAT_APP_ID=970c... \
--   AGORA_CHAT_TOKEN=007... lua examples/luv.lua [user ...]
--
-- AGORA_CHAT_APP_CERTIFICATE instead of a token: tokens are made here.

local agora_chat = require "agora_chat"
local uv = require "luv"

local client, problem = agora_chat.new {
  base_url = os.getenv "AGORA_CHAT_BASE_URL",
  app_id = os.getenv "AGORA_CHAT_APP_ID",
  credentials = {
    token = os.getenv "AGORA_CHAT_TOKEN",
    app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
  },
  ca_file = os.getenv "AGORA_CHAT_CA_FILE",
  loop = require "agora_chat.loop.luv",
  threaded = true,                       -- TLS handshakes and look-ups leave the loop alone
}
if not client then
  io.stderr:write(tostring(problem), "\n")
  os.exit(2)
end

local users = arg and arg[1] and arg or { "alice", "bob", "小明" }
local failures = 0

local function tell(name, res, err)
  if not res then failures = failures + 1 end
  print(res and ("%s: %d messages wait"):format(name, res.count) or ("%s: %s"):format(name, tostring(err)))
end

-- 1. In a callback of libuv's, a call waits in a coroutine.
local timer = uv.new_timer()
timer:start(10, 0, function()
  timer:close()
  coroutine.wrap(function()
    for _, name in ipairs(users) do
      tell(name, client:offline_msg_count(name))
    end
  end)()
end)

-- 2. Or it calls back; a callback may wait in turn.
client:start("offline_msg_count", { users[1] }, function(res, err)
  tell(users[1] .. ", called back", res, err)
end)

-- An open client that waits for nothing does not keep the loop.
uv.run()
print("nothing left to do")

client:close()
os.exit(failures == 0 and 0 or 1)
