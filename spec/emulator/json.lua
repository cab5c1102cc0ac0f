--- json: enough JSON for the control port, and none of the one under test.
---
--- Text passes through byte by byte: what is not UTF-8 stays what it is, so
--- that a spec can hand over any bytes it wants to see on the wire.

local json = {}

json.null = setmetatable({}, { __tostring = function() return "null" end })

-- An empty Lua table is an object; this one is an array.
local ARRAY = {}

function json.array(list)
  return setmetatable(list or {}, ARRAY)
end

local ESCAPE = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n",
                 ["\r"] = "\\r", ["\t"] = "\\t" }

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c)
    return ESCAPE[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

local function number(n)
  if n ~= n or n == math.huge or n == -math.huge then return "null" end
  if n % 1 == 0 and n > -2^53 and n < 2^53 then return ("%d"):format(n) end
  return ("%.14g"):format(n)
end

local function encode(value, out)
  local kind = type(value)
  if value == json.null or value == nil then
    out[#out + 1] = "null"
  elseif kind == "table" then
    if #value > 0 or getmetatable(value) == ARRAY then
      out[#out + 1] = "["
      for i = 1, #value do
        if i > 1 then out[#out + 1] = "," end
        encode(value[i], out)
      end
      out[#out + 1] = "]"
    else
      local names = {}
      for name in pairs(value) do names[#names + 1] = tostring(name) end
      table.sort(names)
      out[#out + 1] = "{"
      for i, name in ipairs(names) do
        if i > 1 then out[#out + 1] = "," end
        out[#out + 1] = quote(name) .. ":"
        local member = value[name]
        if member == nil then member = value[tonumber(name)] end
        encode(member, out)
      end
      out[#out + 1] = "}"
    end
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "string" then
    out[#out + 1] = quote(value)
  else
    out[#out + 1] = tostring(value)
  end
end

function json.encode(value)
  local out = {}
  encode(value, out)
  return table.concat(out)
end

json.quote = quote

-- Reading -------------------------------------------------------------------

local function fail(at, what)
  error({ json = ("%s at byte %d"):format(what, at) }, 0)
end

local UNESCAPE = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
                   ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function utf8(code)
  local char, floor = string.char, math.floor
  if code < 0x80 then return char(code) end
  if code < 0x800 then
    return char(0xC0 + floor(code / 64), 0x80 + code % 64)
  end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64,
                0x80 + code % 64)
  end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64,
              0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

local function read_string(text, at)
  local parts, start = {}, at + 1
  while true do
    local stop = text:find('["\\]', start)
    if not stop then fail(at, "unfinished string") end
    parts[#parts + 1] = text:sub(start, stop - 1)
    if text:byte(stop) == 34 then
      return table.concat(parts), stop + 1
    end
    local c = text:sub(stop + 1, stop + 1)
    if c == "u" then
      local code = tonumber(text:match("^%x%x%x%x", stop + 2) or "", 16)
      if not code then fail(stop, "bad escape") end
      start = stop + 6
      if code >= 0xD800 and code < 0xDC00 then
        local low = tonumber(text:match("^\\u(%x%x%x%x)", start) or "", 16)
        if low and low >= 0xDC00 and low < 0xE000 then
          code = 0x10000 + (code - 0xD800) * 1024 + low - 0xDC00
          start = start + 6
        end
      end
      parts[#parts + 1] = utf8(code)
    else
      if not UNESCAPE[c] then fail(stop, "bad escape") end
      parts[#parts + 1] = UNESCAPE[c]
      start = stop + 2
    end
  end
end

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

local WORDS = { { "true", true }, { "false", false }, { "null", json.null } }

local function read(text, at, depth)
  at = skip(text, at)
  local c = text:sub(at, at)
  if depth > 100 then fail(at, "too deep") end
  if c == "{" then
    local object = {}
    at = skip(text, at + 1)
    if text:sub(at, at) == "}" then return object, at + 1 end
    while true do
      local name
      at = skip(text, at)
      if text:sub(at, at) ~= '"' then fail(at, "no name") end
      name, at = read_string(text, at)
      at = skip(text, at)
      if text:sub(at, at) ~= ":" then fail(at, "no colon") end
      object[name], at = read(text, at + 1, depth + 1)
      at = skip(text, at)
      local mark = text:sub(at, at)
      at = at + 1
      if mark == "}" then return object, at end
      if mark ~= "," then fail(at, "no comma") end
    end
  elseif c == "[" then
    local list = json.array()
    at = skip(text, at + 1)
    if text:sub(at, at) == "]" then return list, at + 1 end
    while true do
      list[#list + 1], at = read(text, at, depth + 1)
      at = skip(text, at)
      local mark = text:sub(at, at)
      at = at + 1
      if mark == "]" then return list, at end
      if mark ~= "," then fail(at, "no comma") end
    end
  elseif c == '"' then
    return read_string(text, at)
  end
  for _, word in ipairs(WORDS) do
    if text:sub(at, at + #word[1] - 1) == word[1] then
      return word[2], at + #word[1]
    end
  end
  local digits = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  if not digits or not tonumber(digits) then fail(at, "no value") end
  return tonumber(digits), at + #digits
end

--- The value of a JSON text; null becomes json.null.
---@return any value, or nil and a sentence
function json.decode(text)
  local ok, value, at = pcall(read, text, 1, 0)
  if not ok then return nil, type(value) == "table" and value.json or value end
  if skip(text, at) <= #text then return nil, "text after the value" end
  return value
end

return json
