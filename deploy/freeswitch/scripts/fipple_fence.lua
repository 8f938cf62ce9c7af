-- What is done to a call from outside its thread, under a lock of that call, and only in the right epoch.
--
--   API: lua fipple_fence.lua run <uuid> <epoch> <uuid_* command> [<arguments in hex>]
--          the command's own reply, or -ERR stale <current epoch>; the arguments name <uuid>
--   API: lua fipple_fence.lua take <owner or -> <uuid>:<epoch>...
--          raises the epochs, never lowers one, and names the owner; a line a call: +OK <uuid> <epoch>, or -ERR <uuid> and
--          `epoch <current>`, `gone` or `locked`
--   API: lua fipple_fence.lua eject <uuid> <epoch or -> <owner or -> <extension> [<dialplan> [<context>]]
--          takes a call away from its owner, whose queued steps refuse themselves from then on, and transfers it. Otherwise
--          -ERR stale <current epoch>, -ERR owner <current owner>, or -ERR busy: one that is bridged or dialling is left
--          alone, because its other leg would be hung up
--   API: lua fipple_fence.lua version
--
-- A `-` stands for any epoch, and for any owner or none. A channel without fipple_epoch is in epoch 0. The lock is the key
-- fipplelock/<uuid> of the switch's hash.

local VERSION = "fipple_fence 1"

-- Some twenty times the time for which anybody holds the lock.
local LOCK_WAIT_MS = 500

local api = freeswitch.API()

local function variable(uuid, name)
  local value = api:execute("uuid_getvar", uuid .. " " .. name)
  return value ~= "_undef_" and value or ""
end

-- Nothing for a channel that is not there.
local function epoch_of(uuid)
  local value = variable(uuid, "fipple_epoch")
  return tonumber(value == "" and "0" or value)
end

local function with_lock(uuid, action)
  local key, token = "fipplelock/" .. uuid, api:execute("create_uuid")
  local waited_ms = 0
  while api:execute("hash", "insert_ifempty/" .. key .. "/" .. token):sub(1, 3) ~= "+OK" do
    if waited_ms >= LOCK_WAIT_MS then
      return "-ERR locked\n"
    end
    waited_ms = waited_ms + 1
    freeswitch.msleep(1)
  end
  local ran, reply = pcall(action)
  api:execute("hash", "delete_ifmatch/" .. key .. "/" .. token)
  return ran and reply or "-ERR " .. tostring(reply) .. "\n"
end

-- Does something under the lock, if the epoch is this one or may be any.
local function in_epoch(uuid, epoch, action)
  return with_lock(uuid, function()
    local current = epoch_of(uuid)
    if not current then
      return "-ERR gone\n"
    elseif epoch ~= "-" and current ~= tonumber(epoch) then
      return "-ERR stale " .. current .. "\n"
    end
    return action(current)
  end)
end

-- The call that a command is about: its first word, or the second where an option comes before it.
local function subject(command, arguments)
  local first, second = arguments:match("^(%S+)%s*(%S*)")
  if command == "uuid_hold" and (first == "off" or first == "toggle") then
    return second
  end
  return first
end

local function run(uuid, epoch, command, hex)
  -- FreeSWITCH may take other cases for the same; what is refused here has to have one name only.
  if not (command or ""):match("^uuid_[a-z_]+$") then
    return "-ERR only uuid_* commands are fenced\n"
  end
  local arguments = (hex or ""):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)
  local lower = arguments:lower()
  if command == "uuid_broadcast" then
    return "-ERR uuid_broadcast runs after the lock is let go: send a step\n"
  elseif lower:find("fipple_%w+%s*=") or (command:match("^uuid_setvar") and lower:find("fipple_", 1, true)) then
    return "-ERR variables that begin with fipple_ are what the fence stands on\n"
  elseif subject(command, arguments) ~= uuid then
    return "-ERR the command is about another call\n"
  end
  return in_epoch(uuid, epoch, function() return api:execute(command, arguments) end)
end

local function take(owner, uuid, epoch)
  return with_lock(uuid, function()
    local current = epoch_of(uuid)
    if not current then
      return "-ERR gone\n"
    elseif current >= tonumber(epoch) then
      return "-ERR epoch " .. current .. "\n"
    end
    local variables = "fipple_epoch=" .. epoch .. (owner ~= "-" and ";fipple_owner=" .. owner or "")
    api:execute("uuid_setvar_multi", uuid .. " " .. variables)
    return "+OK " .. epoch .. "\n"
  end)
end

-- The 128th argument of a script is all the rest.
local function take_all(owner, calls_and_epochs)
  local lines = {}
  for pair in calls_and_epochs:gmatch("%S+") do
    local uuid, epoch = pair:match("^(.+):(%d+)$")
    local reply = uuid and take(owner, uuid, epoch) or "-ERR not a call and an epoch\n"
    local verdict, rest = reply:match("^(%S+) (.*)$")
    lines[#lines + 1] = verdict .. " " .. (uuid or pair) .. " " .. rest
  end
  return table.concat(lines)
end

-- bridge_to is there as long as a bridge stands; bridge_uuid and current_application stay when it is over. While a bridge
-- dials, its step or its command is still running.
local function is_busy(uuid)
  if variable(uuid, "bridge_to") ~= "" then
    return true
  end
  local runs = variable(uuid, "fipple_run") ~= "" or variable(uuid, "current_loop") ~= ""
  return runs and variable(uuid, "current_application") == "bridge"
end

local function eject(uuid, epoch, owner, extension, dialplan, context)
  return in_epoch(uuid, epoch, function(current)
    local present = variable(uuid, "fipple_owner")
    if owner ~= "-" and present ~= owner then
      return "-ERR owner " .. present .. "\n"
    elseif is_busy(uuid) then
      return "-ERR busy\n"
    end
    api:execute("uuid_setvar_multi", uuid .. " fipple_epoch=" .. (current + 1) .. ";fipple_owner=")
    local target = table.concat({ uuid, extension, dialplan or "XML", context or "default" }, " ")
    return api:execute("uuid_transfer", target)
  end)
end

local verb = argv[1]
if verb == "version" then
  stream:write("+OK " .. VERSION .. "\n")
elseif verb == "run" and tonumber(argv[3]) then
  stream:write(run(argv[2], argv[3], argv[4], argv[5]))
elseif verb == "take" and argv[3] then
  stream:write(take_all(argv[2], table.concat(argv, " ", 3)))
elseif verb == "eject" and (argv[3] == "-" or tonumber(argv[3])) and argv[5] then
  stream:write(eject(argv[2], argv[3], argv[4], argv[5], argv[6], argv[7]))
else
  stream:write("-USAGE: fipple_fence.lua run|take|eject|version\n")
end
