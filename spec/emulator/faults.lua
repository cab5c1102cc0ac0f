--- faults: rude answers, chosen by the user id "f.<ID>.<seed>".
---
--- The ids are legal user names, so the whole list can be had through any
--- client and any API of it. <seed> is a number: which variant (1 is the
--- first, they go round), at which byte, how many ms. A fourth part makes it
--- end: "f.B01.1.once", "f.B01.1.n3": after so many calls, good answers.
--- The good answer is a count of 7; of a message whose id ends in an even
--- digit "delivered", else "undelivered".

local gzip = require "emulator.gzip"
local http = require "emulator.http"
local json = require "emulator.json"

local faults = {}

local JSON_TYPE = "Content-Type: application/json\r\n"

-- A row gets `f`: n (seed), key (what `data` must name), calls (which call of
-- this id this is, from 1), conn, body (the good one), date, now_s, service.
-- It gives a plan (see connection.lua), or nil for the good answer.
local rows = {}

-- How many variants a row has; told to specs by the control verb `faults`.
faults.variants = {}

local function pick(list, n) return list[(n - 1) % #list + 1] end

local function head(f, fields, status)
  return http.status_line(status or 200) .. "Date: " .. f.date .. "\r\n"
    .. JSON_TYPE .. (fields or "")
end

local function sized(f, body, fields, status)
  return head(f, (fields or "") .. "Content-Length: " .. #body .. "\r\n",
              status) .. "\r\n" .. body
end

-- Without a length the end of the connection is the end of the body.
local function unsized(f, body) return head(f) .. "\r\n" .. body end

local function send(bytes, after, status)
  return { { send = bytes }, after = after, status = status or 200 }
end

-- A sized answer, connection kept.
local function answer(f, status, body, fields)
  return send(sized(f, body, fields, status), nil, status)
end

local function refuse(f, name, fields)
  local body, status = f.service.error_body(name, f.now_s * 1000, "o/a", "o",
                                            "a")
  return answer(f, status, body, fields)
end

local function html(f, status, fields)
  local body = ("<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n"
    .. "<center><h1>%d</h1></center>\r\n<hr><center>nginx</center>\r\n"
    .. "</body>\r\n</html>\r\n"):format(status, status)
  local bytes = http.answer(status, f.date, fields, body, "text/html")
  return send(bytes, nil, status)
end

-- A wrong answer that looks right: somebody else's.
local function victim(f)
  return sized(f, '{"data":{"victim":999}}')
end

-- B: cut transfers ----------------------------------------------------------

local CUT_HEAD = "HTTP/1.1 200 OK\r\n" .. JSON_TYPE .. "X-Cut: he"

-- A cut inside the body, at byte n of it (seed 0: 9).
local function cut_body(f)
  local k = f.n == 0 and 9 or (f.n - 1) % (#f.body - 1) + 1
  return f.body:sub(1, k)
end

local function twenty_of_hundred(f)
  return head(f, "Content-Length: 100\r\n") .. "\r\n" .. f.body:sub(1, 20)
end

local function half_chunk(f)
  return head(f, "Transfer-Encoding: chunked\r\n") .. "\r\n40\r\n"
    .. f.body:sub(1, 20)
end

-- Seed k: the first k bytes of a good answer; 1000 + k: the same without a
-- length. Past the end: the whole answer (and without a length, FIN).
local function first_bytes(f, after)
  local whole, k = sized(f, f.body), f.n
  if k >= 1000 then whole, k = unsized(f, f.body), k - 1000 end
  local plan = send(whole:sub(1, k), after)
  if k == 0 then plan = { after = after, status = 0 } end
  if k >= #whole and f.n < 1000 then plan.after = nil end
  if k >= #whole and f.n >= 1000 then plan.after = "notify" end
  plan.whole = #whole
  return plan
end

function rows.B01() return { after = "fin" } end
function rows.B02() return { after = "rst" } end
function rows.B03() return send("HTTP/1.1 2", "fin") end
function rows.B04() return send(CUT_HEAD, "fin") end
function rows.B05() return send(CUT_HEAD, "rst") end
function rows.B06() return send(CUT_HEAD, "hold") end
function rows.B07(f) return send(twenty_of_hundred(f), "fin") end
function rows.B08(f) return send(twenty_of_hundred(f), "rst") end
function rows.B09(f) return send(twenty_of_hundred(f), "hold") end
function rows.B10(f) return send(unsized(f, cut_body(f)), "fin") end
function rows.B11(f) return send(unsized(f, cut_body(f)), "rst") end
function rows.B13(f) return send(half_chunk(f), "fin") end
function rows.B14(f)
  return send(head(f, "Transfer-Encoding: chunked\r\n") .. "\r\n14\r\n"
              .. f.body:sub(1, 20) .. "\r\n", "hold")
end
function rows.B15(f) return first_bytes(f, "fin") end
function rows.B16(f) return first_bytes(f, "rst") end
function rows.B17(f) return { { drip = sized(f, f.body) }, status = 200 } end
-- On a plain port B18, B19, B20 are FINs; `notify` differs under TLS only.
function rows.B18(f) return send(unsized(f, cut_body(f)), "fin") end
function rows.B19(f)
  return send(head(f, ("Content-Length: %d\r\n"):format(#f.body)) .. "\r\n"
              .. cut_body(f), "fin")
end
function rows.B20(f) return send(unsized(f, cut_body(f)), "notify") end

-- C: framing lies -----------------------------------------------------------

local function length_is(text, after)
  return function(f)
    return send(head(f, "Content-Length: " .. text .. "\r\n") .. "\r\n"
                .. f.body, after)
  end
end

local function chunked_as(text)
  return function(f)
    return send(head(f, "Transfer-Encoding: chunked\r\n") .. "\r\n" .. text
                .. "\r\n" .. f.body, "fin")
  end
end

local function begins_with(line, after)
  return function(f)
    local good = sized(f, f.body)
    return send(line .. good:match("^[^\r]*(\r\n.*)$"), after)
  end
end

rows.C01 = length_is("5")
rows.C03 = length_is("-5", "fin")
rows.C04 = length_is("9223372036854775808", "notify")
rows.C05 = length_is("abc", "fin")
function rows.C06(f)
  return send(head(f, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")
    .. ("\r\n%x\r\n%s\r\n0\r\n\r\n"):format(#f.body, f.body))
end
rows.C07 = chunked_as("zz")
rows.C08 = chunked_as("11111111111111111")
function rows.C09(f) return send(f.body, "fin") end
function rows.C10(f)
  local state, out = f.n % 100000 + 1, {}
  for i = 1, 300 do
    state = state * 16807 % 2147483647
    out[i] = string.char(math.floor(state / 256) % 256)
  end
  return send(table.concat(out), "fin", 0)
end
function rows.C11() return send("\21\3\3\0\2\2\40", "fin", 0) end
rows.C12 = begins_with("HTTP/1.1 999 Odd")
local BAD_STATUS = { "HTTP/1.1 000 OK", "HTTP/1.1 20 OK" }
faults.variants.C13 = #BAD_STATUS
function rows.C13(f) return begins_with(pick(BAD_STATUS, f.n), "fin")(f) end
rows.C14 = begins_with("HTTP/3.7 200 OK", "fin")
rows.C15 = begins_with("HTTP/2 200 OK")
function rows.C16(f)
  return send(sized(f, f.body, "X-Folded: one\r\n  two\r\n\tthree\r\n"))
end
function rows.C17(f)
  return send(sized(f, f.body, "X-Nul: a\0b\r\n"), "fin")
end
function rows.C19(f)
  return send("HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
              .. sized(f, f.body))
end
local NOT_200 = { 201, 202, 203, 204, 206 }
faults.variants.C20 = #NOT_200
function rows.C20(f)
  local status = pick(NOT_200, f.n)
  if status == 204 then
    return send(http.status_line(204) .. "Date: " .. f.date .. "\r\n\r\n",
                nil, 204)
  end
  return answer(f, status, f.body)
end
function rows.C21(f) return answer(f, 200, "") end
function rows.C22(f) return send(sized(f, f.body) .. victim(f)) end
function rows.C23(f)
  return { { send = sized(f, f.body) }, { sleep_ms = 5 },
           { send = victim(f) }, status = 200 }
end
function rows.C24(f)
  return { { send = victim(f) }, { sleep_ms = 5 },
           { send = sized(f, f.body) }, status = 200 }
end

-- D: sizes and compression --------------------------------------------------

local CAP_BYTES = 64 * 1024

local function padded(f, bytes)
  local front = '{"data":{' .. json.quote(f.key) .. ':7},"pad":"'
  return front .. ("x"):rep(bytes - #front - 2) .. '"}'
end

-- In pieces: one string of 10 MB would stop everybody else for a while.
function rows.D01(f)
  local bytes, piece = 10 * 1024 * 1024, ("x"):rep(16384)
  local front = '{"data":{' .. json.quote(f.key) .. ':7},"pad":"'
  local pieces = math.floor((bytes - #front - 2) / #piece)
  return { { send = head(f, ("Content-Length: %d\r\n")
               :format(#front + pieces * #piece + 2)) .. "\r\n" .. front },
           { endless = piece, times = pieces }, { send = '"}' },
           status = 200 }
end
function rows.D02(f)
  return { { send = unsized(f, '{"data":{"') },
           { endless = ("x"):rep(16384) }, status = 200 }
end
function rows.D03(f)
  return { { send = head(f) },
           { endless = ("X-Line: and another one\r\n"):rep(200) },
           status = 200 }
end
function rows.D04(f)
  return answer(f, 200, f.body,
                "X-Long: " .. ("x"):rep(200 * 1024) .. "\r\n")
end
function rows.D06()
  return { { endless = ("HTTP/1.1 100 Continue\r\n\r\n"):rep(200) } }
end
local GZIP = "Content-Encoding: gzip\r\n"
function rows.D07(f) return answer(f, 200, gzip.stored(f.body), GZIP) end
function rows.D08(f) return answer(f, 200, gzip.bomb(), GZIP) end
function rows.D09(f)
  return answer(f, 200, gzip.stored(f.body):sub(1, -12), GZIP)
end
function rows.D10(f) return answer(f, 200, gzip.stored(f.body, true), GZIP) end
function rows.D11(f)
  return answer(f, 200, f.body, "Content-Encoding: secret\r\n")
end
function rows.D13(f)
  return answer(f, 200, '{"data":[' .. ("1,"):rep(32700) .. "1]}")
end
function rows.D14(f)
  local keys = {}
  for i = 1, 6659 do keys[i] = ('"%d":1,'):format(i) end
  return answer(f, 200, '{"data":{' .. table.concat(keys)
                .. json.quote(f.key) .. ":7}}")
end
-- Seed 1: exactly 64 KiB, 2: one more; 100 and more: that many bytes.
faults.variants.D15 = 2
function rows.D15(f)
  return answer(f, 200, padded(f, f.n >= 100 and f.n
                                  or CAP_BYTES + (f.n - 1) % 2))
end
function rows.D16(f)
  local body = "<html><body>" .. ("<p>bad gateway</p>\n"):rep(55000)
  return send(http.answer(502, f.date, nil, body, "text/html"), nil, 502)
end

-- E: slow -------------------------------------------------------------------

local function slow(f)
  return { { drip = sized(f, f.body), size = 1, every_ms = 100 },
           status = 200 }
end

local function after_ms(f, default)
  return { { sleep_ms = f.n >= 10 and f.n or default },
           { send = sized(f, f.body) }, status = 200 }
end

rows.E01 = slow
function rows.E02(f)
  local body = padded(f, 4000)
  return { { send = head(f, "Content-Length: 4000\r\n") .. "\r\n" },
           { drip = body, size = 5, every_ms = 100 }, status = 200 }
end
-- The test profile allows an attempt 500 ms; a seed >= 10 is the delay itself.
function rows.E03(f) return after_ms(f, 450) end
function rows.E04(f) return after_ms(f, 550) end
rows.E05 = slow
function rows.E06(f) if f.n % 2 == 0 then return slow(f) end end
function rows.E07(f)
  return { { sleep_ms = f.n * 7919 % 401 }, { send = sized(f, f.body) },
           status = 200 }
end

-- F: keep-alive -------------------------------------------------------------

-- The second call of this id on one and the same connection.
local function second_here(f)
  local n = (f.conn.seen[f.id] or 0) + 1
  f.conn.seen[f.id] = n
  return n >= 2
end

function rows.F01() return nil end
function rows.F02(f)
  return send(sized(f, f.body, "Connection: close\r\n"), "notify")
end
function rows.F03(f)
  return { { send = sized(f, f.body) }, { sleep_ms = 5 }, after = "notify",
           status = 200 }
end
function rows.F04(f)
  return { { send = sized(f, f.body) }, { sleep_ms = 5 }, after = "rst",
           status = 200 }
end
function rows.F05(f) if second_here(f) then return { after = "fin" } end end
function rows.F06(f) if second_here(f) then return { after = "rst" } end end
function rows.F08(f)
  if f.conn.requests % 5 == 0 then
    return send(sized(f, f.body), "notify")
  end
end
-- Idle connections end after <seed> ms.
function rows.F09(f) f.conn.idle_ms = f.n > 0 and f.n or 1000 end
function rows.F10() return nil end

-- H: redirects --------------------------------------------------------------

local function location(f, status, url)
  return answer(f, status, "", "Location: " .. url .. "\r\n")
end

-- "localhost" is another host than "127.0.0.1", and yet this one: who follows
-- is seen in the log with the path /redirected.
function rows.H01(f)
  return location(f, 302, ("http://localhost:%s/redirected"):format(f.port))
end
local REDIRECTS = { 302, 307, 308, 301 }
faults.variants.H02 = #REDIRECTS
function rows.H02(f)
  local status = pick(REDIRECTS, f.n)
  return location(f, status, status == 301
    and ("https://127.0.0.1:%s/redirected"):format(f.port) or "/redirected")
end
function rows.H03(f) return location(f, 302, f.path) end
function rows.H10(f)
  return answer(f, 200, f.body, ('Alt-Svc: h2="localhost:%s"; ma=60\r\n'
    .. "Strict-Transport-Security: max-age=60\r\n"):format(f.port))
end

-- I: statuses ---------------------------------------------------------------

local function always(name, fields)
  return function(f) return refuse(f, name, fields) end
end

local function once(row)
  return function(f) if f.calls == 1 then return row(f) end end
end

local REJECTED = { 400, 405, 413, 415, 418, 451 }
faults.variants.I01 = #REJECTED
function rows.I01(f)
  local status = pick(REJECTED, f.n)
  return answer(f, status, ('{"error":"rejected","timestamp":%d000,'
    .. '"duration":0,"error_description":"status %d"}')
    :format(f.now_s, status))
end
rows.I02 = once(always("expired"))
rows.I03 = always("expired")
rows.I05 = always("expired")
local UNAUTHORIZED = { "expired", "corrupt", "other_cluster", "oauth",
                       "shiro", "html", "empty" }
faults.variants.I06 = #UNAUTHORIZED
function rows.I06(f)
  local kind = pick(UNAUTHORIZED, f.n)
  if kind == "html" then return html(f, 401) end
  if kind == "empty" then return answer(f, 401, "") end
  return refuse(f, kind)
end
rows.I07 = always("oauth")
rows.I08 = always("banned")
rows.I09 = always("unknown_user")
rows.I10 = always("unknown_app")
function rows.I11(f) return html(f, 404) end
rows.I12 = once(always("reach_limit"))
rows.I13 = once(always("reach_limit", "Retry-After: 1\r\n"))
rows.I14 = always("reach_limit", "Retry-After: 60\r\n")
rows.I15 = once(function(f)
  return refuse(f, "reach_limit",
                "Retry-After: " .. http.date(f.now_s + 1) .. "\r\n")
end)
rows.I17 = always("resource_limited")
faults.variants.I18 = 2
rows.I18 = once(function(f)
  if f.n % 2 == 1 then return html(f, 429) end
  return answer(f, 429, "")
end)
rows.I19 = always("reach_limit")
function rows.I20(f)
  if not f.is_status then return refuse(f, "reach_limit") end
end
local TROUBLE = { "internal", "bad_gateway", "unavailable",
                  "gateway_timeout" }
faults.variants.I21 = #TROUBLE
rows.I21 = once(function(f) return refuse(f, pick(TROUBLE, f.n)) end)
faults.variants.I22 = 2
function rows.I22(f) return html(f, f.n % 2 == 1 and 502 or 503) end
rows.I23 = once(always("unavailable", "Retry-After: 1\r\n"))
rows.I24 = always("unavailable")
function rows.I25(f)
  if f.calls % 2 == 1 then return refuse(f, "unavailable") end
end
function rows.I26(f) return answer(f, 408, "") end
function rows.I27(f)
  return answer(f, 200, '{"error":"odd","error_description":"as if"}')
end
local TEXTS = {
  "one\\r\\ntwo\\r\\nX-Evil: 1", "\\u001b[31mred\\u001b[0m", "nul\\u0000nul",
  ("long "):rep(12 * 1024), "bad \255\254 \192\175 bytes", "raw \27[2J \1 \r",
}
faults.variants.I28 = #TEXTS
function rows.I28(f)
  return answer(f, 403, '{"error":"forbidden_op","error_description":"'
                .. pick(TEXTS, f.n) .. '"}')
end

-- J: bodies with status 200. $K is the asked key. -----

local function count(value) return '{"data":{"$K":' .. value .. "}}" end

local function counts(...)
  local list = {}
  for i, value in ipairs { ... } do list[i] = count(value) end
  return list
end

local function nested(depth)
  local n = depth - 1                        -- the object itself is one
  return '{"data":{"$K":7},"deep":' .. ("["):rep(n) .. ("]"):rep(n) .. "}"
end

local function utf16(text, bom, high_first)
  return bom .. text:gsub(".", high_first and "\0%0" or "%0\0")
end

-- The next number, without a number: ids are longer than what doubles hold.
local function successor(id)
  local front, digit = id:match("^(.*)(%d)$")
  if not digit then return id .. "0" end
  if digit == "9" then
    return successor(front ~= "" and front or "0") .. "0"
  end
  return front .. (tonumber(digit) + 1)
end

local bodies = {
  J01 = { count "0", '  { "data" : { "$K" : 0 } }  ', count "0" .. "\n",
          '{"count":0,"duration":1,"data":{"$K":0},"action":"get"}' },
  J02 = counts('"0"', '"12"'),
  J03 = counts('" 12"', '"012"', '"+1"', '"1.0"', '"1e3"', '"-1"', '""',
               '"0x1"', '"12abc"'),
  J04 = counts("-1", "-0"),
  J05 = counts("1.5", "1e3"),
  J06 = counts("2147483648", "9007199254740991"),
  J07 = counts("9007199254740992", "9007199254740993",
               "9223372036854775807", "1e999", ("9"):rep(70)),
  J08 = counts("true", "false", "null", "[]", "{}", "[1]"),
  J09 = counts("NaN", "Infinity", "0x10", ".5", "+1", "1e", "-"),
  J10 = counts("01", "1."),
  J11 = { '{"action":"get"}', '{"data":null}', '{"data":[]}',
          '{"data":[{"$K":3}]}', '{"data":"x"}', '{"data":5}',
          '{"data":true}', '{"data":{}}' },
  J12 = { '{"DATA":{"$K":1}}', '{"Data":{"$K":1}}' },
  J13 = { '{"data":{"$K":1},"data":{"$K":1}}',
          '{"data":{"$K":1},"data":{"$K":2}}' },
  J14 = { '{"data":{"$K":1,"$K":1}}', '{"data":{"$K":1,"$K":2}}' },
  J15 = { '{"data":{"somebody":1}}', '{"data":{"$Kx":1}}',
          '{"data":{"$K\\u0000x":1}}' },
  J16 = { '{"data":{"a":1,"$K":7,"b":2}}' },
  J17 = { function(key) return '{"data":{"' .. key:lower() .. '":7}}' end,
          function(key) return '{"data":{"' .. key:upper() .. '":7}}' end },
  J20 = { '{"data":{"$K\255":1}}', '{"data":{"$K\\ud800":1}}',
          '{"data":{"\192\175$K":1}}', '{"data":{"\\udc00":1,"\255":1}}' },
  J21 = counts('"delivered"', '"undelivered"', '"deliverd"',
               '"msg_not_found"'),
  J22 = counts('"Delivered"', '"read"', '""', '"delivered "', "null", "true",
               "1", "[]"),
  J23 = { function(key)
            return '{"data":{"' .. successor(key) .. '":"delivered"}}'
          end, '{"data":{"$K0":"delivered"}}', '{"data":{"0$K":"delivered"}}',
          '{"data":{"$K\\u0000x":"delivered"}}' },
  -- The id as it is; the id after a trip through a double.
  J24 = { count '"delivered"', function(key)
            local number = tonumber(key)
            return '{"data":{"' .. (number and ("%.0f"):format(number)
                                    or key .. "0") .. '":"delivered"}}'
          end },
  J25 = { count "0" .. " x", count "0" .. "}", count "0" .. count "1" },
  J26 = { count "0" .. "\0" .. count "1" },
  J28 = { "", "   ", "\r\n" },
  J29 = { "null", '"str"', "1", "true", "[]", '[{"data":{}}]' },
  J30 = { '{"data":{"$K":12', '{"data":{"$K":12}', '{"data":{"$K', "{" },
  J31 = { "{'data':{}}", '{"data":{"$K":1} /* why */}',
          '{"data":{"$K":1} // why\n}', '{"data":{"$K":1,}}',
          '{"data":{"$K":1},"x":"a\nb"}', '{"data":{"$K":1},"x":"\\q"}' },
  J32 = { nested(8), nested(9), nested(999), nested(1001), nested(60001) },
  J33 = { '{"data":{"' .. ("k"):rep(60 * 1024) .. '":1}}',
          count('"' .. ("v"):rep(60 * 1024) .. '"'),
          function()
            local keys = {}
            for i = 1, 20000 do keys[i] = ('"%d":1'):format(i) end
            return '{"data":{' .. table.concat(keys, ",") .. "}}"
          end },
  J35 = { function(key)
            return utf16('{"data":{"' .. key .. '":1}}', "\255\254")
          end, function(key)
            return utf16('{"data":{"' .. key .. '":1}}', "\254\255", true)
          end, function(key)
            return utf16('{"data":{"' .. key .. '":1}}', "")
          end },
  J37 = { '{"data":{"$K":7}}', '{"data":{"$K":7},"timestamp":-1}',
          '{"data":{"$K":7},"timestamp":"1542601518137"}',
          '{"data":{"$K":7},"timestamp":1100000000000}' },
  J38 = { count "7" },
}

for id, list in pairs(bodies) do
  faults.variants[id] = #list
  rows[id] = function(f)
    local body = pick(list, f.n)
    local key = json.quote(f.key):sub(2, -2)
    if type(body) == "function" then
      body = body(f.key)
    else
      body = body:gsub("%$K", function() return key end)
    end
    return answer(f, 200, body)
  end
end

function rows.J34(f)
  return send(http.answer(200, f.date, nil, "<!DOCTYPE html>\n<html><head>"
    .. "<title>Log in</title></head><body><form>Please log in</form></body>"
    .. "</html>\n", "text/html"))
end

for id in pairs(rows) do
  faults.variants[id] = faults.variants[id] or 1
end

-- Choosing ------------------------------------------------------------------

-- Chaos: with probability p an ordinary call meets a row drawn at random.
local CHAOS_ROWS = { "B01", "B02", "B03", "B04", "B05", "B07", "B08", "B10",
                     "B13", "B15", "B16", "B17", "C01", "C21", "C22", "E03",
                     "E07", "F02", "F03", "F04", "I12", "I21", "I22" }

local function drawn(service, call)
  local chaos = service.settings.chaos
  if service:random() >= (chaos.p or 0.1) then return nil end
  local list = chaos.rows or CHAOS_ROWS
  local id = list[math.floor(service:random() * #list) + 1]
  return id, math.floor(service:random() * 400) + 1, nil, call.user
end

local GETS = { offline_msg_count = true, offline_msg_status = true,
               status = true, resources = true }

--- A plan for this request, the plain answer and its status, or nil when no
--- fault was asked for.
function faults.plan(service, conn, request)
  local call = service.route(request.path)
  if not call or not call.user or not GETS[call.operation] then return nil end
  local id, n, rest = call.user:match("^f%.(%u%d%d)%.([^.]*)%.?(.*)$")
  local full = call.user
  if not id then
    if not service.settings.chaos then return nil end
    id, n, rest = drawn(service, call)
    if not id then return nil end
    full = "chaos " .. request.path
  end
  local row = rows[id]
  if not row then return nil end
  local status, body, fields = service:answer(request, request.record)
  if status ~= 200 then
    return service:render(status, body, fields), status
  end
  local calls = (service.fault_calls[full] or 0) + 1
  service.fault_calls[full] = calls
  local times = rest == "once" and 1 or rest
    and tonumber(rest:match("^n(%d+)$"))
  if full:sub(1, 5) == "chaos" then calls = 1 end
  if times and calls > times then
    return service:render(status, body, fields), status
  end
  local plan = row {
    id = full, n = tonumber(n) or 1, calls = calls, conn = conn,
    key = call.msg_id or call.user, is_status = call.msg_id ~= nil,
    body = body, service = service, path = request.path,
    now_s = service.clock.wall_s(), date = http.date(service.clock.wall_s()),
    port = (http.field(request.head, "Host") or ""):match(":(%d+)$") or "80",
  }
  if not plan then return service:render(status, body, fields), status end
  plan.fault = id
  return plan
end

return faults
