--- users: who is known when the emulator starts. Another file of this shape
--- can be given with --data; the control port changes it while it runs.
return {
  -- Apps in a path that are answered "not found". All others are accepted
  -- unless `apps` lists the only ones that exist.
  unknown_apps = {
    "app-id/00000000000000000000000000000000", "nobody/nothing",
  },

  users = {
    alice = {
      online = false,
      messages = {
        { id = "1029457500870543736", delivered = false },
        { id = "1029457500870543737", delivered = false },
        { id = "1028442084794698104", delivered = true },
        { id = "77225969013752296_pd7J8-20-c3104", delivered = true },
      },
    },
    bob = { online = true, messages = {} },
    ["小明"] = {
      messages = { { id = "992810797698650148", delivered = false } },
    },
  },
}
