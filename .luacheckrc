std = "min"                       -- what Lua 5.1 to 5.4 and LuaJIT share
cache = false
max_line_length = 120
max_string_line_length = false
exclude_files = { "build/**" }

-- Stubs have neither bodies nor callers.
files["lua/agora_chat/meta.lua"] = { unused_args = false, unused = false, max_line_length = false }
files["lua/agora_chat/loop/resty.lua"] = { std = "ngx_lua" }

-- Specs run on every Lua, and look at what only some have.
files["spec/**"] = { std = "max+busted", max_line_length = 140 }
files["spec/support/oom_chunk.lua"] = { read_globals = { "fail_on", "fail_off" } }
files["spec/support/memory_chunk.lua"] = { read_globals = { "fail", "fail_stop" } }
files["spec/support/skynet_chunk.lua"] = { globals = { "KEPT", "KEPT_CLIENT" } }
files["spec/support/meta.lua"] = { max_line_length = false }
files["spec/nginx/**"] = { std = "ngx_lua+busted" }

files["examples/**"] = { std = "max" }
files["examples/love/**"] = { std = "max+love" }
files["examples/openresty/**"] = { std = "ngx_lua" }
files["bench/*.lua"] = { std = "max" }
files["bench/nginx/ways.lua"] = { std = "ngx_lua" }
files[".busted"] = { std = "max" }
files["bench/nginx/**"] = { std = "ngx_lua" }
