--- token: reads and checks "007" access tokens.
---
--- Written for the emulator only, from the published layout and without a
--- line of the client's code: what both agree on is more likely to be right.

local digest = require "openssl.digest"
local hmac = require "openssl.hmac"
local rand = require "openssl.rand"
local inflate = require "emulator.inflate"

local token = {}

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

--- A short fingerprint, so that a log can tell tokens apart.
function token.sha(text)
  return hex(digest.new("sha256"):final(text)):sub(1, 12)
end

function token.random_text()
  return hex(rand.bytes(16))
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
  .. "abcdefghijklmnopqrstuvwxyz0123456789+/"
local DIGIT = {}
for i = 1, #ALPHABET do DIGIT[ALPHABET:sub(i, i)] = i - 1 end

function token.unbase64(text)
  if #text % 4 ~= 0 or text:find("[^%w+/=]") then return nil end
  local body, pad = text:match("^([%w+/]*)(=*)$")
  if not body or #pad > 2 then return nil end
  local out, floor = {}, math.floor
  for quad in (body .. ("A"):rep(#pad)):gmatch("....") do
    local n = 0
    for i = 1, 4 do n = n * 64 + DIGIT[quad:sub(i, i)] end
    out[#out + 1] = string.char(floor(n / 65536), floor(n / 256) % 256,
                                n % 256)
  end
  local bytes = table.concat(out)
  return bytes:sub(1, #bytes - #pad)
end

local function u16(bytes, at)
  local a, b = bytes:byte(at, at + 1)
  if not b then error({ token = "short" }, 0) end
  return a + b * 256, at + 2
end

local function u32(bytes, at)
  local low, high
  low, at = u16(bytes, at)
  high, at = u16(bytes, at)
  return low + high * 65536, at
end

local function str(bytes, at)
  local n
  n, at = u16(bytes, at)
  if at + n - 1 > #bytes then error({ token = "short" }, 0) end
  return bytes:sub(at, at + n - 1), at + n
end

local function read(text)
  local function fail(why) error({ token = why }, 0) end
  if text:sub(1, 3) ~= "007" then fail("not 007") end
  local packed = token.unbase64(text:sub(4))
  if not packed then fail("base64") end
  local bytes, why = inflate.zlib(packed, 4096)
  if not bytes then fail(why) end
  local t, at, n = { services = {} }, 1
  t.signature, at = str(bytes, at)
  t.signed = bytes:sub(at)
  t.app_id, at = str(bytes, at)
  t.issue_ts, at = u32(bytes, at)
  t.expire, at = u32(bytes, at)
  t.salt, at = u32(bytes, at)
  n, at = u16(bytes, at)
  for _ = 1, n do
    local kind, count
    kind, at = u16(bytes, at)
    count, at = u16(bytes, at)
    local s = { privileges = {} }
    for _ = 1, count do
      local privilege
      privilege, at = u16(bytes, at)
      s.privileges[privilege], at = u32(bytes, at)
    end
    -- What follows the privileges differs by kind: none (4) to two texts.
    if kind == 1 or kind == 3 then
      s.channel, at = str(bytes, at)
      s.user_id, at = str(bytes, at)
    elseif kind == 2 or kind == 5 then
      s.user_id, at = str(bytes, at)
    elseif kind == 7 then
      s.room, at = str(bytes, at)
      s.user_id, at = str(bytes, at)
      local _
      _, at = u16(bytes, at)
    end
    t.services[kind] = s
  end
  return t
end

--- { app_id, issue_ts, expire, salt, services = { [5] = { privileges,
--- user_id } } }, or nil and what is wrong.
function token.parse(text)
  local ok, value = pcall(read, text)
  if ok then return value end
  return nil, type(value) == "table" and value.token or tostring(value)
end

local function mac(key, text)
  return hmac.new(key, "sha256"):final(text)
end

local function le32(n)
  local floor = math.floor
  return string.char(n % 256, floor(n / 256) % 256, floor(n / 65536) % 256,
                     floor(n / 16777216) % 256)
end

--- Was it signed with this certificate?
function token.verify(t, app_certificate)
  if type(app_certificate) ~= "string" then return false end
  local key = mac(le32(t.salt), mac(le32(t.issue_ts), app_certificate))
  return mac(key, t.signed) == t.signature
end

return token
