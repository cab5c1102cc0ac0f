--- ports: TCP that goes wrong before anybody can speak HTTP.

local cqueues = require "cqueues"
local has_luasocket, luasocket = pcall(require, "socket")

local ports = {}

-- Sockets that only hold their port.
local function keep(server, sock)
  server.kept = server.kept or {}
  server.kept[#server.kept + 1] = sock
end

local function bound()
  local sock = luasocket.tcp4 and luasocket.tcp4() or luasocket.tcp()
  assert(sock:bind("127.0.0.1", 0))
  return sock, select(2, sock:getsockname())
end

-- A port nobody listens on, and that nobody else is given meanwhile.
local function closed_port(server)
  local sock, port = bound()
  keep(server, sock)
  return port
end

-- A listener that never accepts and whose queue is full: Linux then drops
-- every SYN, and who connects hears nothing. cqueues has no name for the
-- length of the queue, so this one needs LuaSocket.
local function full_port(server)
  local sock, port = bound()
  assert(sock:listen(0))
  keep(server, sock)
  for _ = 1, 4 do
    local c = luasocket.tcp()
    c:settimeout(0)
    c:connect("127.0.0.1", port)
    keep(server, c)
  end
  return port
end

-- Proxies that do not help. What they were told is in the log, with the name
-- of the port, so that a token in a CONNECT would be seen.
local PROXIES = {
  proxy_407 = { { send = "HTTP/1.1 407 Proxy Authentication Required\r\n"
    .. 'Proxy-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n' },
    status = 407, after = "fin" },
  proxy_502 = { { send = "HTTP/1.1 502 Bad Gateway\r\n"
    .. "Content-Length: 0\r\n\r\n" }, status = 502, after = "fin" },
  proxy_silence = { after = "hold" },
  proxy_cut = { { send = "HTTP/1.1 200 Conn" }, after = "fin" },
}

function ports.open(server, say)
  local function tell(kind, port)
    say("port ", kind, " http://127.0.0.1:", port)
  end
  local function open(kind, handler)
    tell(kind, assert(server:listen(kind, "127.0.0.1", 0, handler)).port)
  end
  open("accept_fin", function(conn) conn:end_output() end)
  open("accept_rst", function(conn) conn:reset() end)
  -- Neither reads nor answers: the kernel alone takes what is sent.
  open("accept_silence", function() cqueues.sleep(60) end)
  for kind, plan in pairs(PROXIES) do
    open(kind, function(conn)
      conn.always = plan
      server:serve(conn)
    end)
  end
  if has_luasocket then
    tell("closed", closed_port(server))
    tell("backlog_full", full_port(server))
  end
end

return ports
