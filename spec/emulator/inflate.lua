--- inflate: RFC 1950 and 1951 backwards, all three kinds of block.

local inflate = {}

local function fail(why) error({ inflate = why }, 0) end

local function reader(bytes, at)
  local hold, held = 0, 0
  local r = {}

  -- The next n bits, the first one lowest.
  function r.bits(n)
    while held < n do
      local b = bytes:byte(at)
      if not b then fail("cut") end
      hold, held, at = hold + b * 2 ^ held, held + 8, at + 1
    end
    local value = hold % 2 ^ n
    hold, held = (hold - value) / 2 ^ n, held - n
    return value
  end

  -- A stored block starts at a whole byte; whole bytes held go back.
  function r.align()
    at, hold, held = at - math.floor(held / 8), 0, 0
  end

  function r.take(n)
    if at + n - 1 > #bytes then fail("cut") end
    at = at + n
    return bytes:sub(at - n, at - 1)
  end

  return r
end

-- Canonical Huffman code: code lengths in, { [length] = { [code] = symbol } }.
local function huffman(lengths, n)
  local count, first, code = {}, {}, 0
  for i = 0, 15 do count[i] = 0 end
  for i = 0, n - 1 do
    count[lengths[i] or 0] = count[lengths[i] or 0] + 1
  end
  count[0] = 0
  for bits = 1, 15 do
    code = (code + count[bits - 1]) * 2
    if code + count[bits] > 2 ^ bits then fail("oversubscribed") end
    first[bits] = code
  end
  local tree = {}
  for symbol = 0, n - 1 do
    local bits = lengths[symbol] or 0
    if bits > 0 then
      tree[bits] = tree[bits] or {}
      tree[bits][first[bits]] = symbol
      first[bits] = first[bits] + 1
    end
  end
  return tree
end

local function symbol(r, tree)
  local code = 0
  for bits = 1, 15 do
    code = code * 2 + r.bits(1)
    local found = tree[bits] and tree[bits][code]
    if found then return found end
  end
  fail("no such code")
end

-- base[i], extra bits[i]: lengths from symbol 257, distances from 0.
local LENGTH, LENGTH_BITS, DISTANCE, DISTANCE_BITS = {}, {}, {}, {}
do
  local value = 3
  for i = 0, 27 do
    local bits = i < 8 and 0 or math.floor(i / 4) - 1
    LENGTH[i], LENGTH_BITS[i] = value, bits
    value = value + 2 ^ bits
  end
  LENGTH[28], LENGTH_BITS[28] = 258, 0
  value = 1
  for i = 0, 29 do
    local bits = i < 4 and 0 or math.floor(i / 2) - 1
    DISTANCE[i], DISTANCE_BITS[i] = value, bits
    value = value + 2 ^ bits
  end
end

local ORDER = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14,
                1, 15 }

local function fixed()
  local lengths, distances = {}, {}
  for i = 0, 287 do
    lengths[i] = i < 144 and 8 or i < 256 and 9 or i < 280 and 7 or 8
  end
  for i = 0, 29 do distances[i] = 5 end
  return huffman(lengths, 288), huffman(distances, 30)
end

local function dynamic(r)
  local n_length, n_distance = r.bits(5) + 257, r.bits(5) + 1
  local n_order, lengths = r.bits(4) + 4, {}
  for i = 1, n_order do lengths[ORDER[i]] = r.bits(3) end
  local tree, list, i = huffman(lengths, 19), {}, 0
  while i < n_length + n_distance do
    local s, times, value = symbol(r, tree), 1, 0
    if s < 16 then value = s
    elseif s == 16 then
      if i == 0 then fail("nothing to repeat") end
      value, times = list[i - 1], 3 + r.bits(2)
    elseif s == 17 then times = 3 + r.bits(3)
    else times = 11 + r.bits(7) end
    for _ = 1, times do list[i], i = value, i + 1 end
  end
  if i > n_length + n_distance then fail("too many lengths") end
  local distances = {}
  for k = 0, n_distance - 1 do distances[k] = list[n_length + k] end
  return huffman(list, n_length), huffman(distances, n_distance)
end

local function adler32(bytes)
  local a, b = 1, 0
  for i = 1, #bytes do
    a = (a + bytes:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

local function zlib(bytes, limit)
  local cmf, flags = bytes:byte(1, 2)
  if not flags or cmf % 16 ~= 8 or (cmf * 256 + flags) % 31 ~= 0
     or math.floor(flags / 32) % 2 == 1 then
    fail("not zlib")
  end
  local r, out, n = reader(bytes, 3), {}, 0
  local function put(c)
    n = n + 1
    if n > limit then fail("too large") end
    out[n] = c
  end
  repeat
    local last, kind = r.bits(1), r.bits(2)
    if kind == 0 then
      r.align()
      local length, check = r.bits(16), r.bits(16)
      if length + check ~= 65535 then fail("stored length") end
      if n + length > limit then fail("too large") end
      for c in r.take(length):gmatch(".") do put(c) end
    elseif kind == 3 then
      fail("no such block")
    else
      local lengths, distances
      if kind == 1 then lengths, distances = fixed()
      else lengths, distances = dynamic(r) end
      while true do
        local s = symbol(r, lengths)
        if s == 256 then break end
        if s < 256 then
          put(string.char(s))
        else
          s = s - 257
          if not LENGTH[s] then fail("no such length") end
          local length = LENGTH[s] + r.bits(LENGTH_BITS[s])
          local d = symbol(r, distances)
          if not DISTANCE[d] then fail("no such distance") end
          local back = DISTANCE[d] + r.bits(DISTANCE_BITS[d])
          if back > n then fail("distance before the start") end
          for _ = 1, length do put(out[n + 1 - back]) end
        end
      end
    end
  until last == 1
  local text = table.concat(out)
  r.align()
  local a, b, c, d = r.take(4):byte(1, 4)
  if ((a * 256 + b) * 256 + c) * 256 + d ~= adler32(text) then
    fail("checksum")
  end
  return text
end

--- The plain bytes of a zlib stream, at most `limit`; or nil and why not.
function inflate.zlib(bytes, limit)
  local ok, value = pcall(zlib, bytes, limit)
  if ok then return value end
  return nil, type(value) == "table" and value.inflate or tostring(value)
end

return inflate
