-- CSV: one line for each constant.
return function(stations, config)
  local number = "%." .. config.decimals .. "f"
  local out = { "station,constant,amplitude,phase\n" }
  for _, station in ipairs(stations) do
    for _, c in ipairs(station.constants) do
      out[#out + 1] = string.format("%s,%s," .. number .. "," .. number .. "\n", station.name, c.name, c.amplitude, c.phase)
    end
  end
  return table.concat(out)
end
