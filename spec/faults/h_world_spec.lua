-- Faults H: redirects, proxies, and an environment that wants to help.
local harness = require "spec.faults.harness"

local function nobody_went_there(_, e)
  for _, request in ipairs(e:log()) do
    assert.are_not.equal("/redirected", request.path)
    assert.equal("http", request.port)
  end
end

local rows = {
  { "H01", "302 to another host", "bad_response/redirect", check = nobody_went_there },
  { "H02", "302, 307, 308, 301 to https", "bad_response/redirect", variants = 4, check = nobody_went_there },
  { "H03", "302 to itself", "bad_response/redirect", check = nobody_went_there },
  { "H10", "Alt-Svc and Strict-Transport-Security", 7 },
}

describe("H: redirects", function()
  local section = harness.section({}, rows)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

-- Four tries through each but one; a proxy hears where to, and nothing else.
local function proxy_saw(port, connects)
  return function(_, e)
    local seen = 0
    for _, request in ipairs(e:log()) do
      if request.port == port then
        seen = seen + 1
        assert.equal("CONNECT", request.method)
        assert.is_nil(request.headers.authorization)
        assert.is_nil(request.path:find("f.H05", 1, true))
      end
    end
    assert.equal(2 * connects, seen)             -- inline and threaded
  end
end

local proxies = {
  { "H05", "a proxy that asks for a password", "network/proxy", seeds = { 407 }, requests = 0, retryable = false,
    options = { proxy = "proxy_407" }, tls = true, unusable = true, check = proxy_saw("proxy_407", 1) },
  { "H05", "a proxy that answers 502", "network/proxy", seeds = { 502 }, requests = 0,
    options = { proxy = "proxy_502" }, tls = true, unusable = true, check = proxy_saw("proxy_502", 4) },
  { "H05", "a proxy that ends inside its answer", "network/proxy", seeds = { 1 }, requests = 0,
    options = { proxy = "proxy_cut" }, tls = true, unusable = true, check = proxy_saw("proxy_cut", 4) },
  { "H05", "a proxy that says nothing", "timeout/connect", seeds = { 2 }, requests = 0,
    options = { proxy = "proxy_silence" }, tls = true, unusable = true, check = proxy_saw("proxy_silence", 4) },
  { "H05", "a proxy that is not there", "network/proxy", seeds = { 3 }, requests = 0,
    options = { proxy = "closed" }, tls = true, unusable = true },
}

describe("H: proxies", function()
  local section = harness.section({ tls = true, port_faults = true }, proxies)
  setup(section.run)
  teardown(section.stop)
  for _, case in ipairs(section.cases) do it(case.name, case.check) end
end)

describe("H: the environment", function()
  local e
  setup(function() e = harness.emulator { tls = true, port_faults = true } end)
  teardown(function() e:stop() end)
  before_each(function() e:reset() end)

  local PROGRAM = [[
    local harness = require "spec.faults.harness"
    -- Reading the system's certificates may take its time under a sanitizer.
    local client = harness.client({ url = os.getenv "SPEC_URL" }, { ca_file = os.getenv "SPEC_CA", max_attempts = 1,
      connect_timeout_ms = 5000, attempt_timeout_ms = 10000, timeout_ms = 20000 })
    local res, err = client:offline_msg_count "alice"
    print("count " .. tostring(res and res.count))
    print("kind " .. tostring(err and err.kind))
    client:close()
  ]]

  local function in_world(env)
    env.SPEC_URL = env.SPEC_URL or e.url
    return harness.child(PROGRAM, { env = env })
  end

  it("H04: variables for proxies are not looked at", function()
    local env = { no_proxy = "nowhere" }
    for _, name in ipairs { "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY" } do
      env[name] = e.ports.proxy_502
    end
    local got = in_world(env)
    assert.equal(2, got.count, got.text)
    env.SPEC_URL, env.SPEC_CA = e.tls_url, e.ca_file
    got = in_world(env)
    assert.equal(2, got.count, got.text)
    assert.equal(2, e:counters().requests)
    assert.is_nil(e:counters().connections_by_port.proxy_502)
  end)

  it("H06: SSLKEYLOGFILE is libcurl's own; it makes no other difference", function()
    local file = os.tmpname()
    local got = in_world { SPEC_URL = e.tls_url, SPEC_CA = e.ca_file, SSLKEYLOGFILE = file }
    os.remove(file)
    assert.equal(2, got.count, got.text)
  end)

  it("H07: SSL_CERT_FILE, SSL_CERT_DIR and CURL_CA_BUNDLE make nobody trusted", function()
    local got = in_world { SPEC_URL = e.tls_url, SSL_CERT_FILE = e.ca_file, CURL_CA_BUNDLE = e.ca_file,
                           SSL_CERT_DIR = e.ca_file:match "^(.*)/" }
    assert.equal("tls", got.kind, got.text)
    got = in_world { SPEC_URL = e.tls_url, SPEC_CA = e.ca_file, SSL_CERT_FILE = "/dev/null", CURL_CA_BUNDLE = "/dev/null" }
    assert.equal(2, got.count, got.text)
  end)

  it("H08: .netrc and .curlrc are not read", function()
    local p = assert(io.popen "mktemp -d")
    local home = p:read "*l"
    p:close()
    for name, text in pairs { [".netrc"] = "machine 127.0.0.1 login eve password eve\n",
                              [".curlrc"] = "proxy = " .. e.ports.proxy_502 .. "\nuser = eve:eve\n" } do
      local f = assert(io.open(home .. "/" .. name, "w"))
      f:write(text)
      f:close()
    end
    os.execute("chmod 600 " .. home .. "/.netrc")
    local got = in_world { HOME = home, CURL_HOME = home, NETRC = home .. "/.netrc" }
    os.execute("rm -rf " .. home)
    assert.equal(2, got.count, got.text)
    assert.is_truthy(e:log()[1].headers.authorization:find "^Bearer ")
  end)

  it("N08: no home, and nowhere to write", function()
    local got = in_world { HOME = "/nonexistent", TMPDIR = "/nonexistent", XDG_CONFIG_HOME = "/nonexistent" }
    assert.equal(2, got.count, got.text)
  end)
end)
