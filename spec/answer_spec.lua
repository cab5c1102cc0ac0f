-- What is believed of an answer, and what an error means. Names such as J03 and
-- I09 are those of the faults that spec/emulator/faults.lua plays.
local fake = require "spec.support.fake"

local function count(body, username)
  return fake.ask("offline_msg_count", { username or "user1" }, 200, body)
end

local function status(body, msg_id)
  return fake.ask("offline_msg_status", { "user1", msg_id or "123" }, 200, body)
end

local function refuses(ask, code, body, asked)
  local result, err = ask(body, asked)
  assert.is_nil(result, body)
  assert.equal("bad_response", err.kind, body)
  assert.equal(code, err.code, body)
  assert.equal(200, err.http_status)
  return err
end

local function counts(expected, body, asked)
  local result, err = count(body, asked)
  assert(result, tostring(body) .. ": " .. tostring(err and err.message))
  -- As text: an integer where Lua has them, 12 and not 12.0.
  assert.equal(expected, ("%.0f"):format(result.count), body)
  if _VERSION ~= "Lua 5.1" and _VERSION ~= "Lua 5.2" then assert.equal(expected, tostring(result.count)) end
end

-- A count, as JSON has it.
local function data(value)
  return ('{"data":{"user1":%s}}'):format(value)
end

describe("a count", function()
  it("is what stands under the asked user, whatever surrounds it (J01)", function()
    counts("0", '{"data":{"user1":0}}')
    counts("0", ' {\t"count" : 9 ,\r\n "data" : { "user1" : 0 } } \n')
    counts("7", '{"uri":"x","data":{"user1":7},"action":"get"}')
  end)

  it("may be a text of digits (J02), but no other text (J03)", function()
    counts("0", data '"0"')
    counts("12", data '"12"')
    counts("9007199254740991", data '"9007199254740991"')
    for _, text in ipairs { "", " 12", "12 ", "012", "00", "+1", "1.0", "1e3", "-1", "0x1", "12abc", "9007199254740992",
                            ("1"):rep(70) } do
      local err = refuses(count, "range", data('"' .. text .. '"'))
      assert.equal(text, err.value)
    end
  end)

  it("is a whole number from 0 to 2^53 - 1, exactly (J04 to J07)", function()
    counts("0", data "-0")
    counts("0", data "-0.0")
    counts("1000", data "1e3")
    counts("2147483648", data "2147483648")
    counts("9007199254740991", data "9007199254740991")
    for _, number in ipairs { "-1", "1.5", "1e-3", "9007199254740992", "9007199254740993", "9223372036854775807",
                              "1e999", "-1e999", ("7"):rep(70), ("7"):rep(60000) } do
      refuses(count, "range", data(number))
    end
    assert.equal("1.5", refuses(count, "range", data "1.5").value)
    assert.equal("-1", refuses(count, "range", data "-1").value)
  end)

  it("may be written with more digits than cJSON can read", function()
    counts("10", data("1" .. ("0"):rep(70) .. "e-69"))
    counts("1", data("1." .. ("0"):rep(70)))
    counts("3", '{"data":{"user1":3},"ratio":0.' .. ("3"):rep(100) .. "}")
  end)

  it("is no boolean, no null and no table (J08)", function()
    for _, value in ipairs { "true", "false", "null", "[]", "{}", "[1]" } do
      refuses(count, "shape", data(value))
    end
  end)

  it("is written as JSON has numbers (J09, J10)", function()
    for _, value in ipairs { "NaN", "Infinity", "0x10", ".5", "+1", "1e", "-", "01", "-01", "1.", "1.e3",
                             "nul", "True" } do
      refuses(count, "malformed", data(value))
    end
  end)

  it("is found only in an object named data (J11, J12)", function()
    for _, body in ipairs { "{}", '{"data":null}', '{"data":[]}', '{"data":[{"user1":3}]}', '{"data":"x"}',
                            '{"data":5}', '{"data":true}', '{"DATA":{"user1":1}}', '{"Data":{"user1":1}}' } do
      refuses(count, "shape", body)
    end
  end)

  it("is not chosen among two (J13, J14)", function()
    refuses(count, "malformed", '{"data":{"user1":1},"data":{"user1":1}}')
    refuses(count, "malformed", '{"data":{"user1":1},"d\\u0061ta":{"user1":2}}')
    refuses(count, "malformed", '{"data":{"user1":1,"user1":1}}')
    refuses(count, "malformed", '{"data":{"alice":1,"ALICE":1}}', "Alice")
  end)

  it("is never another user's (J15), nor 0 for want of an answer", function()
    local err = refuses(count, "id_mismatch", '{"data":{"bob":1}}')
    assert.truthy(err.message:find('"user1"', 1, true) and err.message:find('"bob"', 1, true), err.message)
    refuses(count, "id_mismatch", '{"data":{}}')
    refuses(count, "id_mismatch", '{"data":{"user12":1,"user":1}}')
    refuses(count, "id_mismatch", fake.fixture "count_multi_key_java_v1_test.json", "alice")
  end)

  it("is found beside other keys (J16), and without case when it is alone in that (J17)", function()
    counts("7", '{"data":{"bob":1,"user1":7,"User1":2}}')
    counts("5", '{"data":{"alice":5}}', "Alice")
    counts("6", '{"data":{"alice":5,"Alice":6}}', "Alice")
    counts("4", '{"data":{"\\u4f60\228\189\160":4}}', "\228\189\160\228\189\160")
    refuses(count, "id_mismatch", '{"data":{"\195\164":1}}', "\195\132") -- only ASCII has case here
  end)

  it("is not found under a key that is no text (J20)", function()
    for _, key in ipairs { "user1\255", "\192\175", "\237\160\128", "\244\144\128\128", "\\ud800", "\\udc00",
                           "\\ud83d\\u0041", "\\ud83dx", "user1\\u0000x" } do
      refuses(count, "malformed", ('{"data":{"%s":1}}'):format(key))
    end
    refuses(count, "id_mismatch", '{"data":{"\\ud83d\\ude00":1}}')
  end)

  it("does not depend on the other fields (J37)", function()
    counts("3", '{"data":{"user1":3},"timestamp":-5}')
    counts("3", '{"data":{"user1":3},"timestamp":"tomorrow","duration":null,"count":99}')
  end)

  it("does not depend on the locale (J38)", function()
    local before = os.setlocale(nil, "numeric")
    local comma = os.setlocale("de_DE.UTF-8", "numeric") or os.setlocale("fr_FR.UTF-8", "numeric")
      or os.setlocale("de_DE", "numeric")
    finally(function() os.setlocale(before, "numeric") end)
    counts("1500", data "1.5e3")
    assert.equal("1.5", refuses(count, "range", data "1.5").value)
    if not comma then pending "this system has no locale with a decimal comma" end
  end)

  it("comes with the asked name and the whole answer", function()
    local result = count(fake.fixture "count_ok_zero.json")
    assert.equal("user1", result.username)
    assert.equal("get", result.envelope.action)
    assert.same({}, result.envelope.entities)
    assert.same({ user1 = 0 }, result.envelope.data)
    assert.equal(1542601518137, result.envelope.timestamp)
  end)
end)

describe("a status", function()
  it("is one of the known words (J21)", function()
    for word, delivered in pairs { delivered = true, undelivered = false, deliverd = true } do
      local result = assert(status(('{"data":{"123":"%s"}}'):format(word)))
      assert.equal(delivered, result.delivered)
      assert.equal(word, result.status)
      assert.equal("123", result.msg_id)
      assert.equal("user1", result.username)
    end
  end)

  it("of a message nobody knows is the error not_found (J21, J11)", function()
    for _, body in ipairs { '{"data":{"123":"msg_not_found"}}', '{"data":{}}', '{"data":[]}' } do
      local result, err = status(body)
      assert.is_nil(result)
      assert.equal("not_found", err.kind)
      assert.equal("message", err.code)
      assert.is_false(err.retryable)
    end
  end)

  it("that is not understood is an error, never 'not delivered' (J22)", function()
    for _, word in ipairs { "", "Delivered", "read", "delivered ", " delivered", "undeliverd", "UNDELIVERED" } do
      local err = refuses(status, "unknown_status", ('{"data":{"123":"%s"}}'):format(word))
      assert.equal(word, err.value)
    end
    for _, value in ipairs { "null", "true", "false", "1", "0", "[]", "{}" } do
      refuses(status, "shape", ('{"data":{"123":%s}}'):format(value))
    end
  end)

  it("is found only in an object named data (J11)", function()
    for _, body in ipairs { "{}", '{"data":null}', '{"data":[{"123":"delivered"}]}', '{"data":"delivered"}',
                            '{"data":5}', '{"data":true}', '{"DATA":{"123":"delivered"}}' } do
      refuses(status, "shape", body)
    end
  end)

  it("belongs to exactly the asked message (J23, J24)", function()
    for _, id in ipairs { "124", "1230", "0123", "12", " 123" } do
      refuses(status, "id_mismatch", ('{"data":{"%s":"delivered"}}'):format(id))
    end
    local long = "12345678901234567890"
    refuses(status, "id_mismatch", '{"data":{"12345678901234567891":"delivered"}}', long)
    refuses(status, "id_mismatch", '{"data":{"abc":"delivered"}}', "ABC")
    assert.equal(long, assert(status(('{"data":{"%s":"delivered"}}'):format(long), long)).msg_id)
    refuses(status, "malformed", '{"data":{"123":"delivered","123":"delivered"}}')
  end)
end)

describe("an answer", function()
  it("is one JSON text and nothing after it (J25, J26)", function()
    for _, more in ipairs { " x", "}", "]", ",", '{"data":{"user1":0}}', "\0", "\0 more", "//" } do
      refuses(count, "malformed", data "0" .. more)
    end
  end)

  it("that ends early is truncated, wherever it ends (J28, J30, B15)", function()
    refuses(count, "truncated", "")
    refuses(count, "truncated", " \r\n\t ")
    local body = '{"uri":"http:\\/\\/\\u00e9\\ud83d\\ude00 \195\164\228\189\160\240\159\152\128",'
      .. '"list":[-1.5e+3,true,false,null,{}],"data":{"user1":12}}'
    for cut = 0, #body - 1 do refuses(count, "truncated", body:sub(1, cut)) end
    counts("12", body)
    local _, err = count '{"data":'
    assert.is_true(err.retryable)
    _, err = count '{"data":{}}'
    assert.is_false(err.retryable)
  end)

  it("is an object (J29)", function()
    for _, body in ipairs { "null", '"str"', "1", "true", "[]", '[{"data":{}}]', "[" .. ("1,"):rep(30000) .. "1]" } do
      refuses(count, "shape", body)
    end
  end)

  it("is strict JSON (J31)", function()
    for _, body in ipairs { "{'data':{}}", "{/**/}", "// x\n{}", '{"data":{"user1":1,}}', '{"data":{"user1":1},}',
                            '{"a":[1,],"data":{"user1":1}}', "{,}", '{"a":"\n"}', '{"a":"\t"}', '{"a":"\\x"}',
                            '{"a":"\\u12g4"}', '{"a" 1}', '{"a":1 "b":2}', "[1 2]", "[}", "{]", "]", '{"a":}',
                            "{a:1}", "{1:1}", "undefined" } do
      refuses(count, "malformed", body)
    end
  end)

  it("has at most 8 levels (J32)", function()
    local function nested(levels)
      return '{"data":{"user1":3},"x":' .. ("["):rep(levels - 1) .. ("]"):rep(levels - 1) .. "}"
    end
    counts("3", nested(8))
    for _, levels in ipairs { 9, 999, 1001, 30000 } do refuses(count, "malformed", nested(levels)) end
    refuses(count, "malformed", ("["):rep(60000))
    refuses(count, "malformed", ('{"a":'):rep(9))
  end)

  it("may be large (J33, D14, D15)", function()
    counts("2", '{"data":{"' .. ("k"):rep(60000) .. '":1,"user1":2}}')
    counts("2", '{"v":"' .. ("v"):rep(60000) .. '","data":{"user1":2}}')
    local keys = {}
    for i = 1, 5000 do keys[i] = ('"k%d":%d'):format(i, i) end
    counts("2", '{"data":{' .. table.concat(keys, ",") .. ',"user1":2}}')
    local body = data "2"
    counts("2", body .. (" "):rep(65536 - #body))
    local _, err = count(body .. (" "):rep(65537 - #body))
    assert.equal("bad_response", err.kind)
    assert.equal("too_large", err.code)
  end)

  it("that is a page is quoted, cleaned and cut (J34)", function()
    local page = "<html>\r\n<body>Please \27[31mlog in</body>" .. ("x"):rep(500)
    local err = refuses(count, "malformed", page)
    assert.truthy(err.message:find("<html> <body>Please [31mlog in", 1, true), err.message)
    assert.is_nil(err.message:find("%c"))
    assert.is_true(#err.message < 300)
  end)

  it("is UTF-8 without a mark in front (J35)", function()
    refuses(count, "malformed", "\255\254{\0}\0")
    refuses(count, "malformed", "{\0\"\0")
    refuses(count, "malformed", "\239\187\191" .. data "0")
  end)

  it("with status 200 that says error is a shape error, its text kept (I27)", function()
    local err = refuses(count, "shape",
      '{"error":"illegal_argument","error_description":"this is\\r\\nnot right","timestamp":1}')
    assert.equal("this is not right", err.description)
    err = refuses(status, "shape", '{"error":"unauthorized"}')
    assert.equal("unauthorized", err.description)
  end)
end)

describe("a documented answer", function()
  local counted = {
    { "count_ok_zero.json", "user1", "0" },
    { "count_ok_zero_https_newest.json", "user1", "0" },
    { "count_ok_one_staff_suite.json", "imautotest-2728929098", "1" },
    { "count_ok_string_value.json", "user1", "0" },
    { "count_ok_2014_docs.json", "v3y0kf9arx", "0" },
    { "count_ok_internal_uri_2018_docs.json", "user1", "0" },
  }
  for _, row in ipairs(counted) do
    it("is understood: " .. row[1], function() counts(row[3], fake.fixture(row[1]), row[2]) end)
  end

  local statuses = {
    { "status_delivered.json", "123", true },
    { "status_delivered_newest_no_count.json", "123", true },
    { "status_delivered_2015_docs.json", "12", true },
    { "status_delivered_easecdn_2021_docs.json", "123", true },
    { "status_java_v1_test.json", "123456789", true },
    { "status_old_format_msg_id.json", "77225969013752296_pd7J8-20-c3104", true },
    { "status_deliverd_misspelling.json", "12", true },
    { "status_undelivered.json", "1029457500870543736", false },
  }
  for _, row in ipairs(statuses) do
    it("is understood: " .. row[1], function()
      assert.equal(row[3], assert(status(fake.fixture(row[1]), row[2])).delivered)
    end)
  end

  it("is understood: status_msg_not_found.json", function()
    local _, err = status(fake.fixture "status_msg_not_found.json", "12903244353")
    assert.equal("not_found", err.kind)
    assert.equal("message", err.code)
  end)

  it("of another operation is handed over as it is", function()
    local function request(file)
      return assert(fake.ask("request", { { method = "GET", path = { "x" } } }, 200, fake.fixture(file)))
    end
    local result = request "user_status_batch.json"
    assert.equal(200, result.http_status)
    assert.same({ { user1 = "offline" }, { user2 = "offline" } }, result.envelope.data)
    assert.same({}, request("user_resources_empty.json").envelope.data)
    assert.equal("1029457500870543736", request("send_message_msgid.json").envelope.data.user2)
    assert.equal("0", request("presence_ok.json").envelope.result[1].status.android)
  end)
end)

describe("an error", function()
  local function fails(http_status, body, headers)
    local result, err = fake.ask("offline_msg_count", { "user1" }, http_status, body, headers)
    assert.is_nil(result)
    assert.equal(http_status ~= 0 and http_status or nil, err.http_status)
    return err
  end

  local function means(kind, code, http_status, body)
    local err = fails(http_status, body)
    assert.equal(kind, err.kind, body)
    assert.equal(code, err.code, body)
    return err
  end

  -- file, kind, code, retryable
  local documented = {
    { "err_400_illegal_argument_username.json", "rejected", "illegal_argument", false },
    { "err_400_invalid_grant.json", "rejected", "invalid_grant", false },
    { "err_400_management_user_unknown.json", "rejected", "management", false },
    { "err_401_unauthorized_oauth.json", "unauthorized", "unauthorized", false },
    { "err_401_unauthorized_short_exception.json", "unauthorized", "unauthorized", false },
    { "err_401_bad_access_token_corrupt.json", "unauthorized", "auth_bad_access_token", false },
    { "err_401_expired.json", "unauthorized", "unauthorized", false },
    { "err_401_other_cluster.json", "unauthorized", "auth_bad_access_token", false },
    { "err_401_shiro_permission.json", "unauthorized", "unauthorized", false },
    { "err_401_shiro_offline_count_docs.json", "unauthorized", "unauthorized", false },
    { "err_401_shiro_offline_status_docs.json", "unauthorized", "unauthorized", false },
    { "err_401_no_admin.json", "unauthorized", "unauthorized", false },
    { "err_401_group_authorization.json", "unauthorized", "group_authorization", false },
    { "err_401_registration_not_open.json", "unauthorized", "unauthorized", false },
    { "err_403_forbidden_op.json", "forbidden", "forbidden_op", false },
    { "err_403_forbidden_service_operation.json", "forbidden", "forbidden_service_operation", false },
    { "err_404_service_resource_not_found.json", "not_found", "user", false },
    { "err_404_user_unknown_offline_count_docs.json", "not_found", "user", false },
    { "err_404_user_unknown_offline_status_docs.json", "not_found", "user", false },
    { "err_404_entity_not_found.json", "not_found", "user", false },
    { "err_404_organization_application_not_found.json", "not_found", "app", false },
    { "err_415_unsupported_media_type.json", "rejected", "web_application", false },
    { "err_429_reach_limit.json", "rate_limited", "reach_limit", true },
    { "err_429_resource_limited.json", "quota", "resource_limited", false },
    { "err_429_resource_limited_community.json", "quota", "resource_limited", false },
    { "err_500_unsupported_service_operation.json", "server", "unsupported_service_operation", false },
    { "err_500_web_application.json", "server", "web_application", false },
  }
  for _, row in ipairs(documented) do
    it("has its meaning: " .. row[1], function()
      local body = fake.fixture(row[1])
      local err = fails(tonumber(row[1]:match("%d+")), body)
      assert.equal(row[2], err.kind)
      assert.equal(row[3], err.code)
      assert.equal(row[4], err.retryable)
      assert.equal(body:match('"error_description": "([^"]*)"'):sub(1, 256), err.description)
    end)
  end

  it("of a caller is rejected, its status kept (I01)", function()
    for _, http_status in ipairs { 400, 402, 405, 409, 410, 413, 415, 418, 422, 451, 499 } do
      local err = means("rejected", nil, http_status, "")
      assert.is_false(err.retryable)
    end
    means("rejected", "service open exception", 400, '{"error":"service open exception"}')
  end)

  it("401 keeps word and description, whatever the body is (I06)", function()
    local err = means("unauthorized", nil, 401, "<html><head><title>No</title></head><body>Go&nbsp;away</body></html>")
    assert.equal("Go away", err.description)
    means("unauthorized", nil, 401, "")
  end)

  it("403 is forbidden (I08)", function()
    means("forbidden", nil, 403, "")
    means("forbidden", "FORBIDDEN", 403, '{"error":"FORBIDDEN"}')
  end)

  it("404 says what was not found (I09 to I11)", function()
    means("not_found", "user", 404, '{"error":"service_resource_not_found"}')
    means("not_found", "app", 404, '{"error":"organization_application_not_found"}')
    means("not_found", "other", 404, '{"error":"storage_object_not_found"}')
    means("not_found", "other", 404, "<h1>Not Found</h1>")
    means("not_found", "other", 404, "")
  end)

  it("429 is a pause, or the end of the plan (I17, I18)", function()
    means("quota", "resource_limited", 429, '{"error":"resource_limited"}')
    for _, body in ipairs { "", "<html>slow down</html>", '{"error":"something_new"}', "[]", "{", "null" } do
      local err = means("rate_limited", "reach_limit", 429, body)
      assert.is_true(err.retryable)
    end
    assert.equal(7000, fails(429, "", { ["Retry-After"] = "7" }).retry_after_ms)
  end)

  it("429 is understood in a body that was cut, or is not strict (I28)", function()
    local err = means("quota", "resource_limited", 429, '{"error":"resource_limited","error_description":"You have exc')
    assert.equal("You have exc", err.description)
    means("quota", "resource_limited", 429, '{"error" : "resource_limited","error_description":"raw\nline"}')
    means("quota", "resource_limited", 429, '{"exception":"error","error":"resource_limited","error_desc')
    means("rate_limited", "reach_limit", 429, '{"error":"resource_limi')
    means("rate_limited", "reach_limit", 429, '{"x":"\\"error\\":\\"resource_limited\\"')
  end)

  it("5xx and 408 may pass, but 501 and a caller's mistakes do not (I21, I22, I26)", function()
    for _, http_status in ipairs { 500, 502, 503, 504, 599, 408 } do
      assert.is_true(means("server", nil, http_status, "").retryable)
    end
    assert.is_true(means("server", "internal", 500, '{"error":"internal"}').retryable)
    assert.is_false(means("server", nil, 501, "").retryable)
    for _, word in ipairs { "unsupported_service_operation", "web_application", "no_full_text_index" } do
      assert.is_false(means("server", word, 500, ('{"error":"%s"}'):format(word)).retryable)
    end
  end)

  it("of a gateway is its page without the markup (I22)", function()
    local err = means("server", nil, 502, fake.fixture "err_502_gateway.html")
    assert.equal("502 Bad Gateway nginx", err.description)
    err = means("server", nil, 503, "<style>b{}</style><script>if (a<b) x()</script><!-- a > b --><p>caf&eacute; &amp; "
      .. "&lt;tea&gt; &#228;&#x4f60;</p>")
    assert.equal("caf & <tea> \195\164\228\189\160", err.description)
    assert.equal("only a title", means("server", nil, 502, "<title>only a title</title>").description)
    means("server", nil, 504, fake.fixture "err_504_empty.txt")
    assert.equal("no Route matched", means("server", nil, 503, '{"message":"no Route matched"}').description)
  end)

  it("never follows a redirect, and takes only 200 for success (H02, C12, C20)", function()
    for _, http_status in ipairs { 301, 302, 303, 307, 308 } do means("bad_response", "redirect", http_status, "") end
    for _, http_status in ipairs { 201, 202, 203, 204, 206, 103, 600, 999 } do
      means("bad_response", "status", http_status, '{"data":{"user1":1}}')
    end
  end)

  it("has one clean line of at most 256 bytes as description (I28)", function()
    local function description(text)
      return fails(500, '{"error":"x","error_description":"' .. text .. '"}').description
    end
    assert.equal("a [31mb c d e f", description("a\27[31mb\r\nc\0d\255e\\u001b\\nf"))
    assert.equal(("y"):rep(256), description(("y"):rep(60000)))
    assert.equal(("\228\189\160"):rep(85), description(("\228\189\160"):rep(1000)))
    local err = fails(500, '{"error":"' .. ("w"):rep(1000) .. '"}')
    assert.is_nil(err.code)
    assert.is_true(#err.description <= 256)
    assert.is_nil(fails(500, '{"error":"reset; drop"}').code)
    assert.is_true(#fails(500, ("["):rep(60000)).description <= 256)
  end)

  it("does not repeat a token that a page gives back", function()
    local err = fails(400, "You sent Authorization: Bearer 0123456789abcdefghij and 007eJxTYNDNaz3snC8huEfHWdz6 here")
    assert.equal("You sent Authorization: Bearer *** and *** here", err.description)
  end)

  it("reads a sentence", function()
    assert.equal("offline_msg_count: not_found/user (HTTP 404): Service resource not found",
      fails(404, fake.fixture "err_404_service_resource_not_found.json").message)
    assert.equal("offline_msg_count: server (HTTP 504): the answer says nothing more", fails(504, "").message)
  end)

  it("may tell when to come back, as a date (I15)", function()
    for _, date in ipairs { "Tue, 14 Nov 2023 22:13:50 GMT", "Tuesday, 14-Nov-23 22:13:50 GMT",
                            "Tue Nov 14 22:13:50 2023" } do -- 1700000030
      assert.equal(30000, fails(429, "", { ["Retry-After"] = date }).retry_after_ms, date)
    end
    assert.is_nil(fails(429, "", { ["Retry-After"] = "Tue, 31 Feb 2023 22:13:50 GMT" }).retry_after_ms)
  end)
end)
