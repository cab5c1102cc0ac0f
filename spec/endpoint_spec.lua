-- From arguments to a URL. Nothing that could leave its path segment is sent.
local core = require "agora_chat.core"
local fake = require "spec.support.fake"

local BASE = fake.origin .. "/app-id/" .. fake.app_id

local function url_of(client, ...)
  assert(client:submit(...))
  return fake.outgoing(client).url
end

local function count_url(username)
  local client = fake.core()
  finally(function() client:close() end)
  local url = url_of(client, "offline_msg_count", nil, username)
  return assert(url:match("^" .. BASE:gsub("%p", "%%%0") .. "(.*)$"), url)
end

--- nil and an argument error, and nothing is sent.
local function refuses(operation, ...)
  local client = fake.core()
  local id, err = client:submit(operation, nil, ...)
  assert.is_nil(id)
  assert.equal("argument", err.kind)
  assert.equal(operation, err.operation)
  assert.is_nil(client:next_outgoing())
  assert.equal(0, client:pending())
  client:close()
  return err
end

describe("a path", function()
  it("is made from the row", function()
    assert.equal("/users/alice/offline_msg_count", count_url "alice")
    local client = fake.core()
    assert.equal(BASE .. "/users/alice/offline_msg_status/1029457500870543736",
      url_of(client, "offline_msg_status", nil, "alice", "1029457500870543736"))
    client:close()
  end)

  it("begins with the app's id, or with organisation and app", function()
    local client = fake.core { org_name = "1104190221201050", app_name = "demo" }
    assert.equal(fake.origin .. "/1104190221201050/demo/users/alice/offline_msg_count",
      url_of(client, "offline_msg_count", nil, "alice"))
    client:close()
  end)

  it("stands below the prefix of the base URL", function()
    local client = fake.core { base_url = "https://chat.example:8443/im/v1" }
    assert.equal("https://chat.example:8443/im/v1/app-id/" .. fake.app_id .. "/users/alice/offline_msg_count",
      url_of(client, "offline_msg_count", nil, "alice"))
    client:close()
  end)

  it("goes out as a GET without a body, with the token in its header", function()
    local client = fake.core()
    assert(client:submit("offline_msg_count", nil, "alice"))
    local request = fake.outgoing(client)
    assert.equal("GET", request.method)
    assert.is_nil(request.body)
    assert.equal("Bearer " .. fake.token, request.headers.Authorization)
    assert.equal("application/json", request.headers.Accept)
    assert.is_nil(request.headers["Content-Type"])
    client:close()
  end)
end)

describe("a user name", function()
  it("is not . or .., which everybody on the way would take for a step (P01)", function()
    for _, name in ipairs { ".", ".." } do
      local err = refuses("offline_msg_count", name)
      assert.equal("offline_msg_count: argument: username: must not be . or ..", err.message)
    end
    assert.equal("/users/.../offline_msg_count", count_url "...")
    assert.equal("/users/.a/offline_msg_count", count_url ".a")
  end)

  it("is not empty (P02)", function()
    assert.equal("offline_msg_count: argument: username: must not be empty", refuses("offline_msg_count", "").message)
  end)

  it("stays one segment (P03)", function()
    for _, name in ipairs { "../../admin", "a/b", "/", "a\\b", "..\\", "/users" } do
      refuses("offline_msg_count", name)
    end
    for name, encoded in pairs {
      ["a?x=1"] = "a%3Fx%3D1", ["a#f"] = "a%23f", ["a;b"] = "a%3Bb", ["a b"] = "a%20b", ["a%2fb"] = "a%252fb",
      ["%2e%2e"] = "%252e%252e", ["..%2f"] = "..%252f", ["a+b"] = "a%2Bb", ["a&b"] = "a%26b", ["a:b"] = "a%3Ab",
      ["a@b.c"] = "a%40b.c", ["it's"] = "it%27s", ["(x)*!,$"] = "%28x%29%2A%21%2C%24", ["[::1]"] = "%5B%3A%3A1%5D",
      ["~a_b-c.D9"] = "~a_b-c.D9", ["\"<>^`{|}"] = "%22%3C%3E%5E%60%7B%7C%7D", [" "] = "%20", ["%"] = "%25",
    } do
      assert.equal("/users/" .. encoded .. "/offline_msg_count", count_url(name))
    end
  end)

  it("brings no header, no end and no half character with it (P04)", function()
    for _, name in ipairs { "a\r\nX-Evil: 1", "a\nb", "a\0b", "\0", "a\127", "\255", "a\195", "\228\189", "\192\175",
                            "\237\160\128", "\240\159\152", "\244\144\128\128", "\195\164\164" } do
      refuses("offline_msg_count", name)
    end
    for byte = 0, 31 do refuses("offline_msg_count", "a" .. string.char(byte) .. "b") end
  end)

  it("may be in any script (P04)", function()
    assert.equal("/users/%E4%BD%A0%E5%A5%BD/offline_msg_count", count_url "\228\189\160\229\165\189")
    assert.equal("/users/%C3%A4%F0%9F%98%80/offline_msg_count", count_url "\195\164\240\159\152\128")
  end)

  it("has at most 64 bytes (P05)", function()
    local name = ("x"):rep(64)
    assert.equal("/users/" .. name .. "/offline_msg_count", count_url(name))
    assert.equal("/users/" .. ("%20"):rep(64) .. "/offline_msg_count", count_url((" "):rep(64)))
    assert.equal("offline_msg_count: argument: username: must not be longer than 64 bytes, got 65",
      refuses("offline_msg_count", name .. "x").message)
    refuses("offline_msg_count", ("x"):rep(1048576))
    refuses("offline_msg_count", ("\228\189\160"):rep(22))
  end)

  it("is text (P06)", function()
    local client = fake.core()
    finally(function() client:close() end)
    for _, value in ipairs { true, {}, print, 1, 1.5, 0 / 0 } do
      assert.has_error(function() client:submit("offline_msg_count", nil, value) end)
    end
    assert.has_error(function() client:submit("offline_msg_count", nil, nil) end)
    assert.has_error(function() client:submit("offline_msg_count", nil) end)
    assert.equal(0, client:pending())
  end)
end)

describe("a message id", function()
  it("is 1 to 128 letters, digits, _ and - (P07)", function()
    local client = fake.core()
    finally(function() client:close() end)
    for _, id in ipairs { "1", "1029457500870543736", "77225969013752296_pd7J8-20-c3104", "5I02W-XX-8278a",
                          ("9"):rep(128), "-", "_" } do
      assert.equal(BASE .. "/users/alice/offline_msg_status/" .. id,
        url_of(client, "offline_msg_status", nil, "alice", id))
    end
    for _, id in ipairs { "", "+1", " 1", "1 ", "1.5", ".", "..", "123/../1", "1%32", "1?", "a\0", "\195\164", "1,2",
                          ("9"):rep(129) } do
      local err = refuses("offline_msg_status", "alice", id)
      assert.truthy(err.message:find("msg_id: must ", 1, true), err.message)
    end
  end)

  it("is never a number, which cannot hold one (P08)", function()
    local client = fake.core()
    finally(function() client:close() end)
    for _, value in ipairs { 1, 123, 1.5, 1029457500870543736, 0 } do
      local ok, message = pcall(client.submit, client, "offline_msg_status", nil, "alice", value)
      assert.is_false(ok)
      assert.truthy(message:find("string", 1, true), message)
    end
    assert.equal(0, client:pending())
  end)
end)

describe("a request", function()
  local function request_url(spec)
    local client = fake.core()
    finally(function() client:close() end)
    spec.method = spec.method or "GET"
    local url = url_of(client, "request", nil, spec)
    return url:sub(#BASE + 1)
  end

  it("has a path of parts that follow the rules of a user name, but for their length", function()
    assert.equal("/users/a%20b/status", request_url { path = { "users", "a b", "status" } })
    assert.equal("/" .. ("x"):rep(1024), request_url { path = { ("x"):rep(1024) } })
    for _, part in ipairs { "", ".", "..", "a/b", "a\\b", "a\nb", "\255", ("x"):rep(1025) } do
      refuses("request", { method = "GET", path = { "users", part } })
    end
    refuses("request", { method = "GET", path = {} })
    local long = (" "):rep(1024)
    refuses("request", { method = "GET", path = { long, long } })
  end)

  it("may have a query", function()
    assert.equal("/users?limit=10", request_url { path = { "users" }, query = { limit = "10" } })
    assert.equal("/users?a%26b=%E4%BD%A0%3D%20",
      request_url { path = { "users" }, query = { ["a&b"] = "\228\189\160= " } })
    for _, value in ipairs { "a\nb", "a\0b", "\255" } do
      refuses("request", { method = "GET", path = { "users" }, query = { a = value } })
    end
  end)

  it("has a method of 1 to 15 capital letters", function()
    assert.equal("/users", request_url { method = "DELETE", path = { "users" } })
    for _, method in ipairs { "", "get", "GET ", "G\r\nX: 1", "G\0", ("X"):rep(16) } do
      refuses("request", { method = method, path = { "users" } })
    end
  end)

  it("has a body only when it is strict JSON of at most 1 MiB", function()
    local client = fake.core()
    finally(function() client:close() end)
    assert(client:submit("request", nil, { method = "POST", path = { "users" }, json = ' [1, "\\u00e9"] ' }))
    local request = fake.outgoing(client)
    assert.equal(' [1, "\\u00e9"] ', request.body)
    assert.equal("application/json", request.headers["Content-Type"])
    for _, text in ipairs { "", "{", "[1,]", "01", "{} x", "'a'", "\255", ("["):rep(9) .. ("]"):rep(9) } do
      refuses("request", { method = "POST", path = { "users" }, json = text })
    end
    local large = '"' .. ("x"):rep(1048574) .. '"'
    assert(client:submit("request", nil, { method = "POST", path = { "users" }, json = large }))
    refuses("request", { method = "POST", path = { "users" }, json = large .. " " })
  end)
end)

describe("the table of operations", function()
  it("says what every operation is", function()
    local rows = {}
    for _, row in ipairs(core.endpoints()) do
      rows[row.name] = row
      assert.truthy(row.source:find("^https://"), row.source)
      assert.truthy(row.path:find("/" .. row.name, 1, true))
    end
    assert.same({
      name = "offline_msg_count", method = "GET", path = "/users/{username}/offline_msg_count",
      arguments = { "username" }, idempotent = true, result = { { "count", "integer" } },
      source = "https://doc.easemob.com/document/server-side/offline_msg_count_get.html",
    }, rows.offline_msg_count)
    assert.same({
      name = "offline_msg_status", method = "GET", path = "/users/{username}/offline_msg_status/{msg_id}",
      arguments = { "username", "msg_id" }, idempotent = true,
      result = { { "status", "string" }, { "delivered", "boolean" } },
      source = "https://doc.easemob.com/document/server-side/offline_msg_status_get.html",
    }, rows.offline_msg_status)
  end)
end)
