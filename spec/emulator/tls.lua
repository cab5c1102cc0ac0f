--- tls: a throw-away authority, a good certificate, and bad ones.
---
--- Keys live in memory only; the one file written is the authority's
--- certificate, which clients need.

local context = require "openssl.ssl.context"
local extension = require "openssl.x509.extension"
local altname = require "openssl.x509.altname"
local name = require "openssl.x509.name"
local pkey = require "openssl.pkey"
local x509 = require "openssl.x509"

local tls = {}

local DAY_S = 86400
local serial = os.time() % 100000 * 100

local function new_key()
  return pkey.new { type = "EC", curve = "prime256v1" }
end

local function new_name(common)
  local n = name.new()
  n:add("O", "agora_chat emulator")
  n:add("CN", common)
  return n
end

-- what: { cn, dns = {...}, ip = {...}, from_s, to_s, ca }
local function new_certificate(what, key, issuer)
  local c = x509.new()
  local now_s = os.time()
  serial = serial + 1
  c:setVersion(3)
  c:setSerial(serial)
  c:setSubject(new_name(what.cn))
  c:setIssuer(issuer and issuer.certificate:getSubject()
              or new_name(what.cn))
  c:setLifetime(now_s + (what.from_s or -DAY_S), now_s + (what.to_s or DAY_S))
  c:setPublicKey(key)
  if what.dns or what.ip then
    local alt = altname.new()
    for _, dns in ipairs(what.dns or {}) do alt:add("DNS", dns) end
    for _, ip in ipairs(what.ip or {}) do alt:add("IP", ip) end
    c:setSubjectAlt(alt)
  end
  if what.ca then
    c:addExtension(extension.new("basicConstraints", "critical,CA:TRUE"))
    c:addExtension(extension.new("keyUsage", "critical,keyCertSign,cRLSign"))
  else
    c:addExtension(extension.new("basicConstraints", "critical,CA:FALSE"))
  end
  c:sign(issuer and issuer.key or key)
  return c
end

local function new_authority(common)
  local key = new_key()
  return { key = key,
           certificate = new_certificate({ cn = common, ca = true }, key) }
end

local LOCAL = { cn = "localhost", dns = { "localhost" },
                ip = { "127.0.0.1", "::1" } }

local function with(changes)
  local what = {}
  for k, v in pairs(LOCAL) do what[k] = v end
  for k, v in pairs(changes) do what[k] = v end
  return what
end

-- One row per certificate or protocol; `host` when it is not localhost.
local SERVERS = {
  good = { what = LOCAL },
  unknown_ca = { what = LOCAL, stranger = true },
  self_signed = { what = LOCAL, alone = true },
  wrong_host = { what = { cn = "other.example", dns = { "other.example" } } },
  wildcard = { what = { cn = "wide", dns = { "*.localhost" } },
               host = "api.localhost" },
  -- Some clients fall back on the common name when there is no alternative
  -- name at all; with an address as the only one, none may.
  cn_only = { what = { cn = "localhost" } },
  cn_and_ip = { what = { cn = "localhost", ip = { "127.0.0.1" } } },
  expired = { what = with { from_s = -30 * DAY_S, to_s = -DAY_S } },
  not_yet_valid = { what = with { from_s = DAY_S, to_s = 30 * DAY_S } },
  tls11 = { what = LOCAL, protocol = "TLSv1_1" },
  tls12 = { what = LOCAL, protocol = "TLSv1_2" },
}

local FAULTY = { "unknown_ca", "self_signed", "wrong_host", "wildcard",
                 "cn_only", "cn_and_ip", "expired", "not_yet_valid", "tls11",
                 "tls12" }

local function new_context(server, authority, stranger)
  local key = new_key()
  local issuer = authority
  if server.alone then issuer = nil end
  if server.stranger then issuer = stranger end
  local ctx = context.new(server.protocol or "TLS", true)
  -- TLS 1.1 signs with SHA-1, which OpenSSL 3 allows at level 0 only.
  if server.protocol == "TLSv1_1" then
    ctx:setCipherList("ALL:@SECLEVEL=0")
  end
  ctx:setCertificate(new_certificate(server.what, key, issuer))
  ctx:setPrivateKey(key)
  return ctx
end

local function temporary_folder()
  local f = assert(io.popen("mktemp -d"))
  local path = f:read("*l")
  f:close()
  return assert(path, "no temporary folder")
end

--- Opens the TLS ports, tells them through `say`, and adds to `clean_up`.
function tls.open(server, options, api, say, clean_up)
  local authority = new_authority("throw-away CA")
  local stranger = new_authority("another CA")
  local made = {}
  local function context_of(kind)
    if not SERVERS[kind] then return nil end
    made[kind] = made[kind] or new_context(SERVERS[kind], authority, stranger)
    return made[kind]
  end

  local folder = options.dir or temporary_folder()
  local path = folder .. "/ca.pem"
  local f = assert(io.open(path, "w"))
  f:write(authority.certificate:toPEM())
  f:close()
  clean_up[#clean_up + 1] = function()
    os.remove(path)
    if not options.dir then os.remove(folder) end
  end

  -- After the handshake a TLS connection is one like any other.
  local function serve_with(choose, prepare)
    return function(conn)
      local ok = conn.sock:starttls(choose(), 10)
      if not ok then
        local counters = server.log.counters
        counters.tls_failed = counters.tls_failed + 1
        return
      end
      conn.tls = true
      if prepare then prepare(conn) end
      api(conn)
    end
  end

  -- The control verb `certificate` changes what new connections see.
  local current = "good"
  function server.set_certificate(kind)
    if not context_of(kind) then
      return nil, "no certificate '" .. tostring(kind) .. "'"
    end
    current = kind
    return true
  end
  local listener = assert(server:listen("https", "127.0.0.1", 0,
    serve_with(function() return context_of(current) end)))
  say("listening on https://localhost:", listener.port)
  say("ca file ", path)
  if not options.tls_faults then return end

  local function open(kind, handler, scheme, host)
    local l = assert(server:listen(kind, "127.0.0.1", 0, handler))
    say("port ", kind, " ", scheme or "https", "://", host or "localhost",
        ":", l.port)
  end
  for _, kind in ipairs(FAULTY) do
    local ctx = context_of(kind)
    open(kind, serve_with(function() return ctx end), "https",
         SERVERS[kind].host)
  end
  local good = context_of("good")
  local function choose_good() return good end
  open("no_close_notify", serve_with(choose_good, function(conn)
    conn.one_answer = "fin"
  end))
  open("close_notify", serve_with(choose_good, function(conn)
    conn.one_answer = "notify"
  end))
  open("plain_http", api)                 -- it waits for the end of a head
  open("handshake_fin", function(conn) conn:receive(10) end)
  open("handshake_rst", function(conn)
    conn:receive(10)
    conn:reset()
  end)
  open("handshake_silence", function(conn) conn:hold() end)
end

return tls
