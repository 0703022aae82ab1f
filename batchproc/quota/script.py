"""`core/pot.py` once more, in the language that Redis and Valkey run by themselves, all at once.

KEYS[1] is the quota's key. ARGV: the Ask as JSON, the worker's name, and Unix time, or "" for the server's own clock.
"""

from __future__ import annotations

from batchproc.core import pot
from batchproc.lease import GONE_S

KEEP_S = 7 * 86_400  # a quota that nobody uses is forgotten after so long

SCRIPT = f"""
local VERSION, GONE, LONG, JUMP = {pot.VERSION}, {GONE_S}, {pot.LONG_S}, {pot._JUMP_S}
local SPARE, SPARE_MOST = {pot._SPARE_S}, {pot._SPARE_MOST_S}
local ask, worker = cjson.decode(ARGV[1]), ARGV[2]
local now = tonumber(ARGV[3])
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) + tonumber(t[2]) / 1e6
end
local text = redis.call('GET', KEYS[1])
local pot = {{version = VERSION, at = 0, hold = 0, parts = {{}}, workers = {{}}}}
if text then pot = cjson.decode(text) end
if pot.version ~= VERSION then
  return redis.error_reply('QUOTA of version ' .. tostring(pot.version))
end

for _, part in pairs(pot.parts) do
  if not (part.given > 0 and part.limit > 0 and part.window_s > 0) then
    return redis.error_reply('QUOTA with a limit that is none')
  end
end

local passed = now - pot.at
if passed >= 0 then
  pot.at = now
else
  if passed < -JUMP then
    pot.at = now
    pot.hold = math.max(0, pot.hold + passed)
    for name in pairs(pot.workers) do pot.workers[name] = now end
    for _, part in pairs(pot.parts) do
      part.level = math.min(0, part.level)
      part.spare = 0
    end
  end
  passed = 0
end
now = pot.at

local workers, count = {{}}, 0
for name, at in pairs(pot.workers) do
  if now - at <= GONE and name ~= worker then
    workers[name] = at
    count = count + 1
  end
end
if not ask.leaving then
  workers[worker] = now
  count = count + 1
end
pot.workers = workers
if ask.hold_s > 0 then pot.hold = math.max(pot.hold, now + ask.hold_s) end

local function most(part)
  if part.window_s >= LONG then return part.limit end
  return part.limit / part.window_s * ask.burst_s
end

for _, part in pairs(pot.parts) do
  local rate = part.limit / part.window_s
  local level = part.level + passed * rate
  if now - part.spare_at > SPARE then part.spare = 0 end
  if level > most(part) then
    part.spare = math.min(part.spare + level - most(part), SPARE_MOST * rate)
    part.spare_at = now
    level = most(part)
  end
  part.level = level
end

local wait = 0
for _, want in ipairs(ask.wants) do
  local key = want.key
  local part = pot.parts[key]
  if part == nil and want.given > 0 then
    part = {{given = want.given, limit = want.given, window_s = want.window_s, level = 0, spare_at = now}}
    part.spare = want.given / want.window_s * SPARE_MOST
    if want.window_s >= LONG then part.level = want.given end
    pot.parts[key] = part
  elseif part and ask.reset and want.given > 0 then
    part.given = want.given
    part.limit = want.given
  end
  if part then
    if want.told > 0 and want.told < part.limit then part.limit = want.told end
    local covered = math.min(part.spare, want.offline)
    part.spare = part.spare - covered
    part.level = math.min(part.level - (want.offline - covered) - want.cost, most(part))
    if want.cost > 0 and part.level < 0 then
      wait = math.max(wait, -part.level * part.window_s / part.limit)
    end
  end
end

redis.call('SET', KEYS[1], cjson.encode(pot), 'EX', {KEEP_S})
local hold = math.max(0, pot.hold - now)
local limits, given = {{}}, {{}}
for key, part in pairs(pot.parts) do
  limits[key] = part.limit
  given[key] = part.given
end
return cjson.encode({{wait_s = math.max(wait, hold), hold_s = hold, workers = math.max(1, count), limits = limits,
  given = given}})
"""
