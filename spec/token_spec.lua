-- "007" tokens: made, read, verified. Nothing that comes in is believed.
local agora_chat = require "agora_chat"
local cjson = require "cjson"
local fake = require "spec.support.fake"
local programs = require "spec.support.programs"
local token007 = require "spec.support.token007"

local APP_ID = "970CA35de60c44645bbae8a215061b33"
local CERTIFICATE = "5CFd2fd1755d40ecb72977518be15d3b"
local OTHER = "5cfd2fd1755d40ecb72977518be15d3c"

local str = token007.str

--- A token that cannot be read: the error's message.
local function refused(text, options)
  local token, err = agora_chat.read_token(text, options)
  assert.is_nil(token)
  assert.equal("argument", err.kind)
  return err.message, err
end

local function read_services(services, more)
  local t = { services = services }
  for name, value in pairs(more or {}) do t[name] = value end
  return assert(agora_chat.read_token(token007.text(token007.bytes(t)))).services
end

describe("a published token", function()
  local vectors = cjson.decode(fake.fixture "token_vectors_chat.json")

  it("is read and verified, whoever built it", function()
    assert.is_true(#vectors >= 8)
    for _, vector in ipairs(vectors) do
      local token = assert(agora_chat.read_token(vector.token, { app_certificate = vector.app_certificate }))
      local chat = vector.services[1]
      local privileges = {}
      for privilege, expire_s in pairs(chat.privileges) do privileges[tonumber(privilege)] = expire_s end
      assert.same({
        app_id = vector.app_id,
        issued_at_s = vector.issue_ts,
        expires_at_s = vector.issue_ts + vector.expire,
        services = { { type = 5, user_id = chat.user_id, privileges = privileges } },
        verified = true,
      }, token)
    end
  end)

  it("is not verified without a certificate, nor believed with another", function()
    for _, vector in ipairs(vectors) do
      assert.is_nil(assert(agora_chat.read_token(vector.token)).verified)
      local message, err = refused(vector.token, { app_certificate = OTHER })
      assert.equal("signature", err.code)
      assert.is_nil(message:find(OTHER, 1, true))
    end
  end)

  -- The app token of every builder, taken apart (AgoraIO/Tools@da06bfb).
  local SIGNATURE = token007.from_hex "2d6e85c3436f1811bc2c43173bf34eaa047d5e896abd4ef54c654110c0fade50"
  local SIGNED = token007.from_hex("2000393730434133356465363063343436343562626165386132313530363162333347f41000"
    .. "58020000010000000100050001000200580200000000")

  it("may be stored instead of deflated", function()
    local token = assert(agora_chat.read_token(token007.text(str(SIGNATURE) .. SIGNED),
      { app_certificate = CERTIFICATE }))
    assert.is_true(token.verified)
  end)

  it("fails with any one bit of it changed", function()
    local whole = str(SIGNATURE) .. SIGNED
    assert.equal(94, #whole)
    for i = 1, #whole do
      local byte = whole:byte(i)
      local changed = byte % 2 == 0 and byte + 1 or byte - 1
      local text = token007.text(whole:sub(1, i - 1) .. string.char(changed) .. whole:sub(i + 1))
      refused(text, { app_certificate = CERTIFICATE })
    end
  end)
end)

describe("a token", function()
  it("tells of several services, each with fields of its own", function()
    assert.same({
      { type = 1, user_id = "u1", privileges = { [1] = 600, [2] = 600, [3] = 0, [4] = 5 } },
      { type = 2, user_id = "u2", privileges = { [1] = 600 } },
      { type = 3, user_id = "u3", privileges = { [1] = 600 } },       -- streaming: channel, user
      { type = 4, privileges = { [1] = 0 } },                         -- FPA: nothing more
      { type = 5, user_id = "u5", privileges = { [1] = 600 } },
      { type = 6, user_id = "u6", privileges = { [1] = 600 } },
      { type = 7, user_id = "u7", privileges = { [1] = 600 } },
    }, read_services {
      { type = 1, privileges = { { 1, 600 }, { 2, 600 }, { 3, 0 }, { 4, 5 } }, rest = str "room" .. str "u1" },
      { type = 2, rest = str "u2" },
      { type = 3, rest = str "live" .. str "u3" },
      { type = 4, privileges = { { 1, 0 } } },
      { type = 5, rest = str "u5" },
      { type = 6, rest = str "live" .. str "u6" },
      { type = 7, rest = str "class" .. str "u7" .. token007.u16(65535) },
    })
  end)

  it("is read up to the first unknown service, unless that is all", function()
    local services = read_services { { type = 5, rest = str "" }, { type = 999, rest = "whatever" } }
    assert.equal(1, #services)
    assert.same({ type = 5, user_id = "", privileges = { [1] = 600 } }, services[1])
    assert.truthy(refused(token007.text(token007.bytes { services = { { type = 999 } } })):find "unknown")
    assert.same({}, read_services {})
  end)

  it("has ceilings for what it names", function()
    local function services(count)
      local list = {}
      for i = 1, count do list[i] = { type = 5, rest = str "" } end
      return list
    end
    local function privileges(count)
      local list = {}
      for i = 1, count do list[i] = { i, 600 } end
      return { { type = 5, privileges = list, rest = str "" } }
    end
    assert.equal(16, #read_services(services(16)))
    refused(token007.text(token007.bytes { services = services(17) }))
    assert.equal(600, read_services(privileges(16))[1].privileges[16])
    refused(token007.text(token007.bytes { services = privileges(17) }))
    assert.equal(("n"):rep(255), read_services({ { type = 5, rest = str(("n"):rep(255)) } })[1].user_id)
    refused(token007.text(token007.bytes { services = { { type = 5, rest = str(("n"):rep(256)) } } }))
  end)

  it("has no name with a NUL byte, which would read as a shorter one", function()
    refused(token007.text(token007.bytes { services = { { type = 5, rest = str "alice\0x" } } }))
  end)

  it("says its times exactly, up to the last second there is", function()
    local token = assert(agora_chat.read_token(token007.text(token007.bytes {
      issued_at_s = 4294967295, expire_s = 4294967295, services = {} })))
    assert.equal(4294967295, token.issued_at_s)
    assert.equal(8589934590, token.expires_at_s)
  end)
end)

-- Fault L14
describe("what is no token", function()
  local good = token007.bytes { services = { { type = 5, rest = str "alice" } } }

  it("is refused: text, base64, zlib, parts", function()
    for _, case in ipairs {
      { "", "begin" }, { "0", "begin" }, { "00", "begin" }, { "006" .. token007.base64 "x", "begin" },
      { "YWMtx", "begin" }, { "\0\0\0", "begin" },
      { "007", "base64" }, { "007abc", "base64" }, { "007====", "base64" }, { "007ab==cd==", "base64" },
      { "007ab\ncd", "base64" }, { "007ab cd=", "base64" }, { "007ab-_", "base64" }, { "007a===", "base64" },
      { "007YWJj", "zlib" }, { "007\0\0\0\0", "base64" },
      { token007.text "", "parts" }, { token007.text "\255\255", "parts" },
    } do
      local message = refused(case[1])
      assert.truthy(message:find(case[2], 1, true), ("%q: %s"):format(case[1], message))
    end
  end)

  it("is refused wherever it is cut", function()
    assert(agora_chat.read_token(token007.text(good)))
    for cut = 0, #good - 1 do refused(token007.text(good:sub(1, cut))) end
    local text = token007.text(good)
    for cut = 0, #text - 1 do refused(text:sub(1, cut)) end
    refused(token007.text(token007.bytes { service_count = 2, services = { { type = 5, rest = str "alice" } } }))
  end)

  it("is refused with something behind it", function()
    refused(token007.text(token007.stored(good) .. "x", true))
    refused(token007.text(good) .. "\0")
    refused(token007.text(good) .. "AAAA")
  end)

  it("is inflated to 4 KiB at most", function()
    local function of_size(size)
      local services = { { type = 5, rest = str "" }, { type = 999, rest = "" } }
      services[2].rest = ("x"):rep(size - #token007.bytes { services = services })
      local bytes = token007.bytes { services = services }
      assert.equal(size, #bytes)
      return token007.text(bytes)
    end
    assert(agora_chat.read_token(of_size(4096)))
    refused(of_size(4097))

    local bomb = token007.text(token007.bomb(3700), true)          -- 950 KB within 8 KiB of text
    assert.is_true(#bomb <= 8192)
    assert.truthy(refused(bomb):find("too large", 1, true))
    refused(token007.text(token007.bomb(40000), true))             -- 10 MB
  end)

  it("is refused unread when it is long", function()
    assert.truthy(refused("007" .. ("A"):rep(1024 * 1024)):find("too long", 1, true))
  end)

  it("is not repeated in the error", function()
    for _, text in ipairs { "007s3cret!", "s3cret", "007s3cretAA" } do
      assert.is_nil(refused(text):find("s3cret", 1, true))
    end
  end)

  it("raises when it is not even a text, or its options are wrong", function()
    for _, value in ipairs { 7, true, {}, print } do
      assert.is_false(pcall(agora_chat.read_token, value))
    end
    assert.is_false(pcall(agora_chat.read_token))
    assert.is_false(pcall(agora_chat.read_token, "007", "options"))
    assert.is_false(pcall(agora_chat.read_token, "007", { app_certificate = 7 }))
    local _, message = pcall(agora_chat.read_token, "007", { certificate = CERTIFICATE })
    assert.truthy(tostring(message):find("app_certificate", 1, true))
    assert.is_nil(tostring(message):find(CERTIFICATE, 1, true))
    local err = select(2, refused(token007.text(good), { app_certificate = "s3cret" }))
    assert.is_nil(tostring(err):find("s3cret", 1, true))
  end)
end)

describe("a token made here", function()
  it("is an app token", function()
    local before = os.time()
    local text = assert(agora_chat.app_token { app_id = APP_ID, app_certificate = CERTIFICATE, ttl_s = 600 })
    local after = os.time()
    local token = assert(agora_chat.read_token(text, { app_certificate = CERTIFICATE }))
    assert.is_true(token.verified)
    assert.equal(APP_ID, token.app_id)
    assert.is_true(token.issued_at_s >= before and token.issued_at_s <= after)
    assert.equal(600, token.expires_at_s - token.issued_at_s)
    assert.same({ { type = 5, user_id = "", privileges = { [2] = 600 } } }, token.services)
    local _, err = agora_chat.read_token(text, { app_certificate = OTHER })
    assert.equal("signature", err.code)
  end)

  it("is a user token", function()
    for _, name in ipairs { "alice", "小明", "a b@c", ("n"):rep(64) } do
      local text = assert(agora_chat.user_token {
        app_id = APP_ID, app_certificate = CERTIFICATE, ttl_s = 86400, username = name })
      local token = assert(agora_chat.read_token(text, { app_certificate = CERTIFICATE }))
      assert.same({ { type = 5, user_id = name, privileges = { [1] = 86400 } } }, token.services)
    end
  end)

  it("lives an hour unless told, and is never the same twice", function()
    local given = { app_id = APP_ID, app_certificate = CERTIFICATE }
    local first, second = assert(agora_chat.app_token(given)), assert(agora_chat.app_token(given))
    assert.not_equal(first, second)
    local token = agora_chat.read_token(first)
    assert.equal(3600, token.expires_at_s - token.issued_at_s)
  end)

  it("leaves the program's own random numbers alone", function()
    local given = { app_id = APP_ID, app_certificate = CERTIFICATE }
    math.randomseed(42)
    local expected = math.random(1, 1e9)
    math.randomseed(42)
    assert(agora_chat.app_token(given))
    assert.equal(expected, math.random(1, 1e9))
  end)

  -- Faults L07 and the bad input of ids and names
  it("needs ids of 32 hex digits, a life and a name that can be", function()
    local function refuses(f, changes)
      local given = { app_id = APP_ID, app_certificate = CERTIFICATE, username = f == agora_chat.user_token and "alice" or nil }
      for name, value in pairs(changes) do given[name] = value ~= "none" and value or nil end
      local text, err = f(given)
      assert.is_nil(text)
      assert.equal("argument", err.kind)
      assert.is_nil(err.message:find("s3cret", 1, true))
      assert.is_nil(err.message:lower():find(CERTIFICATE:lower():sub(1, 8), 1, true))
    end
    for _, f in ipairs { agora_chat.app_token, agora_chat.user_token } do
      for _, id in ipairs { "", "s3cret", CERTIFICATE:sub(1, 31), CERTIFICATE .. "0", ("g"):rep(32),
                            CERTIFICATE .. "\0", CERTIFICATE:sub(1, 31) .. "\n", "none" } do
        refuses(f, { app_certificate = id })
        refuses(f, { app_id = id })
      end
      for _, ttl_s in ipairs { 0, -1, 1.5, 1e9, 86401, 0 / 0, 1 / 0, -1 / 0 } do refuses(f, { ttl_s = ttl_s }) end
    end
    for _, name in ipairs { "", ".", "..", "a/b", "a\\b", "a\nb", "a\0b", "\255", ("n"):rep(65), "none" } do
      refuses(agora_chat.user_token, { username = name })
    end
  end)

  it("raises for what is a bug of the program, without the secret", function()
    local function raises(f, given)
      local ok, message = pcall(f, given)
      assert.is_false(ok)
      assert.is_nil(tostring(message):lower():find(CERTIFICATE:lower(), 1, true))
      return tostring(message)
    end
    local function with(changes)
      changes.app_id = changes.app_id or APP_ID
      changes.app_certificate = changes.app_certificate or CERTIFICATE
      return changes
    end
    assert.truthy(raises(agora_chat.app_token, with { ttl_s = "60" }):find("ttl_s must be a number", 1, true))
    assert.truthy(raises(agora_chat.app_token, with { ttl = 60 }):find("did you mean 'ttl_s'", 1, true))
    raises(agora_chat.app_token, with { username = "alice" })
    raises(agora_chat.user_token, with { username = 7 })
    raises(agora_chat.app_token, with { app_certificate = 5 })
    raises(agora_chat.app_token, CERTIFICATE)
    raises(agora_chat.app_token)
  end)
end)

describe("another reader", function()
  -- spec/support/verify_token.py: python3's standard library and nothing of
  -- ours. It gets lines on standard input, so that no command shows a secret.
  local function verify(lines)
    local path = os.tmpname()
    programs.write(path, table.concat(lines, "\n") .. "\n")
    local out = programs.run("python3 spec/support/verify_token.py <" .. path)
    os.remove(path)
    return out
  end

  local function has_python()
    return programs.run "python3 -c 'print(6 * 7)'" == "42\n"
  end

  it("verifies tokens made here", function()
    if not has_python() then pending("no python3 here: its zlib, hmac and base64 are the other reader") return end
    local lines, expected = {}, {}
    for i = 1, 20 do
      local name = "user-" .. i
      local given = { app_id = APP_ID, app_certificate = CERTIFICATE, ttl_s = 600 + i }
      local text = assert(agora_chat.app_token(given))
      lines[#lines + 1] = CERTIFICATE .. " " .. text
      expected[#expected + 1] = ("verified %s %d 5 {2: %d} ''"):format(APP_ID, given.ttl_s, given.ttl_s)
      given.username = name
      text = assert(agora_chat.user_token(given))
      lines[#lines + 1] = CERTIFICATE .. " " .. text
      expected[#expected + 1] = ("verified %s %d 5 {1: %d} '%s'"):format(APP_ID, given.ttl_s, given.ttl_s, name)
      lines[#lines + 1] = OTHER .. " " .. text
      expected[#expected + 1] = "wrong signature"
    end
    assert.equal(table.concat(expected, "\n") .. "\n", verify(lines))
  end)

  it("finds the inflated bytes that all builders make", function()
    if not has_python() then pending "no python3 here" return end
    -- Only salt and time differ: the published vectors, read by it, verify too.
    local lines, expected = {}, {}
    for _, vector in ipairs(cjson.decode(fake.fixture "token_vectors_chat.json")) do
      lines[#lines + 1] = vector.app_certificate .. " " .. vector.token
      local chat = vector.services[1]
      local privilege = vector.kind == "app" and 2 or 1
      expected[#expected + 1] = ("verified %s %d 5 {%d: %d} '%s'"):format(vector.app_id, vector.expire, privilege,
        vector.expire, chat.user_id)
    end
    assert.equal(table.concat(expected, "\n") .. "\n", verify(lines))
  end)
end)
