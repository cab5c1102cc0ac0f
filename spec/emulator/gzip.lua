--- gzip: just enough to answer in a coding nobody asked for.

local gzip = {}

local function xor(a, b)
  local value, bit = 0, 1
  while a > 0 or b > 0 do
    if a % 2 ~= b % 2 then value = value + bit end
    a, b, bit = math.floor(a / 2), math.floor(b / 2), bit * 2
  end
  return value
end

local function crc32(bytes)
  local crc = 4294967295
  for i = 1, #bytes do
    crc = xor(crc, bytes:byte(i))
    for _ = 1, 8 do
      local odd = crc % 2 == 1
      crc = math.floor(crc / 2)
      if odd then crc = xor(crc, 3988292384) end
    end
  end
  return xor(crc, 4294967295)
end

local function le(n, width)
  local out = {}
  for i = 1, width do
    out[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(out)
end

local HEAD = "\31\139\8\0\0\0\0\0\0\255"

--- One stored block; `wrong` spoils the checksum.
function gzip.stored(text, wrong)
  local crc = crc32(text)
  if wrong then crc = (crc + 1) % 4294967296 end
  return HEAD .. "\1" .. le(#text, 2) .. le(65535 - #text, 2) .. text
    .. le(crc, 4) .. le(#text, 4)
end

--- Some 200 MB of spaces in 1.3 MB: one literal, then "258 bytes from 1
--- before" again and again, 13 bits each in the fixed code. It has no end:
--- who gets that far has lost already.
function gzip.bomb()
  local bits = { 1, 1, 0 }                       -- last block, fixed code
  local function code(value, n)                  -- codes go highest bit first
    for i = n - 1, 0, -1 do
      bits[#bits + 1] = math.floor(value / 2 ^ i) % 2
    end
  end
  code(0x30 + 32, 8)
  for _ = 1, 16 do
    code(0xC0 + 285 - 280, 8)
    code(0, 5)
  end
  local bytes = {}
  for i = 1, #bits - 7, 8 do
    local byte = 0
    for k = 0, 7 do byte = byte + bits[i + k] * 2 ^ k end
    bytes[#bytes + 1] = string.char(byte)
  end
  local text = table.concat(bytes)
  -- From the third byte on it repeats every 8 x 13 bits.
  return HEAD .. text:sub(1, 2) .. text:sub(3, 15):rep(100000)
end

return gzip
