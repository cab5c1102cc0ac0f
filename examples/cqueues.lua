-- needs: cqueues
-- cqueues: coroutines of one controller ask side by side; nobody blocks the loop.
--
--   AGORA_CHAT_BASE_URL=https://a61.chat.agora.io AGORA_CHAT_APP_ID=970c... \
--   AGORA_CHAT_TOKEN=007... lua examples/cqueues.lua [user ...]
--
-- AGORA_CHAT_APP_CERTIFICATE instead of a token: tokens are made here.

local agora_chat = require "agora_chat"
local cqueues = require "cqueues"

local client, problem = agora_chat.new {
  base_url = os.getenv "AGORA_CHAT_BASE_URL",
  app_id = os.getenv "AGORA_CHAT_APP_ID",
  credentials = {
    token = os.getenv "AGORA_CHAT_TOKEN",
    app_certificate = os.getenv "AGORA_CHAT_APP_CERTIFICATE",
  },
  ca_file = os.getenv "AGORA_CHAT_CA_FILE",
  loop = require "agora_chat.loop.cqueues",
  threaded = true,                       -- TLS handshakes and look-ups leave the loop alone
}
if not client then
  io.stderr:write(tostring(problem), "\n")
  os.exit(2)
end

local users = arg and arg[1] and arg or { "alice", "bob", "小明" }
local left, failures, beats = #users, 0, 0

local controller = cqueues.new()

-- One coroutine per user: each waits for its own answer.
for _, name in ipairs(users) do
  controller:wrap(function()
    local res, err = client:offline_msg_count(name)
    if res then
      print(("%s: %d messages wait"):format(name, res.count))
    else
      failures = failures + 1
      print(("%s: %s"):format(name, tostring(err)))
    end
    left = left - 1
  end)
end

-- What else this program does goes on meanwhile.
controller:wrap(function()
  while left > 0 do
    beats = beats + 1
    cqueues.sleep(0.001)
  end
end)

-- The loop ends by itself when nothing is left to do; the client may stay open.
local ok, why = controller:loop()
if not ok then error(why) end
print(("the loop went round %d times meanwhile"):format(beats))

client:close()
os.exit(failures == 0 and 0 or 1)
