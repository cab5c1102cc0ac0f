--- support: what the benches share. Clocks, percentiles, clients, and two
--- servers on loopback: one that is fast, and one that never says anything.

local socket = require "socket"
local programs = require "spec.support.programs"
local clock = require "bench_clock"

local support = { clock = clock }

support.app_id = "970ca35de60c44645bbae8a215061b33"

--- "lua5.4", "luajit": the interpreter that runs this.
function support.lua()
  local name = arg and arg[-1] or "lua5.4"
  return (name:match "[^/]+$")
end

--- The value below which the share p (0 to 1) of a sorted list lies.
function support.percentile(sorted, p)
  return sorted[math.max(1, math.ceil(p * #sorted))]
end

--- The middle one.
function support.median(list)
  table.sort(list)
  return support.percentile(list, 0.5)
end

--- A client of the fast or silent server; overrides what is given.
function support.client(options)
  local all = {
    app_id = support.app_id,
    credentials = { token = "007" .. ("t"):rep(200) },     -- as long as a real one
    rate_per_s = false,
    timeout_ms = 60000, attempt_timeout_ms = 60000,
  }
  for name, value in pairs(options) do all[name] = value end
  return assert(require "agora_chat".new(all))
end

local run = programs.run
support.run = run

--- Is this program there? Its path.
function support.find(program)
  return run("PATH=$PATH:/usr/sbin; command -v " .. program):match("^(/[^\n]+)\n")
end

--- A socket that listens and never answers: connections stand in its queue.
---@return table socket  keep it
---@return string url
function support.silent(backlog)
  local server = assert(socket.bind("127.0.0.1", 0, backlog))
  local _, port = server:getsockname()
  return server, "http://127.0.0.1:" .. port
end

-- ------------------------------------------------------------ the fast server

local CONF = [[
worker_processes 1;
daemon off;
pid %(dir)/nginx.pid;
error_log %(dir)/error.log error;
events { worker_connections 2048; }
http {
  access_log off;
  client_body_temp_path %(dir)/body;
  proxy_temp_path %(dir)/proxy;
  fastcgi_temp_path %(dir)/fastcgi;
  uwsgi_temp_path %(dir)/uwsgi;
  scgi_temp_path %(dir)/scgi;
  keepalive_requests 100000000;
  default_type application/json;
  ssl_certificate %(dir)/certificate.pem;
  ssl_certificate_key %(dir)/key.pem;
  server {
    listen 127.0.0.1:%(port) backlog=1024;
    listen 127.0.0.1:%(tls_port) ssl backlog=1024;
    location ~ ^/app-id/[^/]+/users/([^/]+)/offline_msg_count$ {
      return 200 '{"action":"get","uri":"http://a1.easemob.com/easemob-demo/chatdemoui/users/$1/offline_msg_count","entities":[],"data":{"$1":3},"timestamp":1542601518137,"duration":3,"count":0}';
    }
  }
}
]]

local function wait_for(port)
  local limit = clock.wall() + 10
  repeat
    local c = socket.connect("127.0.0.1", port)
    if c then
      c:close()
      return true
    end
    socket.sleep(0.02)
  until clock.wall() > limit
end

--- nginx that answers every count with 3, from its configuration.
---@return table? server  url, tls_url, ca_file, stop(); nil: there is no nginx here
function support.fast()
  local path = support.find "nginx"
  if not path then return nil end
  local dir = run("mktemp -d"):match("^(/[^\n]+)\n")
  run("chmod 755 " .. dir)
  run(("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
    .. "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout %s/key.pem -out %s/certificate.pem"):format(dir, dir))
  local values = { dir = dir, port = programs.free_port(), tls_port = programs.free_port() }
  local f = assert(io.open(dir .. "/nginx.conf", "w"))
  f:write((CONF:gsub("%%%((%w+[_%w]*)%)", function(key) return tostring(assert(values[key], key)) end)))
  f:close()
  -- It ends when we do, however we end: $PPID in popen's shell is this process.
  local pid = run(("p=$PPID; %s -p %s -c %s/nginx.conf >%s/out 2>&1 & s=$!; "):format(path, dir, dir, dir)
    .. ("(while kill -0 $p; do sleep 1; done; kill $s; rm -rf %s) >/dev/null 2>&1 & echo $s"):format(dir))
    :match "%d+"
  local server = {
    url = "http://127.0.0.1:" .. values.port,
    tls_url = "https://127.0.0.1:" .. values.tls_port,
    port = values.port, tls_port = values.tls_port,
    ca_file = dir .. "/certificate.pem",
  }
  function server.stop()
    run("kill " .. pid)
    run("rm -rf " .. dir)
  end
  if not wait_for(values.port) then
    local log = run(("cat %s/out %s/error.log"):format(dir, dir))
    server.stop()
    error("nginx did not start: " .. log)
  end
  return server
end

return support
