-- The dead man's switch of all calls of one node: when the node has not renewed its lease, its calls go to the operator's
-- fallback extension.
--
--   API: lua fipple_watchdog.lua <node> <seconds> <extension> [<dialplan> [<context>]]
--   API: lua fipple_watchdog.lua version
--
-- Meant for the scheduler, once a node:
--
--   hash insert/fipplelease/<node>/<seconds since 1970>        the lease, which the node renews
--   sched_api @5 fipple-watchdog-<node> lua fipple_watchdog.lua <node> <seconds> ...
--
-- A lease that is older than <seconds> has expired, and so has one that is not there. A call is the node's if its
-- fipple_owner says so. Its epoch is raised before it is transferred, so that whatever the node has queued refuses itself.
-- Calls that are bridged or dialling are left alone until they are not; a call that another node takes at the same
-- moment is left to it.

local VERSION = "fipple_watchdog 1"

local api = freeswitch.API()

local function is_expired(node, seconds)
  local renewed = tonumber(api:execute("hash", "select/fipplelease/" .. node)) or 0
  return tonumber(api:execute("strepoch")) - renewed > seconds
end

local function eject_calls(node, target)
  local moved, left = 0, 0
  for uuid in api:execute("show", "channels as delim |"):gmatch("\n([^|\n]+)|") do
    if api:execute("uuid_getvar", uuid .. " fipple_owner") == node then
      -- Whose it is, is asked again under the call's lock: another node may be taking it.
      local arguments = table.concat({ "eject", uuid, "-", node, target }, " ")
      local reply = api:execute("lua", "fipple_fence.lua " .. arguments)
      if reply:match("^%+OK") then
        moved = moved + 1
      else
        left = left + 1
      end
    end
  end
  if moved > 0 then
    local counts = moved .. " calls went to the fallback, " .. left .. " were left alone"
    freeswitch.consoleLog("NOTICE", "fipple: the lease of " .. node .. " expired: " .. counts .. "\n")
  end
  return "+OK expired, moved " .. moved .. ", left " .. left .. "\n"
end

local node, seconds, extension = argv[1], tonumber(argv[2]), argv[3]
if node == "version" then
  stream:write("+OK " .. VERSION .. "\n")
elseif not seconds or not extension then
  stream:write("-USAGE: fipple_watchdog.lua <node> <seconds> <extension> [<dialplan> [<context>]]\n")
elseif is_expired(node, seconds) then
  stream:write(eject_calls(node, table.concat(argv, " ", 3)))
else
  stream:write("+OK fresh\n")
end
