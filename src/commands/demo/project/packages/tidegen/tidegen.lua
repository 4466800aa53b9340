#!/usr/bin/lua
-- tidegen: turns tables of tidal constants into source code.

local DIALECTS = "/usr/share/tidegen/dialects"
local INDEX = "/var/lib/tidegen/index"
local CONFIG = "/etc/tidegen.conf"

local function fail(...)
  io.stderr:write("tidegen: ", string.format(...), "\n")
  os.exit(1)
end

local function open(path, mode)
  local file, message = io.open(path, mode)
  if not file then fail("%s", message) end
  return file
end

-- Lua has no directory listing: the index is written once, when the package is
-- installed, and names each dialect with its file.
local function write_index()
  local names = io.popen("ls " .. DIALECTS)
  local index = open(INDEX, "w")
  for file in names:lines() do
    local name = file:match("^(%w+)%.lua$")
    if name then index:write(name, " ", DIALECTS, "/", file, "\n") end
  end
  names:close()
  index:close()
end

local function dialect(wanted)
  local known = {}
  for line in open(INDEX):lines() do
    local name, path = line:match("^(%S+) (.+)$")
    if name == wanted then return dofile(path) end
    known[#known + 1] = name
  end
  fail("no dialect '%s', there are: %s", wanted, table.concat(known, ", "))
end

local function read_config()
  local config = { decimals = "3" }
  for line in open(CONFIG):lines() do
    local key, value = line:match("^(%w+)%s*=%s*(%S+)$")
    if key then config[key] = value end
  end
  return config
end

local function read_stations(path)
  local stations, number = {}, 0
  for line in open(path):lines() do
    number = number + 1
    local text = line:gsub("#.*", "")
    local station, level = text:match("^station%s+(%S+)%s+(%S+)%s*$")
    local name, amplitude, phase = text:match("^%s+(%w+)%s+(%S+)%s+(%S+)%s*$")
    if station then
      stations[#stations + 1] = { name = station, level = tonumber(level), constants = {} }
    elseif name and #stations > 0 then
      local constants = stations[#stations].constants
      constants[#constants + 1] = { name = name, amplitude = tonumber(amplitude), phase = tonumber(phase) }
    elseif text:match("%S") then
      fail("%s:%d: neither a station nor a constant: %s", path, number, line)
    end
  end
  return stations
end

if arg[1] == "--index" then
  write_index()
elseif #arg == 2 then
  io.write(dialect(arg[1])(read_stations(arg[2]), read_config()))
else
  fail("usage: tidegen DIALECT FILE | tidegen --index")
end
