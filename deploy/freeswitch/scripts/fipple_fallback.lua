-- The dead man's switch of one call: sends it to the operator's fallback extension, unless somebody took it over since this
-- was scheduled.
--
--   API: lua fipple_fallback.lua <uuid> <epoch> <extension> [<dialplan> [<context>]]
--   API: lua fipple_fallback.lua version
--
-- Meant for the scheduler, in a group of its own, so that `sched_del fipple-<uuid>` deletes it and nothing else:
--
--   sched_api +10 fipple-<uuid> lua fipple_fallback.lua <uuid> <epoch> ...
--
-- A call that is bridged or dialling is left alone, and looked at again in a while; so is one whose lock is held.

local VERSION = "fipple_fallback 2"

local LOOK_AGAIN_SECONDS = 5

local USAGE = "-USAGE: fipple_fallback.lua <uuid> <epoch> <extension> [<dialplan> [<context>]]\n"

local api = freeswitch.API()

local function fall_back(uuid, epoch, extension)
  local target = table.concat(argv, " ", 3)
  -- It checks the arguments too.
  local reply = api:execute("lua", "fipple_fence.lua eject " .. uuid .. " " .. epoch .. " - " .. target)
  if reply:match("^%+OK") then
    freeswitch.consoleLog("NOTICE", "fipple: " .. uuid .. " went to " .. extension .. ", nobody controlled it\n")
  elseif reply:match("^%-USAGE") then
    return USAGE
  elseif not (reply:match("^%-ERR gone") or reply:match("^%-ERR stale")) then
    -- Busy, locked, or something that nobody thought of: this is the call's only way out, and so it is tried again.
    local again = "+" .. LOOK_AGAIN_SECONDS .. " fipple-" .. uuid .. " lua fipple_fallback.lua "
    api:execute("sched_api", again .. table.concat(argv, " "))
  end
  return reply
end

local reply = USAGE
if argv[1] == "version" then
  reply = "+OK " .. VERSION .. "\n"
elseif argv[3] then
  reply = fall_back(argv[1], argv[2], argv[3])
end
if stream then
  stream:write(reply)
end
