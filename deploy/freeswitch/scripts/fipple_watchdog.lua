-- The dead man's switch of all calls of one node: when the node has not renewed its lease, its calls go to the operator's
-- fallback extension.
--
--   API: lua fipple_watchdog.lua renew <lease seconds> <extension> <dialplan> <context> <node>...
--          renews the leases of these nodes, by the switch's own clock, and makes sure that the scheduler runs the
--          following for each, with these very arguments; +OK <number of nodes>
--   API: lua fipple_watchdog.lua <node> <lease seconds> <extension> [<dialplan> [<context>]]
--          looks at one node's lease: +OK fresh, or +OK expired, moved <calls>, left <calls>
--   API: lua fipple_watchdog.lua version
--
-- A lease is the key fipplelease/<node> of the switch's hash: the seconds since 1970 at which it was renewed. One that is
-- older than <lease seconds> has expired, and so has one that is not there. A call is the node's if its fipple_owner says
-- so. Its epoch is raised before it is transferred, so that whatever the node has queued refuses itself. Calls that are
-- bridged or dialling are left alone until they are not; a call that another node takes at the same moment is left to it.
--
-- The key fipplewatchdog/<node> holds the group of the node's task in the scheduler, and its arguments; the key
-- fipplewatched/<node> the second at which it last ran, by which one that was deleted is missed. The task of a node that is
-- gone and has no calls any more goes too; the next renewal makes it again.

local VERSION = "fipple_watchdog 2"

-- Nodes of one renewal: more than one cluster has.
local NODES_MAX = 250

-- As many as fipple_fence.lua takes at once.
local CALLS_PER_BATCH_MAX = 250

-- A lease is looked at so often at least.
local LOOK_SECONDS_MAX = 5

-- A task that was to run three times and did not is gone, or the scheduler is.
local LOOKS_MISSED_MAX = 3

-- Ten years: whatever is longer is a mistake.
local LEASE_SECONDS_MAX = 315360000

local USAGE = "-USAGE: fipple_watchdog.lua renew <lease seconds> <extension> <dialplan> <context> <node>... | "
  .. "<node> <lease seconds> <extension> [<dialplan> [<context>]]\n"

local api = freeswitch.API()

-- A name has no meaning to the switch: in its hash, between variables, between words, or as one variable more.
local function is_name(text)
  return text ~= nil and text ~= "" and not text:find("[%s%c;:,/|'\"\\$&]")
end

local function seconds_of(text)
  local seconds = text and (text == "0" or text:match("^[1-9]%d*$")) and tonumber(text)
  return seconds and seconds <= LEASE_SECONDS_MAX and seconds or nil
end

local function hash(operation, realm, node, value)
  return api:execute("hash", operation .. "/" .. realm .. "/" .. node .. (value and "/" .. value or ""))
end

local function now()
  return tonumber(api:execute("strepoch"):match("%d+"))
end

local function is_expired(node, lease_seconds)
  local renewed = tonumber(hash("select", "fipplelease", node)) or 0
  return now() - renewed > lease_seconds
end

local function eject_calls(node, lease_seconds, words)
  local target = table.concat({ words[3], words[4] or "XML", words[5] or "default", lease_seconds }, " ")
  local calls, moved = {}, 0
  for uuid in api:execute("show", "channels as delim |"):gmatch("\n([^|\n]+)|") do
    if api:execute("uuid_getvar", uuid .. " fipple_owner") == node then
      calls[#calls + 1] = uuid
    end
  end
  for first = 1, #calls, CALLS_PER_BATCH_MAX do
    local batch = table.concat(calls, ",", first, math.min(#calls, first + CALLS_PER_BATCH_MAX - 1))
    -- Whose each is, and whether the lease is still old, is asked again under the call's lock: another node may be taking
    -- it, or this one may have come back and have been given it.
    local reply = api:execute("lua", "fipple_fence.lua eject " .. batch .. " - " .. node .. " " .. target)
    moved = moved + select(2, reply:gsub("%+OK", ""))
  end
  if moved > 0 then
    local counts = moved .. " calls went to the fallback, " .. #calls - moved .. " were left alone"
    freeswitch.consoleLog("NOTICE", "fipple: the lease of " .. node .. " expired: " .. counts .. "\n")
  end
  return moved, #calls - moved
end

local function look_seconds_of(lease_seconds)
  return math.max(1, math.min(LOOK_SECONDS_MAX, math.floor(lease_seconds / 2)))
end

-- Makes the task of a node, if nobody else does at the same moment: whoever gets the marker away, or in, goes on.
local function make_task(node, marker, look_seconds, arguments)
  if marker ~= "" then
    if hash("delete_ifmatch", "fipplewatchdog", node, marker):sub(1, 3) ~= "+OK" then
      return
    end
    api:execute("sched_del", marker:match("^%S+"))
  end
  local group = "fipple-watchdog-" .. api:execute("create_uuid")
  if hash("insert_ifempty", "fipplewatchdog", node, group .. " " .. arguments):sub(1, 3) == "+OK" then
    hash("insert", "fipplewatched", node, string.format("%d", now()))
    -- With & it has a thread of its own: a switch full of calls takes a second to go through.
    local task = "@" .. look_seconds .. " " .. group .. " lua fipple_watchdog.lua " .. node .. " " .. arguments .. "&"
    api:execute("sched_api", task)
  end
end

-- Whoever renews a lease looks for the marker after that, and this looks at the lease after it took the marker away: one of
-- the two makes the task again.
local function retire(node, lease_seconds, arguments)
  local marker = hash("select", "fipplewatchdog", node)
  local is_own = marker:match("^%S+ (.*)$") == arguments
  if not is_own or hash("delete_ifmatch", "fipplewatchdog", node, marker):sub(1, 3) ~= "+OK" then
    return
  end
  api:execute("sched_del", marker:match("^%S+"))
  if not is_expired(node, lease_seconds) then
    make_task(node, "", look_seconds_of(lease_seconds), arguments)
  end
end

local function look(lease_seconds, words)
  local node = words[1]
  hash("insert", "fipplewatched", node, string.format("%d", now()))
  if not is_expired(node, lease_seconds) then
    return "+OK fresh\n"
  end
  local moved, left = eject_calls(node, lease_seconds, words)
  -- A call is listed some time after its birth: not before it is over twice.
  if moved + left == 0 and is_expired(node, 2 * lease_seconds) then
    retire(node, lease_seconds, table.concat(words, " ", 2))
  end
  return "+OK expired, moved " .. moved .. ", left " .. left .. "\n"
end

local function renew(lease_text, target, nodes)
  local lease_seconds = seconds_of(lease_text)
  local look_seconds, second = look_seconds_of(lease_seconds), now()
  local arguments = lease_text .. " " .. target
  for _, node in ipairs(nodes) do
    hash("insert", "fipplelease", node, string.format("%d", second))
    local marker = hash("select", "fipplewatchdog", node)
    local watched = tonumber(hash("select", "fipplewatched", node)) or 0
    local stands = marker:match("^%S+ (.*)$") == arguments
    if not stands or second - watched > LOOKS_MISSED_MAX * look_seconds then
      make_task(node, marker, look_seconds, arguments)
    end
  end
  return "+OK " .. #nodes .. "\n"
end

-- The 128th argument of a script is all the rest.
local function words_from(position)
  local words = {}
  for word in (#argv >= position and table.concat(argv, " ", position) or ""):gmatch("%S+") do
    words[#words + 1] = word
  end
  return words
end

local function are_names(words)
  for _, word in ipairs(words) do
    if not is_name(word) then
      return false
    end
  end
  return #words > 0
end

local function answer()
  local words = words_from(1)
  if words[1] == "version" then
    return "+OK " .. VERSION .. "\n"
  elseif not are_names(words) then
    return USAGE
  elseif words[1] == "renew" then
    local nodes = words_from(6)
    local fits = seconds_of(words[2]) and #nodes > 0 and #nodes <= NODES_MAX
    return fits and renew(words[2], table.concat(words, " ", 3, 5), nodes) or USAGE
  elseif words[3] and seconds_of(words[2]) and not words[6] then
    return look(seconds_of(words[2]), words)
  end
  return USAGE
end

local reply = answer()
if stream then
  stream:write(reply)
end
