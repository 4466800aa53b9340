-- C: a table for harbour's tides.h.
return function(stations, config)
  local number = "%." .. config.decimals .. "f"
  local out = { '#include "tides.h"\n\nconst struct station stations[] = {\n' }
  for _, station in ipairs(stations) do
    out[#out + 1] = string.format('    {"%s", ' .. number .. ", {\n", station.name, station.level)
    for _, c in ipairs(station.constants) do
      out[#out + 1] = string.format("        {SPEED_%s, " .. number .. ", " .. number .. "},\n", c.name, c.amplitude, c.phase)
    end
    out[#out + 1] = "    }},\n"
  end
  out[#out + 1] = string.format("};\n\nconst int station_count = %d;\n", #stations)
  return table.concat(out)
end
