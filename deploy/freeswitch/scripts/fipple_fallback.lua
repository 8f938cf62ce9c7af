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

local VERSION = "fipple_fallback 1"

local LOOK_AGAIN_SECONDS = 5

local api = freeswitch.API()

local uuid, epoch, extension = argv[1], argv[2], argv[3]
if uuid == "version" then
  stream:write("+OK " .. VERSION .. "\n")
elseif not extension then
  stream:write("-USAGE: fipple_fallback.lua <uuid> <epoch> <extension> [<dialplan> [<context>]]\n")
else
  local arguments = table.concat(argv, " ", 1)
  local target = table.concat(argv, " ", 3)
  local reply = api:execute("lua", "fipple_fence.lua eject " .. uuid .. " " .. epoch .. " - " .. target)
  if reply:match("^%+OK") then
    freeswitch.consoleLog("NOTICE", "fipple: " .. uuid .. " went to " .. extension .. ", nobody controlled it\n")
  elseif not (reply:match("^%-ERR gone") or reply:match("^%-ERR stale") or reply:match("^%-USAGE")) then
    -- Busy, locked, or something that nobody thought of: this is the call's only way out, and so it is tried again.
    local again = "+" .. LOOK_AGAIN_SECONDS .. " fipple-" .. uuid .. " lua fipple_fallback.lua " .. arguments
    api:execute("sched_api", again)
  end
  stream:write(reply)
end
