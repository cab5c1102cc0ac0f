-- Without a display (and in `make examples`) no window is opened.
function love.conf(t)
  t.identity = "agora_chat_example"
  t.version = "11.0"
  t.window.title = "Messages that wait"
  t.window.width, t.window.height = 480, 160
  t.modules.audio, t.modules.sound, t.modules.physics, t.modules.video = false, false, false, false
  t.modules.joystick = false
  if os.getenv "AGORA_CHAT_HEADLESS" or not (os.getenv "DISPLAY" or os.getenv "WAYLAND_DISPLAY") then
    t.modules.window, t.modules.graphics = false, false
    t.modules.font, t.modules.image, t.modules.mouse, t.modules.touch = false, false, false, false
  end
end
