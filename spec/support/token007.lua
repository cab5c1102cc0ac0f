--- token007: writes "007" tokens byte by byte, good and bad ones, for specs.
---
---     local text = token007.text(token007.bytes { services = { { type = 5, rest = token007.str "alice" } } })
---
--- It signs nothing: `signature` is 32 bytes of the caller's. It deflates
--- nothing either (stored blocks), except to make a bomb. Plain Lua, no bits.
local token007 = {}

local char, floor = string.char, math.floor

function token007.u16(n) return char(n % 256, floor(n / 256) % 256) end

function token007.u32(n)
  return token007.u16(n % 65536) .. token007.u16(floor(n / 65536))
end

--- A text as the format has it: its length, then itself.
function token007.str(text) return token007.u16(#text) .. text end

function token007.from_hex(hex)
  return (hex:gsub("%x%x", function(pair) return char(tonumber(pair, 16)) end))
end

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

function token007.base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    for shift = 3, 0, -1 do
      local digit = floor(n / 64 ^ shift) % 64
      out[#out + 1] = DIGITS:sub(digit + 1, digit + 1)
    end
    if not b then out[#out - 1] = "=" end
    if not c then out[#out] = "=" end
  end
  return table.concat(out)
end

local function adler32(bytes)
  local a, b = 1, 0
  for i = 1, #bytes do
    a = (a + bytes:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return char(floor(b / 256), b % 256, floor(a / 256), a % 256)
end

--- zlib without compression (RFC 1951 section 3.2.4), at most 65,535 bytes.
function token007.stored(bytes)
  local n = #bytes
  return char(0x78, 1, 1) .. token007.u16(n) .. token007.u16(65535 - n) .. bytes .. adler32(bytes)
end

--- zlib that grows by 258 bytes for every 13 bits: `count` times "258 bytes, as
--- the last one", with fixed codes (RFC 1951 section 3.2.6). Its checksum is
--- wrong; whoever gets as far as that has inflated it.
function token007.bomb(count)
  local out, hold, held = { char(0x78, 1) }, 0, 0
  local function put(bits)                        -- "101": first bit first
    for bit in bits:gmatch "." do
      hold, held = hold + tonumber(bit) * 2 ^ held, held + 1
      if held == 8 then
        out[#out + 1], hold, held = char(hold), 0, 0
      end
    end
  end
  put "1" put "10"                                -- last block, fixed codes
  put "00110000"                                  -- a byte 0
  for _ = 1, count do put "11000101" put "00000" end
  put "0000000" put "0000000"                     -- end of block, and to a whole byte
  return table.concat(out) .. ("\0"):rep(4)
end

--- "007" and the base64 of a zlib stream; `packed`: bytes are one already.
function token007.text(bytes, packed)
  return "007" .. token007.base64(packed and bytes or token007.stored(bytes))
end

--- What a token holds before it is deflated. Every part has a default.
--- services: a list of { type, privileges = { { 1, 600 }, ... }, rest = bytes }.
function token007.bytes(t)
  local out = {
    token007.str(t.signature or ("s"):rep(32)),
    token007.str(t.app_id or "970CA35de60c44645bbae8a215061b33"),
    token007.u32(t.issued_at_s or 1111111), token007.u32(t.expire_s or 600), token007.u32(t.salt or 1),
    token007.u16(t.service_count or #t.services),
  }
  for _, service in ipairs(t.services) do
    local privileges = service.privileges or { { 1, 600 } }
    out[#out + 1] = token007.u16(service.type) .. token007.u16(#privileges)
    for _, pair in ipairs(privileges) do
      out[#out + 1] = token007.u16(pair[1]) .. token007.u32(pair[2])
    end
    out[#out + 1] = service.rest or ""
  end
  return table.concat(out)
end

return token007
