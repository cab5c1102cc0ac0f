--- tls: throw-away certificates, and a client that checks them.

local run = require "spec.support.programs".run

local tls = {}

local Files = {}
Files.__index = Files

--- A certificate for localhost and 127.0.0.1, which is its own authority.
function tls.make()
  local dir = run("mktemp -d"):match("^(/[^\n]+)\n")
  local self = setmetatable({ dir = dir, certificate = dir .. "/cert.pem", key = dir .. "/key.pem" }, Files)
  run(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost "
    .. "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout %s -out %s"):format(self.key, self.certificate))
  run("chmod 755 " .. dir .. " && chmod 644 " .. self.key)
  return self
end

function Files:remove()
  os.execute("rm -rf " .. self.dir)
end

--- The body of one request over a new connection: with openssl's own client.
function tls.get(port, target, files)
  local text = run(([[printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' | ]]
    .. [[timeout 20 openssl s_client -quiet -verify_return_error -CAfile %s -servername localhost ]]
    .. [[-connect 127.0.0.1:%d]]):format(target, files.certificate, port))
  local head, body = text:match("(HTTP/1%.1 .-)\r\n\r\n(.*)$")
  if not head then return text end
  if head:find("chunked", 1, true) then body = body:match("^%x+\r\n(.-)\r\n0\r\n") end
  return body
end

return tls
