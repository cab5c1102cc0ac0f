--- stack_chunk: run by stack_host. What needs the most stack: every answer with
--- status 200 that the emulator knows to spoil, errors, tokens, a request.
---
---   stack_host stack_chunk.lua URL ID=VARIANTS ...
local agora_chat = require "agora_chat"

local words = { ... }
local url = table.remove(words, 1)
local CERTIFICATE = ("b"):rep(32)
local client = assert(agora_chat.new {
  base_url = url, app_id = ("a"):rep(32), rate_per_s = false, max_attempts = 1, timeout_ms = 10000,
  credentials = { app_certificate = CERTIFICATE },
})

local asked = 0
for _, word in ipairs(words) do
  local id, variants = word:match "^(%u%d+)=(%d+)$"
  for n = 1, tonumber(variants) do
    local user = ("f.%s.%d"):format(id, n)
    local res, err = client:offline_msg_count(user)
    assert(res or err.message)
    res, err = client:offline_msg_status(user, "123")
    assert(res or tostring(err))
    asked = asked + 2
  end
end

assert(client:request { method = "POST", path = { "users", "batch", "status" }, json = { usernames = { "alice" } } })
local token = assert(agora_chat.user_token { app_id = ("a"):rep(32), app_certificate = CERTIFICATE, username = "alice" })
assert(agora_chat.read_token(token, { app_certificate = CERTIFICATE }).verified)
client:close()
print(("ok    %d answers on a small stack"):format(asked))
