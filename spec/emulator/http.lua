--- http: what is on the wire, in both directions.

local http = {}

local REASON = {
  [200] = "OK", [201] = "Created", [202] = "Accepted",
  [203] = "Non-Authoritative Information", [204] = "No Content",
  [206] = "Partial Content", [301] = "Moved Permanently", [302] = "Found",
  [307] = "Temporary Redirect", [308] = "Permanent Redirect",
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden",
  [404] = "Not Found", [405] = "Method Not Allowed",
  [408] = "Request Timeout", [413] = "Payload Too Large",
  [415] = "Unsupported Media Type", [418] = "I'm a teapot",
  [429] = "Too Many Requests", [451] = "Unavailable For Legal Reasons",
  [500] = "Internal Server Error", [501] = "Not Implemented",
  [502] = "Bad Gateway", [503] = "Service Unavailable",
  [504] = "Gateway Timeout",
}

http.MAX_HEAD_BYTES = 1024 * 1024
http.MAX_BODY_BYTES = 16 * 1024 * 1024

local dates = {}

--- An HTTP date. Kept per second: making one costs more than the answer.
function http.date(time_s)
  local text = dates[time_s]
  if not text then
    text = os.date("!%a, %d %b %Y %H:%M:%S GMT", time_s)
    dates = { [time_s] = text }
  end
  return text
end

function http.status_line(status)
  return ("HTTP/1.1 %03d %s\r\n"):format(status, REASON[status] or "Status")
end

--- A whole answer. `fields` is text, "Name: value\r\n" once or more, or nil.
function http.answer(status, date, fields, body, content_type)
  return "HTTP/1.1 " .. status .. " " .. (REASON[status] or "Status")
      .. "\r\nDate: " .. date .. "\r\nContent-Type: "
      .. (content_type or "application/json")
      .. "\r\n" .. (fields or "") .. "Content-Length: " .. #body
      .. "\r\n\r\n" .. body
end

--- One field of a raw head, any case; nil when there is none.
function http.field(head, name)
  local pattern = name:gsub("%W", "%%%0"):gsub("%a", function(c)
    return "[" .. c:upper() .. c:lower() .. "]"
  end)
  return head:match("\r\n" .. pattern .. ":[ \t]*([^\r\n]*)")
end

--- All fields of a raw head as a list of { name, value }.
function http.fields(head)
  local list = {}
  for name, value in head:gmatch("\r\n([^:\r\n]+):[ \t]*([^\r\n]*)") do
    list[#list + 1] = { name, value }
  end
  return list
end

local function unchunk(buffer, at, more)
  local parts, bytes = {}, 0
  while true do
    local _, stop, size = buffer:find("^(%x+)[^\r\n]*\r\n", at)
    while not stop do
      buffer = more(buffer)
      if not buffer then return nil end
      _, stop, size = buffer:find("^(%x+)[^\r\n]*\r\n", at)
    end
    size = tonumber(size, 16)
    bytes = bytes + size
    if bytes > http.MAX_BODY_BYTES then return nil end
    while #buffer < stop + size + 2 do
      buffer = more(buffer)
      if not buffer then return nil end
    end
    if size == 0 then
      return table.concat(parts), buffer:sub(stop + 3)
    end
    parts[#parts + 1] = buffer:sub(stop + 1, stop + size)
    at = stop + size + 3
  end
end

--- Reads one request.
---
--- `more(buffer)` gives the buffer with more bytes behind it, or nil at the
--- end of the connection; `continue()` sends "100 Continue".
---@return table? request  method, path, head (raw), body, version
---@return string rest  bytes of the next request, or why there is none
function http.read_request(buffer, more, continue)
  local _, stop = buffer:find("\r\n\r\n", 1, true)
  while not stop do
    if #buffer > http.MAX_HEAD_BYTES then return nil, "head too long" end
    local before = #buffer
    buffer = more(buffer)
    if not buffer then return nil, before == 0 and "end" or "cut" end
    _, stop = buffer:find("\r\n\r\n", before > 3 and before - 3 or 1, true)
  end
  local _, line_end, method, path, version =
    buffer:find("^([^ \r\n]+) ([^\r\n]*) HTTP/1%.(%d)\r\n")
  if not method then return nil, "malformed" end
  local request = {
    method = method, path = path, version = version, body = "",
    head = buffer:sub(line_end - 1, stop - 2),
  }
  if method == "GET" and stop == #buffer
     and not request.head:find("\r\n[Cc]ontent%-[Ll]ength:") then
    return request, ""                        -- the usual case, and the cheap
  end
  if http.field(request.head, "Expect") then continue() end
  if http.field(request.head, "Transfer-Encoding") then
    request.body, buffer = unchunk(buffer, stop + 1, more)
    if not request.body then return nil, "cut" end
    return request, buffer
  end
  local length = tonumber(http.field(request.head, "Content-Length") or 0)
  if not length or length < 0 or length > http.MAX_BODY_BYTES then
    return nil, "malformed"
  end
  while #buffer < stop + length do
    buffer = more(buffer)
    if not buffer then return nil, "cut" end
  end
  request.body = buffer:sub(stop + 1, stop + length)
  return request, buffer:sub(stop + length + 1)
end

return http
